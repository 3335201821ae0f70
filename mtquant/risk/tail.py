# SPDX-License-Identifier: Apache-2.0
"""Portfolio value at risk on scenarios: what today's book would have returned on each past day.

Neither the historical nor the Cornish-Fisher figure is convex in the exposures, so no projection
onto them exists. Both grow in proportion to the book, so shrinking it is always possible and
exact, and keeps every other limit: `limit_tail` comes after `limit_book`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.outcome import LIMIT_VAR
from mtquant.risk.measures import CONFIDENCE, NORMAL_QUANTILE_95, beyond, cornish_fisher

Float = NDArray[np.float64]

TAIL_SHARE = 1.0 - CONFIDENCE


@kernel
def _portfolio_return(scenarios: Float, day: int, exposures: Float) -> float:
    total = 0.0
    for n in range(exposures.shape[0]):
        total += scenarios[day, n] * exposures[n]
    return total


@kernel
def historical_tail(exposures: Float, scenarios: Float, worst: Float) -> float:
    """95 % historical value at risk of a book: as `measures.historical_var` on its returns.

    Args:
        exposures: float64 [N].
        scenarios: One-day simple returns, float64 [D, N], finite.
        worst: Scratch, float64 [>= D / 20 + 1]: the largest losses so far, largest first.
    """
    count = beyond(scenarios.shape[0], TAIL_SHARE) + 1
    for k in range(count):
        worst[k] = -math.inf
    for day in range(scenarios.shape[0]):
        loss = -_portfolio_return(scenarios, day, exposures)
        k = count - 1
        if loss > worst[k]:
            while k > 0 and loss > worst[k - 1]:
                worst[k] = worst[k - 1]
                k -= 1
            worst[k] = loss
    return worst[count - 1]


@kernel
def cornish_fisher_tail(exposures: Float, scenarios: Float, worst: Float) -> float:
    """95 % Cornish-Fisher value at risk of a book, arguments as in `historical_tail`; the
    historical one outside its domain of validity.
    """
    days = scenarios.shape[0]
    mean = 0.0
    for day in range(days):
        mean += _portfolio_return(scenarios, day, exposures) / days
    second = third = fourth = 0.0
    for day in range(days):
        difference = _portfolio_return(scenarios, day, exposures) - mean
        square = difference * difference
        second += square / days
        third += square * difference / days
        fourth += square * square / days
    value = cornish_fisher(mean, second, third, fourth, -NORMAL_QUANTILE_95)
    return historical_tail(exposures, scenarios, worst) if math.isnan(value) else value


@kernel
def limit_tail(
    allowed: Float, scenarios: Float, largest: float, modified: bool, worst: Float
) -> int:
    """Shrinks a book until its one-day value at risk on scenarios is at most `largest`.

    Args:
        allowed: Exposures, float64 [N]; receives the result.
        scenarios, worst: As in `historical_tail`.
        largest: The limit, units of equity.
        modified: Whether to use the Cornish-Fisher figure.

    Returns:
        LIMIT_VAR where it shrank, else 0.
    """
    if modified:
        value = cornish_fisher_tail(allowed, scenarios, worst)
    else:
        value = historical_tail(allowed, scenarios, worst)
    if value <= largest:
        return 0
    for n in range(allowed.shape[0]):
        allowed[n] *= largest / value
    return LIMIT_VAR
