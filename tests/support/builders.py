# SPDX-License-Identifier: Apache-2.0
"""Bars for tests: random but valid, so that no test needs a data file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, check_bars

# Monday 2020-01-06 00:00 UTC: an ordinary week.
START_NS = int(np.datetime64("2020-01-06", "ns").astype(np.int64))
ARRAYS = ("stamps", *PRICE_COLUMNS, "volume")


def make_bars(
    symbol: str = "EURUSD",
    n: int = 200,
    seed: int = 0,
    bar_seconds: int = 3600,
    quote: str = "USD",
    volatility: float = 0.002,
    gap: float = 0.0,
    start_price: float = 1.1,
    start_ns: int = START_NS,
    missing_frac: float = 0.0,
    notes: tuple[str, ...] = (),
) -> Bars:
    """A random walk of n bars.

    Args:
        volatility: Standard deviation of the log return from open to close; wicks are of its size.
        gap: Standard deviation of the log jump from one close to the next open.
        start_ns: Start of the first bar; it closes one bar length later.
        missing_frac: Share of clock hours without a bar (the walk has n bars all the same).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    body = generator.normal(0.0, volatility, n)
    jump = generator.normal(0.0, 1.0, n) * gap
    jump[0] = 0.0
    log_close = np.cumsum(body + jump)
    open_, close = start_price * np.exp(log_close - body), start_price * np.exp(log_close)
    wick = np.abs(generator.normal(0.0, volatility, (2, n)))
    skipped = generator.geometric(1.0 - missing_frac, n) if missing_frac else np.ones(n)
    bars = Bars(
        symbol=symbol,
        stamps=start_ns + np.cumsum(skipped).astype(np.int64) * bar_seconds * NANOSECONDS,
        open=open_,
        high=np.maximum(open_, close) * np.exp(wick[0]),
        low=np.minimum(open_, close) * np.exp(-wick[1]),
        close=close,
        volume=generator.integers(0, 1000, n).astype(np.float64),
        quote=quote,
        bar_seconds=bar_seconds,
        notes=notes,
    )
    check_bars(bars)
    return bars


def bars_from_closes(
    closes: Sequence[float] | NDArray[np.float64], symbol: str = "EURUSD", **options: Any
) -> Bars:
    """Bars that open at the previous close (the first at its own) and have no wicks.

    `options` may name quote (USD), bar_seconds (3600), start_ns and notes.
    """
    close = np.asarray(closes, dtype=np.float64)
    open_ = np.concatenate((close[:1], close[:-1]))
    bar_seconds = options.pop("bar_seconds", 3600)
    start_ns = options.pop("start_ns", START_NS)
    bars = Bars(
        symbol=symbol,
        stamps=start_ns + np.arange(1, len(close) + 1) * bar_seconds * NANOSECONDS,
        open=open_,
        high=np.maximum(open_, close),
        low=np.minimum(open_, close),
        close=close,
        volume=np.zeros(len(close)),
        quote=options.pop("quote", "USD"),
        bar_seconds=bar_seconds,
        **options,
    )
    check_bars(bars)
    return bars


@st.composite
def bars_strategy(
    draw: st.DrawFn, symbol: str = "EURUSD", min_bars: int = 5, max_bars: int = 60
) -> Bars:
    """Small bars with the ugly cases: missing hours, price gaps, flat bars, long wicks.

    Prices stay within a factor of a thousand of 1, moves per bar within 30 %.
    """
    n = draw(st.integers(min_bars, max_bars))
    generator = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32 - 1))))
    size = draw(st.sampled_from((0.0, 0.0005, 0.01)))
    jump = draw(st.sampled_from((0.0, 0.002, 0.2)))
    missing_frac = draw(st.sampled_from((0.0, 0.3, 0.8)))
    long_wick = draw(st.sampled_from((0.0, 0.05)))
    price = draw(st.sampled_from((0.001, 1.1, 1000.0)))
    bar_seconds = draw(st.sampled_from((60, 3600)))
    body = generator.uniform(-size, size, n) * generator.integers(0, 2, n)
    gaps = generator.uniform(-jump, jump, n) * (generator.random(n) < 0.3)
    log_close = np.cumsum(body + gaps)
    open_, close = price * np.exp(log_close - body), price * np.exp(log_close)
    flat = generator.random((2, n)) < 0.3
    wick = np.where(flat, 0.0, generator.uniform(0.0, size + long_wick, (2, n)))
    steps = generator.geometric(1.0 - missing_frac, n) if missing_frac else np.ones(n)
    bars = Bars(
        symbol=symbol,
        stamps=START_NS + np.cumsum(steps).astype(np.int64) * bar_seconds * NANOSECONDS,
        open=open_,
        high=np.maximum(open_, close) * np.exp(wick[0]),
        low=np.minimum(open_, close) * np.exp(-wick[1]),
        close=close,
        volume=generator.integers(0, 3, n).astype(np.float64),
        quote="USD",
        bar_seconds=bar_seconds,
    )
    check_bars(bars)
    return bars


def replaced(bars: Bars, **changes: Any) -> Bars:
    """A copy with other values, not checked, so that tests can break any rule."""
    fields = {name: getattr(bars, name) for name in Bars.__dataclass_fields__}
    return Bars(**{**fields, **changes})


def assert_same_bars(left: Bars, right: Bars) -> None:
    """Every field equal, arrays byte for byte."""
    for name in ("symbol", "quote", "bar_seconds", "notes"):
        assert getattr(left, name) == getattr(right, name), name
    for name in ARRAYS:
        assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name
