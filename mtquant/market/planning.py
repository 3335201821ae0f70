# SPDX-License-Identifier: Apache-2.0
"""PLAN: from target exposures to queued orders, through the limits (docs/execution.md, step 7)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.market.account import (
    A_BINDING,
    A_EQUITY,
    B_MARK,
    B_PLANNED,
    B_POSITION,
    B_QUEUED,
    B_RATE,
    B_TARGET,
)
from mtquant.market.rules import R_LOT, R_MULTIPLIER, S_GROSS_CAP, S_PROJECT
from mtquant.risk.limits import limit_exposures

Float = NDArray[np.float64]
LOT_TOLERANCE = 1e-9  # in lots: a quantity this close below a lot boundary counts as being on it
HOLD_TOLERANCE = (
    1e-9  # in units of equity: a limit has to move a held exposure by more to cause an order
)


@kernel
def exposure(account: Float, n: int, rules: Float) -> float:
    """Q m p r / equity at the last known mid, rate and equity; 0 when flat."""
    q = account[n + 1, B_POSITION]
    if q == 0.0:
        return 0.0
    value = q * rules[n, R_MULTIPLIER] * account[n + 1, B_MARK] * account[n + 1, B_RATE]
    return value / account[0, A_EQUITY]


@kernel
def plan_account(account: Float, rules: Float, caps: Float, settings: Float, wanted: Float) -> None:
    """Turns the B_TARGET exposures of an account into queued orders; what was queued is replaced.

    `wanted` is scratch space, float64 [N].
    """
    n_instruments = rules.shape[0]
    for n in range(n_instruments):
        target = account[n + 1, B_TARGET]
        wanted[n] = target if math.isfinite(target) else exposure(account, n, rules)
    planned = account[1:, B_PLANNED]
    binding = limit_exposures(
        wanted, planned, caps, settings[S_GROSS_CAP], settings[S_PROJECT] > 0.0
    )
    account[0, A_BINDING] = binding
    equity = account[0, A_EQUITY]
    for n in range(n_instruments):
        account[n + 1, B_QUEUED] = 0.0
        held = not math.isfinite(account[n + 1, B_TARGET])
        if held and abs(planned[n] - wanted[n]) <= HOLD_TOLERANCE:
            continue
        unit = rules[n, R_MULTIPLIER] * account[n + 1, B_MARK] * account[n + 1, B_RATE]
        if not (unit > 0.0 and equity > 0.0):  # also true for NaN
            continue
        lot = rules[n, R_LOT]
        lots = np.floor(abs(planned[n]) * equity / (unit * lot) + LOT_TOLERANCE)
        quantity = lots * lot if planned[n] >= 0.0 else -lots * lot
        account[n + 1, B_QUEUED] = quantity - account[n + 1, B_POSITION]
