# SPDX-License-Identifier: Apache-2.0
"""What a Sharpe ratio is worth after its length, its tails and the number of tries.

Ratios are per bar here, as in the papers, unless a name says otherwise.

Sources: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012)
[SREF]; the same, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014) [DSR];
Bailey, Borwein, Lopez de Prado and Zhu, "Pseudo-Mathematics and Financial Charlatanism", Notices of
the AMS 61 (2014) [PM].
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.bootstrap import SharpeEstimate

NORMAL = NormalDist()
NAN = float("nan")


def sharpe_error(ratio: float, bars: int, skewness: float, kurtosis: float) -> float:
    """Standard error of a Sharpe ratio of independent returns of any distribution.

    ``sqrt((1 - skewness SR + (kurtosis - 1) / 4 SR^2) / (T - 1))``, SREF (after Mertens
    2002).

    Args:
        ratio: Per bar.
        bars: T.
        skewness: Of the returns.
        kurtosis: Of the returns, 3 for a normal distribution.

    Returns:
        The error, per bar; NaN for fewer than two bars or where the expression is negative.
    """
    variance = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    return math.sqrt(variance / (bars - 1)) if bars > 1 and variance > 0.0 else NAN


def probabilistic_sharpe(
    ratio: float, benchmark: float, bars: int, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probability that the true ratio is above a benchmark: PSR, SREF.

    Returns:
        ``Phi((SR - benchmark) / sharpe_error)``; NaN where the error is.
    """
    error = sharpe_error(ratio, bars, skewness, kurtosis)
    return NAN if math.isnan(ratio + error) else NORMAL.cdf((ratio - benchmark) / error)


def minimum_track_record(
    ratio: float,
    benchmark: float,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    confidence: float = 0.95,
) -> float:
    """Bars until a ratio is above a benchmark with that confidence: MinTRL, SREF.

    Returns:
        ``1 + (1 - skewness SR + (kurtosis - 1) / 4 SR^2) (z / (SR - benchmark))^2``; NaN for a
        ratio that is not above the benchmark: no length is enough.
    """
    if not ratio > benchmark:
        return NAN
    needed = NORMAL.inv_cdf(confidence) / (ratio - benchmark)
    return 1.0 + (1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2) * needed**2


def expected_maximum(trials: float) -> float:
    """Expected maximum of N independent standard normal draws, DSR eq. 1 and PM eq. 4.

    ``(1 - gamma) z(1 - 1 / N) + gamma z(1 - 1 / (N e))``, gamma being Euler's constant; the
    approximation is for large N and falls below 0 near N = 1, where the truth, 0, is taken.

    Args:
        trials: N, at least 1; a fraction where trials resemble each other.

    Raises:
        DataError: Fewer than one trial.
    """
    if not trials >= 1.0:
        raise DataError("trials", "must be at least 1", trials, "Count the policy itself too.")
    if trials == 1.0:
        return 0.0
    first, second = (NORMAL.inv_cdf(1.0 - 1.0 / (trials * k)) for k in (1.0, math.e))
    return max(0.0, (1.0 - np.euler_gamma) * first + np.euler_gamma * second)


def luck_threshold(trials: float, deviation: float) -> float:
    """The ratio that the best of N tries without an edge is expected to show, DSR eq. 1.

    Args:
        trials: N, effective.
        deviation: Standard deviation of the ratios among the tries.

    Returns:
        In the unit of `deviation`.
    """
    return deviation * expected_maximum(trials)


def deflated_sharpe(
    found: SharpeEstimate, skewness: float, kurtosis: float, trials: float
) -> float:
    """Probability that a ratio is above what the best of so many tries shows by luck, DSR eq. 2.

    Two choices the paper leaves open, both measured in `docs/benchmarks.md`. The deviation of the
    ratios is that of tries without an edge, ``1 / sqrt(T - 1)``, and not the one among the trials
    at hand: a single good policy among 20 would raise that enough to hide itself, and losing ones
    would too. And every error is at least the one of the block bootstrap, because the formulas
    suppose that returns are independent of each other.

    Args:
        found: The ratio, per year, with its bootstrap error.
        skewness, kurtosis: Of the returns; a normal distribution has 0 and 3.
        trials: Effective number of tries, at least 1, this one counted.

    Returns:
        Probability; NaN where the ratio or its error is undefined.
    """
    per_bar = math.sqrt(found.periods_per_year)
    ratio, resampled = found.ratio / per_bar, found.error / per_bar
    error = sharpe_error(ratio, found.bars, skewness, kurtosis)
    if math.isnan(ratio + resampled + error):
        return NAN
    without_edge = max(1.0 / math.sqrt(found.bars - 1), resampled)
    return NORMAL.cdf((ratio - luck_threshold(trials, without_edge)) / max(error, resampled))


def minimum_backtest_years(trials: float, yearly_ratio: float) -> float:
    """Years below which the best of N tries without an edge is expected to reach a ratio, PM eq. 6.

    Args:
        trials: N, effective.
        yearly_ratio: The Sharpe ratio reached, per year.

    Returns:
        ``(expected_maximum(N) / ratio)^2``; NaN for a ratio not above 0.
    """
    return (expected_maximum(trials) / yearly_ratio) ** 2 if yearly_ratio > 0.0 else NAN
