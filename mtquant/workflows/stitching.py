# SPDX-License-Identifier: Apache-2.0
"""One account through the tests of all folds: the policies of the folds take it over in turn.

Nothing is closed for free where one policy follows another: the next one finds the positions of the
one before, and what it changes is charged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.backtest.runner import trade_on
from mtquant.core.errors import DataError
from mtquant.core.protocols import Policy
from mtquant.data.splits import Part
from mtquant.features.timeframes import warmup_rows
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market, baselines_of, trained_reward
from mtquant.workflows.models import Trained

Progress = Callable[[int, int], None]
"""Told how many bars are done, and of how many."""


@dataclass(frozen=True)
class Leg:
    """A policy and the test that it trades.

    Attributes:
        trained: The policy of a fold.
        test: Its test.
    """

    trained: Trained
    test: Part


@dataclass(frozen=True)
class Stage:
    """A market on which tracks are made; features are worked out once.

    Attributes:
        market: All bars; its `rows` are those of every track and baseline.
    """

    market: Market
    _features: dict[tuple[str, ...], NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, market: Market, policies: Sequence[Policy], tests: Sequence[Part]) -> Stage:
        """The rows of the tests, from the close before the first one on.

        A test at the very beginning of the history loses the bars in which the features of the
        policies and of the baselines warm up.

        Args:
            market: All bars.
            policies: Whose features must be known.
            tests: All tests, in any order.
        """
        stage = cls(market)
        first = market.panel.rows(min(tests, key=lambda part: part.start_ns)).start - 1
        stop = market.panel.rows(max(tests, key=lambda part: part.end_ns)).stop
        everybody = (*policies, *baselines_of(market))
        warm = max(
            warmup_rows(stage.features(policy)) + policy.window_bars - 1 for policy in everybody
        )
        return replace(stage, market=replace(market, rows=slice(max(first, warm), stop)))

    def features(self, policy: Policy) -> NDArray[np.float32]:
        """The policy's features, float32 [T, N, F]."""
        names = policy.feature_names
        if names not in self._features:
            self._features[names] = self.market.features_of(policy)
        return self._features[names]


def stitch(
    stage: Stage,
    legs: Sequence[Leg],
    name: str,
    cost_scale: float = 1.0,
    progress: Progress | None = None,
) -> Ledger:
    """The ledger of one account that every leg's policy trades in its own test.

    Args:
        stage: Market and rows.
        legs: In order of time; together they cover the rows.
        name: Of the ledger.
        cost_scale: Multiplies spread, slippage and commission.
        progress: Told how far it is.

    Raises:
        DataError: A leg has less than one bar behind the warm-up, or legs leave a gap.
    """
    market = stage.market
    rows, done = market.rows, 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, rows.stop - rows.start - 1)

    desk = Desk(market.tape, market.rules, name, start_row=rows.start, cost_scale=cost_scale)
    for leg in legs:
        own = market.panel.rows(leg.test)
        if desk.bankrupt:
            break
        if own.start > desk.row + 1:
            found = f"row {own.start} behind row {desk.row}"
            raise DataError("legs", "must follow one another", found, "Give all tests in order.")
        reward = trained_reward(leg.trained, market.config, market.tape)
        trade_on(
            desk, leg.trained.policy, stage.features(leg.trained.policy), own.stop, reward, advance
        )
    return desk.ledger()
