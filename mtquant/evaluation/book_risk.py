# SPDX-License-Identifier: Apache-2.0
"""The value at risk of the book on every bar, as it could be known before the bar.

The book is what is held behind the orders of the open; its volatility comes from the exponentially
weighted covariance of the instruments up to the close before (RiskMetrics 1996, as the limits have
it), so a bar with a loss beyond it is an exceedance of a forecast and not of a fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.evaluation.attribution import fill_bars
from mtquant.evaluation.metrics import periods_per_year
from mtquant.evaluation.significance.exceedances import Coverage, coverage
from mtquant.market.ledger import Ledger
from mtquant.risk.dependence import ewma_covariance
from mtquant.risk.measures import CONFIDENCE, NORMAL_QUANTILE_95, bars_per_day

Float = NDArray[np.float64]
MIN_BARS = 60  # three exceedances expected; fewer bars say nothing


@dataclass(frozen=True)
class BookRisk:
    """Forecasts and what came; T bars.

    Attributes:
        value_at_risk: float64 [T], loss of the bar that 1 in 20 should exceed, fraction of equity;
            NaN for a flat book, and where the risk of something held is not known yet.
        exceeded: bool [T], whether the loss was larger.
        coverage: Tests of Kupiec and Christoffersen over the bars with a forecast; None where there
            are fewer than `MIN_BARS` of them.
    """

    value_at_risk: Float
    exceeded: NDArray[np.bool_]
    coverage: Coverage | None


def book_risk(ledger: Ledger) -> BookRisk:
    """Forecasts the loss of every bar of a ledger and counts the exceedances."""
    exposures = exposures_at_open(ledger)
    forecast = NORMAL_QUANTILE_95 * _volatility(ledger, exposures)
    known = np.isfinite(forecast)
    exceeded = known & (-ledger.column("simple_return") > np.where(known, forecast, np.inf))
    tested = coverage(exceeded[known], CONFIDENCE) if known.sum() >= MIN_BARS else None
    return BookRisk(forecast, exceeded, tested)


def exposures_at_open(ledger: Ledger) -> Float:
    """What is held behind the orders of each bar, at the prices of the close before, in units of
    equity; stops and liquidations of the bar itself come later. float64 [T, N], row 0 NaN where
    anything is held, since the close before is not in the ledger.
    """
    held = np.vstack([np.zeros((1, len(ledger.symbols))), ledger.positions[:-1]])
    bars = fill_bars(ledger)
    ordered = ledger.fills[:, oc.FILL_ORIGIN] == oc.ORIGIN_ORDER
    columns = ledger.fills[:, oc.FILL_INSTRUMENT].astype(np.int64)
    quantities = np.where(ordered, ledger.fills[:, oc.FILL_QUANTITY], 0.0)
    np.add.at(held, (bars, columns), quantities)
    value = ledger.prices * ledger.rates * ledger.multipliers
    before = np.vstack([np.full((1, len(ledger.symbols)), np.nan), value[:-1]])
    return _product(held, before) / ledger.column("equity_before")[:, None]


def _volatility(ledger: Ledger, exposures: Float) -> Float:
    """Standard deviation of each bar's return, known before it; NaN for a flat or unknown book."""
    per_day = bars_per_day(periods_per_year(ledger.stamps))
    if not np.isfinite(per_day):
        return np.full(len(ledger), np.nan)
    # A price that stands still is a market without an own bar; it moves no covariance.
    moved = np.isfinite(ledger.prices)
    moved[1:] &= ledger.prices[1:] != ledger.prices[:-1]
    covariance, deviation = ewma_covariance(ledger.prices, moved, per_day)
    covariance, deviation = covariance[:-1], deviation[:-1]
    unknown = (exposures[1:] != 0.0) & ~np.isfinite(deviation)
    variance = np.einsum("tn,tnm,tm->t", exposures[1:], covariance, exposures[1:]) / per_day
    usable = (exposures[1:] != 0.0).any(axis=1) & ~unknown.any(axis=1) & (variance > 0.0)
    found = np.full(len(ledger), np.nan)
    found[1:][usable] = np.sqrt(variance[usable])
    return found


def _product(held: Float, value: Float) -> Float:
    """0 where nothing is held, whatever the price."""
    return np.where(held == 0.0, 0.0, held * value)
