# SPDX-License-Identifier: Apache-2.0
"""Measures of one series of returns against another on the same bars.

The rules are those of `metrics`: simple returns per bar as fractions; what is undefined, or comes
from a NaN, is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import NAN, NO_VARIANCE, sharpe

Float = NDArray[np.float64]


def beta(returns: Float, benchmark: Float) -> float:
    """``cov(r, b) / var(b)``: how far returns move with the benchmark's, as quantstats.

    Args:
        returns, benchmark: float64 [T], of the same bars.

    Returns:
        The slope; NaN for fewer than two bars or a benchmark without variance.
    """
    if len(returns) < 2:
        return NAN
    around = benchmark - np.mean(benchmark)
    size = float(around @ around)
    if not size > len(returns) * (NO_VARIANCE * float(np.max(np.abs(benchmark)))) ** 2:
        return NAN
    return float((returns - np.mean(returns)) @ around) / size


def alpha(returns: Float, benchmark: Float, periods_per_year: float) -> float:
    """``(mean(r) - beta mean(b)) * periods_per_year``, a fraction per year, as quantstats.

    Source: Jensen, "The Performance of Mutual Funds in the Period 1945-1964", Journal of Finance 23
    (1968), with a risk-free rate of 0.
    """
    slope = beta(returns, benchmark)
    return float(np.mean(returns) - slope * np.mean(benchmark)) * periods_per_year


def information_ratio(returns: Float, benchmark: Float, periods_per_year: float) -> float:
    """Sharpe ratio of the difference to the benchmark, per year.

    quantstats leaves it per bar. Source: Goodwin, "The Information Ratio", Financial Analysts
    Journal 54 (1998).
    """
    return sharpe(returns - benchmark, periods_per_year)
