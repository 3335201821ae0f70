# SPDX-License-Identifier: Apache-2.0
"""Performance measures of one series: pure functions of float64 arrays.

Rules that hold for every function here: returns are simple returns per bar as fractions (0.01 is 1
%); an undefined result (no observations, no variance, no trade, no loss to divide by) is NaN and
never infinite; a NaN in the input makes the result NaN, because a return that is not known must not
be counted as zero. Formulas are those of quantstats 0.0.86 and skfolio 1.12 unless the docstring
says otherwise; `docs/evaluation.md` lists them on one page. Measures against another series are in
`relative`, those of a whole ledger in `summary`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtquant.risk import measures as risk

Float = NDArray[np.float64]

NAN = float("nan")
NANOSECONDS_PER_YEAR = 365.25 * 86_400 * 1e9
# Rounding gives a constant series a deviation of 1e-16 of its size; nothing real is that calm.
NO_VARIANCE = 1e-12


def periods_per_year(stamps: NDArray[np.int64]) -> float:
    """Bars per year by the bars' own calendar: ``(T - 1) / years from first to last stamp``.

    About 252 for daily stock bars, 260 for daily currency bars and 8,766 for hourly bars without
    pauses; no table of calendars to get wrong.

    Args:
        stamps: int64 [T], UTC close stamps in nanoseconds, ascending.

    Returns:
        Bars per year of 365.25 days; NaN for fewer than two stamps or no time between them.
    """
    if len(stamps) < 2:
        return NAN
    elapsed = int(stamps[-1]) - int(stamps[0])
    return (len(stamps) - 1) * NANOSECONDS_PER_YEAR / elapsed if elapsed > 0 else NAN


def total_return(equity: Float, initial_equity: float) -> float:
    """``equity[-1] / initial_equity - 1``, a fraction.

    Args:
        equity: float64 [T], equity at each close.
        initial_equity: Equity before the first bar.

    Returns:
        The return; NaN for no bars or an initial equity that is not positive.
    """
    if len(equity) == 0 or not initial_equity > 0:
        return NAN
    return float(equity[-1] / initial_equity - 1.0)


def annual_return(equity: Float, initial_equity: float, periods_per_year: float) -> float:
    """Geometric yearly return, a fraction: ``(final / initial) ** (periods_per_year / T) - 1``.

    Returns:
        The rate; -1 if nothing is left; NaN where `total_return` is NaN, or where a few bars blown
        up to a year exceed what a float can hold.
    """
    final = total_return(equity, initial_equity) + 1.0
    if np.isnan(final) or np.isnan(periods_per_year):
        return NAN
    with np.errstate(over="ignore"):
        return _finite(np.power(max(final, 0.0), periods_per_year / len(equity)) - 1.0)


def annual_volatility(simple_returns: Float, periods_per_year: float) -> float:
    """``std(r, ddof=1) * sqrt(periods_per_year)``, a fraction; NaN for fewer than two returns."""
    if len(simple_returns) < 2:
        return NAN
    return float(np.std(simple_returns, ddof=1) * np.sqrt(periods_per_year))


def sharpe(simple_returns: Float, periods_per_year: float, risk_free_rate: float = 0.0) -> float:
    """Sharpe ratio per year: ``mean(x) / std(x, ddof=1) * sqrt(periods_per_year)``.

    ``x`` is the return above the risk-free rate. The rate of a bar is
    ``(1 + risk_free_rate) ** (1 / periods_per_year) - 1``.

    Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994), equations 3 to 6,
    times the square root of time.

    Args:
        simple_returns: float64 [T].
        periods_per_year: Bars per year.
        risk_free_rate: Yearly rate, a fraction.

    Returns:
        The ratio; NaN for fewer than two returns or returns without variance.
    """
    if len(simple_returns) < 2:
        return NAN
    excess = simple_returns - ((1.0 + risk_free_rate) ** (1.0 / periods_per_year) - 1.0)
    deviation = float(np.std(excess, ddof=1))
    if not deviation > NO_VARIANCE * float(np.max(np.abs(excess))):
        return NAN
    return float(np.mean(excess) / deviation * np.sqrt(periods_per_year))


def sortino(simple_returns: Float, periods_per_year: float) -> float:
    """Sortino ratio per year: ``mean(r) / sqrt(sum(min(r, 0)^2) / T) * sqrt(periods_per_year)``.

    The downside deviation is taken against 0 and over *all* observations, as quantstats and skfolio
    do; dividing by the number of losses only would reward losing often.

    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework", Journal of
    Investing 3 (1994).

    Returns:
        The ratio; NaN for no returns or no losses.
    """
    if len(simple_returns) == 0:
        return NAN
    downside = float(np.sqrt(np.mean(np.minimum(simple_returns, 0.0) ** 2)))
    return (
        _finite(np.mean(simple_returns) / downside * np.sqrt(periods_per_year))
        if downside > 0
        else NAN
    )


def drawdowns(equity: Float, initial_equity: float) -> Float:
    """``1 - equity / peak`` at each close, the initial equity being the first peak.

    Returns:
        float64 [T], fractions, 0 at a new peak; within [0, 1] while equity is not negative. NaN
        from the first NaN on.
    """
    path = np.concatenate(([initial_equity], equity))
    return 1.0 - equity / np.maximum.accumulate(path)[1:]


def max_drawdown(equity: Float, initial_equity: float) -> float:
    """Largest of `drawdowns`, a fraction; NaN for no bars or an initial equity not above 0."""
    if len(equity) == 0 or not initial_equity > 0:
        return NAN
    return float(np.max(drawdowns(equity, initial_equity)))


def longest_drawdown(equity: Float, initial_equity: float) -> float:
    """Bars of the longest stretch below a peak, one that has not ended counted up to the end.

    quantstats counts calendar days instead, from the first to the last day below the peak.

    Returns:
        Number of bars; NaN for no bars, an initial equity not above 0, or a NaN.
    """
    if len(equity) == 0 or not initial_equity > 0:
        return NAN
    falls = drawdowns(equity, initial_equity)
    if np.isnan(falls).any():
        return NAN
    rows = np.arange(1, len(falls) + 1)
    return float(np.max(rows - np.maximum.accumulate(np.where(falls > 0.0, 0, rows))))


def omega(simple_returns: Float) -> float:
    """Gains over losses of the bars: `profit_factor` of returns, the threshold being 0.

    Source: Keating and Shadwick, "A Universal Performance Measure", Journal of Performance
    Measurement 6 (2002).
    """
    return profit_factor(simple_returns)


def tail_ratio(simple_returns: Float) -> float:
    """``|95 % quantile / 5 % quantile|`` of the returns, interpolated; NaN where that is 0.

    Above 1 the good tail reaches farther than the bad one.
    """
    if len(simple_returns) == 0 or np.isnan(simple_returns).any():
        return NAN
    low, high = np.quantile(simple_returns, [0.05, 0.95])
    return _finite(abs(high / low)) if low != 0.0 else NAN


def skewness(simple_returns: Float) -> float:
    """Third central moment over the cube of the deviation, population moments, as skfolio.

    quantstats reports pandas' estimate, which is ``sqrt(T (T - 1)) / (T - 2)`` times this.
    """
    return _standardised_moment(simple_returns, 3)


def kurtosis(simple_returns: Float) -> float:
    """Fourth central moment over the fourth power of the deviation, population moments.

    3 for a normal distribution, as skfolio and the papers on the Sharpe ratio have it; quantstats
    reports the excess over 3, adjusted for small samples.
    """
    return _standardised_moment(simple_returns, 4)


def value_at_risk(simple_returns: Float) -> float:
    """Loss of one bar that at most 5 % of the bars exceed, a positive fraction (historical).

    As skfolio; the formula is that of `mtquant.risk.measures.historical_var`. quantstats fits a
    normal distribution and shows a loss as negative.
    """
    return _risk(risk.historical_var, simple_returns)


def conditional_value_at_risk(simple_returns: Float) -> float:
    """Mean loss of the worst 5 % of the bars, a positive fraction (historical).

    As skfolio; `mtquant.risk.measures.conditional_var`.
    """
    return _risk(risk.conditional_var, simple_returns)


def conditional_drawdown(simple_returns: Float) -> float:
    """Mean of the worst 5 % of the drawdowns at each close, CDaR, a positive fraction.

    As skfolio on compounded drawdowns; `mtquant.risk.measures.conditional_drawdown`.
    """
    return _risk(risk.conditional_drawdown, simple_returns)


def calmar(equity: Float, initial_equity: float, periods_per_year: float) -> float:
    """``annual_return / max_drawdown``; NaN without a drawdown.

    Source: Young, "Calmar Ratio: A Smoother Tool", Futures 20 (1991); over the whole period, not
    the last 36 months.
    """
    fall = max_drawdown(equity, initial_equity)
    return annual_return(equity, initial_equity, periods_per_year) / fall if fall > 0 else NAN


def win_rate(gains: Float) -> float:
    """Share of positive numbers among those not zero: bar returns, or profits of round trips.

    Returns:
        Fraction in [0, 1]; NaN if none differs from zero.
    """
    if np.isnan(gains).any():
        return NAN
    decided = np.count_nonzero(gains)
    return float(np.count_nonzero(gains > 0) / decided) if decided else NAN


def profit_factor(gains: Float) -> float:
    """``sum of gains / |sum of losses|``; NaN without a loss (it would be infinite)."""
    losses = -float(np.sum(np.minimum(gains, 0.0)))
    return _finite(np.sum(np.maximum(gains, 0.0)) / losses) if losses > 0 else NAN


def time_in_market(positions: Float) -> float:
    """Share of bars that closed with a position; `positions` is [T, N], units; NaN for no bars."""
    return float(np.mean(np.any(positions != 0.0, axis=1))) if len(positions) else NAN


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else NAN


def _standardised_moment(returns: Float, order: int) -> float:
    if len(returns) < 2:
        return NAN
    around = returns - np.mean(returns)
    deviation = float(np.sqrt(np.mean(around**2)))
    if not deviation > NO_VARIANCE * float(np.max(np.abs(returns))):
        return NAN
    return float(np.mean((around / deviation) ** order))


def _risk(measure: Callable[[ArrayLike], float], returns: Float) -> float:
    return measure(returns) if len(returns) > 1 and np.isfinite(returns).all() else NAN
