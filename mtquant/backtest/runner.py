# SPDX-License-Identifier: Apache-2.0
"""The backtest: a policy on past bars, one account, the ledger on.

The same desk as in training decides what an order becomes, and the same function writes what the
policy sees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.lanes import LANES
from mtquant.core.protocols import Observation, Policy
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.observation import (
    ObservationLayout,
    new_seen,
    observable,
    see_block,
    write_observation,
)
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import STATE_NAMES, STATES, TERMS, Reward, start_reward, step_reward


def run_backtest(
    policy: Policy,
    tape: Tape,
    rules: Rules,
    features: NDArray[np.float32],
    rows: slice,
    reward: Reward,
    progress: Callable[[int], None] | None = None,
) -> Ledger:
    """Lets a policy trade the bars of `rows`.

    The account is opened at the close of ``rows.start``, where the policy decides for the first
    time; the first bar lived through is the next one. A ruined account ends the run.

    Args:
        policy: Decides at every close.
        tape: Bars and rates, T rows.
        rules: How the world answers.
        features: float32 [T, N, F] in the order of ``policy.feature_names``; NaN where not known.
        rows: Panel rows with start and stop.
        reward: Its state is part of the observation.
        progress: Called with 1 after each bar.

    Raises:
        DataError: Features of another shape, or fewer rows than the policy's window.
    """
    layout = ObservationLayout(tape.symbols, policy.feature_names, policy.window_bars, STATE_NAMES)
    expected = (len(tape.stamps), len(tape.symbols), len(layout.feature_names))
    if features.shape != expected:
        remedy = "Compute the policy's own features on this panel."
        raise DataError("features", f"must have shape {expected}", features.shape, remedy)
    if rows.stop - rows.start < 2 or rows.start < layout.window_bars - 1:
        remedy = "Use a longer part, or a shorter window."
        raise DataError("rows", "must hold 2 bars after the first window", rows, remedy)
    features, names = observable(features), layout.names()
    desk = Desk(tape, rules, policy.name, start_row=rows.start)
    reward_state, trace = np.zeros(STATES), np.zeros(TERMS)
    parameters, weights = reward.parameter_vector(), reward.weight_vector()
    start_reward(reward_state)
    states, shown = np.zeros(STATES * LANES), new_seen(layout)
    state = policy.initial_state()
    for _ in range(rows.stop - rows.start - 1):
        values = np.zeros(layout.size, dtype=np.float32)
        states[::LANES] = reward_state
        see_block(desk.block, desk.sheet, desk.rules_matrix, states, shown)
        write_observation(values, desk.row, features, layout.window_bars, shown, 0)
        seen = Observation(values, int(tape.stamps[desk.row]), tape.symbols, names)
        targets, state = policy.act(seen, state)
        desk.plan(targets)
        outcome = desk.advance()
        step_reward(reward_state, outcome, parameters, weights, trace)
        if progress is not None:
            progress(1)
        if desk.bankrupt:
            break
    return desk.ledger()
