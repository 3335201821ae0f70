# SPDX-License-Identifier: Apache-2.0
"""The account: a float64 block, changed only by fills, financing and marks.

Accounts lie side by side, LANES of them in a block, so that the same arithmetic runs on several
accounts at once (`desk.py` says how). A block is one flat array of columns, each of LANES numbers;
the constants below are where columns begin, and ``block[A_CASH + i]`` is the cash of account i.

    BAR_*, W_*   what happened in the current bar, and scratch space of the desk
    O_*          the ledger row of the last bar (`core/outcome.py`)
    A_*          the account
    at(n, B_*)   the position in instrument n

From ACCOUNT on is what has to be remembered from bar to bar. What is in front of it, and the sheet
beside it (bars, targets, orders; `tape.py`), is written anew in every bar, so that all accounts of
a batch can share it: they would not fit into the fastest memory otherwise.

Legend of the kernel letters: n instrument, i lane, q quantity, m multiplier, p mid, r rate to the
account currency, `rule` a row of the rules matrix as a tuple.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.lanes import LANES, choose
from mtquant.market.rules import (
    R_COMMISSION,
    R_HALF_COST,
    R_LOT,
    R_MARGIN,
    R_MULTIPLIER,
    Rule,
)

Float = NDArray[np.float64]

(
    BAR_FEE,
    BAR_SLIPPAGE,
    BAR_TRADED,
    BAR_STOPS,
    BAR_FILLS,  # rows written to the fills buffer
    BAR_BINDING,  # limits that bound in the plan
    W_ELAPSED,  # seconds since the bar before
    W_BENCHMARK,
    W_BEFORE,  # equity when the decision was made
    W_SUM,  # over instruments, of whatever an event adds up
    W_RATIO,  # floored equity / equity before
    W_MARGIN,  # used margin
    W_NET,
    W_TOGETHER,  # risk of the book if all instruments moved together
    W_DOUBT,  # what the limits have to look at again (`planning.py`)
    W_CUT,  # 1 where the gross cap cuts the book, else 0; to W_SEARCHING: `budget.py`
    W_THRESHOLD,
    W_LOW,
    W_HIGH,
    W_FREE,
    W_OVER,
    W_UNDER,
    W_SEARCHING,
) = range(0, 23 * LANES, LANES)

OUTCOME = 23 * LANES
ACCOUNT = OUTCOME + len(oc.OUTCOME_COLUMNS) * LANES
(
    O_EQUITY_BEFORE,
    O_EQUITY,
    O_GROWTH,
    O_SIMPLE_RETURN,
    O_BENCHMARK,
    O_FEE,
    O_SLIPPAGE,
    O_FINANCING,
    O_COST,
    O_TURNOVER,
    O_DRAWDOWN,
    O_TAIL_LOSS,
    O_GROSS,
    O_NET,
    O_MARGIN_USE,
    O_BINDING,
    O_STATUS,
    O_DIVERSIFICATION,  # 0 where nobody asked for risks (`diversification.py`)
) = range(OUTCOME, ACCOUNT, LANES)

FIRST_POSITION = ACCOUNT + 6 * LANES
(
    A_CASH,
    A_EQUITY,
    A_PEAK,
    A_INITIAL,
    A_COST_SCALE,
    A_VARIANCE,  # EWMA variance of simple returns, per bar
) = range(ACCOUNT, FIRST_POSITION, LANES)

POSITION_SIZE = 5 * LANES
(
    B_POSITION,
    B_AVERAGE,
    B_MARK,
    B_RATE,
    B_HELD_BARS,
) = range(0, POSITION_SIZE, LANES)

LEAST_QUANTITY = 1e-300  # in place of 0 below a line that is not used then


def block_size(n_instruments: int, late: bool = False) -> int:
    """Numbers in a block; `late`: with room for targets that are heard a bar later."""
    heard = n_instruments * LANES if late else 0
    return FIRST_POSITION + n_instruments * POSITION_SIZE + heard


def account_of(block: Float, i: int) -> Float:
    """Account i of a block, one number per column (a view, indexed by ``A_CASH // LANES``)."""
    return block.reshape(-1, LANES)[:, i]


@kernel
def at(n: int, column: int) -> int:
    """Where a column of the position in instrument n begins."""
    return FIRST_POSITION + n * POSITION_SIZE + column


@kernel
def late_at(n: int, n_instruments: int) -> int:
    """Where the target of instrument n that has not been heard yet begins."""
    return at(n_instruments, 0) + n * LANES


@kernel
def open_account(block: Float, i: int, equity: float, cost_scale: float, prices: Float) -> None:
    """Starts an account flat, with the marks and rates of one bar (`prices`: tape row, float64 [N,
    TAPE_COLUMNS]).
    """
    for k in range(ACCOUNT, block.shape[0], LANES):
        block[k + i] = 0.0
    block[A_CASH + i] = equity
    block[A_EQUITY + i] = equity
    block[A_PEAK + i] = equity
    block[A_INITIAL + i] = equity
    block[A_COST_SCALE + i] = cost_scale
    for n in range(prices.shape[0]):
        block[at(n, B_MARK) + i] = prices[n, 3]
        block[at(n, B_RATE) + i] = prices[n, 5]


@kernel
def value_of(block: Float, i: int, n: int, multiplier: float) -> float:
    """Q m p r: what the position is worth at the last known mid and rate, negative when short."""
    return (
        block[at(n, B_POSITION) + i]
        * multiplier
        * block[at(n, B_MARK) + i]
        * block[at(n, B_RATE) + i]
    )


@kernel
def gain_of(block: Float, i: int, n: int, multiplier: float) -> float:
    """Q m (p - a) r: gain not yet realised, 0 when flat (the mark may be unknown then)."""
    q = block[at(n, B_POSITION) + i]
    gain = (
        q
        * multiplier
        * (block[at(n, B_MARK) + i] - block[at(n, B_AVERAGE) + i])
        * block[at(n, B_RATE) + i]
    )
    return choose(q != 0.0, gain, 0.0)


@kernel
def margin_of(block: Float, i: int, n: int, rule: Rule) -> float:
    """|q m p r| margin_frac, 0 when flat."""
    value = abs(value_of(block, i, n, rule[R_MULTIPLIER])) * rule[R_MARGIN]
    return choose(block[at(n, B_POSITION) + i] != 0.0, value, 0.0)


@kernel
def write_fill(
    fills: Float,
    block: Float,
    i: int,
    row: int,
    n: int,
    origin: int,
    wanted: float,
    done: float,
    reference: float,
    price: float,
    rate: float,
    fee: float,
    slippage: float,
    reason: int,
) -> None:
    """Appends a fill or a refusal to the buffer; training passes a buffer of no rows."""
    count = int(block[BAR_FILLS + i])
    if count >= fills.shape[0]:
        return
    fills[count, oc.FILL_ROW] = row
    fills[count, oc.FILL_INSTRUMENT] = n
    fills[count, oc.FILL_ORIGIN] = origin
    fills[count, oc.FILL_WANTED] = wanted
    fills[count, oc.FILL_QUANTITY] = done
    fills[count, oc.FILL_REFERENCE] = reference
    fills[count, oc.FILL_PRICE] = price
    fills[count, oc.FILL_RATE] = rate
    fills[count, oc.FILL_FEE] = fee
    fills[count, oc.FILL_SLIPPAGE] = slippage
    fills[count, oc.FILL_REASON] = reason
    block[BAR_FILLS + i] = count + 1


@kernel
def book_fill(
    block: Float,
    i: int,
    n: int,
    done: float,
    reference: float,
    rate: float,
    rule: Rule,
    extra: float,
    fills: Float | None,
    row: int,
    origin: int,
    wanted: float,
    reason: int,
) -> None:
    """Books `done` units against mid `reference`: price, costs, realised gain, new average
    (docs/execution.md, 2). Nothing changes where `done` is 0, whatever the prices; a row is written
    where something was wanted. `extra` is what the hour adds to half the spread.

    One formula for opening, adding, reducing, closing, flipping and doing nothing, and choices
    between numbers that are there already, never branches: lanes have to march in step.
    """
    m = rule[R_MULTIPLIER]
    scale = block[A_COST_SCALE + i]
    h = (rule[R_HALF_COST] + extra) * scale
    size = abs(done)
    side = choose(done > 0.0, 1.0, -1.0)
    price = reference + side * abs(reference) * h
    slippage = size * m * abs(reference) * rate * h
    fee = size * m * abs(price) * rate * rule[R_COMMISSION] * scale
    book_trade(
        block,
        i,
        n,
        done,
        reference,
        rate,
        price,
        fee,
        slippage,
        rule,
        fills,
        row,
        origin,
        wanted,
        reason,
    )


@kernel
def book_trade(
    block: Float,
    i: int,
    n: int,
    done: float,
    reference: float,
    rate: float,
    price: float,
    fee: float,
    slippage: float,
    rule: Rule,
    fills: Float | None,
    row: int,
    origin: int,
    wanted: float,
    reason: int,
) -> None:
    """Books `done` units at a price and a fee that are known, whoever set them: the second half of
    `book_fill`, and all of it where a broker filled.
    """
    q = block[at(n, B_POSITION) + i]
    average = block[at(n, B_AVERAGE) + i]
    m = rule[R_MULTIPLIER]
    traded = done != 0.0
    size = abs(done)
    side = choose(done > 0.0, 1.0, -1.0)
    notional = size * m * abs(reference) * rate

    closed = choose(q * done < 0.0, min(size, abs(q)), 0.0)
    kept, opened = abs(q) - closed, size - closed
    received = closed * -side * m * (price - average) * rate - fee
    blended = (average * kept + price * opened) / max(kept + opened, LEAST_QUANTITY)
    lot = rule[R_LOT]
    after = np.floor((q + done) / lot + 0.5) * lot
    after_average = choose(opened > 0.0, blended, average)
    after_average = choose(after != 0.0, after_average, 0.0)
    held = block[at(n, B_HELD_BARS) + i]
    block[A_CASH + i] += choose(traded, received, 0.0)
    block[at(n, B_HELD_BARS) + i] = choose(kept > 0.0, held, 0.0)
    block[at(n, B_POSITION) + i] = choose(traded, after, q)
    block[at(n, B_AVERAGE) + i] = choose(traded, after_average, average)
    block[BAR_FEE + i] += choose(traded, fee, 0.0)
    block[BAR_SLIPPAGE + i] += choose(traded, slippage, 0.0)
    block[BAR_TRADED + i] += choose(traded, notional, 0.0)
    if fills is not None and wanted != 0.0:
        shown = (price, fee, slippage) if traded else (0.0, 0.0, 0.0)
        write_fill(
            fills,
            block,
            i,
            row,
            n,
            origin,
            wanted,
            done,
            reference,
            shown[0],
            rate,
            shown[1],
            shown[2],
            reason,
        )
