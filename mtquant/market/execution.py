# SPDX-License-Identifier: Apache-2.0
"""FILL: queued orders, stops and liquidation against one bar (docs/execution.md, steps 1 to 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.market.account import (
    A_CASH,
    A_COST_SCALE,
    B_AVERAGE,
    B_FINANCING,
    B_MARK,
    B_POSITION,
    B_QUEUED,
    B_RATE,
    BAR_STOPS,
    book_fill,
    equity_at_marks,
    used_margin,
    write_fill,
)
from mtquant.market.rules import (
    R_COMMISSION,
    R_FINANCING_LONG,
    R_FINANCING_SHORT,
    R_HALF_COST,
    R_LOT,
    R_MARGIN,
    R_MULTIPLIER,
    R_OWN_RATE,
    R_STOP,
    R_TAKE,
    S_MAINTENANCE,
)
from mtquant.market.tape import T_HIGH, T_LOW, T_OPEN, T_RATE_OPEN, T_TRADABLE

Float = NDArray[np.float64]
SECONDS_PER_YEAR = 31_536_000.0


@kernel
def charge_financing(account: Float, rules: Float, elapsed: float) -> None:
    """Takes the financing of the elapsed seconds from cash, per instrument at its last known mid
    and rate.
    """
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        cost = 0.0
        if q != 0.0:
            yearly = rules[n, R_FINANCING_LONG] if q > 0.0 else rules[n, R_FINANCING_SHORT]
            value = abs(q) * rules[n, R_MULTIPLIER] * abs(account[n + 1, B_MARK])
            cost = value * account[n + 1, B_RATE] * yearly * elapsed / SECONDS_PER_YEAR
            account[0, A_CASH] -= cost
        account[n + 1, B_FINANCING] = cost


@kernel
def _affordable(account: Float, n: int, order: float, rules: Float) -> float:
    """The order cut to what free margin allows (signed, whole lots where it was cut; 0 =
    refused).
    """
    q = account[n + 1, B_POSITION]
    mid = account[n + 1, B_MARK]
    side = 1.0 if order > 0.0 else -1.0
    size = abs(order)
    closing = min(size, abs(q)) if q * order < 0.0 else 0.0
    held = abs(q) if q * order > 0.0 else 0.0
    notional = rules[n, R_MULTIPLIER] * mid * account[n + 1, B_RATE]
    h = rules[n, R_HALF_COST] * account[0, A_COST_SCALE]
    commission = rules[n, R_COMMISSION] * account[0, A_COST_SCALE]
    cost = notional * (h + (1.0 + side * h) * commission)
    margin = notional * rules[n, R_MARGIN]
    others = used_margin(account, rules) - abs(q) * margin
    equity = equity_at_marks(account, rules)
    most = (equity - closing * cost - others - held * margin) / (margin + cost)
    if size - closing <= most * (1.0 + 1e-12):
        return order
    lot = rules[n, R_LOT]
    return side * (closing + np.floor(max(most, 0.0) / lot) * lot)


@kernel
def _fill_order(
    account: Float,
    n: int,
    order: float,
    tradable: bool,
    ample: bool,
    rules: Float,
    fills: Float,
    row: int,
) -> None:
    """Answers one order at the instrument's last known mid and rate: filled, cut or refused."""
    mid = account[n + 1, B_MARK]
    rate = account[n + 1, B_RATE]
    q = account[n + 1, B_POSITION]
    done = order
    reason = oc.REASON_DONE
    if not tradable:
        done, reason = 0.0, oc.REASON_MARKET_CLOSED
    elif not (mid > 0.0 and rate > 0.0):  # also true for NaN
        done, reason = 0.0, oc.REASON_PRICE_UNKNOWN
    elif not ample and (q * order >= 0.0 or abs(order) > abs(q)):
        done = _affordable(account, n, order, rules)
        if done == 0.0:
            reason = oc.REASON_REFUSED_BY_MARGIN
        elif done != order:
            reason = oc.REASON_SHRUNK_BY_MARGIN
    origin = oc.ORIGIN_ORDER
    if done == 0.0:
        write_fill(fills, account, row, n, origin, order, 0.0, mid, 0.0, rate, 0.0, 0.0, reason)
    else:
        book_fill(account, n, done, mid, rate, rules, fills, row, origin, order, reason)


@kernel
def _margin_is_ample(account: Float, rules: Float) -> bool:
    """Whether every queued order is sure to pass the margin check, whatever the others do.

    Old positions and all orders together, with all costs, have to fit into 99 % of the equity. It
    spares most bars the exact check, which looks at the whole account for each order. False where
    anything is not known.
    """
    need, equity = 0.0, account[0, A_CASH]
    for n in range(rules.shape[0]):
        q, order = account[n + 1, B_POSITION], account[n + 1, B_QUEUED]
        if q == 0.0 and order == 0.0:
            continue
        unit = rules[n, R_MULTIPLIER] * account[n + 1, B_RATE]
        mid = account[n + 1, B_MARK]
        cost = (rules[n, R_HALF_COST] + 2.0 * rules[n, R_COMMISSION]) * account[0, A_COST_SCALE]
        margin = rules[n, R_MARGIN]
        need += unit * abs(mid) * (abs(q) * margin + abs(order) * (margin + cost))
        equity += q * unit * (mid - account[n + 1, B_AVERAGE])
    return need < 0.99 * equity


