# SPDX-License-Identifier: Apache-2.0
"""FILL: queued orders, stops and liquidation against one bar (docs/execution.md, steps 1 to 3).

Every event takes a whole block of accounts. What happens to most of them on most bars is written
without branches, so that the lanes run abreast; the accounts that need a closer look (an order that
the margin may not carry, a position about to be liquidated) are dealt with one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose, lanes_of
from mtquant.market.account import (
    A_CASH,
    A_COST_SCALE,
    B_AVERAGE,
    B_MARK,
    B_POSITION,
    B_RATE,
    BAR_STOPS,
    W_ELAPSED,
    W_SUM,
    at,
    book_fill,
    gain_of,
    margin_of,
    value_of,
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
    Rule,
    count_of,
    rule_of,
)
from mtquant.market.tape import (
    S_FINANCING,
    S_QUEUED,
    T_EXTRA_COST,
    T_HIGH,
    T_LOW,
    T_OPEN,
    T_RATE_OPEN,
    T_TRADABLE,
    sheet_at,
)

Float = NDArray[np.float64]
Rows = NDArray[np.int64]
SECONDS_PER_YEAR = 31_536_000.0
AMPLE_FRAC = 0.99  # of equity: what old positions and all orders may need to pass unexamined


@kernel
def charge_financing(block: Float, sheet: Float, rules: Float) -> None:
    """Takes the financing of the elapsed seconds from cash, per instrument at its last known mid
    and rate.
    """
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            q = block[at(n, B_POSITION) + i]
            yearly = choose(q > 0.0, rule[R_FINANCING_LONG], rule[R_FINANCING_SHORT])
            value = abs(value_of(block, i, n, rule[R_MULTIPLIER]))
            cost = value * yearly * block[W_ELAPSED + i] / SECONDS_PER_YEAR
            cost = choose(q != 0.0, cost, 0.0)
            block[A_CASH + i] -= cost
            sheet[sheet_at(n, S_FINANCING) + i] = cost


@kernel
def _affordable(block: Float, i: int, n: int, order: float, rules: Float, extra: float) -> float:
    """The order cut to what free margin allows (signed, whole lots where it was cut; 0 =
    refused).
    """
    q = block[at(n, B_POSITION) + i]
    mid = block[at(n, B_MARK) + i]
    side = 1.0 if order > 0.0 else -1.0
    size = abs(order)
    closing = min(size, abs(q)) if q * order < 0.0 else 0.0
    held = abs(q) if q * order > 0.0 else 0.0
    notional = rules[n, R_MULTIPLIER] * mid * block[at(n, B_RATE) + i]
    h = (rules[n, R_HALF_COST] + extra) * block[A_COST_SCALE + i]
    commission = rules[n, R_COMMISSION] * block[A_COST_SCALE + i]
    cost = notional * (h + (1.0 + side * h) * commission)
    margin = notional * rules[n, R_MARGIN]
    equity, others = block[A_CASH + i], -abs(q) * margin
    for k in range(count_of(rules)):
        equity += gain_of(block, i, k, rules[k, R_MULTIPLIER])
        others += margin_of(block, i, k, rule_of(rules, k))
    most = (equity - closing * cost - others - held * margin) / (margin + cost)
    if size - closing <= most * (1.0 + 1e-12):
        return order
    lot = rules[n, R_LOT]
    return side * (closing + np.floor(max(most, 0.0) / lot) * lot)


@kernel
def _fill_order(
    block: Float,
    i: int,
    n: int,
    sheet: Float,
    taken: bool,
    exact: bool,
    rule: Rule,
    rules: Float,
    fills: Float | None,
    row: int,
) -> None:
    """Answers the queued order at the instrument's last known mid and rate: filled, cut or
    refused.

    Args:
        taken: Whether it is this order's turn; nothing happens else.
        exact: Whether the margin has to be looked at.
    """
    queued = sheet[sheet_at(n, S_QUEUED) + i]
    order = choose(taken, queued, 0.0)
    bar, extra = sheet[sheet_at(n, T_TRADABLE) + i], sheet[sheet_at(n, T_EXTRA_COST) + i]
    tradable = bar > 0.0
    sheet[sheet_at(n, S_QUEUED) + i] = choose(taken, 0.0, queued)
    mid, rate = block[at(n, B_MARK) + i], block[at(n, B_RATE) + i]
    priced = (mid > 0.0) & (rate > 0.0)  # also false for NaN
    most = choose(bar > 1.0, np.floor(bar - 1.0) * rule[R_LOT], np.inf)
    possible = min(max(order, -most), most)
    done = choose(tradable & priced, possible, 0.0)
    cut = oc.REASON_SHRUNK_BY_VOLUME if possible != 0.0 else oc.REASON_REFUSED_BY_VOLUME
    reason = oc.REASON_DONE if possible == order else cut
    reason = reason if priced else oc.REASON_PRICE_UNKNOWN
    reason = reason if tradable else oc.REASON_MARKET_CLOSED
    if exact and done != 0.0 and _raises(block, i, n, done):
        done = _affordable(block, i, n, possible, rules, extra)
        if done == 0.0:
            reason = oc.REASON_REFUSED_BY_MARGIN
        elif done != possible:
            reason = oc.REASON_SHRUNK_BY_MARGIN
    book_fill(block, i, n, done, mid, rate, rule, extra, fills, row, oc.ORIGIN_ORDER, order, reason)


@kernel
def _raises(block: Float, i: int, n: int, order: float) -> bool:
    """Whether an order does more than reduce a position."""
    q = block[at(n, B_POSITION) + i]
    return (q * order >= 0.0) | (abs(order) > abs(q))


@kernel
def _find_ample(block: Float, sheet: Float, rules: Float) -> None:
    """Finds the accounts whose orders may not all pass the margin check: W_SUM is not below 0.

    Ample is: old positions and all orders together, with all costs, fit into 99 % of the equity.
    Nearly always they do, and nobody needs the exact check, which looks at the whole account for
    each order. Not ample where anything is not known.
    """
    for i in range(lanes_of(block)):
        block[W_SUM + i] = -AMPLE_FRAC * block[A_CASH + i]
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        cost = rule[R_HALF_COST] + 2.0 * rule[R_COMMISSION]
        for i in range(lanes_of(block)):
            q, order = abs(block[at(n, B_POSITION) + i]), abs(sheet[sheet_at(n, S_QUEUED) + i])
            unit = rule[R_MULTIPLIER] * block[at(n, B_RATE) + i] * abs(block[at(n, B_MARK) + i])
            own = cost + sheet[sheet_at(n, T_EXTRA_COST) + i]
            per_unit = rule[R_MARGIN] + own * block[A_COST_SCALE + i]
            need = unit * (q * rule[R_MARGIN] + order * per_unit)
            need -= AMPLE_FRAC * gain_of(block, i, n, rule[R_MULTIPLIER])
            block[W_SUM + i] += choose((q != 0.0) | (order != 0.0), need, 0.0)


@kernel
def fill_orders(
    block: Float, sheet: Float, rows: Rows, rules: Float, fills: Float | None, live: int
) -> None:
    """Fills every queued order at the last known mids: first those that only reduce, then the
    others. Where margin may be short, each is held against the margin that is left.

    Args:
        block: float64, flat (`account.py`); the caller has set the marks.
        sheet: float64, flat (`tape.py`): the orders, and the bars that say who is tradable.
        rows: int64 [LANES], the rows that the fills are dated to.
        rules: float64 [N, RULE_COLUMNS].
        fills: float64 [M, len(FILL_COLUMNS)].
        live: Lanes in use, the first ones.
    """
    _find_ample(block, sheet, rules)
    scarce = False  # lanes that nobody uses may be counted in: it is only a reason to look
    for i in range(lanes_of(block)):
        scarce |= not block[W_SUM + i] < 0.0
    if scarce:
        for i in range(live):
            if not block[W_SUM + i] < 0.0:
                _fill_in_turn(block, i, sheet, rows[i], rules, fills)
    if count_of(rules) == 1:  # one instrument needs no order among its orders
        rule = rule_of(rules, 0)
        for i in range(lanes_of(block)):
            _fill_order(block, i, 0, sheet, True, False, rule, rules, fills, rows[i])
        return
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            reduces = not _raises(block, i, n, sheet[sheet_at(n, S_QUEUED) + i])
            _fill_order(block, i, n, sheet, reduces, False, rule, rules, fills, rows[i])
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            _fill_order(block, i, n, sheet, True, False, rule, rules, fills, rows[i])


@kernel
def _fill_in_turn(
    block: Float, i: int, sheet: Float, row: int, rules: Float, fills: Float | None
) -> None:
    """Fills one account's orders against its margin: first those that only reduce."""
    for raising in range(2):
        for n in range(count_of(rules)):
            order = sheet[sheet_at(n, S_QUEUED) + i]
            if order != 0.0 and _raises(block, i, n, order) == (raising == 1):
                rule = rule_of(rules, n)
                _fill_order(block, i, n, sheet, True, True, rule, rules, fills, row)


