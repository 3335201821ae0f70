# SPDX-License-Identifier: Apache-2.0
"""A Yahoo without a network: the answers of its chart address, read by yfinance itself.

`Exchange` holds what was really traded, with splits and dividends, and answers as Yahoo does on its
`today`: prices and dividends in today's shares, as 32-bit floats. `serve` puts it where yfinance
makes its requests (`YfData.get` and `cache_get`), so every frame of the tests is made by the code
of yfinance 1.7, and not by our idea of it.

The layout of an answer is that of ``query2.finance.yahoo.com/v8/finance/chart``, as yfinance reads
it (`yfinance/scrapers/history.py`, `yfinance/utils.py`: parse_quotes, parse_actions,
format_history_metadata) and as public bug reports quote it (atreadw1492/yahoo_fin issue 65).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yfinance
from yfinance._http import HTTPError
from yfinance.data import YfData

from mtquant.data.instruments import Instrument

DAY = timedelta(days=1)
# A stock with the figures of an index CFD; only ticker, session and currency matter here.
STOCK = Instrument(
    symbol="ACME",
    name="Acme",
    sector="equity",
    quote="USD",
    yahoo="ACME",
    tick=0.01,
    lot=1.0,
    multiplier=1.0,
    margin_frac=0.2,
    spread_bps=1.0,
    commission_bps=0.0,
    slippage_bps=0.0,
    financing_long_bps=0.0,
    financing_short_bps=0.0,
    session={"timezone": "America/New_York", "close": "16:00", "week_opens": "monday"},
    source="made up",
)


def weekdays(first: date, count: int) -> list[date]:
    """The first `count` weekdays from a day on."""
    days = np.busday_offset(np.datetime64(first), np.arange(count), roll="forward")
    return [day.item() for day in days]


def ns(text: str, zone: str = "America/New_York") -> int:
    """A local time as UTC nanoseconds."""
    return int(pd.Timestamp(text, tz=zone).as_unit("ns").value)


@dataclass
class Exchange:
    """One instrument's true history, and what Yahoo says of it on `today`.

    Attributes:
        days: Trading days, or local starts of intraday rows.
        prices: [T, 4] open, high, low, close as traded.
        volume: [T].
        today: Rows up to this day are there.
        timezone: The exchange's.
        opens: Local time of day of a daily row's timestamp: Yahoo stamps them with the opening.
        splits: Day -> new shares for an old one.
        dividends: Day -> cash per share as paid.
        interval_seconds: Length of a row.
        live: A further row that Yahoo appends: local time, price, volume.
        currency: Of the prices.
        kind: Yahoo's instrumentType.
        error: Raised instead of an answer.
    """

    days: Sequence[Any]
    prices: np.ndarray
    volume: np.ndarray
    today: date
    timezone: str = "America/New_York"
    opens: str = "09:30"
    splits: dict[date, float] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)
    interval_seconds: int = 86_400
    live: tuple[str, float, float] | None = None
    currency: str = "USD"
    kind: str = "EQUITY"
    error: Exception | None = None
    requests: int = 0

    def stamp(self, day: Any) -> int:
        """Yahoo's timestamp of a row, seconds."""
        text = f"{day} {self.opens}" if self.interval_seconds >= 86_400 else str(day)
        return int(pd.Timestamp(text, tz=self.timezone).timestamp())

    def _shares(self, day: date) -> float:
        """Today's shares for one share of a day."""
        return float(np.prod([r for d, r in self.splits.items() if day < d <= self.today]))

    def answer(self, period1: int, period2: int) -> dict[str, Any]:
        """The chart answer for a span of seconds."""
        rows = [
            (self.stamp(day), row)
            for row, day in enumerate(self.days)
            if pd.Timestamp(day).date() <= self.today and period1 <= self.stamp(day) < period2
        ]
        stamps = [stamp for stamp, _ in rows]
        shares = np.array([self._shares(pd.Timestamp(self.days[r]).date()) for _, r in rows])
        kept = [row for _, row in rows]
        prices = (self.prices[kept] / shares[:, None]).astype(np.float32).astype(np.float64)
        volumes = list(self.volume[kept] * shares)
        if self.live is not None:
            text, price, volume = self.live
            stamps.append(int(pd.Timestamp(text, tz=self.timezone).timestamp()))
            prices = np.vstack((prices, [price] * 4))
            volumes.append(volume)
        columns = {
            name: [None if np.isnan(value) else float(value) for value in prices[:, k]]
            for k, name in enumerate(("open", "high", "low", "close"))
        }
        columns["volume"] = [None if np.isnan(v) else int(v) for v in volumes]
        result = {
            "meta": self._meta(),
            "timestamp": stamps,
            "indicators": {"quote": [columns], "adjclose": [{"adjclose": columns["close"]}]},
            "events": self._events(period1, period2),
        }
        return {"chart": {"result": [result], "error": None}}

    def _meta(self) -> dict[str, Any]:
        periods = [
            [{"timezone": "EST", "gmtoffset": -18_000, "start": start, "end": start + 23_400}]
            for start in sorted(
                {
                    int(
                        pd.Timestamp(
                            f"{pd.Timestamp(d).date()} 09:30", tz=self.timezone
                        ).timestamp()
                    )
                    for d in self.days
                }
            )
        ]
        meta = {
            "currency": self.currency,
            "instrumentType": self.kind,
            "exchangeTimezoneName": self.timezone,
            "priceHint": 2,
            "validRanges": ["1d", "5d", "1mo", "max"],
        }
        return meta if self.interval_seconds >= 86_400 else {**meta, "tradingPeriods": periods}

    def _events(self, period1: int, period2: int) -> dict[str, Any]:
        splits, dividends = {}, {}
        for day, ratio in self.splits.items():
            stamp = int(pd.Timestamp(f"{day} 09:30", tz=self.timezone).timestamp())
            if day <= self.today and period1 <= stamp < period2:
                splits[str(stamp)] = {"date": stamp, "numerator": ratio, "denominator": 1.0}
        for day, cash in self.dividends.items():
            stamp = int(pd.Timestamp(f"{day} 09:30", tz=self.timezone).timestamp())
            if day <= self.today and period1 <= stamp < period2:
                dividends[str(stamp)] = {"date": stamp, "amount": cash / self._shares(day)}
        return {"splits": splits, "dividends": dividends}


