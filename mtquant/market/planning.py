# SPDX-License-Identifier: Apache-2.0
"""PLAN: from target exposures to queued orders, through the limits (docs/execution.md, step 7)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.outcome import LIMIT_GROSS, LIMIT_NAME
from mtquant.market.account import (
    A_BINDING,
    A_EQUITY,
    B_MARK,
    B_PLANNED,
    B_POSITION,
    B_QUEUED,
    B_RATE,
    B_TARGET,
    B_WANTED,
    value_of,
)
from mtquant.market.rules import R_LOT, R_MULTIPLIER, S_GROSS_CAP, S_PROJECT, Rule, rule_of
from mtquant.risk.limits import limit_gross

Float = NDArray[np.float64]
LOT_TOLERANCE = 1e-9  # in lots: a quantity this close below a lot boundary counts as being on it
HOLD_TOLERANCE = (
    1e-9  # in units of equity: a limit has to move a held exposure by more to cause an order
)


@kernel
def _want(block: Float, i: int, n: int, rule: Rule) -> float:
    """The exposure asked for; the held one, Q m p r / equity, where the policy asked for none."""
    held = value_of(block, i, n, rule[R_MULTIPLIER]) / block[0, A_EQUITY, i]
    held = held if block[n + 1, B_POSITION, i] != 0.0 else 0.0
    target = block[n + 1, B_TARGET, i]
    return target if math.isfinite(target) else held


@kernel
def _queue_order(block: Float, i: int, n: int, rule: Rule) -> None:
    """The order that leads from the position to the planned exposure, in whole lots."""
    planned, wanted = block[n + 1, B_PLANNED, i], block[n + 1, B_WANTED, i]
    left_alone = not math.isfinite(block[n + 1, B_TARGET, i])
    stays = left_alone & (abs(planned - wanted) <= HOLD_TOLERANCE)
    unit = rule[R_MULTIPLIER] * block[n + 1, B_MARK, i] * block[n + 1, B_RATE, i]
    equity = block[0, A_EQUITY, i]
    possible = (unit > 0.0) & (equity > 0.0)  # also false for NaN
    lot = rule[R_LOT]
    size = np.floor(abs(planned) * equity / (unit * lot) + LOT_TOLERANCE) * lot
    order = (size if planned >= 0.0 else -size) - block[n + 1, B_POSITION, i]
    block[n + 1, B_QUEUED, i] = order if possible & (not stays) else 0.0


@kernel
def plan_block(
    block: Float, rules: Float, caps: Float, settings: Float, gross: Float, live: int
) -> None:
    """Turns the B_TARGET exposures of a block into queued orders; what was queued is replaced.

    Args:
        block: float64 [1 + N, COLUMNS, L].
        rules: float64 [N, RULE_COLUMNS].
        caps: float64 [N], largest |exposure| per instrument.
        settings: float64 [SETTING_COLUMNS].
        gross: Scratch space, float64 [L].
        live: Lanes in use, the first ones.
    """
    lanes = block.shape[2]
    for i in range(lanes):
        gross[i] = 0.0
        block[0, A_BINDING, i] = 0.0
    for n in range(rules.shape[0]):
        rule, cap = rule_of(rules, n), caps[n]
        for i in range(lanes):
            wanted = _want(block, i, n, rule)
            allowed = min(max(wanted, -cap), cap)
            block[n + 1, B_WANTED, i] = wanted
            block[n + 1, B_PLANNED, i] = allowed
            gross[i] += abs(allowed)
            binding = block[0, A_BINDING, i]
            block[0, A_BINDING, i] = float(LIMIT_NAME) if abs(wanted) > cap else binding
    project = settings[S_PROJECT] > 0.0
    for i in range(live):
        if gross[i] > settings[S_GROSS_CAP]:
            wanted_all, planned_all = block[1:, B_WANTED, i], block[1:, B_PLANNED, i]
            limit_gross(wanted_all, planned_all, caps, gross[i], settings[S_GROSS_CAP], project)
            block[0, A_BINDING, i] += LIMIT_GROSS
    for n in range(rules.shape[0]):
        rule = rule_of(rules, n)
        for i in range(lanes):
            _queue_order(block, i, n, rule)