@kernel
def _close_position(
    block: Float,
    i: int,
    n: int,
    hit: bool,
    mid: float,
    sheet: Float,
    row: int,
    rule: Rule,
    fills: Float | None,
    origin: int,
) -> None:
    """Closes a whole position inside the bar against `mid`, if it was hit."""
    rate = sheet[sheet_at(n, T_RATE_OPEN) + i]
    own = rate * sheet[sheet_at(n, T_OPEN) + i] / mid
    rate = choose(rule[R_OWN_RATE] > 0.0, own, rate)
    done = choose(hit, -block[at(n, B_POSITION) + i], 0.0)
    extra = sheet[sheet_at(n, T_EXTRA_COST) + i]
    book_fill(block, i, n, done, mid, rate, rule, extra, fills, row, origin, done, oc.REASON_DONE)
    block[BAR_STOPS + i] += choose(hit, 1.0, 0.0)


@kernel
def _trigger_stop(
    block: Float, i: int, n: int, sheet: Float, row: int, rule: Rule, fills: Float | None
) -> None:
    """Stop-loss and take-profit of one position.

    A short is the mirror image: with prices negated it stops when they fall to the negated trigger.
    """
    q, average = block[at(n, B_POSITION) + i], block[at(n, B_AVERAGE) + i]
    sign = choose(q > 0.0, 1.0, -1.0)
    stop = sign * average * (1.0 - sign * rule[R_STOP])
    stop = choose(rule[R_STOP] > 0.0, stop, -np.inf)
    take = sign * average * (1.0 + sign * rule[R_TAKE])
    take = choose(rule[R_TAKE] > 0.0, take, np.inf)
    opened, low, high = (
        sheet[sheet_at(n, T_OPEN) + i],
        sheet[sheet_at(n, T_LOW) + i],
        sheet[sheet_at(n, T_HIGH) + i],
    )
    worst = sign * choose(q > 0.0, low, high)
    best = sign * choose(q > 0.0, high, low)
    exposed = (q != 0.0) & (average > 0.0) & (sheet[sheet_at(n, T_TRADABLE) + i] > 0.0)
    hit = exposed & ((worst <= stop) | (best >= take))
    gapped = sign * opened
    stopped = (gapped <= stop) | ((gapped < take) & (worst <= stop))
    inside = sign * choose(worst <= stop, stop, take)
    mid = choose((gapped <= stop) | (gapped >= take), opened, inside)
    origin = oc.ORIGIN_STOP_LOSS if stopped else oc.ORIGIN_TAKE_PROFIT
    _close_position(block, i, n, hit, mid, sheet, row, rule, fills, origin)


