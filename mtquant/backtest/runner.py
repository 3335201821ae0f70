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

Progress = Callable[[int], None]


def run_backtest(
    policy: Policy,
    tape: Tape,
    rules: Rules,
    features: NDArray[np.float32],
    rows: slice,
    reward: Reward,
    progress: Progress | None = None,
    cost_scale: float = 1.0,
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
        cost_scale: Multiplies spread, slippage and commission.

    Raises:
        DataError: Features of another shape, or fewer rows than the policy's window.
    """
    desk = Desk(tape, rules, policy.name, start_row=rows.start, cost_scale=cost_scale)
    trade_on(desk, policy, features, rows.stop, reward, progress)
    return desk.ledger()


def trade_on(
    desk: Desk,
    policy: Policy,
    features: NDArray[np.float32],
    stop: int,
    reward: Reward,
    progress: Progress | None = None,
) -> None:
    """Lets a policy take an account over where it stands, and trade until row `stop` - 1.

    The policy decides for the first time at the close the desk stands at; positions that it finds
    are its own from there on, and what it takes to change them is charged. It begins with the
    memory of a first bar, and so does the reward.

    Args:
        desk: The account; a ruined one stays as it is.
        policy, features, reward, progress: As in `run_backtest`.
        stop: Panel row behind the last one.

    Raises:
        DataError: Features of another shape, or fewer rows than the policy's window.
    """
    tape, first = desk.tape, desk.row
    layout = ObservationLayout(tape.symbols, policy.feature_names, policy.window_bars, STATE_NAMES)
    expected = (len(tape.stamps), len(tape.symbols), len(layout.feature_names))
    if features.shape != expected:
        remedy = "Compute the policy's own features on this panel."
        raise DataError("features", f"must have shape {expected}", features.shape, remedy)
    if stop - first < 2 or first < layout.window_bars - 1:
        remedy = "Use a longer part, or a shorter window."
        rule = "must hold 2 bars after the first window"
        raise DataError("rows", rule, slice(first, stop), remedy)
    features, names = observable(features), layout.names()
    reward_state, trace = np.zeros(STATES), np.zeros(TERMS)
    parameters, weights = reward.parameter_vector(), reward.weight_vector()
    start_reward(reward_state)
    states, shown = np.zeros(STATES * LANES), new_seen(layout)
    state = policy.initial_state()
    while desk.row < stop - 1 and not desk.bankrupt:
        values = np.zeros(layout.size, dtype=np.float32)
        states[::LANES] = reward_state
        see_block(desk.block, desk.sheet, desk.rules_matrix, states, shown)
        write_observation(values, desk.row, features, layout.window_bars, shown)
        seen = Observation(values, int(tape.stamps[desk.row]), tape.symbols, names)
        targets, state = policy.act(seen, state)
        desk.plan(targets)
        outcome = desk.advance()
        step_reward(reward_state, outcome, parameters, weights, trace)
        if progress is not None:
            progress(1)
