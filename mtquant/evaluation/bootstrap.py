# SPDX-License-Identifier: Apache-2.0
"""Intervals of measures of a time series, and of two beside each other.

Rows are drawn in blocks that begin anywhere and have geometric lengths (the stationary bootstrap:
Politis & Romano 1994, "The stationary bootstrap", JASA 89), so that neighbouring bars stay
neighbours. Series that are drawn by the same rows stay paired: what moved both is not counted as a
difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mtquant.data.moves import block_rows

Float = NDArray[np.float64]
Rows = NDArray[np.int64]
Interval = tuple[float, float]

LEVEL = 0.95
BLOCK_BARS = 20.0  # mean length of a block
LEAST_PAIRS = 20  # fewer say nothing about a correlation
UNKNOWN: Interval = (float("nan"), float("nan"))


def drawn_rows(length: int, draws: int, random: np.random.Generator) -> Iterator[Rows]:
    """`draws` times `length` rows in blocks, int64 [length] each."""
    for _ in range(draws):
        yield block_rows(length, length, BLOCK_BARS, random)


def interval_of(found: Float) -> Interval:
    """The central 95 % of what the draws gave; NaN twice where fewer than two are finite."""
    known = found[np.isfinite(found)]
    if len(known) < 2:
        return UNKNOWN
    low, high = np.quantile(known, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return float(low), float(high)


def intervals(
    series: Float, measure: Callable[[Float], Float], draws: int, random: np.random.Generator
) -> list[Interval]:
    """Intervals of measures of several series, which are drawn by the same rows.

    Args:
        series: float64 [T, M].
        measure: From [T, M] to the measures, float64 [P].
        draws: Samples.
        random: Where they come from.

    Returns:
        P intervals.
    """
    found = np.array([measure(series[rows]) for rows in drawn_rows(len(series), draws, random)])
    return [interval_of(column) for column in found.T]


def mean_intervals(series: Float, draws: int, random: np.random.Generator) -> list[Interval]:
    """`intervals` of the mean of every column."""
    return intervals(series, _means, draws, random)


def _means(series: Float) -> Float:
    means: Float = series.mean(axis=0)
    return means


def rank_correlation(
    first: Float, second: Float, draws: int, random: np.random.Generator
) -> tuple[float, Interval]:
    """Spearman's correlation of two quantities in time, and its interval.

    Ranks are those among all known pairs in every draw (Spearman 1904, "The proof and measurement
    of association between two things"). What is known at the same time is drawn together.

    Args:
        first, second: float64 [T] or [T, K], in the order of time; a pair with a NaN does not
            count.
        draws: Samples.
        random: Where they come from.

    Returns:
        Correlation and interval; NaN where either is constant or fewer than `LEAST_PAIRS` pairs are
        known.
    """
    from scipy.stats import rankdata

    first, second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < LEAST_PAIRS:
        return float("nan"), UNKNOWN
    x, y = np.zeros_like(first), np.zeros_like(second)
    for ranks, values in ((x, first), (y, second)):
        ranked = rankdata(values[known])
        ranks[known] = ranked - ranked.mean()  # small numbers: sums of squares lose nothing
    # A draw's sums are sums over its rows of what each row adds.
    terms = np.stack([known.astype(float), x, y, x * x, y * y, x * y]).sum(axis=2).T
    rows = drawn_rows(len(terms), draws, random)
    found = np.array([_correlation(terms[drawn].sum(axis=0)) for drawn in rows])
    return _correlation(terms.sum(axis=0)), interval_of(found)


def _correlation(sums: Float) -> float:
    """Pearson's correlation from count and sums of x, y, xx, yy and xy; NaN where one is
    constant.
    """
    count, x, y, xx, yy, xy = sums
    if not count > 1.0:
        return float("nan")
    spread = (xx - x * x / count) * (yy - y * y / count)
    return float((xy - x * y / count) / np.sqrt(spread)) if spread > 0.0 else float("nan")
