# SPDX-License-Identifier: Apache-2.0
"""The account: a float64 block, changed only by fills, financing and marks.

Accounts lie side by side: a block is ``[1 + N, COLUMNS, L]``, L accounts ("lanes") of one column in
a row, so that the same arithmetic runs on several accounts at once (`desk.py` says how). One
account is a lane of it, ``block[:, :, i]``, ``[1 + N, COLUMNS]``: row 0 holds its scalars (A_*, and
BAR_* for what happened in the current bar), row ``n + 1`` the position in instrument n (B_*).

Legend of the kernel letters: n instrument, i lane, q quantity, m multiplier, p mid, r rate to the
account currency; `one` is one account, `rule` a row of the rules matrix as a tuple.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.market.rules import (
    R_COMMISSION,
    R_HALF_COST,
    R_LOT,
    R_MARGIN,
    R_MULTIPLIER,
    Rule,
)

Float = NDArray[np.float64]

LANES = 16  # accounts in a block of a batch: two cache lines of each column

COLUMNS = 13
(
    A_CASH,
    A_EQUITY,
    A_PEAK,
    A_USED_MARGIN,
    A_INITIAL,
    A_COST_SCALE,
    A_VARIANCE,  # EWMA variance of simple returns, per bar
    A_BINDING,  # limits that bound in the last plan
    BAR_FEE,
    BAR_SLIPPAGE,
    BAR_TRADED,
    BAR_STOPS,
    BAR_FILLS,  # rows written to the fills buffer
) = range(COLUMNS)

(
    B_POSITION,
    B_AVERAGE,
    B_MARK,
    B_RATE,
    B_QUEUED,
    B_HELD_BARS,
    B_TARGET,  # exposure asked for by the policy
    B_PLANNED,  # exposure after the limits
    B_FINANCING,  # paid in the current bar
    B_WANTED,  # exposure asked for, with the held one where the policy asked for nothing
) = range(10)

LEAST_QUANTITY = 1e-300  # in place of 0 below a line that is not used then


def new_block(n_instruments: int, lanes: int) -> Float:
    """Room for `lanes` accounts, float64 [1 + N, COLUMNS, lanes], not yet opened."""
    return np.zeros((1 + n_instruments, COLUMNS, lanes))


@kernel
def open_account(one: Float, equity: float, cost_scale: float, prices: Float) -> None:
    """Starts an account flat, with the marks and rates of one bar (`prices`: tape row, float64 [N,
    TAPE_COLUMNS]).
    """
    one[:] = 0.0
    one[0, A_CASH] = equity
    one[0, A_EQUITY] = equity
    one[0, A_PEAK] = equity
    one[0, A_INITIAL] = equity
    one[0, A_COST_SCALE] = cost_scale
    for n in range(prices.shape[0]):
        one[n + 1, B_MARK] = prices[n, 3]
        one[n + 1, B_RATE] = prices[n, 5]


@kernel
def value_of(block: Float, i: int, n: int, multiplier: float) -> float:
    """Q m p r: what the position is worth at the last known mid and rate, negative when short."""
    return (
        block[n + 1, B_POSITION, i] * multiplier * block[n + 1, B_MARK, i] * block[n + 1, B_RATE, i]
    )


@kernel
def gain_of(block: Float, i: int, n: int, multiplier: float) -> float:
    """Q m (p - a) r: gain not yet realised, 0 when flat (the mark may be unknown then)."""
    q = block[n + 1, B_POSITION, i]
    gain = (
        q
        * multiplier
        * (block[n + 1, B_MARK, i] - block[n + 1, B_AVERAGE, i])
        * block[n + 1, B_RATE, i]
    )
    return gain if q != 0.0 else 0.0


@kernel
def margin_of(block: Float, i: int, n: int, rule: Rule) -> float:
    """|q m p r| margin_frac, 0 when flat."""
    value = abs(value_of(block, i, n, rule[R_MULTIPLIER])) * rule[R_MARGIN]
    return value if block[n + 1, B_POSITION, i] != 0.0 else 0.0


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
    count = int(block[0, BAR_FILLS, i])
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
    block[0, BAR_FILLS, i] = count + 1


@kernel
def book_fill(
    block: Float,
    i: int,
    n: int,
    done: float,
    reference: float,
    rate: float,
    rule: Rule,
    fills: Float,
    row: int,
    origin: int,
    wanted: float,
    reason: int,
) -> None:
    """Books `done` units against mid `reference`: price, costs, realised gain, new average
    (docs/execution.md, 2). Nothing changes where `done` is 0, whatever the prices; a row is written
    where something was wanted.

    One formula for opening, adding, reducing, closing, flipping and doing nothing, and choices
    between numbers that are there already, never branches: lanes have to march in step.
    """
    q = block[n + 1, B_POSITION, i]
    average = block[n + 1, B_AVERAGE, i]
    m = rule[R_MULTIPLIER]
    scale = block[0, A_COST_SCALE, i]
    h = rule[R_HALF_COST] * scale
    traded = done != 0.0
    size = abs(done)
    side = 1.0 if done > 0.0 else -1.0
    price = reference + side * abs(reference) * h
    notional = size * m * abs(reference) * rate
    slippage = notional * h
    fee = size * m * abs(price) * rate * rule[R_COMMISSION] * scale

    closed = min(size, abs(q)) if q * done < 0.0 else 0.0
    kept, opened = abs(q) - closed, size - closed
    received = closed * -side * m * (price - average) * rate - fee
    blended = (average * kept + price * opened) / max(kept + opened, LEAST_QUANTITY)
    lot = rule[R_LOT]
    after = np.floor((q + done) / lot + 0.5) * lot
    after_average = blended if opened > 0.0 else average
    after_average = after_average if after != 0.0 else 0.0
    held = block[n + 1, B_HELD_BARS, i]
    block[0, A_CASH, i] += received if traded else 0.0
    block[n + 1, B_HELD_BARS, i] = held if kept > 0.0 else 0.0
    block[n + 1, B_POSITION, i] = after if traded else q
    block[n + 1, B_AVERAGE, i] = after_average if traded else average
    block[0, BAR_FEE, i] += fee if traded else 0.0
    block[0, BAR_SLIPPAGE, i] += slippage if traded else 0.0
    block[0, BAR_TRADED, i] += notional if traded else 0.0
    if fills.shape[0] > 0 and wanted != 0.0:
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
