# SPDX-License-Identifier: Apache-2.0
"""PLAN: from target exposures to queued orders, through the limits (docs/execution.md, step 7)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose, lanes_of
from mtquant.core.outcome import LIMIT_GROSS, LIMIT_NAME
from mtquant.market.account import (
    A_EQUITY,
    B_MARK,
    B_POSITION,
    B_RATE,
    BAR_BINDING,
    W_SUM,
    at,
    value_of,
)
from mtquant.market.rules import (
    R_LOT,
    R_MULTIPLIER,
    S_GROSS_CAP,
    S_PROJECT,
    Rule,
    count_of,
    rule_of,
)
from mtquant.market.tape import (
    S_PLANNED,
    S_QUEUED,
    S_TARGET,
    S_WANTED,
    SHEET_SIZE,
    sheet_at,
)
from mtquant.risk.limits import limit_gross

Float = NDArray[np.float64]
LOT_TOLERANCE = 1e-9  # in lots: a quantity this close below a lot boundary counts as being on it
HOLD_TOLERANCE = (
    1e-9  # in units of equity: a limit has to move a held exposure by more to cause an order
)


@kernel
def _want(block: Float, sheet: Float, i: int, n: int, rule: Rule) -> float:
    """The exposure asked for; the held one, Q m p r / equity, where the policy asked for none."""
    held = value_of(block, i, n, rule[R_MULTIPLIER]) / block[A_EQUITY + i]
    held = choose(block[at(n, B_POSITION) + i] != 0.0, held, 0.0)
    target = sheet[sheet_at(n, S_TARGET) + i]
    return choose(math.isfinite(target), target, held)


@kernel
def _queue_order(block: Float, sheet: Float, i: int, n: int, rule: Rule) -> None:
    """The order that leads from the position to the planned exposure, in whole lots."""
    planned, wanted = sheet[sheet_at(n, S_PLANNED) + i], sheet[sheet_at(n, S_WANTED) + i]
    left_alone = not math.isfinite(sheet[sheet_at(n, S_TARGET) + i])
    stays = left_alone & (abs(planned - wanted) <= HOLD_TOLERANCE)
    unit = rule[R_MULTIPLIER] * block[at(n, B_MARK) + i] * block[at(n, B_RATE) + i]
    equity = block[A_EQUITY + i]
    possible = (unit > 0.0) & (equity > 0.0)  # also false for NaN
    lot = rule[R_LOT]
    size = np.floor(abs(planned) * equity / (unit * lot) + LOT_TOLERANCE) * lot
    order = choose(planned >= 0.0, size, -size) - block[at(n, B_POSITION) + i]
    sheet[sheet_at(n, S_QUEUED) + i] = choose(possible & (not stays), order, 0.0)


@kernel
def plan_block(
    block: Float, sheet: Float, rules: Float, caps: Float, settings: Float, live: int
) -> None:
    """Turns the S_TARGET exposures of a block into queued orders; what was queued is replaced.

    Args:
        block: float64, flat (`account.py`).
        sheet: float64, flat (`tape.py`); S_TARGET is read, S_QUEUED written.
        rules: float64 [N, RULE_COLUMNS].
        caps: float64 [N], largest |exposure| per instrument.
        settings: float64 [SETTING_COLUMNS].
        live: Lanes in use, the first ones.
    """
    for i in range(lanes_of(block)):
        block[W_SUM + i] = 0.0
        block[BAR_BINDING + i] = 0.0
    for n in range(count_of(rules)):
        rule, cap = rule_of(rules, n), caps[n]
        for i in range(lanes_of(block)):
            asked = _want(block, sheet, i, n, rule)
            allowed = min(max(asked, -cap), cap)
            sheet[sheet_at(n, S_WANTED) + i] = asked
            sheet[sheet_at(n, S_PLANNED) + i] = allowed
            block[W_SUM + i] += abs(allowed)
            binding = block[BAR_BINDING + i]
            block[BAR_BINDING + i] = choose(abs(asked) > cap, float(LIMIT_NAME), binding)
    project = settings[S_PROJECT] > 0.0
    for i in range(live):
        if block[W_SUM + i] > settings[S_GROSS_CAP]:
            wanted = sheet[sheet_at(0, S_WANTED) + i :: SHEET_SIZE]
            planned = sheet[sheet_at(0, S_PLANNED) + i :: SHEET_SIZE]
            limit_gross(wanted, planned, caps, block[W_SUM + i], settings[S_GROSS_CAP], project)
            block[BAR_BINDING + i] += LIMIT_GROSS
    for n in range(count_of(rules)):
        rule = rule_of(rules, n)
        for i in range(lanes_of(block)):
            _queue_order(block, sheet, i, n, rule)
