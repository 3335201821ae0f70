# SPDX-License-Identifier: Apache-2.0
"""Observations and actions on data whose future is another, and on data that ends there: up to the
cut they have to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.backtest.runner import run_backtest
from mtquant.core.protocols import Observation, Policy
from mtquant.data.bars import Bars
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market
from mtquant.workflows.verify.changes import cut, redrawn
from mtquant.workflows.verify.compare import Differences, deviations
from mtquant.workflows.verify.draws import Effort, cut_rows
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Rows32, Subject

NAME = "look-ahead: observations and actions"
REMEDY = (
    "The policy, or what it is shown, knows later bars. Look for state that is filled from data "
    "instead of from observations."
)
STEPS = 120  # decisions before every cut


class Witness:
    """A policy that remembers what it was shown and what it answered.

    Args:
        policy: Who decides.

    Attributes:
        seen: Observations, in order.
        answers: Targets, float64 [N] each.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.name, self.window_bars = policy.name, policy.window_bars
        self.feature_names = tuple(policy.feature_names)
        self.seen: list[Observation] = []
        self.answers: list[NDArray[np.float64]] = []

    def initial_state(self) -> Any:
        """The policy's."""
        return self._policy.initial_state()

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        """What the policy answers."""
        targets, state = self._policy.act(observation, state)
        self.seen.append(observation)
        self.answers.append(np.array(targets, dtype=np.float64))
        return targets, state

    def rows(self) -> NDArray[np.float64]:
        """Observations and targets side by side, [decisions, entries + N]."""
        values = np.array([seen.values for seen in self.seen], dtype=np.float64)
        return np.concatenate((values, np.array(self.answers)), axis=1)


def live(subject: Subject, market: Market, features: Rows32, rows: slice) -> tuple[Witness, Ledger]:
    """The policy on some rows of a market."""
    witness = Witness(subject.policy)
    reward = subject.reward(market.tape)
    ledger = run_backtest(witness, market.tape, market.rules, features, rows, reward)
    return witness, ledger


def other_futures(subject: Subject, effort: Effort, row: int) -> Iterator[tuple[str, Market]]:
    """The same bars up to a row, and behind it others, or one more row of others and then nothing:
    a decision at a row is made with the bar that follows it.
    """
    stamps = subject.market.panel.stamps
    now, following = (int(stamps[k]) for k in (row, row + 1))

    def changed(own: Bars) -> Bars:
        return redrawn(own, now, effort.node("future", row, own.symbol).generator())

    bars = [changed(own) for own in subject.bars]
    yield f"when bars behind row {row} were drawn anew", subject.market_of(bars)
    ended = [cut(own, following) for own in bars]
    yield f"when data ended behind row {row}, with one more", subject.market_of(ended)


def check_behaviour(subject: Subject, effort: Effort) -> Record:
    """Lets the policy trade up to every cut, on the bars and on ones with another future."""
    differences: Differences | None = None
    drawn = cut_rows(subject, effort, effort.decisions, "decisions")
    rows = [row for row in drawn if row > subject.first_row]
    decisions = 0
    for row in rows:
        # The bar behind the cut is lived through, so that the decision at the cut is made.
        lived = slice(max(subject.first_row, row - STEPS), row + 2)
        witness, _ = live(subject, subject.market, subject.features, lived)
        expected = witness.rows()
        if differences is None:
            differences = _differences(subject, witness.seen[0], expected)
        for how, market in other_futures(subject, effort, row):
            other, _ = live(subject, market, market.features_of(subject.policy), lived)
            found = other.rows()
            same = min(len(expected), len(found))
            differences.add(expected[:same], found[:same], lived.start, row, how)
        decisions += len(expected)
    findings = [] if differences is None else differences.findings()
    looked = (
        f"observations and targets of {decisions:,} decisions before {len(rows)} rows are the same "
        "bytes whatever comes behind them, or nothing"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def _differences(subject: Subject, seen: Observation, rows: NDArray[np.float64]) -> Differences:
    names = [*seen.names, *(f"target of {symbol}" for symbol in seen.symbols)]
    return Differences(subject, names, [""] * len(names), np.maximum(deviations(rows), 1e-9))
