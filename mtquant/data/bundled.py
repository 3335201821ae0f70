# SPDX-License-Identifier: Apache-2.0
"""Real daily bars that need no network: three series that the `arch` package carries.

Source: `arch.data.sp500` and `arch.data.nasdaq` (Yahoo Finance, 1999-2018) and `arch.data.wti`
(FRED series DCOILWTICO of the U.S. Energy Information Administration, 1986-2019), as the arch
package of Kevin Sheppard ships them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import pandas as pd

from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.instruments import Session

DAY_SECONDS = 86_400
# Later than the cash close (16:00) and the oil settlement (14:30): no bar is stamped too early.
BUNDLED_SESSION = Session(timezone="America/New_York", close="17:00", week_opens="monday")


@dataclass(frozen=True)
class BundledSeries:
    """One series of the `arch` package.

    Attributes:
        module: Module whose `load` returns the frame.
        title: What the series is, for people.
        notes: Facts that every report must repeat.
        closes_column: The only price column, for a series without opens, highs and lows.
    """

    module: str
    title: str
    notes: tuple[str, ...]
    closes_column: str | None = None


BUNDLED: dict[str, BundledSeries] = {
    "SPX500": BundledSeries(
        "arch.data.sp500",
        "S&P 500, daily, 1999-2018 (arch)",
        (
            "index level without dividends, not a tradable contract",
            "42 % of the source's opens (97 % before 2006) repeat the previous close, so fills at "
            "those opens are optimistic",
        ),
    ),
    "NAS100": BundledSeries(
        "arch.data.nasdaq",
        "NASDAQ Composite, daily, 1999-2018 (arch)",
        (
            "the series is the NASDAQ Composite, standing in for the NASDAQ-100",
            "index level without dividends, not a tradable contract",
        ),
    ),
    "WTIUSD": BundledSeries(
        "arch.data.wti",
        "WTI crude oil spot at Cushing, daily closes, 1986-2019 (arch)",
        (
            "closes only: stops and limits act at the day's close",
            "opens equal the same day's close, so an order fills at the close after its decision",
            "spot prices were published some days after the day they are stamped with",
        ),
        closes_column="DCOILWTICO",
    ),
}


def load_bundled(symbol: str) -> Bars:
    """Daily bars of a bundled series: raw prices, not adjusted, in dollars or index points.

    Each bar closes at 17:00 New York time of its date. Days without a price are left out. For a
    series of closes alone, open, high and low equal the close and the volume is 0.

    Raises:
        DataError: No bundled series has this symbol.
    """
    series = BUNDLED.get(symbol)
    if series is None:
        raise DataError(
            "symbol",
            f"must be one of the bundled series {', '.join(BUNDLED)}",
            symbol,
            "Use files for other instruments.",
        )
    frame: pd.DataFrame = importlib.import_module(series.module).load()
    if series.closes_column is not None:
        closes = frame[series.closes_column].dropna()
        columns = {name: closes for name in ("open", "high", "low", "close")}
        frame = pd.DataFrame({**columns, "volume": 0.0})
    return Bars.from_frame(
        frame,
        symbol=symbol,
        quote="USD",
        stamped="session",
        bar_seconds=DAY_SECONDS,
        session_timezone=BUNDLED_SESSION.timezone,
        session_close=BUNDLED_SESSION.close,
        notes=(series.title, *series.notes),
    )
