# SPDX-License-Identifier: Apache-2.0
"""Reward terms: each is `(state, outcome) -> (state, value)` in one compiled function.

`outcome` is a ledger row (`core/outcome.py`), so the same function scores a PPO step and a language
model's bet. `state` is the term's own slice of a float64 vector, changed in place; it is
dimensionless, part of the observation and of the checkpoint. `parameters` is the vector of
`compose.py` (P_*). Returns are measured in units of `scale`, a fixed number taken from the training
rows (the standard deviation of one bar at the largest position), so that every term is of order
one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel

Float = NDArray[np.float64]

PARAMETERS = 4
(
    P_UNIT,  # 1 / scale, the return of one bar that counts as 1
    P_SHARPE_RATE,  # adaptation rate eta of the differential Sharpe ratio
    P_RISK_FREE,  # simple return per bar that the Sharpe ratio is measured above
    P_DRAWDOWN_TARGET,  # drawdown up to which nothing is taken off, fraction of the peak
) = range(PARAMETERS)

LEAST_VARIANCE = (
    0.01  # in units of scale^2; keeps the ratio finite while the account has hardly moved
)


@kernel
def growth(state: Float, outcome: Float, parameters: Float) -> float:
    """log(equity / equity before) / scale; net of every cost. Without state.

    Times `scale`, it sums to the log of final over initial equity.
    """
    return outcome[oc.GROWTH] * parameters[P_UNIT]


@kernel
def differential_sharpe(state: Float, outcome: Float, parameters: Float) -> float:
    """What this bar adds to an exponentially weighted Sharpe ratio, per unit of its adaptation
    rate.

    Moody & Saffell 2001, "Learning to trade via direct reinforcement", eq. (14):
    D = (B dA - A dB / 2) / (B - A^2)^(3/2), dA = R - A, dB = R^2 - B. State: A, B, the running
    first and second moments of R = (simple return - risk free) / scale; they start at 0 and 1, the
    moments of a driftless account.
    """
    r = (outcome[oc.SIMPLE_RETURN] - parameters[P_RISK_FREE]) * parameters[P_UNIT]
    first, second = state[0], state[1]
    change_first, change_second = r - first, r * r - second
    variance = max(second - first * first, LEAST_VARIANCE)
    rate = parameters[P_SHARPE_RATE]
    state[0] = first + rate * change_first
    state[1] = second + rate * change_second
    return (second * change_first - 0.5 * first * change_second) / (variance * np.sqrt(variance))


@kernel
def drawdown(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus the growth of the worst drawdown beyond the target, / scale. State: worst excess so
    far.

    Its sum over an episode is minus max(0, maximum drawdown - target) / scale.
    """
    excess = max(0.0, outcome[oc.DRAWDOWN] - parameters[P_DRAWDOWN_TARGET])
    worse = max(0.0, excess - state[0])
    state[0] += worse
    return -worse * parameters[P_UNIT]


@kernel
def cost(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus commission, spread and slippage of the bar, fraction of equity, / scale. Without state.

    `growth` is net of costs already: this counts them once more.
    """
    return -outcome[oc.COST] * parameters[P_UNIT]
