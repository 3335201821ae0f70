# SPDX-License-Identifier: Apache-2.0
"""Moves: what bars do, freed from prices and dates, so that they can be drawn, mixed and resampled.

Sources: the extremes of a bar follow the law of the maximum of a Brownian bridge (Karatzas &
Shreve, Brownian Motion and Stochastic Calculus, 1991, section 4.3.C); blocks of random length on a
circle are the stationary bootstrap (Politis & Romano, The Stationary Bootstrap, JASA 89, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, check_bars

Float = NDArray[np.float64]
Rows = NDArray[np.int64]

FIRST_NS = 946_684_800 * NANOSECONDS  # 2000-01-01
FIRST_PRICE = 100.0
LEAST_SHARED_ROWS = 30
# Tokyo's ten days of 2019 are the longest that a big market was closed of late: over a longer time,
# bars are missing, and closes on both sides are no neighbours.
LONGEST_CLOSING_NS = 14 * 86_400 * NANOSECONDS


@dataclass(frozen=True, eq=False)
class Moves:
    """T bars of N instruments as logarithms of price ratios, float64 [T, N] each.

    Attributes:
        gap: Open over the close before.
        body: Close over open.
        up: High over the larger of open and close, not negative.
        down: The smaller of open and close over low, not negative.
        volume: As in the bars.
    """

    gap: Float
    body: Float
    up: Float
    down: Float
    volume: Float

    def __len__(self) -> int:
        return len(self.body)

    @property
    def returns(self) -> Float:
        """Log returns from close to close, float64 [T, N]."""
        return self.gap + self.body

    def take(self, rows: Rows) -> Moves:
        """The moves of some rows, whole rows together: instruments stay aligned."""
        return Moves(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def where(self, chosen: NDArray[np.bool_], other: Moves) -> Moves:
        """These moves in the rows `chosen`, bool [T], the other's elsewhere."""
        mask = chosen[:, None]
        mixed = {
            item.name: np.where(mask, getattr(self, item.name), getattr(other, item.name))
            for item in fields(self)
        }
        return Moves(**mixed)

    def to_bars(
        self, symbols: Sequence[str], quotes: Sequence[str], bar_seconds: int, note: str
    ) -> dict[str, Bars]:
        """Bars from the year 2000 on, one every `bar_seconds`, day and night, from a price of 100.

        Raises:
            DataError: A price left what float64 can hold.
        """
        stamps = FIRST_NS + bar_seconds * NANOSECONDS * np.arange(1, len(self) + 1, dtype=np.int64)
        path = np.cumsum(self.returns, axis=0)
        close = FIRST_PRICE * np.exp(path)
        before = np.vstack((np.full((1, close.shape[1]), FIRST_PRICE), close[:-1]))
        opened = before * np.exp(self.gap)
        high = np.maximum(opened, close) * np.exp(self.up)
        low = np.minimum(opened, close) * np.exp(-self.down)
        made = {}
        for n, (symbol, quote) in enumerate(zip(symbols, quotes, strict=True)):
            bars = Bars(
                symbol=symbol,
                stamps=stamps,
                open=opened[:, n],
                high=high[:, n],
                low=low[:, n],
                close=close[:, n],
                volume=self.volume[:, n],
                quote=quote,
                bar_seconds=bar_seconds,
                notes=(note,),
            )
            check_bars(bars)
            made[symbol] = bars
        return made


def shared_stamps(series: Sequence[Bars]) -> NDArray[np.int64]:
    """Close stamps that all instruments have, int64 [T].

    Raises:
        DataError: They share too few.
    """
    shared = series[0].stamps
    for own in series[1:]:
        shared = np.intersect1d(shared, own.stamps, assume_unique=True)
    if len(shared) <= LEAST_SHARED_ROWS:
        raise DataError(
            "real bars",
            f"must share more than {LEAST_SHARED_ROWS} close stamps",
            len(shared),
            "Resample instruments that trade together, with one session close.",
        )
    return shared


def neighbours(stamps: Rows, bar_seconds: int) -> NDArray[np.bool_]:
    """Whether each stamp but the first follows the one before without missing bars, bool [T - 1]:
    in no more than a bar and the longest time that a market is closed.
    """
    near: NDArray[np.bool_] = np.diff(stamps) <= LONGEST_CLOSING_NS + bar_seconds * NANOSECONDS
    return near


def moves_from_bars(bars: Mapping[str, Bars]) -> Moves:
    """The moves of real bars in the rows whose stamps all instruments share.

    Returns:
        One row per shared stamp but the first, close to close between shared stamps. Those across
        missing bars (`neighbours`) are left out: months would count as one bar.

    Raises:
        DataError: They share too few stamps.
    """
    series = list(bars.values())
    shared = shared_stamps(series)
    rows = [np.searchsorted(own.stamps, shared) for own in series]
    prices = {
        name: np.column_stack(
            [getattr(own, name)[row] for own, row in zip(series, rows, strict=True)]
        )
        for name in ("open", "high", "low", "close", "volume")
    }
    log = {name: np.log(prices[name]) for name in ("open", "high", "low", "close")}
    every = Moves(
        gap=log["open"][1:] - log["close"][:-1],
        body=(log["close"] - log["open"])[1:],
        up=(log["high"] - np.maximum(log["open"], log["close"]))[1:],
        down=(np.minimum(log["open"], log["close"]) - log["low"])[1:],
        volume=prices["volume"][1:],
    )
    return every.take(np.flatnonzero(neighbours(shared, series[0].bar_seconds)))


def diffuse(body: Float, deviation: Float, generator: np.random.Generator) -> tuple[Float, Float]:
    """How far a Brownian path from open to close goes beyond them.

    Given the close, the maximum m of the path has P(m > x) = exp(-2 x (x - body) / deviation^2);
    the minimum likewise. Each follows its own law; they are drawn independently.

    Args:
        body: float64 [T, N], log close over open.
        deviation: float64 [T, N], standard deviation of the bar's diffusion; 0: it goes straight.
        generator: Draws.

    Returns:
        `Moves.up` and `Moves.down`.
    """
    excess = []
    for side in (body, -body):
        drawn = -np.log1p(-generator.random(body.shape))
        reach = 0.5 * (side + np.sqrt(side**2 + 2.0 * deviation**2 * drawn))
        excess.append(np.maximum(reach - np.maximum(side, 0.0), 0.0))
    return excess[0], excess[1]


def block_rows(
    available: int, count: int, mean_block_bars: float, generator: np.random.Generator
) -> Rows:
    """Rows of a stationary bootstrap: blocks that begin anywhere, go round the end, and end after
    each row with probability 1 / `mean_block_bars`.

    Args:
        available: Rows to draw from.
        count: Rows wanted.
        mean_block_bars: Mean length of a block, at least 1.
        generator: Draws.

    Returns:
        int64 [count] in [0, available).
    """
    begins = generator.random(count) < 1.0 / mean_block_bars
    begins[0] = True
    starts = generator.integers(0, available, count)
    first = np.maximum.accumulate(np.where(begins, np.arange(count), 0))
    rows: Rows = (starts[first] + np.arange(count) - first) % available
    return rows
