# SPDX-License-Identifier: Apache-2.0
"""Risk of a series of returns: volatility, value at risk, and what lies beyond it.

    value_at_risk(returns, "historical")     # loss that one bar in twenty exceeds

Every measure takes simple returns per bar, float64 [T], oldest first, and gives a float in units of
equity; a loss is positive, so a negative value at risk is a gain. Returns must be finite, at least
two of them: a DataError names the first that is not, because a missing return is not a return of
zero. `one_day` turns a figure of one bar into a figure of one day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtquant.core.compiled import kernel
from mtquant.core.errors import DataError

Float = NDArray[np.float64]

TRADING_DAYS_PER_YEAR = 252
DAILY_DECAY = 0.94  # J.P. Morgan/Reuters 1996, RiskMetrics Technical Document, table 5.9
CONFIDENCE = 0.95
NORMAL_QUANTILE_95 = NormalDist().inv_cdf(CONFIDENCE)


def bars_per_day(bars_per_year: float) -> float:
    """Rows of a calendar in one trading day, of which a year has 252 whatever the market.

    A market that also trades at weekends has 1.45 daily rows per trading day, so that its one-day
    risk is that of 1.45 of its rows: a little more, never less.
    """
    return bars_per_year / TRADING_DAYS_PER_YEAR


def one_day(value: float, rows_per_day: float) -> float:
    """A standard deviation or value at risk of one bar as that of one day: the square root of time
    (returns of different bars uncorrelated and of mean 0).
    """
    return value * math.sqrt(rows_per_day)


def decay_per_bar(rows_per_day: float, daily_decay: float = DAILY_DECAY) -> float:
    """Decay per bar of an exponentially weighted average that remembers as many days as one with
    `daily_decay` a day.
    """
    return float(daily_decay ** (1.0 / rows_per_day))


def volatility(returns: ArrayLike) -> float:
    """Sample standard deviation (T - 1), per bar."""
    return float(np.std(_checked(returns), ddof=1))


def ewma_volatility(returns: ArrayLike, decay: float = DAILY_DECAY) -> float:
    """Square root of the exponentially weighted mean of squared returns, per bar.

    The mean return counts as 0 and the weights decay^k sum to 1, also in a short history
    (RiskMetrics 1996, section 5.2).
    """
    series = _checked(returns)
    weights = decay ** np.arange(len(series) - 1, -1, -1, dtype=np.float64)
    return math.sqrt(float(weights @ series**2) / float(weights.sum()))


def ewma_var(
    returns: ArrayLike, confidence: float = CONFIDENCE, decay: float = DAILY_DECAY
) -> float:
    """Normal quantile times `ewma_volatility`; mean 0 (RiskMetrics 1996)."""
    return _quantile(confidence) * ewma_volatility(returns, decay)


def parametric_var(returns: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """Quantile of the normal distribution with the sample's mean and standard deviation."""
    series = _checked(returns)
    return _quantile(confidence) * float(np.std(series, ddof=1)) - float(np.mean(series))


