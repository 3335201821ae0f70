# SPDX-License-Identifier: Apache-2.0
"""What is held, and how much of each limit it uses."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.states import Arrays
from mtquant.dashboard.curves import exposures, multipliers_of
from mtquant.paper.memory import unpack_arrays
from mtquant.paper.reading import meta
from mtquant.risk.limits import correlation_exposure, portfolio_deviation
from mtquant.risk.measures import NORMAL_QUANTILE_95, TRADING_DAYS_PER_YEAR

Float = NDArray[np.float64]
LAST_BOOK = (
    "SELECT o.bar, o.equity, b.positions, b.prices, b.rates, b.targets "
    "FROM outcomes o JOIN books b ON b.bar = o.bar ORDER BY o.bar DESC LIMIT 1"
)


def positions(connection: sqlite3.Connection) -> pd.DataFrame:
    """The book after the last bar: quantity (units), price (quote currency), exposure and what was
    asked for before it (units of equity; NaN: to leave the position alone). A row per instrument.
    """
    symbols = meta(connection)["symbols"]
    row = connection.execute(LAST_BOOK).fetchone()
    blank = np.full(len(symbols), np.nan)
    if row is None:
        columns = (np.zeros(len(symbols)), blank, np.zeros(len(symbols)), blank)
    else:
        held = exposures(row[1:5], multipliers_of(connection))
        columns = (np.frombuffer(row[2]), np.frombuffer(row[3]), held, np.frombuffer(row[5]))
    names = ("quantity", "price", "exposure", "asked")
    return pd.DataFrame(dict(zip(names, columns, strict=True)), index=list(symbols))


def limits_used(connection: sqlite3.Connection) -> pd.DataFrame:
    """Each limit in force: what is used, the limit, the share of it, and whose.

    Value at risk and correlation come from the risks that the loop itself last knew. Shares are NaN
    where a risk is not known; limits that are off are left out.
    """
    rules = meta(connection)["rules"]
    book = connection.execute(LAST_BOOK).fetchone()
    held = np.zeros(len(rules["instruments"]))
    if book is not None:
        held = exposures(book[1:5], multipliers_of(connection))
    rows = [
        (name, used, bound, used / bound, whose)
        for name, used, bound, whose in _measured(held, rules, last_risk(connection))
        if bound is not None and 0.0 < bound < math.inf
    ]
    return pd.DataFrame(rows, columns=["limit", "used", "bound", "share", "whose"])


def last_state(connection: sqlite3.Connection) -> Arrays:
    """What the loop keeps for its recovery; empty before its first commit."""
    row = connection.execute("SELECT content FROM states WHERE name = 'loop'").fetchone()
    return {} if row is None else unpack_arrays(row[0])


def last_risk(connection: sqlite3.Connection) -> Float | None:
    """Risks after the last bar, float64 [2 N + 2, N] of `risk/dependence.py`; None before it."""
    risk = last_state(connection).get("tape/risk")
    return None if risk is None else risk[-1]


def _measured(
    held: Float, rules: Mapping[str, Any], risk: Float | None
) -> Iterator[tuple[str, float, float | None, str]]:
    """Name, what is used, the limit, and the instrument or sector that uses most of it."""
    items = rules["instruments"]
    sizes = np.abs(held)
    worst = int(np.argmax(sizes / np.array([item["name_cap"] for item in items])))
    name = items[worst]["symbol"] if sizes[worst] > 0.0 else ""
    yield "gross exposure", float(sizes.sum()), rules["max_gross_exposure"], ""
    yield "largest position", float(sizes[worst]), items[worst]["name_cap"], name
    yield "net exposure", abs(float(held.sum())), rules["max_net_exposure"], ""
    sectors: dict[str, float] = {}
    for item, size in zip(items, sizes, strict=True):
        sectors[item["sector"]] = sectors.get(item["sector"], 0.0) + float(size)
    largest = max(sectors, key=lambda sector: sectors[sector])
    whose = largest if sectors[largest] > 0.0 else ""
    yield "largest sector", sectors[largest], rules["max_sector_allocation"], whose
    # Rows of risk are all 0 where no limit measures them, and then no limit is in force.
    deviation = math.nan if risk is None else _known(portfolio_deviation, risk, held)
    correlation = math.nan if risk is None else _known(correlation_exposure, risk, held)
    yield "value at risk, 1 day", NORMAL_QUANTILE_95 * deviation, rules["max_portfolio_var"], ""
    yield "correlation exposure", correlation, rules["max_correlation_exposure"], ""
    yearly = deviation * math.sqrt(TRADING_DAYS_PER_YEAR)
    yield "volatility, 1 year", yearly, rules["max_volatility"], ""


def _known(measure: Any, risk: Float, held: Float) -> float:
    """A measure of the instruments that are held: the risk of others may be unknown yet."""
    if not held.any():
        return 0.0
    return float(measure(np.ascontiguousarray(risk), held))
