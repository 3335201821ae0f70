# SPDX-License-Identifier: Apache-2.0
"""Where bars come from, one panel row at a time.

A feed hands on what it was told; whether a bar can be believed is judged in one place, `intake.py`.
`Replay` plays any bars at any speed, `SyntheticFeed` makes them up; `yahoo_feed.py` polls Yahoo.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from mtquant.data.bars import NANOSECONDS, Bars


class RawBar(NamedTuple):
    """A bar as a source tells it, not yet believed.

    Attributes:
        symbol: The instrument.
        stamp_ns: When it closed, UTC.
        open, high, low, close, volume: As in `Bars`; NaN where the source had nothing.
    """

    symbol: str
    stamp_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class Delivery:
    """What a feed brought.

    Attributes:
        stamp_ns: Stamp that the bars share; those with another are for `intake.py` to judge.
        bars: The bars.
        remarks: What the feed noticed, such as revised bars: (kind, subject, detail).
    """

    stamp_ns: int
    bars: tuple[RawBar, ...]
    remarks: tuple[tuple[str, str, str], ...] = ()


class FeedTimeout(Exception):
    """No bar came in the time that was given; ask again."""


class FeedEnd(Exception):
    """There will be no more bars."""


class Feed(Protocol):
    """Bars as they close, oldest first."""

    def next(self, timeout_seconds: float) -> Delivery:
        """The next panel row.

        Raises:
            FeedTimeout: None has come yet.
            FeedEnd: None will.
        """
        ...

    def skip_to(self, after_ns: int) -> None:
        """Goes on with the first row that closed after a stamp."""
        ...

    def now_ns(self) -> int:
        """The feed's clock: a wall clock for live bars, the last stamp for replayed ones."""
        ...


class Replay:
    """Bars of the past, as fast as they are asked for or on a clock.

    Args:
        bars: One of each instrument.
        bars_per_second: Rows a second; None for as fast as possible.
        after_ns: Begin with the first row that closed after this.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        bars: Sequence[Bars],
        bars_per_second: float | None = None,
        after_ns: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bars = tuple(bars)
        self._columns = [[own.open, own.high, own.low, own.close, own.volume] for own in self._bars]
        self.stamps = np.unique(np.concatenate([own.stamps for own in bars]))
        self._pause = 0.0 if bars_per_second is None else 1.0 / bars_per_second
        self._sleep = sleep
        self._due = time.monotonic()
        self._places = [0] * len(self._bars)
        self._place = 0
        self._now = int(self.stamps[0]) - 1
        if after_ns is not None:
            self.skip_to(after_ns)

    def skip_to(self, after_ns: int) -> None:
        """As `Feed.skip_to`."""
        self._place = int(np.searchsorted(self.stamps, after_ns, side="right"))
        self._places = [
            int(np.searchsorted(own.stamps, after_ns, side="right")) for own in self._bars
        ]
        if self._place:
            self._now = int(self.stamps[self._place - 1])

    def next(self, timeout_seconds: float) -> Delivery:
        """As `Feed.next`."""
        if self._place >= len(self.stamps):
            raise FeedEnd
        wait = self._due - time.monotonic()
        if self._pause and wait > 0.0:
            self._sleep(min(wait, timeout_seconds))
            if wait > timeout_seconds:
                raise FeedTimeout
        stamp = int(self.stamps[self._place])
        found = []
        for n, own in enumerate(self._bars):
            k = self._places[n]
            if k < len(own) and own.stamps[k] == stamp:
                numbers = (float(column[k]) for column in self._columns[n])
                found.append(RawBar(own.symbol, stamp, *numbers))
                self._places[n] += 1
        self._place += 1
        self._now = stamp
        self._due = max(self._due, time.monotonic()) + self._pause
        return Delivery(stamp, tuple(found))

    def now_ns(self) -> int:
        """As `Feed.now_ns`: the stamp of the last row."""
        return self._now


class SyntheticFeed:
    """Bars that are made up as time goes on, without end: a geometric random walk.

    Row k depends on the seed and k alone, so that a restart goes on with the same bars.

    Args:
        symbols: The instruments.
        bar_seconds: Length of a bar.
        first_ns: Stamp of the first row.
        seed: Of the walk.
        volatility: Deviation of a bar's log return.
        bars_per_second: Rows a second; None for as fast as possible.
        start: Prices of the first opens; 1 where left out.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        bar_seconds: int,
        first_ns: int,
        seed: int,
        volatility: float = 0.001,
        bars_per_second: float | None = None,
        start: Sequence[float] | None = None,
    ) -> None:
        self.symbols, self._seed, self._volatility = tuple(symbols), seed, volatility
        self._bar_ns, self._first_ns = bar_seconds * NANOSECONDS, first_ns
        self._start = np.ones(len(self.symbols)) if start is None else np.array(start)
        self._pause = 0.0 if bars_per_second is None else 1.0 / bars_per_second
        self._due = time.monotonic()
        self._rows = self._walk()
        self._now = first_ns - 1

    def _walk(self) -> Iterator[Delivery]:
        closes = self._start
        k = 0
        while True:
            draws = np.random.Generator(np.random.PCG64([self._seed, k]))
            steps = draws.normal(0.0, self._volatility, (4, len(self.symbols)))
            opens = closes * np.exp(0.1 * steps[0])
            closes = opens * np.exp(steps[1])
            highs = np.maximum(opens, closes) * np.exp(np.abs(steps[2]))
            lows = np.minimum(opens, closes) * np.exp(-np.abs(steps[3]))
            stamp = self._first_ns + k * self._bar_ns
            yield Delivery(
                stamp,
                tuple(
                    RawBar(
                        symbol,
                        stamp,
                        float(opens[n]),
                        float(highs[n]),
                        float(lows[n]),
                        float(closes[n]),
                        1.0,
                    )
                    for n, symbol in enumerate(self.symbols)
                ),
            )
            k += 1

    def skip_to(self, after_ns: int) -> None:
        """As `Feed.skip_to`: the walk is walked again up to there."""
        self._rows = self._walk()
        self._now = self._first_ns - 1
        for _ in range(max(0, (after_ns - self._first_ns) // self._bar_ns + 1)):
            self._now = next(self._rows).stamp_ns

    def next(self, timeout_seconds: float) -> Delivery:
        """As `Feed.next`."""
        wait = self._due - time.monotonic()
        if self._pause and wait > 0.0:
            time.sleep(min(wait, timeout_seconds))
            if wait > timeout_seconds:
                raise FeedTimeout
        self._due = max(self._due, time.monotonic()) + self._pause
        delivery = next(self._rows)
        self._now = delivery.stamp_ns
        return delivery

    def now_ns(self) -> int:
        """As `Feed.now_ns`: the stamp of the last row."""
        return self._now
