# SPDX-License-Identifier: Apache-2.0
"""Statistics of a window, summed afresh at every bar.

There are no running sums: the same window gives the same bytes wherever history began. Several sums
run side by side, because a processor begins the next addition before the last one is done; which
value goes to which depends on its place in the window alone.
"""

from __future__ import annotations

import math

from mtquant.core.compiled import kernel
from mtquant.features.doubling import moments
from mtquant.features.past import Past, Vector

# Log returns are good to 1e-16: a smaller standard deviation than this is rounding.
ROUNDING = 1e-12


@kernel
def total(window: Vector) -> float:
    """Sum of a window."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    fours = window.size - window.size % 4
    for i in range(0, fours, 4):
        a += window[i]
        b += window[i + 1]
        c += window[i + 2]
        d += window[i + 3]
    for i in range(fours, window.size):
        a += window[i]
    return (a + b) + (c + d)


@kernel
def deviations(window: Vector) -> tuple[float, float]:
    """Newest value minus the mean, and the sum of squared deviations from the mean.

    Counted as distances from the newest value, so a flat window gives exactly 0 and 0 at any price
    level. One pass is enough: the newest value is one of the n, so its distance from the mean is at
    most (n - 1) / sqrt(n) standard deviations, and the subtraction below loses a factor n of
    precision at worst.
    """
    last = window[window.size - 1]
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    aa, bb, cc, dd = 0.0, 0.0, 0.0, 0.0
    fours = window.size - window.size % 4
    for i in range(0, fours, 4):
        w, x, y, z = window[i], window[i + 1], window[i + 2], window[i + 3]
        a += last - w
        b += last - x
        c += last - y
        d += last - z
        aa += (last - w) * (last - w)
        bb += (last - x) * (last - x)
        cc += (last - y) * (last - y)
        dd += (last - z) * (last - z)
    for i in range(fours, window.size):
        a += last - window[i]
        aa += (last - window[i]) * (last - window[i])
    distances = (a + b) + (c + d)
    lead = distances / window.size
    return lead, (aa + bb) + (cc + dd) - distances * lead


@kernel
def higher_moments(window: Vector, mean: float) -> tuple[float, float]:
    """Sums of the third and of the fourth powers of the deviations from the mean."""
    third, fourth, other_third, other_fourth = 0.0, 0.0, 0.0, 0.0
    paired = window.size - window.size % 2
    for i in range(0, paired, 2):
        x, y = window[i] - mean, window[i + 1] - mean
        third += x * x * x
        fourth += (x * x) * (x * x)
        other_third += y * y * y
        other_fourth += (y * y) * (y * y)
    if paired < window.size:
        x = window[paired] - mean
        third += x * x * x
        fourth += (x * x) * (x * x)
    return third + other_third, fourth + other_fourth


@kernel
def products(window: Vector, other: Vector) -> float:
    """Sum of the products of two windows."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    fours = window.size - window.size % 4
    for i in range(0, fours, 4):
        a += window[i] * other[i]
        b += window[i + 1] * other[i + 1]
        c += window[i + 2] * other[i + 2]
        d += window[i + 3] * other[i + 3]
    for i in range(fours, window.size):
        a += window[i] * other[i]
    return (a + b) + (c + d)


@kernel
def standard_score(past: Past, column: int, doubled: int, t: int, w: int) -> float:
    """(newest - mean) / standard deviation (ddof 1) of a column; 0 in a flat window."""
    mean, squares = moments(past, column, doubled, t, w)
    if squares <= 0.0:
        return 0.0
    return (past[column, t] - mean) / math.sqrt(squares / (w - 1))


@kernel
def place(value: float, floor: float, ceiling: float) -> float:
    """Place of a value between two others, 0..1; 0.5 where they are equal."""
    height = ceiling - floor
    return (value - floor) / height if height > 0.0 else 0.5
