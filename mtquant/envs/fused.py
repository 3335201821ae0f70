# SPDX-License-Identifier: Apache-2.0
"""The fused training kernel: plan, desk, reward and observation of E accounts in one compiled loop.

`MarketEnv` owns the arrays and is the only caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.prefetch import prefetch_row
from mtquant.market.account import B_TARGET, BAR_STOPS, COLUMNS, open_account
from mtquant.market.desk import desk_bar
from mtquant.market.observation import write_observation
from mtquant.market.planning import plan_account
from mtquant.market.rules import RULE_COLUMNS
from mtquant.market.tape import CLOCK_COLUMNS, TAPE_COLUMNS
from mtquant.rewards.compose import STATES, TERMS, start_reward, step_reward

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

BLOCK_ACCOUNTS = 16
DONE_TRUNCATED = 1
DONE_TERMINATED = 2

# Sums over the running episode, for the metric dictionary (docs/metrics.md).
EPISODE_NAMES = ("reward", "length", "growth", "turnover", "cost", "stops", "bound_bars", "gross")
(X_REWARD, X_LENGTH, X_GROWTH, X_TURNOVER, X_COST, X_STOPS, X_BOUND, X_GROSS) = range(
    len(EPISODE_NAMES)
)
EPISODES = len(EPISODE_NAMES)
OUTCOMES = len(oc.OUTCOME_COLUMNS)


@kernel
def _add_to_episode(totals: Float, reward: float, outcome: Float, stops: float) -> None:
    totals[X_REWARD] += reward
    totals[X_LENGTH] += 1.0
    totals[X_GROWTH] += outcome[oc.GROWTH]
    totals[X_TURNOVER] += outcome[oc.TURNOVER]
    totals[X_COST] += outcome[oc.COST]
    totals[X_STOPS] += stops
    totals[X_BOUND] += 1.0 if outcome[oc.BINDING] > 0.0 else 0.0
    totals[X_GROSS] += outcome[oc.GROSS]


@kernel
def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    # Not `target[:] = source`: Numba would allocate in case they overlap.
    for k in range(source.shape[0]):
        target[k] = source[k]


@kernel
def _begin_episode(
    one: Float,
    start: int,
    equity: float,
    scale: float,
    tape: Float,
    features: Float32,
    window: int,
    rules: Float,
    outcome: Float,
    reward_state: Float,
    trace: Float,
    totals: Float,
    values: Float32,
) -> None:
    """Opens one account at the close of row `start` and writes its first observation."""
    open_account(one, equity, scale, tape[start])
    outcome[:] = 0.0
    trace[:] = 0.0
    totals[:] = 0.0
    start_reward(reward_state)
    write_observation(values, one, start, features, window, tape, rules, outcome, reward_state)


@kernel
def _step_all(
    n_instruments: int,
    actions: Float32,
    unit: Float,
    account: Float,
    row: NDArray[np.int64],
    end: NDArray[np.int64],
    tape: Float,
    clock: Float,
    features: Float32,
    window: int,
    rules: Float,
    caps: Float,
    settings: Float,
    outcomes: Float,
    reward_state: Float,
    parameters: Float,
    weights: Float,
    trace: Float,
    episode: Float,
    rewards: Float32,
    done: NDArray[np.uint8],
    values: Float32,
    wanted: Float,
    fills: Float,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    scales: Float,
    cursor: NDArray[np.int64],
    equity: float,
    last_values: Float32,
    last_outcomes: Float,
    last_trace: Float,
    last_episode: Float,
) -> int:
    """The loop of `step_accounts`: plan, desk, reward, observation, and the next episode where
    one ended. Shapes as in `MarketEnv` and `Simulator`; the last_* arrays keep what an episode
    left behind.
    """
    ended = 0
    # Stage by stage over small blocks, not account by account: the work of one account is one long
    # chain in which each number waits for the one before, but accounts do not wait for each other.
    for block in range(0, actions.shape[0], BLOCK_ACCOUNTS):
        stop = min(block + BLOCK_ACCOUNTS, actions.shape[0])
        for e in range(block, stop):
            prefetch_row(tape, row[e] + 1, 8 * TAPE_COLUMNS * n_instruments)
            prefetch_row(features, row[e] + 1, 4 * features.shape[2] * n_instruments)
        for e in range(block, stop):
            for n in range(n_instruments):
                account[e, n + 1, B_TARGET] = np.float64(actions[e, n]) * unit[n]
            plan_account(account[e], rules, caps, settings, wanted)
        for e in range(block, stop):
            row[e] += 1
            desk_bar(account[e], row[e], tape, clock, rules, settings, outcomes[e], fills)
        for e in range(block, stop):
            reward = step_reward(reward_state[e], outcomes[e], parameters, weights, trace[e])
            rewards[e] = reward
            _add_to_episode(episode[e], reward, outcomes[e], account[e, 0, BAR_STOPS])
        for e in range(block, stop):
            write_observation(
                values[e],
                account[e],
                row[e],
                features,
                window,
                tape,
                rules,
                outcomes[e],
                reward_state[e],
            )
        for e in range(block, stop):
            done[e] = 0
            if outcomes[e, oc.STATUS] == oc.STATUS_BANKRUPT:
                done[e] = DONE_TERMINATED
            elif row[e] >= end[e]:
                done[e] = DONE_TRUNCATED
            if done[e] == 0:
                continue
            ended += 1
            _copy(values[e], last_values[e])
            _copy(outcomes[e], last_outcomes[e])
            _copy(trace[e], last_trace[e])
            _copy(episode[e], last_episode[e])
            k = cursor[e]
            cursor[e] = k + 1
            row[e], end[e] = starts[e, k], ends[e, k]
            _begin_episode(
                account[e],
                row[e],
                equity,
                scales[e, k],
                tape,
                features,
                window,
                rules,
                outcomes[e],
                reward_state[e],
                trace[e],
                episode[e],
                values[e],
            )
    return ended


@kernel
def step_accounts(*arrays: Any) -> int:
    """Steps all accounts by one bar and returns how many episodes ended.

    The loop is compiled twice from one source. Where the widths of all arrays are compared with
    constants, the compiler takes them for constants behind the comparison: with one instrument it
    drops every loop over instruments and works out addresses while compiling, which halves a step.

    Args:
        *arrays: The arguments of `_step_all` behind `n_instruments`, in its order.

    Returns:
        The number of ended episodes, or -1 if an array has another width than its module says.
    """
    actions = arrays[0]
    account = arrays[2]
    tape = arrays[5]
    clock = arrays[6]
    features = arrays[7]
    window = arrays[8]
    rules = arrays[9]
    outcomes = arrays[12]
    reward_state = arrays[13]
    trace = arrays[16]
    episode = arrays[17]
    wanted = arrays[21]
    if (
        account.shape[2] != COLUMNS
        or tape.shape[2] != TAPE_COLUMNS
        or clock.shape[1] != CLOCK_COLUMNS
        or rules.shape[1] != RULE_COLUMNS
        or outcomes.shape[1] != OUTCOMES
        or reward_state.shape[1] != STATES
        or trace.shape[1] != TERMS
        or episode.shape[1] != EPISODES
    ):
        return -1
    if (
        actions.shape[1] == 1
        and account.shape[1] == 2
        and tape.shape[1] == 1
        and features.shape[1] == 1
        and rules.shape[0] == 1
        and wanted.shape[0] == 1
        and window == 1
    ):
        return _step_all(1, *arrays)
    return _step_all(rules.shape[0], *arrays)
