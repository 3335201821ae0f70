# SPDX-License-Identifier: Apache-2.0
"""The fused training kernel: plan, desk, reward and observation of E accounts in one compiled loop.

`MarketEnv` owns the arrays and is the only caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.prefetch import prefetch_row
from mtquant.market.account import B_TARGET, BAR_STOPS, COLUMNS, LANES, open_account
from mtquant.market.desk import SCRATCH_ROWS, W_SUM, desk_bar, load_bars
from mtquant.market.observation import see_block, write_observation
from mtquant.market.planning import plan_block
from mtquant.market.rules import RULE_COLUMNS
from mtquant.market.tape import CLOCK_COLUMNS, TAPE_COLUMNS
from mtquant.rewards.compose import STATES, TERMS, start_reward, step_reward
from mtquant.rewards.terms import PARAMETERS

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

DONE_TRUNCATED = 1
DONE_TERMINATED = 2

# Sums over the running episode, for the metric dictionary (docs/metrics.md).
EPISODE_NAMES = ("reward", "length", "growth", "turnover", "cost", "stops", "bound_bars", "gross")
EPISODES = len(EPISODE_NAMES)

# Rows of a book, what a block of accounts has written down: the ledger rows of the last bar, the
# state of the reward, its trace over the episode, and the sums over the episode. One array, so that
# the compiler sees what overlaps what.
OUTCOMES = len(oc.OUTCOME_COLUMNS)
STATE_ROWS = slice(OUTCOMES, OUTCOMES + STATES)
TRACE_ROWS = slice(STATE_ROWS.stop, STATE_ROWS.stop + TERMS)
EPISODE_ROWS = slice(TRACE_ROWS.stop, TRACE_ROWS.stop + EPISODES)
BOOK_ROWS = EPISODE_ROWS.stop
(X_REWARD, X_LENGTH, X_GROWTH, X_TURNOVER, X_COST, X_STOPS, X_BOUND, X_GROSS) = range(
    EPISODE_ROWS.start, BOOK_ROWS
)
FIRST_STATE, FIRST_TRACE = STATE_ROWS.start, TRACE_ROWS.start
FIRST_EPISODE = EPISODE_ROWS.start


@kernel
def _reward_block(
    book: Float,
    stops: Float,
    parameters: Float,
    weights: Float,
    rewards: Float32,
    live: int,
) -> None:
    """The reward of every account, its trace, and the sums over the episode."""
    # As tuples: numbers in an array might change while the book is written.
    numbers = to_fixed_tuple(parameters, PARAMETERS)
    shares = to_fixed_tuple(weights, TERMS)
    for i in range(book.shape[1]):
        state, trace = book[FIRST_STATE:FIRST_TRACE, i], book[FIRST_TRACE:FIRST_EPISODE, i]
        reward = step_reward(state, book[:OUTCOMES, i], numbers, shares, trace)
        book[X_REWARD, i] += reward
        book[X_LENGTH, i] += 1.0
        book[X_GROWTH, i] += book[oc.GROWTH, i]
        book[X_TURNOVER, i] += book[oc.TURNOVER, i]
        book[X_COST, i] += book[oc.COST, i]
        book[X_BOUND, i] += 1.0 if book[oc.BINDING, i] > 0.0 else 0.0
        book[X_GROSS, i] += book[oc.GROSS, i]
        book[BOOK_ROWS, i] = reward
    for i in range(live):
        rewards[i] = book[BOOK_ROWS, i]
    for i in range(book.shape[1]):
        book[X_STOPS, i] += stops[i]


@kernel
def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    # Not `target[:] = source`: Numba would allocate in case they overlap.
    for k in range(source.shape[0]):
        target[k] = source[k]


@kernel
def _fetch(row: Rows, first: int, live: int, tape: Float, features: Float32) -> None:
    """Asks for the bars that a block is about to live through: they are anywhere in memory."""
    n = tape.shape[1]
    for i in range(first, first + live):
        prefetch_row(tape, row[i] + 1, 8 * TAPE_COLUMNS * n)
        prefetch_row(features, row[i] + 1, 4 * features.shape[2] * n)


@kernel
def _step_all(
    n_instruments: int,
    actions: Float32,
    unit: Float,
    blocks: Float,
    row: Rows,
    end: Rows,
    tape: Float,
    clock: Float,
    features: Float32,
    window: int,
    rules: Float,
    caps: Float,
    settings: Float,
    books: Float,
    parameters: Float,
    weights: Float,
    rewards: Float32,
    done: NDArray[np.uint8],
    values: Float32,
    fills: Float,
    bars: Float,
    scratch: Float,
    seen: Float32,
    starts: Rows,
    ends: Rows,
    scales: Float,
    cursor: Rows,
    equity: float,
    last_values: Float32,
    last_books: Float,
) -> int:
    """The loop of `step_accounts`: plan, desk, reward, observation, and the next episode where
    one ended. Shapes as in `MarketEnv` and `Simulator`; the last_* arrays keep what an episode
    left behind.
    """
    ended = 0
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, actions.shape[0] - first)
        block, book = blocks[b], books[b]
        outcomes, state = book[:OUTCOMES], book[FIRST_STATE:FIRST_TRACE]
        rows = row[first : first + LANES]
        _fetch(row, first, live, tape, features)
        for n in range(n_instruments):
            for i in range(live):
                block[n + 1, B_TARGET, i] = np.float64(actions[first + i, n]) * unit[n]
        plan_block(block, rules, caps, settings, scratch[W_SUM], live)
        for i in range(live):
            rows[i] += 1
        desk_bar(block, rows, tape, clock, rules, settings, outcomes, fills, bars, scratch, live)
        stops = block[0, BAR_STOPS]
        _reward_block(book, stops, parameters, weights, rewards[first : first + live], live)
        see_block(block, bars, rules, outcomes, state, seen)
        for i in range(live):
            write_observation(values[first + i], rows[i], features, window, seen, i)
        before = ended
        for i in range(live):
            e = first + i
            done[e] = DONE_TRUNCATED if rows[i] >= end[e] else 0
            if book[oc.STATUS, i] == oc.STATUS_BANKRUPT:
                done[e] = DONE_TERMINATED
            if done[e] == 0:
                continue
            ended += 1
            _copy(values[e], last_values[e])
            _copy(book[:, i], last_books[e])
            k = cursor[e]
            cursor[e] = k + 1
            rows[i], end[e] = starts[e, k], ends[e, k]
            open_account(block[:, :, i], equity, scales[e, k], tape[rows[i]])
            book[:, i] = 0.0
            start_reward(state[:, i])
        if ended > before:
            load_bars(tape, rows, 0, bars, live)
            see_block(block, bars, rules, outcomes, state, seen)
            for i in range(live):
                if done[first + i] != 0:
                    write_observation(values[first + i], rows[i], features, window, seen, i)
    return ended


@kernel
def observe_accounts(
    blocks: Float,
    row: Rows,
    tape: Float,
    features: Float32,
    window: int,
    rules: Float,
    books: Float,
    bars: Float,
    seen: Float32,
    values: Float32,
) -> None:
    """Writes the observations of all accounts where they stand, float32 [E, layout.size]."""
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, values.shape[0] - first)
        rows = row[first : first + live]
        load_bars(tape, rows, 0, bars, live)
        outcomes, state = books[b, :OUTCOMES], books[b, FIRST_STATE:FIRST_TRACE]
        see_block(blocks[b], bars, rules, outcomes, state, seen)
        for i in range(live):
            write_observation(values[first + i], rows[i], features, window, seen, i)


@kernel
def _as_wide_as_said(array: NDArray[Any], width: int) -> bool:
    """Whether blocks [..., width, LANES] are that wide, also in memory: compared with constants,
    both become known to the compiler.
    """
    size = array.itemsize
    return (
        array.shape[array.ndim - 1] == LANES
        and array.shape[array.ndim - 2] == width
        and array.strides[array.ndim - 1] == size
        and array.strides[array.ndim - 2] == size * LANES
    )


@kernel
def step_accounts(*arrays: Any) -> int:
    """Steps all accounts by one bar and returns how many episodes ended.

    The loop is compiled twice from one source. Where the widths of all arrays are compared with
    constants, the compiler takes them for constants behind the comparison: it works out addresses
    while compiling and sees that columns do not overlap, without which there are no vector
    instructions; with one instrument it drops the loops over instruments as well.

    Args:
        *arrays: The arguments of `_step_all` behind `n_instruments`, in its order.

    Returns:
        The number of ended episodes, or -1 if an array has another width than its module says.
    """
    actions = arrays[0]
    blocks = arrays[2]
    tape = arrays[5]
    clock = arrays[6]
    features = arrays[7]
    window = arrays[8]
    rules = arrays[9]
    fills = arrays[18]
    bars = arrays[19]
    scratch = arrays[20]
    seen = arrays[21]
    if not (
        _as_wide_as_said(blocks, COLUMNS)
        and _as_wide_as_said(arrays[12], BOOK_ROWS + 1)
        and _as_wide_as_said(bars, TAPE_COLUMNS)
        and _as_wide_as_said(scratch, SCRATCH_ROWS)
        and seen.shape[1] == LANES
        and seen.strides[0] == 4 * LANES
        and seen.strides[1] == 4
        and blocks.strides[1] == 8 * COLUMNS * LANES
        and tape.shape[2] == TAPE_COLUMNS
        and clock.shape[1] == CLOCK_COLUMNS
        and rules.shape[1] == RULE_COLUMNS
        and fills.shape[0] == 0
    ):
        return -1
    if (
        actions.shape[1] == 1
        and blocks.shape[1] == 2
        and tape.shape[1] == 1
        and features.shape[1] == 1
        and rules.shape[0] == 1
        and bars.shape[0] == 1
        and window == 1
    ):
        return _step_all(1, *arrays)
    return _step_all(rules.shape[0], *arrays)
