# SPDX-License-Identifier: Apache-2.0
"""Extremes and moments of any window from those of 2, 4, 8, 16 and 32 rows.

A row's value over 2k rows is made of its value over k rows and that of the row k before it, so one
column per power of two serves all windows that end there: a window of 20 is one of 16 and one of 4.
These are no running sums. What a window gives depends on its own rows alone, taken in an order that
its length decides, and never on when history began; extremes are even those of a plain search.

Source of the moments: Chan, Golub, LeVeque, The American Statistician 37 (1983), equation 2.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel

Past = NDArray[np.float64]
Vector = NDArray[np.float64]

# 2, 4, 8, 16, 32 rows. Longer windows are made of several blocks of 32.
LEVELS = 5


@kernel
def double_extremes(
    past: Past, high: int, highs: int, low: int, lows: int, first: int, last: int
) -> None:
    """Fills in rows first..last - 1 of the highest values of one column, the lowest of another.

    Rows before history count as zeros; what was made of them must not be read.

    Args:
        past: float64 [columns, rows].
        high, low: Columns.
        highs, lows: First of the `LEVELS` columns for their extremes.
        first, last: Rows.
    """
    half = 1
    for level in range(LEVELS):
        upper = high if level == 0 else highs + level - 1
        lower = low if level == 0 else lows + level - 1
        keep_larger(
            past[highs + level, first:last],
            past[upper, first:last],
            past[upper, first - half : last - half],
        )
        keep_smaller(
            past[lows + level, first:last],
            past[lower, first:last],
            past[lower, first - half : last - half],
        )
        half *= 2


@kernel
def keep_larger(result: Vector, newer: Vector, older: Vector) -> None:
    """The larger of two values, for many rows; a loop that the compiler turns into vectors."""
    for i in range(result.size):
        result[i] = newer[i] if newer[i] > older[i] else older[i]


@kernel
def keep_smaller(result: Vector, newer: Vector, older: Vector) -> None:
    """The smaller of two values, for many rows."""
    for i in range(result.size):
        result[i] = newer[i] if newer[i] < older[i] else older[i]


@kernel
def double_moments(past: Past, column: int, doubled: int, first: int, last: int) -> None:
    """Fills in rows first..last - 1 of means and sums of squared deviations of a column.

    They alternate from column `doubled` on: mean over 2 rows, deviations over 2 rows, mean over 4.
    Two equal halves of a window give exactly their mean and no deviation.
    """
    for i in range(first, last):
        distance = past[column, i] - past[column, i - 1]
        past[doubled, i] = past[column, i - 1] + 0.5 * distance
        past[doubled + 1, i] = 0.5 * distance * distance
    half = 2
    for level in range(1, LEVELS):
        means, squares = doubled + 2 * level - 2, doubled + 2 * level - 1
        join_moments(
            past[means + 2, first:last],
            past[squares + 2, first:last],
            past[means, first:last],
            past[means, first - half : last - half],
            past[squares, first:last],
            past[squares, first - half : last - half],
            0.5 * half,
        )
        half *= 2


@kernel
def join_moments(
    mean: Vector,
    squares: Vector,
    newer_mean: Vector,
    older_mean: Vector,
    newer_squares: Vector,
    older_squares: Vector,
    weight: float,
) -> None:
    """Moments of two neighbouring blocks of equal size as one, for many rows.

    A weight of half the size of a block turns the distance of their means into deviations.
    """
    for i in range(mean.size):
        distance = newer_mean[i] - older_mean[i]
        mean[i] = older_mean[i] + 0.5 * distance
        squares[i] = newer_squares[i] + older_squares[i] + weight * distance * distance


@kernel
def level_of(w: int) -> int:
    """How often 2 fits into w as a factor of a block: the blocks of w rows have 2^level; at most 5.

    Without a loop, so that the compiler does it once for many rows.
    """
    level = (1 if w >= 2 else 0) + (1 if w >= 4 else 0) + (1 if w >= 8 else 0)
    return level + (1 if w >= 16 else 0) + (1 if w >= 32 else 0)


@kernel
def highest(past: Past, column: int, highs: int, t: int, w: int) -> float:
    """Largest value of the w newest rows of a column; blocks may overlap."""
    level = level_of(w)
    size = 1 << level
    source = column if level == 0 else highs + level - 1
    best = past[source, t - w + size]
    for row in range(t, t - w + size, -size):
        best = past[source, row] if past[source, row] > best else best
    return best


@kernel
def lowest(past: Past, column: int, lows: int, t: int, w: int) -> float:
    """Smallest value of the w newest rows of a column; blocks may overlap."""
    level = level_of(w)
    size = 1 << level
    source = column if level == 0 else lows + level - 1
    best = past[source, t - w + size]
    for row in range(t, t - w + size, -size):
        best = past[source, row] if past[source, row] < best else best
    return best


@kernel
def moments(past: Past, column: int, doubled: int, t: int, w: int) -> tuple[float, float]:
    """Mean and sum of squared deviations of the w newest rows of a column, at least 2.

    In a window of equal values they are exactly that value and 0.

    Args:
        past: float64 [columns, rows].
        column: The column.
        doubled: First of the columns that `double_moments` made of it.
        t: Last row of the window.
        w: Rows of the window.
    """
    level = level_of(w)
    size = 1 << level
    source = doubled + 2 * level - 2
    mean, squares = past[source, t], past[source + 1, t]
    count, row = size, t - size
    while level > 0:
        while w - count >= size:
            distance = past[source, row] - mean
            share = size / (count + size)
            mean += share * distance
            squares += past[source + 1, row] + share * count * distance * distance
            count += size
            row -= size
        level -= 1
        size //= 2
        source -= 2
    if count < w:
        distance = past[column, row] - mean
        mean += distance / w
        squares += count / w * distance * distance
    return mean, squares
