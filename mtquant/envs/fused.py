# SPDX-License-Identifier: Apache-2.0
"""The fused training kernel: plan, desk, reward and observation of E accounts in one compiled loop.

`MarketEnv` owns the arrays and is the only caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.aligned import AMID, CACHE_LINE_BYTES
from mtquant.core.compiled import kernel
from mtquant.core.handover import unpacker
from mtquant.core.lanes import LANES, as_tuple, choose, lane, lanes_of
from mtquant.core.moves import move, natural
from mtquant.core.prefetch import prefetch_row
from mtquant.market.account import (
    ACCOUNT,
    BAR_STOPS,
    O_BINDING,
    O_COST,
    O_GROSS,
    O_GROWTH,
    O_STATUS,
    O_TURNOVER,
    OUTCOME,
    W_SUM,
    open_account,
)
from mtquant.market.desk import desk_bar
from mtquant.market.diversification import write_diversification
from mtquant.market.observation import see_block, write_observations
from mtquant.market.planning import Limits, plan_block
from mtquant.market.rules import RULE_COLUMNS
from mtquant.market.tape import CLOCK_COLUMNS, S_TARGET, TAPE_COLUMNS, load_bars, sheet_at
from mtquant.rewards.compose import CORE_TERMS, STATES, TERMS, start_reward, step_reward
from mtquant.rewards.terms import P_MORE, PARAMETERS
from mtquant.risk.limits import RISK_CORRELATION

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

MOST_FEATURES = 1 << 20
DONE_TRUNCATED = 1
DONE_TERMINATED = 2

# Sums over the running episode, for the metric dictionary (docs/metrics.md).
EPISODE_NAMES = ("reward", "length", "growth", "turnover", "cost", "stops", "bound_bars", "gross")
EPISODES = len(EPISODE_NAMES)
OUTCOMES = len(oc.OUTCOME_COLUMNS)

# The book of a block of accounts: the state of the reward, its trace over the episode, and the sums
# over the episode. At work the state and what the bar adds to the trace lie in front of the block,
# in the same array.
STATE_ROWS = slice(0, STATES)
TRACE_ROWS = slice(STATE_ROWS.stop, STATE_ROWS.stop + TERMS)
EPISODE_ROWS = slice(TRACE_ROWS.stop, TRACE_ROWS.stop + EPISODES)
TRACE = TRACE_ROWS.start * LANES
FRONT = TRACE_ROWS.stop * LANES
BOOK = EPISODE_ROWS.stop * LANES
(X_REWARD, X_LENGTH, X_GROWTH, X_TURNOVER, X_COST, X_STOPS, X_BOUND, X_GROSS) = range(
    EPISODE_ROWS.start * LANES, BOOK, LANES
)


@kernel
def reward_block(
    work: Float, parameters: Float, weights: Float, rewards: Float32, live: int
) -> None:
    """The reward of every account, the state of the reward, and what the bar adds to the trace."""
    numbers, shares = as_tuple(parameters, PARAMETERS), as_tuple(weights, TERMS)
    if numbers[P_MORE] == 0.0:
        for k in range(TRACE, TRACE + CORE_TERMS * LANES):
            work[k] = 0.0
        # The same loop without the branch for terms that nobody has asked for.
        lean = numbers[:P_MORE] + (0.0,)  # noqa: RUF005 - Numba knows no star here
        for i in range(lanes_of(work)):
            outcome = lane(work, FRONT + OUTCOME + i, OUTCOMES)
            memory, trace = lane(work, i, STATES), lane(work, TRACE + i, TERMS)
            work[FRONT + W_SUM + i] = step_reward(memory, outcome, lean, shares, trace)
    else:
        for k in range(TRACE, TRACE + TERMS * LANES):
            work[k] = 0.0
        for i in range(lanes_of(work)):
            outcome = lane(work, FRONT + OUTCOME + i, OUTCOMES)
            memory, trace = lane(work, i, STATES), lane(work, TRACE + i, TERMS)
            work[FRONT + W_SUM + i] = step_reward(memory, outcome, numbers, shares, trace)
    for i in range(live):
        rewards[i] = work[FRONT + W_SUM + i]


@kernel
def copy_numbers(source: NDArray[Any], target: NDArray[Any]) -> None:
    """``target[:] = source``, which would allocate in case they overlap."""
    for k in range(source.shape[0]):
        target[k] = source[k]


@kernel
def copy_columns(source: Float, target: Float) -> None:
    """The same for whole columns of a block."""
    for k in range(0, source.shape[0], LANES):
        move(target, k, source, k, LANES)


@kernel
def open_book(book: Float, work: Float) -> None:
    """Lays the state of the reward on the workbench; the rest of the book stays where it is."""
    for k in range(STATES):
        for i in range(lanes_of(work)):
            work[k * LANES + i] = book[k * LANES + i]


@kernel
def enter_book(work: Float, book: Float, parameters: Float) -> None:
    """Enters the bar into the book of a block: state, trace and sums over the episode."""
    for k in range(STATES):
        for i in range(lanes_of(work)):
            book[k * LANES + i] = work[k * LANES + i]
    evaluated = TRACE + LANES * (CORE_TERMS if parameters[P_MORE] == 0.0 else TERMS)
    for k in range(TRACE, evaluated):
        book[k] += work[k]
    for i in range(lanes_of(work)):
        book[X_REWARD + i] += work[FRONT + W_SUM + i]
        book[X_LENGTH + i] += 1.0
        book[X_GROWTH + i] += work[FRONT + O_GROWTH + i]
        book[X_TURNOVER + i] += work[FRONT + O_TURNOVER + i]
        book[X_COST + i] += work[FRONT + O_COST + i]
        book[X_STOPS + i] += work[FRONT + BAR_STOPS + i]
        book[X_BOUND + i] += choose(work[FRONT + O_BINDING + i] > 0.0, 1.0, 0.0)
        book[X_GROSS + i] += work[FRONT + O_GROSS + i]


@kernel
def ask_for_features(rows: Rows, features: Float32, live: int) -> None:
    """Asks for the features that accounts will show at the end of this bar: they are anywhere in
    memory, and are here by the time they are needed. So with what is asked for below.
    """
    size = 4 * features.shape[1] * features.shape[2]
    if size % CACHE_LINE_BYTES != 0:
        size += AMID
    for i in range(live):
        prefetch_row(features, natural(rows[i]) + 1, size)


@kernel
def ask_for_bars(
    first: int, actions: Float32, row: Rows, end: Rows, tape: Float, clock: Float, risk: Float
) -> None:
    """Asks for what the block of account `first` will need: its actions, the bars that it will live
    through next, the risk it plans with, and when its episodes end.
    """
    if first >= actions.shape[0]:
        return
    n = tape.shape[1]
    prefetch_row(actions, first, 4 * n * LANES + AMID)
    prefetch_row(end, first, 8 * LANES + AMID)
    for i in range(min(LANES, actions.shape[0] - first)):
        now = natural(row[natural(first + i)])
        prefetch_row(tape, now + 1, 8 * TAPE_COLUMNS * n)
        prefetch_row(clock, now + 1, 8 * CLOCK_COLUMNS)
        if risk.shape[0] > 1:  # of the eigenvectors behind the correlations few have need
            prefetch_row(risk, now, 8 * (RISK_CORRELATION + n) * n + AMID)


@kernel
def note_ends(block: Float, rows: Rows, end: Rows, done: NDArray[np.uint8], live: int) -> bool:
    """Notes whose episode ends with this bar, and why; whether there is anybody."""
    anybody = False
    for i in range(live):
        over, ruined = rows[i] >= end[i], block[O_STATUS + i] == oc.STATUS_BANKRUPT
        anybody |= over | ruined
        done[i] = DONE_TERMINATED if ruined else (DONE_TRUNCATED if over else 0)
    return anybody


@kernel
def _step_all(
    n_instruments: int,
    window: int,
    equity: float,
    limits: Limits,
    actions: Float32,
    unit: Float,
    blocks: Float,
    books: Float,
    row: Rows,
    end: Rows,
    tape: Float,
    clock: Float,
    features: Float32,
    rules: Float,
    settings: Float,
    parameters: Float,
    weights: Float,
    rewards: Float32,
    done: NDArray[np.uint8],
    values: Float32,
    work: Float,
    sheet: Float,
    seen: Float32,
    starts: Rows,
    ends: Rows,
    scales: Float,
    cursor: Rows,
    last_values: Float32,
    last_books: Float,
    last_outcomes: Float,
    finished: Rows,
    risk: Float,
) -> int:
    """The loop of `step_accounts`: plan, desk, reward, observation, and the next episode where
    one ended. Shapes as in `MarketEnv` and `Simulator`; the last_* arrays keep what an episode
    left behind; `risk` has no rows where the reward does not pay for diversification.
    """
    ended = 0
    block = work[FRONT:]
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, actions.shape[0] - first)
        book = books[b]
        open_book(book, work)
        copy_columns(blocks[b], work[FRONT + ACCOUNT :])
        rows = row[first : first + LANES]
        for n in range(n_instruments):
            for i in range(live):
                sheet[sheet_at(n, S_TARGET) + i] = np.float64(actions[first + i, n]) * unit[n]
        ask_for_features(rows, features, live)
        plan_block(block, sheet, rows, rules, settings, limits, live)
        for i in range(live):
            rows[i] += 1
        desk_bar(block, rows, tape, clock, rules, settings, None, sheet, live)
        ask_for_bars(first + LANES, actions, row, end, tape, clock, limits[4])
        if risk.shape[0] > 0:
            for i in range(live):
                write_diversification(block, i, rules, risk[rows[i] - 1])
        reward_block(work, parameters, weights, rewards[first : first + live], live)
        enter_book(work, book, parameters)
        see_block(block, sheet, rules, work[:TRACE], seen)
        write_observations(values, first, live, rows, features, window, seen)
        if note_ends(block, rows, end[first : first + live], done[first : first + live], live):
            for i in range(live):
                e = first + i
                if done[e] == 0:
                    continue
                ended += 1
                copy_numbers(values[e], last_values[e])
                copy_numbers(lane(book, i, BOOK // LANES), last_books[e])
                copy_numbers(lane(block, OUTCOME + i, OUTCOMES), last_outcomes[e])
                finished[ended - 1] = e
                draw = cursor[e]
                cursor[e] = draw + 1
                rows[i], end[e] = starts[e, draw], ends[e, draw]
                for k in range(0, BOOK, LANES):
                    book[k + i] = 0.0
                for k in range(OUTCOME, ACCOUNT, LANES):
                    block[k + i] = 0.0
                start_reward(lane(book, i, STATES))
                open_account(block, i, equity, scales[e, draw], tape[rows[i]])
            # The whole block again: who goes on shows what he showed before.
            open_book(book, work)
            load_bars(tape, rows, 0, sheet, live)
            see_block(block, sheet, rules, work[:TRACE], seen)
            write_observations(values, first, live, rows, features, window, seen)
        copy_columns(work[FRONT + ACCOUNT :], blocks[b])
    return ended


@kernel
def observe_accounts(
    blocks: Float,
    books: Float,
    row: Rows,
    tape: Float,
    features: Float32,
    window: int,
    rules: Float,
    work: Float,
    sheet: Float,
    seen: Float32,
    values: Float32,
) -> None:
    """Writes the first observations of all accounts, float32 [E, layout.size]."""
    work[:] = 0.0
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, values.shape[0] - first)
        rows = row[first : first + live]
        load_bars(tape, rows, 0, sheet, live)
        open_book(books[b], work)
        copy_columns(blocks[b], work[FRONT + ACCOUNT :])
        see_block(work[FRONT:], sheet, rules, work[:TRACE], seen)
        write_observations(values, first, live, rows, features, window, seen)


# The arrays of a step behind the actions; shapes in `MarketEnv` and `Simulator`. Limits:
# `planning.Limits`.
STEP_KINDS = (
    ("unit", "float64", 1),
    ("blocks", "float64", 2),
    ("books", "float64", 2),
    ("rows", "int64", 1),
    ("end", "int64", 1),
    ("prices", "float64", 3),
    ("clock", "float64", 2),
    ("features", "float32", 3),
    ("rules", "float64", 2),
    ("settings", "float64", 1),
    ("parameters", "float64", 1),
    ("weights", "float64", 1),
    ("rewards", "float32", 1),
    ("done", "uint8", 1),
    ("observations", "float32", 2),
    ("work", "float64", 1),
    ("sheet", "float64", 1),
    ("seen", "float32", 1),
    ("starts", "int64", 2),
    ("ends", "int64", 2),
    ("scales", "float64", 2),
    ("cursor", "int64", 1),
    ("last values", "float32", 2),
    ("last books", "float64", 2),
    ("last outcomes", "float64", 2),
    ("finished", "int64", 1),
    ("rewarded risk", "float64", 3),
    ("caps", "float64", 1),
    ("sectors", "int64", 1),
    ("sector caps", "float64", 1),
    ("bounds", "float64", 1),
    ("risk", "float64", 3),
    ("scenarios", "float64", 2),
    ("window", "int64", 2),
    ("scratch", "float64", 2),
    ("tail scratch", "float64", 2),
)
LIMITS_FIRST = 27
_arrays_of = unpacker(STEP_KINDS)


@kernel
def step_accounts(actions: Float32, handed: Any, window: int, equity: float) -> int:
    """Steps all accounts by one bar and returns how many episodes ended.

    The loop is compiled twice from one source. Where the widths of all arrays are compared with
    constants, the compiler takes them for constants behind the comparison: it works out addresses
    while compiling and sees that columns do not overlap, without which there are no vector
    instructions; with one instrument it drops the loops over instruments as well.

    Args:
        actions: float32 [E, N].
        handed: The argument of a `Handover` of STEP_KINDS.
        window: Bars of features in an observation.
        equity: Deposit of the next episodes.

    Returns:
        The number of ended episodes, or -1 if an array has another width than its module says.
    """
    arrays = _arrays_of(handed)
    limits = arrays[LIMITS_FIRST:]
    prices, clock, features, rules = arrays[5], arrays[6], arrays[7], arrays[8]
    if not (
        prices.shape[2] == TAPE_COLUMNS
        and clock.shape[1] == CLOCK_COLUMNS
        and rules.shape[1] == RULE_COLUMNS
        and 0 < features.shape[2] < MOST_FEATURES
        and 0 < window < MOST_FEATURES
    ):
        return -1
    if (
        actions.shape[1] == 1
        and prices.shape[1] == 1
        and features.shape[1] == 1
        and rules.shape[0] == 1
        and window == 1
    ):
        return _step_all(1, window, equity, limits, actions, *arrays[:LIMITS_FIRST])
    return _step_all(rules.shape[0], window, equity, limits, actions, *arrays[:LIMITS_FIRST])
