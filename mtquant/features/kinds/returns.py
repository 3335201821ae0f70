# SPDX-License-Identifier: Apache-2.0
"""Returns, and how straight the way was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import highest, moments
from mtquant.features.kind import Kind, changes, levels
from mtquant.features.past import (
    CLOSE,
    CLOSE_MOMENTS,
    HIGHEST_CLOSE,
    LOG_RETURN,
    OVERNIGHT,
    RETURN_MOMENTS,
    Past,
    Triple,
)
from mtquant.features.windows import ROUNDING

(
    RETURN_LOG,
    RETURN_PLAIN,
    RETURN_OVERNIGHT,
    MOMENTUM,
    DRAWDOWN,
    EFFICIENCY,
    LINE,
) = range(7)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "log_return": changes(RETURN_LOG, 1, "log(close / close w bars ago)", minimum=1),
        "roc": changes(RETURN_PLAIN, 12, "rate of change, close / close w bars ago - 1", minimum=1),
        "gap": Kind(RETURN_OVERNIGHT, (), (), (), lambda: 1, "log(open / close of the bar before)"),
        "momentum": changes(
            MOMENTUM,
            20,
            "log return over w bars / its volatility (after Moskowitz, Ooi, Pedersen 2012)",
        ),
        "drawdown": levels(DRAWDOWN, 60, "close / highest close - 1; -1..0"),
        "efficiency": changes(
            EFFICIENCY, 10, "efficiency ratio: way gained / way gone; 0..1 (Kaufman 1995)"
        ),
        "slope": levels(LINE, 20, "least-squares slope of the close per bar / close", minimum=3),
        "r_squared": levels(
            LINE, 20, "share of the variance that this line explains; 0..1", minimum=3, output=1
        ),
    }
)


@kernel
def log_return(past: Past, t: int, w: int) -> float:
    """log(close / close w bars ago)."""
    return math.log(past[CLOSE, t] / past[CLOSE, t - w])


@kernel
def momentum(past: Past, t: int, w: int) -> float:
    """Log return over w bars / (their volatility x sqrt(w)); 0 where volatility is 0."""
    mean, squares = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    deviation = math.sqrt(squares / (w - 1))
    return mean * math.sqrt(w) / deviation if deviation > ROUNDING else 0.0


@kernel
def drawdown(past: Past, t: int, w: int) -> float:
    """Close / highest close of w bars - 1, never above 0."""
    return past[CLOSE, t] / highest(past, CLOSE, HIGHEST_CLOSE, t, w) - 1.0


@kernel
def efficiency(past: Past, t: int, w: int) -> float:
    """Net change of w bars / the sum of their absolute changes; 0 without movement."""
    closes = past[CLOSE, t - w : t + 1]
    way = 0.0
    for i in range(w):
        way += abs(closes[i + 1] - closes[i])
    return min(abs(closes[w] - closes[0]) / way, 1.0) if way > 0.0 else 0.0


@kernel
def line(past: Past, t: int, w: int) -> tuple[float, float]:
    """Least squares of w closes on their number: slope / close and the explained share of variance.

    Slope and share are 0 in a flat window.
    """
    mean, variance = moments(past, CLOSE, CLOSE_MOMENTS, t, w)
    if variance <= 0.0:
        return 0.0, 0.0
    closes, middle = past[CLOSE, t - w + 1 : t + 1], 0.5 * (w - 1)
    products, others = 0.0, 0.0
    for i in range(0, w - w % 2, 2):
        products += (i - middle) * (closes[i] - mean)
        others += (i + 1 - middle) * (closes[i + 1] - mean)
    if w % 2 == 1:
        products += middle * (closes[w - 1] - mean)
    products += others
    # Sum of (i - middle)^2 over i = 0..w - 1.
    spread = w * (w * w - 1.0) / 12.0
    share = min(products * products / (spread * variance), 1.0)
    return products / (spread * closes[w - 1]), share


@kernel
def update(code: int, past: Past, t: int, w: int) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    a, b, c = math.nan, math.nan, math.nan
    if code == RETURN_LOG:
        a = log_return(past, t, w)
    elif code == RETURN_PLAIN:
        a = past[CLOSE, t] / past[CLOSE, t - w] - 1.0
    elif code == RETURN_OVERNIGHT:
        a = past[OVERNIGHT, t]
    elif code == MOMENTUM:
        a = momentum(past, t, w)
    elif code == DRAWDOWN:
        a = drawdown(past, t, w)
    elif code == EFFICIENCY:
        a = efficiency(past, t, w)
    elif code == LINE:
        a, b = line(past, t, w)
    return a, b, c
