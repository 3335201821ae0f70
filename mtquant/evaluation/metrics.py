# SPDX-License-Identifier: Apache-2.0
"""Performance measures: pure functions of float64 arrays, and `summarize` for a ledger.

    from mtquant.evaluation.metrics import METRIC_TEXTS, summarize

    for name, value in summarize(ledger).items():
        ...  # METRIC_TEXTS[name] says what the number means

Rules that hold for every function here: returns are simple returns per bar as fractions (0.01 is 1
%); an undefined result (no observations, no variance, no trade, no loss to divide by) is NaN and
never infinite; a NaN in the input makes the result NaN, because a return that is not known must not
be counted as zero. Formulas are those of quantstats 0.0.86 and skfolio 1.12 unless the docstring
says otherwise; `docs/evaluation.md` lists them on one page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import RunError
from mtquant.core.seeding import SeedTree
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

NAN = float("nan")
NANOSECONDS_PER_YEAR = 365.25 * 86_400 * 1e9
MIN_INTERVAL_BARS = 20  # below this the block length itself cannot be estimated
# Rounding gives a constant series a deviation of 1e-16 of its size; nothing real is that calm.
NO_VARIANCE = 1e-12

METRIC_TEXTS = {
    "bars": "bars lived through",
    "periods_per_year": "bars per year, from the stamps of the bars themselves",
    "total_return": "final equity over initial equity, minus 1",
    "annual_return": "total return as a constant yearly rate (geometric)",
    "annual_volatility": "standard deviation of bar returns, per year",
    "sharpe": "mean over standard deviation of bar returns, per year",
    "sharpe_low": "lower end of the 95 % bootstrap interval of the Sharpe ratio",
    "sharpe_high": "upper end of the 95 % bootstrap interval of the Sharpe ratio",
    "sortino": "mean over downside deviation against 0, per year",
    "calmar": "annual return over maximum drawdown",
    "max_drawdown": "largest fall from a peak, as a fraction of that peak",
    "win_rate_bars": "share of bars with a gain among bars with a gain or a loss",
    "win_rate_trips": "share of closed round trips that gained after fee and slippage",
    "profit_factor": "gains over losses of closed round trips, after fee and slippage",
    "round_trips": "round trips closed (flat to flat, or a change of side)",
    "fills": "fills of a quantity above 0",
    "refusals": "orders refused",
    "turnover_per_bar": "traded notional over equity, mean per bar",
    "turnover_per_year": "traded notional over equity, per year",
    "mean_gross": "mean of the sum of absolute exposures, in units of equity",
    "time_in_market": "share of bars that closed with a position",
    "fees": "commission paid, account currency",
    "slippage": "half spread and slippage paid, account currency",
    "financing": "overnight cost, account currency; negative when the account was paid",
}


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


def sharpe_interval(
    simple_returns: Float, periods_per_year: float, seed: int, level: float = 0.95, reps: int = 1000
) -> tuple[float, float]:
    """Bootstrap interval of the Sharpe ratio that keeps the serial dependence of returns.

    Stationary block bootstrap, percentile method: blocks of random length are drawn with
    replacement; their mean length is the one that Politis and White estimate from the returns.

    Source: Politis and Romano, "The Stationary Bootstrap", JASA 89 (1994); Politis and White,
    "Automatic Block-Length Selection", Econometric Reviews 23 (2004), with the correction of 2009.

    Args:
        simple_returns: float64 [T].
        periods_per_year: Bars per year.
        seed: Root of the seed tree; the same seed gives the same interval.
        level: Coverage, a fraction.
        reps: Resamples drawn.

    Returns:
        Lower and upper end; (NaN, NaN) for fewer than 20 bars or an undefined Sharpe ratio. A
        resample without variance, as of a policy that hardly ever trades, counts as a ratio of 0.
    """
    if len(simple_returns) < MIN_INTERVAL_BARS or np.isnan(
        sharpe(simple_returns, periods_per_year)
    ):
        return NAN, NAN
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    estimated = float(optimal_block_length(simple_returns)["stationary"].iloc[0])
    block = int(np.clip(np.ceil(np.nan_to_num(estimated, nan=1.0)), 1, len(simple_returns)))
    generator = SeedTree(seed).child("evaluation", "sharpe_interval").generator()
    bootstrap = StationaryBootstrap(block, simple_returns, seed=generator)
    draws = bootstrap.apply(lambda sample: np.array([sharpe(sample, periods_per_year)]), reps)
    # A resample that missed every bar with a position earned nothing: its ratio counts as 0.
    ends = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    low, high = np.quantile(np.nan_to_num(draws, nan=0.0), ends)
    return float(low), float(high)


def summarize(ledger: Ledger, seed: int = 0) -> dict[str, float]:
    """Every measure of `METRIC_TEXTS` for one ledger, in that order.

    Args:
        ledger: At least one bar.
        seed: Seed of the Sharpe interval.

    Returns:
        Name to value; fractions, ratios, counts or account currency as `METRIC_TEXTS` says; NaN
        where undefined.

    Raises:
        RunError: The ledger has no bars.
    """
    if len(ledger) == 0:
        raise RunError(
            f"ledger {ledger.name}", "must hold at least one bar", 0, "Choose a longer period."
        )
    returns, years = ledger.column("simple_return"), periods_per_year(ledger.stamps)
    low, high = sharpe_interval(returns, years, seed)
    profits = round_trips(ledger)["profit"].to_numpy(dtype=np.float64)
    filled = int(np.count_nonzero(ledger.fills_frame()["quantity"]))
    turnover = float(np.mean(ledger.column("turnover")))
    account = (ledger.equity, ledger.initial_equity)
    return {
        "bars": float(len(ledger)),
        "periods_per_year": years,
        "total_return": total_return(*account),
        "annual_return": annual_return(*account, years),
        "annual_volatility": annual_volatility(returns, years),
        "sharpe": sharpe(returns, years),
        "sharpe_low": low,
        "sharpe_high": high,
        "sortino": sortino(returns, years),
        "calmar": calmar(*account, years),
        "max_drawdown": max_drawdown(*account),
        "win_rate_bars": win_rate(returns),
        "win_rate_trips": win_rate(profits),
        "profit_factor": profit_factor(profits),
        "round_trips": float(len(profits)),
        "fills": float(filled),
        "refusals": float(len(ledger.fills) - filled),
        "turnover_per_bar": turnover,
        "turnover_per_year": turnover * years,
        "mean_gross": float(np.mean(ledger.column("gross"))),
        "time_in_market": time_in_market(ledger.positions),
        "fees": float(np.sum(ledger.column("fee"))),
        "slippage": float(np.sum(ledger.column("slippage"))),
        "financing": float(np.sum(ledger.column("financing"))),
    }


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else NAN
