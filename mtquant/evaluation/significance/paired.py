# SPDX-License-Identifier: Apache-2.0
"""Intervals of measures of several series, and of a correlation, from the same drawn bars.

Rows are drawn in blocks (`bootstrap.py`); series that are drawn by the same rows stay paired: what
moved both is not counted as a difference. The mean block is the longest that any of the series asks
for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.significance.bootstrap import (
    Interval,
    mean_block_bars,
    percentile_interval,
    stationary_rows,
)

Float = NDArray[np.float64]

UNKNOWN: Interval = (float("nan"), float("nan"))
LEAST_PAIRS = 20  # fewer say nothing about a correlation


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
    block = max(mean_block_bars(column) for column in series.T)
    rows = stationary_rows(len(series), block, draws, random)
    found = np.array([measure(series[drawn]) for drawn in rows])
    return [percentile_interval(column) for column in found.T]


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
    rows = stationary_rows(len(terms), mean_block_bars(terms[:, -1]), draws, random)
    found = np.array([_correlation(terms[drawn].sum(axis=0)) for drawn in rows])
    return _correlation(terms.sum(axis=0)), percentile_interval(found)


def _correlation(sums: Float) -> float:
    """Pearson's correlation from count and sums of x, y, xx, yy and xy; NaN where one is
    constant.
    """
    count, x, y, xx, yy, xy = sums
    if not count > 1.0:
        return float("nan")
    spread = (xx - x * x / count) * (yy - y * y / count)
    return float((xy - x * y / count) / np.sqrt(spread)) if spread > 0.0 else float("nan")
