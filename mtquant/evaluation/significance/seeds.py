# SPDX-License-Identifier: Apache-2.0
"""What several training seeds show together.

Source: Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep Reinforcement Learning at the
Edge of the Statistical Precipice", NeurIPS 2021: the interquartile mean, and intervals
by stratified bootstrap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    percentile_interval,
)

Float = NDArray[np.float64]


def interquartile_mean(scores: Float) -> float:
    """Mean of the middle half of all scores: ``floor(n / 4)`` are left out at either end.

    Less bent by one lucky seed than the mean, and using more of the seeds than the median.

    Args:
        scores: float64, any shape; NaN makes it NaN. Minus infinity is the lowest score there is,
            as of a ruined account: the mean is that too where more of them than are left out.

    Returns:
        The mean; NaN without scores.
    """
    if scores.size == 0 or np.isnan(scores).any():
        return float("nan")
    ordered = np.sort(scores, axis=None)
    cut = ordered.size // 4
    return float(np.mean(ordered[cut : ordered.size - cut]))


def seeds_interval(scores: Float, generator: np.random.Generator, draws: int = DRAWS) -> Interval:
    """95 % interval of the interquartile mean: seeds are drawn anew within each task.

    Args:
        scores: float64 [seeds, tasks], for example Sharpe ratios by seed and fold; finite, or minus
            infinity.
        generator: Draws.
        draws: Resamples.

    Returns:
        Lower and upper end.

    Raises:
        DataError: Not two-dimensional, fewer than 2 seeds, or a score that is NaN or infinite.
    """
    if scores.ndim != 2 or len(scores) < 2 or not (scores < np.inf).all():
        rule = "must be numbers below infinity, one row for each of at least 2 seeds"
        raise DataError("scores", rule, scores.shape, "Train from more seeds.")
    seeds, tasks = scores.shape
    rows = generator.integers(0, seeds, (draws, seeds, tasks))
    drawn = np.sort(scores[rows, np.arange(tasks)].reshape(draws, -1), axis=1)
    cut = drawn.shape[1] // 4
    found = drawn[:, cut : drawn.shape[1] - cut].mean(axis=1)
    if np.isfinite(found).all():
        return percentile_interval(found)
    # Nothing lies between a number and minus infinity.
    ends = (1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0
    low, high = np.quantile(found, ends, method="inverted_cdf")
    return float(low), float(high)