@kernel
def trigger_stops(
    block: Float, sheet: Float, rows: Rows, rules: Float, fills: Float | None
) -> None:
    """Stop-loss and take-profit of every open position; a gap fills at the open, stop before
    take-profit. Arguments as in `fill_orders`.
    """
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        if rule[R_STOP] == 0.0 and rule[R_TAKE] == 0.0:
            continue
        for i in range(lanes_of(block)):
            _trigger_stop(block, i, n, sheet, rows[i], rule, fills)


@kernel
def _headroom(
    block: Float, i: int, n: int, x: float, sheet: Float, rule: Rule, maintenance: float
) -> float:
    """Unrealised gain less maintenance margin of one position, a fraction x of the way from the
    open to its adverse extreme where it is tradable, else at its mark.
    """
    q, mark = block[at(n, B_POSITION) + i], block[at(n, B_MARK) + i]
    opened, low, high = (
        sheet[sheet_at(n, T_OPEN) + i],
        sheet[sheet_at(n, T_LOW) + i],
        sheet[sheet_at(n, T_HIGH) + i],
    )
    inside = opened + x * (choose(q > 0.0, low, high) - opened)
    mid = choose(sheet[sheet_at(n, T_TRADABLE) + i] > 0.0, inside, mark)
    worth = q * rule[R_MULTIPLIER] * block[at(n, B_RATE) + i]
    needed = maintenance * rule[R_MARGIN] * abs(worth * mid)
    room = worth * (mid - block[at(n, B_AVERAGE) + i]) - needed
    return choose(q != 0.0, room, 0.0)


