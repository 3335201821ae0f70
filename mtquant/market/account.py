# SPDX-License-Identifier: Apache-2.0
"""The account: a float64 block, changed only by fills, financing and marks.

A batch of E accounts is ``[E, 1 + N, COLUMNS]``. In one account, ``[1 + N, COLUMNS]``, row 0 holds
its scalars (A_*, and BAR_* for what happened in the current bar), row ``n + 1`` the position in
instrument n (B_*). Kernels take one account: a view costs nothing, and constant columns neither.

Legend of the kernel letters: n instrument, q quantity, m multiplier, p mid, r rate to the account
currency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.market.rules import R_COMMISSION, R_HALF_COST, R_LOT, R_MARGIN, R_MULTIPLIER

Float = NDArray[np.float64]

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
) = range(9)

LEAST_QUANTITY = 1e-300  # in place of 0 below a line that is not used then


def new_accounts(n_accounts: int, n_instruments: int) -> Float:
    """Room for E accounts, float64 [E, 1 + N, COLUMNS], not yet opened."""
    return np.zeros((n_accounts, 1 + n_instruments, COLUMNS))


@kernel
def open_account(account: Float, equity: float, cost_scale: float, prices: Float) -> None:
    """Starts an account flat, with the marks and rates of one bar (`prices`: tape row, float64 [N,
    TAPE_COLUMNS]).
    """
    account[:] = 0.0
    account[0, A_CASH] = equity
    account[0, A_EQUITY] = equity
    account[0, A_PEAK] = equity
    account[0, A_INITIAL] = equity
    account[0, A_COST_SCALE] = cost_scale
    for n in range(prices.shape[0]):
        account[n + 1, B_MARK] = prices[n, 3]
        account[n + 1, B_RATE] = prices[n, 5]


@kernel
def equity_at_marks(account: Float, rules: Float) -> float:
    """Cash + sum q m (p - a) r over open positions, at the last known mids and rates."""
    equity = account[0, A_CASH]
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        if q != 0.0:
            gain = account[n + 1, B_MARK] - account[n + 1, B_AVERAGE]
            equity += q * rules[n, R_MULTIPLIER] * gain * account[n + 1, B_RATE]
    return equity


@kernel
def used_margin(account: Float, rules: Float) -> float:
    """Sum |q| m |p| r margin_frac over open positions, at the last known mids and rates."""
    margin = 0.0
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        if q != 0.0:
            value = abs(q) * rules[n, R_MULTIPLIER] * abs(account[n + 1, B_MARK])
            margin += value * account[n + 1, B_RATE] * rules[n, R_MARGIN]
    return margin


@kernel
def write_fill(
    fills: Float,
    account: Float,
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
    count = int(account[0, BAR_FILLS])
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
    account[0, BAR_FILLS] = count + 1


@kernel
def book_fill(
    account: Float,
    n: int,
    done: float,
    reference: float,
    rate: float,
    rules: Float,
    fills: Float,
    row: int,
    origin: int,
    wanted: float,
    reason: int,
) -> None:
    """Books `done` units (not 0) against mid `reference`: price, costs, realised gain, new average
    (docs/execution.md, 2).
    """
    q = account[n + 1, B_POSITION]
    average = account[n + 1, B_AVERAGE]
    m = rules[n, R_MULTIPLIER]
    scale = account[0, A_COST_SCALE]
    h = rules[n, R_HALF_COST] * scale
    size = abs(done)
    side = 1.0 if done > 0.0 else -1.0
    price = reference + side * abs(reference) * h
    notional = size * m * abs(reference) * rate
    slippage = notional * h
    fee = size * m * abs(price) * rate * rules[n, R_COMMISSION] * scale

    # One formula for opening, adding, reducing, closing and flipping, and choices between numbers
    # that are there already: the side of an order is a coin flip that no branch can predict.
    closed = min(size, abs(q)) if q * done < 0.0 else 0.0
    kept, opened = abs(q) - closed, size - closed
    account[0, A_CASH] += closed * -side * m * (price - average) * rate - fee
    total = max(kept + opened, LEAST_QUANTITY)
    blended = (average * kept + price * opened) / total
    lot = rules[n, R_LOT]
    q = np.floor((q + done) / lot + 0.5) * lot
    average = blended if opened > 0.0 else average
    average = average if q != 0.0 else 0.0
    held = account[n + 1, B_HELD_BARS]
    account[n + 1, B_HELD_BARS] = held if kept > 0.0 else 0.0
    account[n + 1, B_POSITION] = q
    account[n + 1, B_AVERAGE] = average
    account[0, BAR_FEE] += fee
    account[0, BAR_SLIPPAGE] += slippage
    account[0, BAR_TRADED] += notional
    write_fill(
        fills,
        account,
        row,
        n,
        origin,
        wanted,
        done,
        reference,
        price,
        rate,
        fee,
        slippage,
        reason,
    )
