# SPDX-License-Identifier: Apache-2.0
"""Intervals that keep the serial dependence of returns: the stationary block bootstrap.

Blocks of random length are drawn with replacement, so that neighbouring bars stay neighbours; their
mean length is the one that Politis and White estimate from the series itself.

Source: Politis and Romano, "The Stationary Bootstrap", JASA 89 (1994); Politis and White,
"Automatic Block-Length Selection for the Dependent Bootstrap", Econometric Reviews 23 (2004), with
the correction of Patton, Politis and White (2009), as `arch.bootstrap.optimal_block_length`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.data.moves import block_rows
from mtquant.evaluation.metrics import NO_VARIANCE, sharpe

Float = NDArray[np.float64]
Rows = NDArray[np.int64]
Interval = tuple[float, float]

NAN = float("nan")
LEVEL = 0.95
DRAWS = 1000
MIN_BARS = 20  # below this the block length itself cannot be estimated


@dataclass(frozen=True)
class SharpeEstimate:
    """A Sharpe ratio and how sure one may be of it; all ratios per year.

    Attributes:
        ratio: The ratio; NaN if undefined.
        low, high: Ends of its 95 % interval; NaN if there is none.
        error: Standard deviation of the resampled ratios; NaN if there are none.
        bars: Returns it was computed from.
        periods_per_year: Bars per year.
    """

    ratio: float
    low: float
    high: float
    error: float
    bars: int
    periods_per_year: float


def mean_block_bars(returns: Float) -> float:
    """Mean block length for a series, at least 1 and at most its length, bars.

    Args:
        returns: float64 [T], finite. Fewer than `MIN_BARS` or a constant series give 1.
    """
    if len(returns) < MIN_BARS:
        return 1.0
    from arch.bootstrap import optimal_block_length

    with np.errstate(divide="ignore", invalid="ignore"):  # a stretch of zeros has no correlation
        estimated = float(optimal_block_length(returns)["stationary"].iloc[0])
    return float(np.clip(np.nan_to_num(estimated, nan=1.0), 1.0, len(returns)))


def stationary_rows(
    length: int, mean_block: float, draws: int, generator: np.random.Generator
) -> Iterator[Rows]:
    """`draws` times int64 [length]: the rows of one resample each."""
    for _ in range(draws):
        yield block_rows(length, length, mean_block, generator)


def percentile_interval(found: Float, level: float = LEVEL) -> Interval:
    """The central `level` of the resampled values; those not finite do not count.

    Returns:
        Lower and upper end; (NaN, NaN) where fewer than two are finite.
    """
    known = found[np.isfinite(found)]
    if len(known) < 2:
        return NAN, NAN
    low, high = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def sharpe_estimate(
    simple_returns: Float, periods_per_year: float, seed: int, draws: int = DRAWS
) -> SharpeEstimate:
    """The Sharpe ratio with its 95 % interval, percentile method.

    Args:
        simple_returns: float64 [T]; a NaN makes everything NaN.
        periods_per_year: Bars per year.
        seed: Root of the seed tree; the same seed gives the same interval.
        draws: Resamples.

    Returns:
        The estimate; interval and error are NaN for fewer than 20 bars or an undefined ratio. A
        resample without variance, as of a policy that hardly ever trades, counts as a ratio of 0.
    """
    bars, ratio = len(simple_returns), sharpe(simple_returns, periods_per_year)
    if bars < MIN_BARS or np.isnan(ratio):
        return SharpeEstimate(ratio, NAN, NAN, NAN, bars, periods_per_year)
    generator = SeedTree(seed).child("evaluation", "sharpe_interval").generator()
    rows = stationary_rows(bars, mean_block_bars(simple_returns), draws, generator)
    found = _resampled_ratios(simple_returns, rows) * np.sqrt(periods_per_year)
    low, high = percentile_interval(found)
    return SharpeEstimate(ratio, low, high, float(np.std(found)), bars, periods_per_year)


def _resampled_ratios(returns: Float, resamples: Iterator[Rows]) -> Float:
    """Sharpe ratio per bar of each resample, by sums: a fifth of the time of mean and deviation."""
    count, mean = len(returns), float(np.mean(returns))
    around = returns - mean  # so that squares of a mean far from 0 do not swallow the variance
    sums = np.array([(part.sum(), part @ part) for part in (around[rows] for rows in resamples)])
    variance = (sums[:, 1] - sums[:, 0] ** 2 / count) / (count - 1)
    known = variance > (NO_VARIANCE * float(np.max(np.abs(returns)))) ** 2
    means = mean + sums[:, 0] / count
    ratios: Float = np.divide(
        means, np.sqrt(np.where(known, variance, 1.0)), out=np.zeros_like(means), where=known
    )
    return ratios
