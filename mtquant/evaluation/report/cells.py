# SPDX-License-Identifier: Apache-2.0
"""Numbers of a report with their text and unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mtquant.evaluation.report.document import Estimate, Number

FRACTION = "fraction"
SHARPE_UNIT = "per year, 95 % interval"
UNDEFINED_ESTIMATE = Estimate(float("nan"), float("nan"), float("nan"), SHARPE_UNIT)


def percent(value: float, digits: int = 1, signed: bool = False) -> Number:
    """0.123 as ``12.3 %``; the value stays a fraction. What rounds to 0 has no sign."""
    sign = "+" if signed and round(100.0 * abs(value), digits) != 0.0 else ""
    return Number(value, f"{value * 100:{sign}z,.{digits}f} %", FRACTION)


def ratio(value: float, unit: str = "ratio") -> Number:
    """Two decimals."""
    return Number(value, f"{value:z,.2f}", unit)


def count(value: float, unit: str = "count") -> Number:
    """No decimals."""
    return Number(value, f"{value:z,.0f}", unit)


def money(value: float, currency: str, signed: bool = False) -> Number:
    """Whole units of a currency, two decimals where the amount is small."""
    sign, digits = "+" if signed else "", 0 if not abs(value) < 100 else 2
    return Number(value, f"{value:{sign}z,.{digits}f}", currency)


def quantity(value: float, unit: str) -> Number:
    """Six significant digits, for prices and units."""
    digits = 6 if value == 0 or not np.isfinite(value) else 6 - int(np.floor(np.log10(abs(value))))
    text = f"{value:z,.{min(max(digits - 1, 0), 8)}f}"
    return Number(value, text.rstrip("0").rstrip(".") if "." in text else text, unit)


def probability(value: float) -> Number:
    """A p-value: three decimals, and never a bare zero."""
    return Number(value, "< 0.001" if value < 0.001 else f"{value:.3f}", "probability")


def sharpe_of(summary: Mapping[str, float]) -> Estimate:
    """The Sharpe ratio of a `summarize`, with its interval."""
    return Estimate(summary["sharpe"], summary["sharpe_low"], summary["sharpe_high"], SHARPE_UNIT)
