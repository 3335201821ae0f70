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
from mtquant.features.past import (
    CLOSE,
    LOG_RETURN,
    PEER_MOMENTS,
    PEER_RETURN,
    RETURN_MOMENTS,
    Past,
    Triple,
)
from mtquant.features.windows import ROUNDING, products

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
def regression(past: Past, t: int, w: int, peer: int) -> tuple[float, float]:
    """Covariance with the peer's log returns / their variance, and the correlation.

    The slope is 0 where the peer does not move, the correlation where one of both does not.
    """
    own_mean, xx = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    mean, yy = moments(past, peer + PEER_RETURN, peer + PEER_MOMENTS, t, w)
    least = w * ROUNDING * ROUNDING
    if math.isnan(yy):
        return math.nan, math.nan
    if yy <= least:
        return 0.0, 0.0
    own, other = past[LOG_RETURN, t - w + 1 : t + 1], past[peer + PEER_RETURN, t - w + 1 : t + 1]
    # Means of returns are small beside their deviations, so their product may be taken off at the
    # end without a loss.
    xy = products(own, other) - w * own_mean * mean
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
