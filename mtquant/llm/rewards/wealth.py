# SPDX-License-Identifier: Apache-2.0
"""Risk-aware terms: drawdown, tail loss and Sharpe ratio of the wealth that answers stake.

The answers of one call are put in order of their decisions and played on a bankroll; each row of
its ledger is scored by `mtquant.rewards.compose.step_reward`, the function that scores a bar of the
trading agents. Answers to one event (a group of GRPO) are alternatives: each plays on a bankroll of
its own, so a group of G makes G histories. What an answer earns here depends on those before it in
the call: use large batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.config import BettingConfig
from mtquant.llm.tasks.task import Columns
from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN, Bankroll
from mtquant.rewards.compose import STATES, TERMS, Reward, start_reward, step_reward

Float = NDArray[np.float64]

EVEN_ODDS = 2.0


@dataclass(frozen=True)
class WealthTerms:
    """Risk-aware terms of staked wealth.

    Attributes:
        weights: Term names of `mtquant.rewards.compose` -> weights.
        scale: Return of one step that counts as 1.
        betting: Bankroll and its caps.
        positions: Whether answers are positions in a stock, with the column ``fill_return``.
    """

    weights: Mapping[str, float]
    scale: float
    betting: BettingConfig
    positions: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a call must be given."""
        return ("event", "stamp", *(("fill_return",) if self.positions else ()))

    def of_positions(self, rises: Float, parsed: NDArray[np.bool_], columns: Columns) -> Float:
        """What each position adds, float64 [M].

        A chance p of a rise is held as an exposure of 2p - 1 until the next decision. Its gain is
        settled as exposure x |return| at even odds, which books the same profit; turnover and
        costs of a position are not known here.

        Args:
            rises: float64 [M], stated chances of a rise.
            parsed: bool [M]; what did not parse holds nothing and earns the worst of the call.
            columns: With the columns of `needs`.
        """
        gains = (2.0 * rises - 1.0) * np.asarray(columns["fill_return"], dtype=np.float64)
        results = np.where(gains >= 0.0, RESULT_WIN, RESULT_LOSE)
        # Nobody stakes more than there is: a day that more than doubles counts as one that doubles.
        stakes, odds = np.minimum(1.0, np.abs(gains))[:, None], np.full((len(gains), 1), EVEN_ODDS)
        return self.of_stakes(stakes, odds, results[:, None], parsed, columns)

    def of_stakes(
        self,
        stakes: Float,
        odds: Float,
        results: NDArray[np.int64],
        parsed: NDArray[np.bool_],
        columns: Columns,
    ) -> Float:
        """What each answer's stakes add, float64 [M].

        Args:
            stakes: float64 [M, K], fractions of the bankroll.
            odds: float64 [M, K], decimal.
            results: int64 [M, K], RESULT_*.
            parsed: bool [M]; what did not parse earns the worst of the call.
            columns: With ``event`` and ``stamp``.
        """
        events, stamps = np.asarray(columns["event"]), np.asarray(columns["stamp"])
        reward = Reward(self.weights, self.scale)
        vectors = (reward.parameter_vector(), reward.weight_vector(), np.zeros(TERMS))
        earned, lanes = np.zeros(len(events)), _lanes(events)
        for lane in range(int(lanes.max(initial=-1)) + 1):
            rows = np.flatnonzero(lanes == lane)
            rows = rows[np.argsort(stamps[rows], kind="stable")]
            bankroll, state = self._bankroll(), np.zeros(STATES)
            start_reward(state)
            for row in rows:
                money = stakes[row] * bankroll.equity
                outcome, _ = bankroll.settle(money, odds[row], results[row])
                earned[row] = step_reward(state, outcome, *vectors)
        if not parsed.all():
            earned[~parsed] = min(0.0, float(earned.min()))
        return earned

    def _bankroll(self) -> Bankroll:
        commission = self.betting.commission_frac
        return Bankroll(
            self.betting.bankroll, commission_frac=0.0 if self.positions else commission
        )


def _lanes(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier rows of the call are about the same event, int64 [M]."""
    order = np.argsort(events, kind="stable")
    ordered = events[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(events) else ordered == 0
    starts = np.maximum.accumulate(np.where(first, np.arange(len(events)), 0))
    lanes = np.empty(len(events), dtype=np.int64)
    lanes[order] = np.arange(len(events)) - starts
    return lanes
