# SPDX-License-Identifier: Apache-2.0
"""One instrument against another, its peer: ``beta_60:SPX500``.

A row of an instrument compares with the peer's close last known at its stamp, so unequal hours
never look ahead: a peer that did not trade since the row before has a return of 0. Before the
peer's first bar the values are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import moments
from mtquant.features.kind import Kind, changes
from mtquant.features.past import CLOSE, LOG_RETURN, RETURN_MOMENTS, Past, Triple, Vector
from mtquant.features.windows import ROUNDING

(RELATIVE_STRENGTH, REGRESSION) = range(2)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "relative_strength": changes(
            RELATIVE_STRENGTH,
            20,
            "log return over w bars - that of the peer (Levy 1967)",
            minimum=1,
            needs="peer",
        ),
        "beta": changes(
            REGRESSION, 60, "slope of w log returns on the peer's (Sharpe 1964)", needs="peer"
        ),
        "correlation": changes(
            REGRESSION,
            60,
            "correlation of w log returns with the peer's; -1..1",
            output=1,
            needs="peer",
        ),
    }
)


@kernel
def relative_strength(past: Past, t: int, w: int, peer: int) -> float:
    """log(close / close w bars ago) - the same of the peer, whose closes are column `peer`."""
    own = math.log(past[CLOSE, t] / past[CLOSE, t - w])
    return own - math.log(past[peer, t] / past[peer, t - w])


@kernel
def co_moments(own: Vector, mean: float, other: Vector) -> tuple[float, float]:
    """Sum of products of the deviations from the means, and that of the other's squares.

    The other is counted in distances from its newest value, as in `windows.deviations`.
    """
    last = other[other.size - 1]
    y_total, xy, yy = 0.0, 0.0, 0.0
    y_second, xy_second, yy_second = 0.0, 0.0, 0.0
    paired = other.size - other.size % 2
    for i in range(0, paired, 2):
        y = other[i] - last
        y_total += y
        xy += own[i] * y
        yy += y * y
        y = other[i + 1] - last
        y_second += y
        xy_second += own[i + 1] * y
        yy_second += y * y
    # Of an odd number the newest is left over, whose distance is 0.
    distances = y_total + y_second
    squares = yy + yy_second - distances * distances / other.size
    return xy + xy_second - mean * distances, squares


@kernel
def regression(past: Past, t: int, w: int, peer: int) -> tuple[float, float]:
    """Covariance with the peer's log returns / their variance, and the correlation.

    The slope is 0 where the peer does not move, the correlation where one of both does not.
    """
    returns, others = past[LOG_RETURN, t - w + 1 : t + 1], past[peer + 1, t - w + 1 : t + 1]
    mean, xx = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    xy, yy = co_moments(returns, mean, others)
    least = w * ROUNDING * ROUNDING
    if math.isnan(yy):
        return math.nan, math.nan
    if yy <= least:
        return 0.0, 0.0
    correlation = max(min(xy / math.sqrt(xx * yy), 1.0), -1.0) if xx > least else 0.0
    return xy / yy, correlation


@kernel
def update(code: int, past: Past, t: int, w: int, peer: int) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    a, b, c = math.nan, math.nan, math.nan
    if code == RELATIVE_STRENGTH:
        a = relative_strength(past, t, w, peer)
    elif code == REGRESSION:
        a, b = regression(past, t, w, peer)
    return a, b, c
