# SPDX-License-Identifier: Apache-2.0
"""Every measure of one ledger, by name.

for name, value in summarize(ledger).items():
    ...  # METRIC_TEXTS[name] says what the number means
"""

from __future__ import annotations

import numpy as np

from mtquant.core.errors import RunError
from mtquant.evaluation import metrics as m
from mtquant.evaluation.significance.bootstrap import sharpe_estimate
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger

METRIC_TEXTS = {
    "bars": "bars lived through",
    "periods_per_year": "bars per year, from the stamps of the bars themselves",
    "total_return": "final equity over initial equity, minus 1",
    "annual_return": "total return as a constant yearly rate (geometric)",
    "annual_volatility": "standard deviation of bar returns, per year",
    "sharpe": "mean over standard deviation of bar returns, per year",
    "sharpe_low": "lower end of the 95 % bootstrap interval of the Sharpe ratio",
    "sharpe_high": "upper end of the 95 % bootstrap interval of the Sharpe ratio",
    "sharpe_error": "standard deviation of the bootstrap's Sharpe ratios, per year",
    "sortino": "mean over downside deviation against 0, per year",
    "calmar": "annual return over maximum drawdown",
    "omega": "gains over losses of the bars",
    "max_drawdown": "largest fall from a peak, as a fraction of that peak",
    "longest_drawdown": "longest stretch below a peak, bars",
    "conditional_drawdown": "mean of the worst 5 % of the drawdowns, a fraction",
    "value_at_risk": "loss of a bar that at most 5 % of the bars exceed, a fraction",
    "conditional_value_at_risk": "mean loss of the worst 5 % of the bars, a fraction",
    "tail_ratio": "size of the 95 % quantile of returns over that of the 5 % quantile",
    "skewness": "lopsidedness of bar returns; below 0 the losses reach farther",
    "kurtosis": "weight of the tails of bar returns; 3 for a normal distribution",
    "win_rate_bars": "share of bars with a gain among bars with a gain or a loss",
    "win_rate_trips": "share of closed round trips that gained after fee and slippage",
    "profit_factor": "gains over losses of closed round trips, after fee and slippage",
    "round_trips": "round trips closed (flat to flat, or a change of side)",
    "fills": "fills of a quantity above 0",
    "refusals": "orders refused",
    "turnover_per_bar": "traded notional over equity, mean per bar",
    "turnover_per_year": "traded notional over equity, per year",
    "mean_gross": "mean of the sum of absolute exposures, in units of equity",
    "mean_net": "mean of the sum of exposures, shorts negative, in units of equity",
    "time_in_market": "share of bars that closed with a position",
    "fees": "commission paid, account currency",
    "slippage": "half spread and slippage paid, account currency",
    "financing": "overnight cost, account currency; negative when the account was paid",
}


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
    values = {**_earned(ledger, seed), **_suffered(ledger), **_traded(ledger)}
    return {name: values[name] for name in METRIC_TEXTS}


def _earned(ledger: Ledger, seed: int) -> dict[str, float]:
    returns, years = ledger.column("simple_return"), m.periods_per_year(ledger.stamps)
    account = (ledger.equity, ledger.initial_equity)
    found = sharpe_estimate(returns, years, seed)
    return {
        "bars": float(len(ledger)),
        "periods_per_year": years,
        "total_return": m.total_return(*account),
        "annual_return": m.annual_return(*account, years),
        "annual_volatility": m.annual_volatility(returns, years),
        "sharpe": found.ratio,
        "sharpe_low": found.low,
        "sharpe_high": found.high,
        "sharpe_error": found.error,
        "sortino": m.sortino(returns, years),
        "calmar": m.calmar(*account, years),
        "omega": m.omega(returns),
    }


def _suffered(ledger: Ledger) -> dict[str, float]:
    returns = ledger.column("simple_return")
    account = (ledger.equity, ledger.initial_equity)
    return {
        "max_drawdown": m.max_drawdown(*account),
        "longest_drawdown": m.longest_drawdown(*account),
        "conditional_drawdown": m.conditional_drawdown(returns),
        "value_at_risk": m.value_at_risk(returns),
        "conditional_value_at_risk": m.conditional_value_at_risk(returns),
        "tail_ratio": m.tail_ratio(returns),
        "skewness": m.skewness(returns),
        "kurtosis": m.kurtosis(returns),
    }


def _traded(ledger: Ledger) -> dict[str, float]:
    profits = round_trips(ledger)["profit"].to_numpy(dtype=np.float64)
    filled = int(np.count_nonzero(ledger.fills_frame()["quantity"]))
    turnover = float(np.mean(ledger.column("turnover")))
    return {
        "win_rate_bars": m.win_rate(ledger.column("simple_return")),
        "win_rate_trips": m.win_rate(profits),
        "profit_factor": m.profit_factor(profits),
        "round_trips": float(len(profits)),
        "fills": float(filled),
        "refusals": float(len(ledger.fills) - filled),
        "turnover_per_bar": turnover,
        "turnover_per_year": turnover * m.periods_per_year(ledger.stamps),
        "mean_gross": float(np.mean(ledger.column("gross"))),
        "mean_net": float(np.mean(ledger.column("net"))),
        "time_in_market": m.time_in_market(ledger.positions),
        "fees": float(np.sum(ledger.column("fee"))),
        "slippage": float(np.sum(ledger.column("slippage"))),
        "financing": float(np.sum(ledger.column("financing"))),
    }