@kernel
def liquidate(
    block: Float,
    sheet: Float,
    rows: Rows,
    rules: Float,
    settings: Float,
    fills: Float | None,
    live: int,
) -> None:
    """Closes every tradable position where equity meets the maintenance margin inside the bar.

    Needs the marks of tradable instruments at this bar's open and all rates at the open. Arguments
    as in `fill_orders`.
    """
    maintenance = settings[S_MAINTENANCE]
    if maintenance == 0.0:
        return
    for i in range(lanes_of(block)):
        block[W_SUM + i] = block[A_CASH + i]
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            block[W_SUM + i] += _headroom(block, i, n, 1.0, sheet, rule, maintenance)
    ruined = False
    for i in range(lanes_of(block)):
        ruined |= not block[W_SUM + i] > 0.0
    if not ruined:
        return
    for i in range(live):
        if not block[W_SUM + i] > 0.0:
            _liquidate_one(block, i, sheet, rows[i], rules, maintenance, fills, block[W_SUM + i])


@kernel
def _liquidate_one(
    block: Float,
    i: int,
    sheet: Float,
    row: int,
    rules: Float,
    maintenance: float,
    fills: Float | None,
    at_extreme: float,
) -> None:
    """Closes one account's tradable positions on the way to their extremes, all at one fraction
    of it.
    """
    at_open = block[A_CASH + i]
    for n in range(count_of(rules)):
        at_open += _headroom(block, i, n, 0.0, sheet, rule_of(rules, n), maintenance)
    x = 0.0 if at_open <= 0.0 else at_open / (at_open - at_extreme)
    for n in range(count_of(rules)):
        q = block[at(n, B_POSITION) + i]
        extreme = sheet[sheet_at(n, T_LOW) + i] if q > 0.0 else sheet[sheet_at(n, T_HIGH) + i]
        mid = sheet[sheet_at(n, T_OPEN) + i] + x * (extreme - sheet[sheet_at(n, T_OPEN) + i])
        if q != 0.0 and sheet[sheet_at(n, T_TRADABLE) + i] > 0.0:
            rule = rule_of(rules, n)
            _close_position(block, i, n, True, mid, sheet, row, rule, fills, oc.ORIGIN_LIQUIDATION)
