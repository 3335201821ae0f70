# SPDX-License-Identifier: Apache-2.0
"""The training environment on data whose future is another: observations up to the cut and rewards
of bars up to the cut have to be the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.envs.market_env import MarketEnv
from mtquant.workflows.backtesting import Market
from mtquant.workflows.verify.behaviour import another_future
from mtquant.workflows.verify.compare import Differences, deviations
from mtquant.workflows.verify.draws import Effort, cut_rows
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Rows32, Subject

NAME = "look-ahead: environment"
REMEDY = (
    "An observation may hold rows up to the decision, and a reward the bar that follows it. "
    "Mend the environment and train again."
)
STEPS, ACCOUNTS = 60, 2


@dataclass(frozen=True)
class _Life:
    """Observations [D, entries] at the decisions and rewards [D] of the bars behind them."""

    observations: NDArray[np.float64]
    rewards: NDArray[np.float64]


def check_environment(subject: Subject, effort: Effort) -> Record:
    """Random actions in two accounts up to every cut."""
    drawn = cut_rows(subject, effort, effort.decisions, "environment")
    rows = [row for row in drawn if row > subject.first_row + 1]
    seen: Differences | None = None
    paid = Differences(subject, ["reward"], [""], np.ones(1))
    for row in rows:
        lived = slice(max(subject.first_row, row - STEPS), row + 2)
        expected = _live(subject, effort, subject.market, subject.features, lived)
        market = another_future(subject, effort, row)
        found = _live(subject, effort, market, market.features_of(subject.policy), lived)
        if seen is None:
            seen = _observed(subject, expected)
        how = f"when bars behind row {row} were drawn anew"
        same = min(len(expected.rewards), len(found.rewards))
        start = lived.start
        seen.add(expected.observations[:same], found.observations[:same], start, row, how)
        # The decision at the cut is paid by the bar behind it, which is another.
        bars = min(same, row - start)
        pair = expected.rewards[:bars, None], found.rewards[:bars, None]
        paid.add(*pair, start, row, how)
    findings = ([] if seen is None else seen.findings()) + paid.findings()
    looked = (
        f"observations and rewards before {len(rows)} rows are the same bytes whatever comes "
        f"behind them ({subject.environment.__name__})"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def _live(subject: Subject, effort: Effort, market: Market, features: Rows32, rows: slice) -> _Life:
    env = subject.env(market, features, rows, ACCOUNTS)
    draw = effort.node("actions", rows.start).generator()
    observed, rewards = [], []
    seen = env.reset()
    for _ in range(rows.stop - rows.start - 1):
        observed.append(seen[0].copy())
        actions = draw.uniform(-1.0, 1.0, (ACCOUNTS, len(env.unit))) * _size(env)
        ended = env.step(actions.astype(np.float32))
        rewards.append(float(env.rewards[0]))
        if 0 in ended:
            break
        seen = env.observations
    return _Life(np.array(observed, dtype=np.float64), np.array(rewards))


def _size(env: MarketEnv) -> float:
    """Random targets that the gross cap lets through, roughly."""
    return float(1.0 / len(env.unit))


def _observed(subject: Subject, life: _Life) -> Differences:
    market = subject.market
    env = subject.env(market, subject.features, slice(subject.first_row, subject.first_row + 3), 1)
    names = env.layout.names()
    unit = np.maximum(deviations(life.observations), 1e-9)
    return Differences(subject, names, [""] * len(names), unit)
