# SPDX-License-Identifier: Apache-2.0
"""Sharpe ratio and volatility over a moving window, the ratio with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import NO_VARIANCE

Float = NDArray[np.float64]

LEAST_WINDOW = 20
Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Rolling:
    """Per bar, over the window that ends with it; NaN while the window is not full.

    Attributes:
        window: Bars.
        volatility: float64 [T], per year, a fraction.
        sharpe: float64 [T], per year; NaN where the window does not vary.
        low, high: float64 [T], 95 % interval of the ratio by its standard error.
    """

    window: int
    volatility: Float
    sharpe: Float
    low: Float
    high: Float


def rolling(simple_returns: Float, periods_per_year: float) -> Rolling:
    """Half a year of bars at a time, or a quarter of the series where it is shorter than two years.

    The interval is ``SR +- 1.96 sqrt((1 + SR^2 / 2) / W)`` per bar, Lo 2002, "The Statistics of
    Sharpe Ratios", equation 9: returns independent of each other. A bootstrap for every bar would
    cost a thousand times as much and change little beside the width that so few bars give.

    Args:
        simple_returns: float64 [T], finite.
        periods_per_year: Bars per year.
    """
    bars = len(simple_returns)
    half_year = periods_per_year / 2.0 if np.isfinite(periods_per_year) else bars
    window = int(max(LEAST_WINDOW, min(round(half_year), bars // 4)))
    mean, deviation = np.full(bars, np.nan), np.full(bars, np.nan)
    if bars >= window:
        views = np.lib.stride_tricks.sliding_window_view(simple_returns, window)
        mean[window - 1 :] = views.mean(axis=1)
        deviation[window - 1 :] = views.std(axis=1, ddof=1)
    size = float(np.max(np.abs(simple_returns), initial=0.0))
    varies = deviation > NO_VARIANCE * size
    ratio = np.full(bars, np.nan)
    np.divide(mean, deviation, out=ratio, where=varies)
    reach = Z95 * np.sqrt((1.0 + ratio**2 / 2.0) / window)
    year = np.sqrt(periods_per_year)
    return Rolling(
        window, deviation * year, ratio * year, (ratio - reach) * year, (ratio + reach) * year
    )