@kernel
def fill_orders(account: Float, bar: Float, row: int, rules: Float, fills: Float) -> None:
    """Fills every queued order at the last known mids: first those that only reduce, then the
    others.

    `row` is the bar that says who is tradable and that the fills are dated to; the caller has set
    the marks.
    """
    ample = _margin_is_ample(account, rules)
    alone = rules.shape[0] == 1  # one instrument needs no order among its orders
    for raising in range(1 if alone else 2):
        for n in range(rules.shape[0]):
            order = account[n + 1, B_QUEUED]
            if order == 0.0:
                continue
            q = account[n + 1, B_POSITION]
            raises = q * order >= 0.0 or abs(order) > abs(q)
            if alone or raises == (raising == 1):
                account[n + 1, B_QUEUED] = 0.0
                tradable = bar[n, T_TRADABLE] > 0.0
                _fill_order(account, n, order, tradable, ample, rules, fills, row)


@kernel
def _close_position(
    account: Float,
    n: int,
    mid: float,
    bar: Float,
    row: int,
    rules: Float,
    fills: Float,
    origin: int,
) -> None:
    """Closes a whole position inside the bar against `mid`."""
    rate = bar[n, T_RATE_OPEN]
    if rules[n, R_OWN_RATE] > 0.0:
        rate = rate * bar[n, T_OPEN] / mid
    done = -account[n + 1, B_POSITION]
    book_fill(account, n, done, mid, rate, rules, fills, row, origin, done, oc.REASON_DONE)
    account[0, BAR_STOPS] += 1.0


@kernel
def trigger_stops(account: Float, bar: Float, row: int, rules: Float, fills: Float) -> None:
    """Stop-loss and take-profit of every open position; a gap fills at the open, stop before
    take-profit.
    """
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        stop_frac, take_frac = rules[n, R_STOP], rules[n, R_TAKE]
        if q == 0.0 or bar[n, T_TRADABLE] == 0.0 or (stop_frac == 0.0 and take_frac == 0.0):
            continue
        average = account[n + 1, B_AVERAGE]
        if average <= 0.0:
            continue
        # A short is the mirror image: with prices negated it stops when they fall to the negated
        # trigger.
        sign = 1.0 if q > 0.0 else -1.0
        stop = sign * average * (1.0 - sign * stop_frac) if stop_frac > 0.0 else -np.inf
        take = sign * average * (1.0 + sign * take_frac) if take_frac > 0.0 else np.inf
        opened = sign * bar[n, T_OPEN]
        worst = sign * (bar[n, T_LOW] if q > 0.0 else bar[n, T_HIGH])
        best = sign * (bar[n, T_HIGH] if q > 0.0 else bar[n, T_LOW])
        if worst > stop and best < take:
            continue
        if opened <= stop:
            mid, origin = bar[n, T_OPEN], oc.ORIGIN_STOP_LOSS
        elif opened >= take:
            mid, origin = bar[n, T_OPEN], oc.ORIGIN_TAKE_PROFIT
        elif worst <= stop:
            mid, origin = sign * stop, oc.ORIGIN_STOP_LOSS
        else:
            mid, origin = sign * take, oc.ORIGIN_TAKE_PROFIT
        _close_position(account, n, mid, bar, row, rules, fills, origin)


@kernel
def _headroom(account: Float, x: float, bar: Float, rules: Float, maintenance: float) -> float:
    """Equity less maintenance margin with every tradable position a fraction x of the way to its
    adverse extreme.
    """
    room = account[0, A_CASH]
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        if q == 0.0:
            continue
        mid, rate = account[n + 1, B_MARK], account[n + 1, B_RATE]
        if bar[n, T_TRADABLE] > 0.0:
            extreme = bar[n, T_LOW] if q > 0.0 else bar[n, T_HIGH]
            mid = bar[n, T_OPEN] + x * (extreme - bar[n, T_OPEN])
        m = rules[n, R_MULTIPLIER]
        room += q * m * (mid - account[n + 1, B_AVERAGE]) * rate
        room -= maintenance * abs(q) * m * abs(mid) * rate * rules[n, R_MARGIN]
    return room


@kernel
def liquidate(
    account: Float, bar: Float, row: int, rules: Float, settings: Float, fills: Float
) -> None:
    """Closes every tradable position where equity meets the maintenance margin inside the bar.

    Needs the marks of tradable instruments at this bar's open and all rates at the open.
    """
    maintenance = settings[S_MAINTENANCE]
    if maintenance == 0.0:
        return
    at_extreme = _headroom(account, 1.0, bar, rules, maintenance)
    if at_extreme > 0.0 or not _any_position(account, rules.shape[0]):
        return
    at_open = _headroom(account, 0.0, bar, rules, maintenance)
    x = 0.0 if at_open <= 0.0 else at_open / (at_open - at_extreme)
    for n in range(rules.shape[0]):
        q = account[n + 1, B_POSITION]
        if q != 0.0 and bar[n, T_TRADABLE] > 0.0:
            extreme = bar[n, T_LOW] if q > 0.0 else bar[n, T_HIGH]
            mid = bar[n, T_OPEN] + x * (extreme - bar[n, T_OPEN])
            _close_position(account, n, mid, bar, row, rules, fills, oc.ORIGIN_LIQUIDATION)


@kernel
def _any_position(account: Float, n_instruments: int) -> bool:
    held = 0
    for n in range(n_instruments):
        held += account[n + 1, B_POSITION] != 0.0
    return held > 0