def historical_var(returns: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """The loss of which a share of at most 1 - confidence of the bars has a larger one.

    The (floor((1 - confidence) T) + 1)-th largest loss, without interpolation: of 100 returns at
    95 %, the sixth (Rockafellar & Uryasev 2002, "Conditional value-at-risk for general loss
    distributions", definition 1, lower quantile).
    """
    losses = -_checked(returns)
    position = len(losses) - 1 - beyond(len(losses), _share(confidence))
    return float(np.partition(losses, position)[position])


def cornish_fisher_var(returns: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """Modified value at risk: the normal quantile corrected for skewness and excess kurtosis.

    Population moments (1 / T), Cornish & Fisher 1937; Favre & Galeano 2002. Outside its domain of
    validity (`cornish_fisher_valid`) the corrected quantile falls as the confidence rises and means
    nothing; the historical value at risk is given there instead.
    """
    series = _checked(returns)
    mean = float(np.mean(series))
    second, third, fourth = (float(np.mean((series - mean) ** k)) for k in (2, 3, 4))
    value = cornish_fisher(mean, second, third, fourth, -_quantile(confidence))
    return historical_var(series, confidence) if math.isnan(value) else value


def conditional_var(returns: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """Mean loss of the worst 1 - confidence of the bars, the bar on the border counted in part.

    VaR + sum max(loss - VaR, 0) / ((1 - confidence) T), also called CVaR or expected shortfall
    (Rockafellar & Uryasev 2002, proposition 8).
    """
    series = _checked(returns)
    quantile = historical_var(series, confidence)
    beyond_it = float(np.maximum(-series - quantile, 0.0).sum())
    return quantile + beyond_it / (_share(confidence) * len(series))


def drawdowns(returns: ArrayLike) -> Float:
    """1 - wealth / highest wealth so far at every bar, float64 [T]; returns are compounded and the
    wealth before the first bar counts as a peak.
    """
    wealth = np.cumprod(1.0 + _checked(returns))
    return 1.0 - wealth / np.maximum(np.maximum.accumulate(wealth), 1.0)


def conditional_drawdown(returns: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """Mean of the worst 1 - confidence of the drawdowns, CDaR (Chekhlov, Uryasev & Zabarankin 2005,
    "Drawdown measure in portfolio optimization", on compounded returns).
    """
    return conditional_var(-drawdowns(returns), confidence)


VAR_METHODS: Mapping[str, Callable[[ArrayLike, float], float]] = MappingProxyType(
    {
        "ewma": ewma_var,
        "parametric": parametric_var,
        "historical": historical_var,
        "cornish_fisher": cornish_fisher_var,
    }
)


def value_at_risk(
    returns: ArrayLike, method: str = "ewma", confidence: float = CONFIDENCE
) -> float:
    """Value at risk of one bar by the method of that name (`VAR_METHODS`).

    Raises:
        DataError: The method does not exist, or the returns cannot be used.
    """
    if method not in VAR_METHODS:
        raise DataError("method", f"must be one of {', '.join(VAR_METHODS)}", method, "Correct it.")
    return VAR_METHODS[method](returns, confidence)


@kernel
def beyond(count: int, share: float) -> int:
    """Number of observations that lie beyond the quantile: floor(share x count), but 0.05 x 100 is
    5 whatever the last bit says.
    """
    return math.floor(share * count * (1.0 + 1e-12))


@kernel
def cornish_fisher_valid(skewness: float, excess_kurtosis: float) -> bool:
    """Whether the Cornish-Fisher quantile rises with the probability everywhere.

    Its derivative in the normal quantile z, (K/8 - S^2/6) z^2 + (S/3) z + 1 - K/8 + 5 S^2/36, must
    not be negative for any z (Maillard 2012, "A user's guide to the Cornish Fisher expansion",
    section 3; S and K are the parameters, here set to the sample's moments).
    """
    square = excess_kurtosis / 8.0 - skewness * skewness / 6.0
    constant = 1.0 - excess_kurtosis / 8.0 + 5.0 * skewness * skewness / 36.0
    return square >= 0.0 and skewness * skewness / 9.0 <= 4.0 * square * constant


@kernel
def cornish_fisher(
    mean: float, second: float, third: float, fourth: float, quantile: float
) -> float:
    """Value at risk from central moments; NaN outside the domain of validity.

    Args:
        mean: Of the returns.
        second, third, fourth: Central population moments; with `second` 0 the answer is -mean.
        quantile: Of the normal distribution, negative: -1.645 for 95 %.
    """
    if not second > 0.0:
        return -mean
    deviation = math.sqrt(second)
    s = third / (second * deviation)
    k = fourth / (second * second) - 3.0
    if not cornish_fisher_valid(s, k):
        return math.nan
    z = quantile
    corrected = (
        z
        + (z * z - 1.0) * s / 6.0
        + (z * z - 3.0) * z * k / 24.0
        - (2.0 * z * z - 5.0) * z * s * s / 36.0
    )
    return -(mean + corrected * deviation)


def _share(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise DataError("confidence", "must lie between 0 and 1", confidence, "Example: 0.95.")
    return 1.0 - confidence


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(1.0 - _share(confidence))


def _checked(returns: ArrayLike) -> Float:
    series = np.asarray(returns, dtype=np.float64)
    if series.ndim != 1 or len(series) < 2:
        raise DataError("returns", "must be a series of at least 2", series.shape, "Give more.")
    wrong = np.flatnonzero(~np.isfinite(series))
    if len(wrong):
        raise DataError(
            f"returns[{wrong[0]}]",
            "must be finite",
            float(series[wrong[0]]),
            "Leave out bars without a return; they are not returns of zero.",
        )
    return series