class Response:
    """As much of a response as yfinance looks at."""

    def __init__(self, content: dict[str, Any], status_code: int = 200) -> None:
        self.text = json.dumps(content)
        self.status_code = status_code

    def json(self) -> dict[str, Any]:
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        if self.status_code != 200:
            raise HTTPError(f"HTTP Error {self.status_code}: {self.text}", response=self)


@contextmanager
def serve(
    exchanges: Mapping[str, Exchange], monkeypatch: Any, folder: Path
) -> Iterator[list[tuple[str, int]]]:
    """Answers yfinance's chart requests; yields the (ticker, first second) of those for prices.

    A ticker that is not there gets the answer that Yahoo gives: no result and a reason.
    """
    asked: list[tuple[str, int]] = []

    def get(self: YfData, url: str, params: dict[str, Any], timeout: float = 0.0) -> Response:
        ticker = url.rpartition("/")[2]
        if ticker not in exchanges:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return Response({"chart": {"result": None, "error": error}}, 404)
        exchange = exchanges[ticker]
        exchange.requests += 1
        if exchange.error is not None:
            raise exchange.error
        if "period1" in params:
            asked.append((ticker, params["period1"]))
        end = params.get("period2", 2**40)
        return Response(exchange.answer(params.get("period1", 0), end))

    monkeypatch.setattr(YfData, "get", get)
    monkeypatch.setattr(YfData, "cache_get", get)
    yfinance.set_tz_cache_location(str(folder))
    yield asked


def random_exchange(days: Sequence[Any], seed: int = 0, **options: Any) -> Exchange:
    """A random walk around 100 as traded, halved by a split of 2 and so on; integer volumes."""
    generator = np.random.Generator(np.random.PCG64(seed))
    close = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 0.01, len(days))))
    open_ = close * np.exp(generator.normal(0.0, 0.002, len(days)))
    for day, ratio in options.get("splits", {}).items():
        after = np.array([pd.Timestamp(d).date() >= day for d in days])
        close, open_ = np.where(after, close / ratio, close), np.where(after, open_ / ratio, open_)
    high, low = np.maximum(open_, close) * 1.003, np.minimum(open_, close) * 0.997
    prices = np.column_stack((open_, high, low, close))
    volume = generator.integers(1_000, 9_000, len(days)).astype(np.float64) * 100.0
    options.setdefault("today", pd.Timestamp(days[-1]).date())
    return Exchange(days, prices, volume, **options)
