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
def book_losses(exposures: Float, scenarios: Float, first: int, last: int, losses: Float) -> None:
    """What a book would have lost on each day of a window.

    Args:
        exposures: float64 [N].
        scenarios: One-day simple returns, float64 [N, D].
        first, last: The window, `last` exclusive.
        losses: Receives the result, float64 [last - first].
    """
    for day in range(last - first):
        losses[day] = 0.0
    for n in range(exposures.shape[0]):
        # A number and a window that begins at 0: so it is vector instructions, a twentieth of the
        # time. An index with an offset might count from the end of the array.
        exposure, returns = exposures[n], scenarios[n, first:last]
        for day in range(last - first):
            losses[day] -= exposure * returns[day]


@kernel
def exceeds(losses: Float, largest: float) -> bool:
    """Whether the 95 % historical value at risk is above `largest`: whether as many losses are as
    the tail has days. Books that hold the limit need no sorting.
    """
    count = 0
    for day in range(losses.shape[0]):
        count += 1 if losses[day] > largest else 0
    return count > beyond(losses.shape[0], TAIL_SHARE)


@kernel
def historical_tail(losses: Float, worst: Float) -> float:
    """95 % historical value at risk: `measures.historical_var`.

    Args:
        losses: float64 [D].
        worst: Scratch, float64 [>= D / 20 + 1]: the largest losses so far, largest first.
    """
    count = beyond(losses.shape[0], TAIL_SHARE) + 1
    for k in range(count):
        worst[k] = -math.inf
    for day in range(losses.shape[0]):
        loss = losses[day]
        k = count - 1
        if loss > worst[k]:
            while k > 0 and loss > worst[k - 1]:
                worst[k] = worst[k - 1]
                k -= 1
            worst[k] = loss
    return worst[count - 1]


@kernel
def _add_up(terms: Float) -> float:
    """The sum, by adding the upper half to the lower one until one number is left; the terms are
    overwritten. A sum one after the other would wait for each addition.
    """
    length = terms.shape[0]
    while length > 1:
        half = (length + 1) // 2
        for k in range(length - half):
            terms[k] += terms[half + k]
        length = half
    return terms[0]


@kernel
def cornish_fisher_tail(losses: Float, worst: Float) -> float:
    """95 % Cornish-Fisher value at risk, `measures.cornish_fisher_var`.

    Args:
        losses: float64 [D].
        worst: Scratch, float64 [>= D].
    """
    days = losses.shape[0]
    terms = worst[:days]
    for day in range(days):
        terms[day] = -losses[day]
    mean = _add_up(terms) / days
    for day in range(days):
        difference = -losses[day] - mean
        terms[day] = difference * difference
    second = _add_up(terms) / days
    for day in range(days):
        difference = -losses[day] - mean
        terms[day] = difference * difference * difference
    third = _add_up(terms) / days
    for day in range(days):
        square = (-losses[day] - mean) * (-losses[day] - mean)
        terms[day] = square * square
    fourth = _add_up(terms) / days
    value = cornish_fisher(mean, second, third, fourth, -NORMAL_QUANTILE_95)
    return historical_tail(losses, worst) if math.isnan(value) else value


@kernel
def limit_tail(
    allowed: Float,
    scenarios: Float,
    first: int,
    last: int,
    largest: float,
    modified: bool,
    scratch: Float,
) -> int:
    """Shrinks a book until its one-day value at risk on scenarios is at most `largest`.

    Args:
        allowed: Exposures, float64 [N]; receives the result. While the window is empty every
            deviation in the bar's risk is infinite, and `limit_book` has allowed nothing.
        scenarios, first, last: As in `book_losses`.
        largest: The limit, units of equity.
        modified: Whether to use the Cornish-Fisher figure.
        scratch: float64 [2, >= last - first], overwritten.

    Returns:
        LIMIT_VAR where it shrank, else 0.
    """
    if last <= first:
        return 0
    losses = scratch[0, : last - first]
    book_losses(allowed, scenarios, first, last, losses)
    if modified:
        value = cornish_fisher_tail(losses, scratch[1])
    elif exceeds(losses, largest):
        value = historical_tail(losses, scratch[1])
    else:
        return 0
    if value <= largest:
        return 0
    for n in range(allowed.shape[0]):
        allowed[n] *= largest / value
    return LIMIT_VAR
