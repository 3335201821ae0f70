# SPDX-License-Identifier: Apache-2.0
"""PLAN: from target exposures to queued orders, through the limits (docs/execution.md, step 7)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose, lanes_of
from mtquant.core.outcome import LIMIT_NAME, LIMIT_UNKNOWN
from mtquant.market.account import (
    A_EQUITY,
    B_MARK,
    B_POSITION,
    B_RATE,
    BAR_BINDING,
    W_CUT,
    W_DOUBT,
    W_NET,
    W_SUM,
    W_TOGETHER,
    at,
    late_at,
    value_of,
)
from mtquant.market.budget import project_block
from mtquant.market.rules import (
    MOST_INSTRUMENTS,
    R_LOT,
    R_MULTIPLIER,
    S_BAND,
    S_CORNISH_FISHER,
    S_LATENCY,
    S_PROJECT,
    S_TAIL_VAR,
    Rule,
    Rules,
    count_of,
    rule_of,
)
from mtquant.market.tape import (
    S_DEVIATION,
    S_HELD,
    S_PLANNED,
    S_QUEUED,
    S_SECTOR,
    S_TARGET,
    S_WANTED,
    SHEET_SIZE,
    Tape,
    sheet_at,
)
from mtquant.risk.dependence import WINDOW_DAYS, RiskTable
from mtquant.risk.limits import (
    BOUND_CORRELATION,
    BOUND_GROSS,
    BOUND_NET,
    BOUND_TURNOVER,
    BOUND_VAR,
    BOUND_VOLATILITY,
    RISK_DEVIATION,
    X_TRADE,
    broken_risk,
    new_scratch,
)
from mtquant.risk.projection import limit_book
from mtquant.risk.tail import limit_tail

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# caps, sector_of, sector_caps, bounds, risk, scenarios, window, scratch, tail scratch: see
# `risk/limits.py`, `risk/dependence.py` and `risk/tail.py`.
Limits = tuple[Float, Int, Float, Float, Float, Float, Int, Float, Float]
LOT_TOLERANCE = 1e-9  # in lots: a quantity this close below a lot boundary counts as being on it
HOLD_TOLERANCE = (
    1e-9  # in units of equity: a limit has to move a held exposure by more to cause an order
)
DOUBT_RISK, DOUBT_ELSE = 1.0, 2.0
LARGEST = np.finfo(np.float64).max


@kernel
def _held(block: Float, i: int, n: int, rule: Rule) -> float:
    """Q m p r / equity at the last known mid, rate and equity; 0 when flat."""
    held = value_of(block, i, n, rule[R_MULTIPLIER]) / block[A_EQUITY + i]
    return choose(block[at(n, B_POSITION) + i] != 0.0, held, 0.0)


@kernel
def _want(block: Float, sheet: Float, i: int, n: int, rule: Rule, band: float) -> float:
    """The exposure asked for; the held one, Q m p r / equity, where the policy asked for none or
    for one within the band around it. Flat means flat.
    """
    target, held = sheet[sheet_at(n, S_TARGET) + i], _held(block, i, n, rule)
    moves = (not abs(target - held) <= band) | (target == 0.0)
    return choose(math.isfinite(target) & moves, target, held)


@kernel
def _queue_order(block: Float, sheet: Float, i: int, n: int, rule: Rule) -> None:
    """The order that leads from the position to the planned exposure, in whole lots."""
    planned, wanted = sheet[sheet_at(n, S_PLANNED) + i], sheet[sheet_at(n, S_WANTED) + i]
    left_alone = wanted == _held(block, i, n, rule)
    stays = left_alone & (abs(planned - wanted) <= HOLD_TOLERANCE)
    unit = rule[R_MULTIPLIER] * block[at(n, B_MARK) + i] * block[at(n, B_RATE) + i]
    equity = block[A_EQUITY + i]
    possible = (unit > 0.0) & (equity > 0.0)  # also false for NaN
    lot = rule[R_LOT]
    size = np.floor(abs(planned) * equity / (unit * lot) + LOT_TOLERANCE) * lot
    order = choose(planned >= 0.0, size, -size) - block[at(n, B_POSITION) + i]
    sheet[sheet_at(n, S_QUEUED) + i] = choose(possible & (not stays), order, 0.0)


@kernel
def _clip(block: Float, sheet: Float, rules: Float, caps: Float, band: float) -> None:
    """What is wanted, and that within the name caps."""
    for i in range(lanes_of(block)):
        block[BAR_BINDING + i] = 0.0
    for n in range(count_of(rules)):
        rule, cap = rule_of(rules, n), caps[n]
        reach = band * cap if cap < np.inf else 0.0
        for i in range(lanes_of(block)):
            asked = _want(block, sheet, i, n, rule, reach)
            sheet[sheet_at(n, S_WANTED) + i] = asked
            sheet[sheet_at(n, S_PLANNED) + i] = min(max(asked, -cap), cap)
            binding = block[BAR_BINDING + i]
            block[BAR_BINDING + i] = choose(abs(asked) > cap, float(LIMIT_NAME), binding)


@kernel
def _add_up(block: Float, sheet: Float, rules: Float) -> None:
    """What the limits look at first: gross, net, and the risk of the planned book if all
    instruments moved together.
    """
    for i in range(lanes_of(block)):
        block[W_SUM + i] = 0.0
        block[W_NET + i] = 0.0
        block[W_TOGETHER + i] = 0.0
    for n in range(count_of(rules)):
        for i in range(lanes_of(block)):
            planned = sheet[sheet_at(n, S_PLANNED) + i]
            size = abs(planned)
            risk = size * sheet[sheet_at(n, S_DEVIATION) + i]
            block[W_SUM + i] += size
            block[W_NET + i] += planned
            block[W_TOGETHER + i] += choose(size > 0.0, risk, 0.0)


@kernel
def _doubt_sectors(
    block: Float, sheet: Float, rules: Float, sector_of: Int, sector_caps: Float
) -> None:
    """Notes ELSE in W_DOUBT where the gross exposure of a sector is above its cap."""
    for n in range(count_of(rules)):
        for i in range(lanes_of(block)):
            sheet[sheet_at(n, S_SECTOR) + i] = 0.0
    for n in range(count_of(rules)):
        sector = min(max(sector_of[n], 0), n)
        for i in range(lanes_of(block)):
            size = abs(sheet[sheet_at(n, S_PLANNED) + i])
            sheet[sheet_at(sector, S_SECTOR) + i] += size
    for s in range(min(sector_caps.shape[0], MOST_INSTRUMENTS)):
        cap = sector_caps[s]
        for i in range(lanes_of(block)):
            over = sheet[sheet_at(s, S_SECTOR) + i] > cap
            block[W_DOUBT + i] = choose(over, DOUBT_ELSE, block[W_DOUBT + i])


@kernel
def _doubt(
    block: Float,
    sheet: Float,
    rules: Float,
    sector_of: Int,
    sector_caps: Float,
    bounds: Float,
) -> None:
    """Notes in W_DOUBT which planned books may break a limit other than the gross cap: RISK where
    only their risk can tell, ELSE where another limit is broken.

    No book is riskier than if all instruments moved together, and no correlation exposure is larger
    than the gross one, so most books need no look at correlations.
    """
    deviation = min(bounds[BOUND_VAR], bounds[BOUND_VOLATILITY])
    net, correlation = bounds[BOUND_NET], bounds[BOUND_CORRELATION]
    if correlation < np.inf:
        deviation = min(deviation, LARGEST)  # infinite is unknown, and not calm
    for i in range(lanes_of(block)):
        calm = (block[W_SUM + i] <= correlation) & (block[W_TOGETHER + i] <= deviation)
        inside = abs(block[W_NET + i]) <= net
        found = choose(inside, choose(calm, 0.0, DOUBT_RISK), DOUBT_ELSE)
        block[W_DOUBT + i] = max(block[W_DOUBT + i], found)
    lowest = np.inf
    for s in range(sector_caps.shape[0]):
        lowest = min(lowest, sector_caps[s])
    if lowest < np.inf:
        _doubt_sectors(block, sheet, rules, sector_of, sector_caps)


@kernel
def _find_cut(block: Float, project: bool, bounds: Float) -> bool:
    """Notes in W_CUT whose books only the gross cap is known to cut, in W_DOUBT who needs the exact
    limits in any case; whether there is a book to cut.
    """
    gross, turnover = bounds[BOUND_GROSS], bounds[BOUND_TURNOVER]
    anybody = False
    for i in range(lanes_of(block)):
        inside, over = block[W_SUM + i] <= gross, block[W_SUM + i] > gross
        doubt = block[W_DOUBT + i]
        cut = over & project & (doubt < DOUBT_ELSE)
        block[W_CUT + i] = choose(cut, 1.0, 0.0)
        certain = (cut | inside) & (turnover == np.inf)
        block[W_DOUBT + i] = choose(certain, doubt, DOUBT_ELSE)
        anybody |= cut
    return anybody


@kernel
def _holds_risk(block: Float, sheet: Float, i: int, limits: Limits, row: int, rules: Float) -> bool:
    """Whether an account's planned book holds the risk limits and is the nearest one that does;
    then those that bound are noted: where the gross cap cut the book, the ones it broke before.
    """
    caps, _, _, bounds, risk, _, _, scratch, _ = limits
    book = scratch[X_TRADE]
    today = risk[min(row, risk.shape[0] - 1)]
    for n in range(count_of(rules)):
        book[n] = sheet[sheet_at(n, S_PLANNED) + i]
    if broken_risk(book, bounds, today, scratch) != 0:
        return False
    if block[W_CUT + i] > 0.0:
        for n in range(count_of(rules)):
            book[n] = min(max(sheet[sheet_at(n, S_WANTED) + i], -caps[n]), caps[n])
        broken = broken_risk(book, bounds, today, scratch)
        if broken == LIMIT_UNKNOWN:  # what nobody may hold takes no part in the cut
            return False
        block[BAR_BINDING + i] += float(broken)
    return True


@kernel
def _limit_one(
    block: Float, sheet: Float, i: int, row: int, rules: Float, settings: Float, limits: Limits
) -> None:
    """The exact limits for one account."""
    caps, sector_of, sector_caps, bounds, risk, _, _, scratch, _ = limits
    wanted = sheet[sheet_at(0, S_WANTED) + i :: SHEET_SIZE]
    planned = sheet[sheet_at(0, S_PLANNED) + i :: SHEET_SIZE]
    held = sheet[sheet_at(0, S_HELD) + i :: SHEET_SIZE]
    for n in range(count_of(rules)):
        held[n] = _held(block, i, n, rule_of(rules, n))
    block[BAR_BINDING + i] = limit_book(
        wanted,
        held,
        planned,
        caps,
        sector_of,
        sector_caps,
        bounds,
        risk[min(row, risk.shape[0] - 1)],
        settings[S_PROJECT] > 0.0,
        scratch,
    )


@kernel
def _limit_block(
    block: Float,
    sheet: Float,
    rows: Int,
    rules: Float,
    settings: Float,
    limits: Limits,
    live: int,
) -> None:
    """From S_WANTED to S_PLANNED and BAR_BINDING, abreast where name and gross caps decide.

    Exact: what is nearest under some of the limits and holds the others is nearest under all.
    """
    caps, sector_of, sector_caps, bounds, _, _, _, _, _ = limits
    for i in range(lanes_of(block)):
        block[W_DOUBT + i] = 0.0
    _add_up(block, sheet, rules)
    _doubt(block, sheet, rules, sector_of, sector_caps, bounds)
    # Of one name the nearest multiple is the nearest book: the exact limits know.
    project = (settings[S_PROJECT] > 0.0) & (count_of(rules) > 1)
    if _find_cut(block, project, bounds):
        project_block(block, sheet, rules, caps, bounds[BOUND_GROSS])
        _add_up(block, sheet, rules)
        _doubt(block, sheet, rules, sector_of, sector_caps, bounds)
    doubtful = False
    for i in range(lanes_of(block)):
        doubtful |= block[W_DOUBT + i] != 0.0
    if not doubtful:
        return
    for i in range(live):
        doubt = block[W_DOUBT + i]
        if doubt == 0.0:
            continue
        if doubt == DOUBT_ELSE or not _holds_risk(block, sheet, i, limits, rows[i], rules):
            _limit_one(block, sheet, i, rows[i], rules, settings, limits)


@kernel
def _hear_late(block: Float, sheet: Float, rules: Float) -> None:
    """Exchanges the S_TARGET exposures for those asked for a bar earlier, 0 at first."""
    count = count_of(rules)
    for n in range(count):
        for i in range(lanes_of(block)):
            asked = sheet[sheet_at(n, S_TARGET) + i]
            sheet[sheet_at(n, S_TARGET) + i] = block[late_at(n, count) + i]
            block[late_at(n, count) + i] = asked


@kernel
def plan_block(
    block: Float,
    sheet: Float,
    rows: Int,
    rules: Float,
    settings: Float,
    limits: Limits,
    live: int,
) -> None:
    """Turns the S_TARGET exposures of a block into queued orders; what was queued is replaced.

    Args:
        block: float64, flat (`account.py`).
        sheet: float64, flat (`tape.py`); S_TARGET is read (and with latency exchanged for what was
            asked a bar earlier), S_QUEUED written.
        rows: int64 [LANES], the bars at whose close the accounts stand.
        rules: float64 [N, RULE_COLUMNS].
        settings: float64 [SETTING_COLUMNS].
        limits: `limit_arrays`.
        live: Lanes in use, the first ones.
    """
    caps, _, _, _, risk, scenarios, window, _, tail_scratch = limits
    if settings[S_LATENCY] > 0.0:
        _hear_late(block, sheet, rules)
    if risk.shape[0] > 1:
        for i in range(live):
            deviations = risk[rows[i], RISK_DEVIATION]
            for n in range(count_of(rules)):
                sheet[sheet_at(n, S_DEVIATION) + i] = deviations[n]
    _clip(block, sheet, rules, caps, settings[S_BAND])
    _limit_block(block, sheet, rows, rules, settings, limits, live)
    if settings[S_TAIL_VAR] < np.inf:
        modified = settings[S_CORNISH_FISHER] > 0.0
        for i in range(live):
            planned = sheet[sheet_at(0, S_PLANNED) + i :: SHEET_SIZE]
            first, last = window[rows[i], 0], window[rows[i], 1]
            block[BAR_BINDING + i] = int(block[BAR_BINDING + i]) | limit_tail(
                planned, scenarios, first, last, settings[S_TAIL_VAR], modified, tail_scratch
            )
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            _queue_order(block, sheet, i, n, rule)


def limit_arrays(rules: Rules, tape: Tape) -> Limits:
    """The limits of `rules` as kernels read them, with the risk of the tape's bars."""
    limits = rules.limits()
    n = len(rules.instruments)
    if rules.measures_risk():
        table = tape.risk(rules.var_method)
    else:
        nothing = np.zeros((1, 2 * n + 2, n)), np.zeros((n, 1)), np.zeros((1, 2), dtype=np.int64)
        table = RiskTable(*nothing, rows_per_day=1.0)
    return (
        limits.caps,
        limits.sector_of,
        limits.sector_caps,
        limits.bounds,
        table.rows,
        table.scenarios,
        table.window,
        new_scratch(n),
        np.zeros((2, WINDOW_DAYS)),
    )
