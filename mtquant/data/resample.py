# SPDX-License-Identifier: Apache-2.0
"""Shorter bars into longer ones: ``resample(hourly, "1d", session)``, at once or bar by bar.

A longer bar is stamped at its own close and holds the shorter bars that closed after the longer
close before it and no later than that stamp. Nothing is known of it earlier, so nothing of it is
shown earlier. Hours without a bar stay without one: a longer bar is made only where a shorter bar
closed. The bars at either end are left out unless they are complete:

* the last counts once its close has come (`until_ns`; by default the last shorter bar's stamp),
* the first counts only if the first shorter bar began no later than it did.

`Resampler` does the same one bar at a time, byte for byte.
"""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from mtquant.core.errors import DataError
from mtquant.core.lengths import length_seconds
from mtquant.data.bars import NANOSECONDS, Bars, Float, Stamps
from mtquant.data.instruments import Session
from mtquant.data.stamps import session_stamps

DAY = 86_400
WEEK = 7 * DAY
# 1970-01-01 was a Thursday: the first week ended two days later, with the Friday.
FIRST_WEEK_END = 2 * DAY
# Closes that a `Resampler` works out in advance: pandas is slow on one date at a time.
AHEAD_NS = 400 * DAY * NANOSECONDS
MARGIN_DAYS = 8  # a week and the farthest time zone
# Whether a bar is open, whether it lacks its beginning, whether any bar was seen; then the bar.
STATE = struct.Struct("<???5dq")


@dataclass(frozen=True)
class Timeframe:
    """A length of bars and where on the clock they close.

    Attributes:
        text: ``"15min"``, ``"4h"`` and other lengths that divide a day, ``"1d"`` or ``"1w"``.
        session: When days end. Given one, days end at its close on its clock, Monday to Friday
            (summer time included; what trades on a weekend belongs to Monday), and weeks with
            Friday's close. Without one, days end at midnight UTC, on weekends too, and weeks with
            Friday's midnight. Lengths below a day are counted from midnight UTC in any case, as
            a session day has 23 or 25 hours when clocks change.

    Raises:
        DataError: The length is none of these.
    """

    text: str
    session: Session | None = None

    def __post_init__(self) -> None:
        seconds = length_seconds(self.text, "timeframe")
        if seconds not in (DAY, WEEK) and DAY % seconds:
            raise DataError(
                "timeframe",
                "must divide a day, or be 1d or 1w",
                self.text,
                "For example 15min, 4h, 1d or 1w.",
            )

    @property
    def seconds(self) -> int:
        """Nominal length, seconds; a session day counts as 86,400."""
        return length_seconds(self.text, "timeframe")

    def closes(self, first_ns: int, last_ns: int) -> Stamps:
        """Consecutive closes, int64, of which one lies before `first_ns` and one at or after
        `last_ns`; UTC nanoseconds.
        """
        if self.session is not None and self.seconds >= DAY:
            return self._session_closes(first_ns, last_ns, self.session)
        step = self.seconds * NANOSECONDS
        offset = FIRST_WEEK_END * NANOSECONDS if self.seconds == WEEK else 0
        before = (first_ns - 1 - offset) // step
        after = -((offset - last_ns) // step)
        return np.arange(before, after + 1, dtype=np.int64) * step + offset

    def _session_closes(self, first_ns: int, last_ns: int, session: Session) -> Stamps:
        day_ns = DAY * NANOSECONDS
        days = np.arange(first_ns // day_ns - MARGIN_DAYS, last_ns // day_ns + MARGIN_DAYS + 1)
        dates = days.astype("datetime64[D]")
        weekdays = "Fri" if self.seconds == WEEK else "Mon Tue Wed Thu Fri"
        kept = pd.DatetimeIndex(dates[np.is_busday(dates, weekmask=weekdays)])
        return session_stamps(kept, f"session of {self.text}", session.timezone, session.close)


def resample(
    bars: Bars, text: str, session: Session | None = None, until_ns: int | None = None
) -> Bars:
    """Longer bars out of shorter ones.

    Args:
        bars: Bars whose length divides the longer one.
        text: The longer length, such as ``"4h"``, ``"1d"`` or ``"1w"``; see `Timeframe`.
        session: When days end; None for midnight UTC.
        until_ns: How far time has come, UTC nanoseconds; left out, the last bar's stamp. A bar
            that closes later is not complete.

    Returns:
        First open, highest high, lowest low, last close and sum of the volumes, stamped at the
        longer close. May be empty: no bar is made up.

    Raises:
        DataError: There are no bars, or the length does not suit them.
    """
    timeframe = Timeframe(text, session)
    _check_fits(timeframe, bars.bar_seconds, bars.symbol)
    if not len(bars):
        raise DataError(bars.symbol, "must have a bar to resample", 0, "Use a longer history.")
    first_ns, last_ns = int(bars.stamps[0]), int(bars.stamps[-1])
    closes = timeframe.closes(first_ns, last_ns)
    bucket = np.searchsorted(closes, bars.stamps)  # the first close at or after each stamp
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    stamps = closes[bucket[starts]]
    began = first_ns - bars.bar_seconds * NANOSECONDS <= closes[bucket[0] - 1]
    kept = stamps <= (last_ns if until_ns is None else until_ns)
    kept[0] &= began
    ends = np.append(starts[1:], len(bars)) - 1
    # bincount adds in order of age, as a stream does; numpy's sums may not.
    number = np.repeat(np.arange(len(starts)), ends - starts + 1)
    volume: Float = np.bincount(number, bars.volume).astype(np.float64)
    return replace(
        bars,
        stamps=stamps[kept],
        open=bars.open[starts][kept],
        high=np.maximum.reduceat(bars.high, starts)[kept],
        low=np.minimum.reduceat(bars.low, starts)[kept],
        close=bars.close[ends][kept],
        volume=volume[kept],
        bar_seconds=timeframe.seconds,
        notes=(*bars.notes, f"{text} bars made of bars of {bars.bar_seconds} s"),
    )


class BarRow(NamedTuple):
    """One bar: prices in quote currency, volume, UTC close stamp in nanoseconds."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    stamp_ns: int


class Resampler:
    """`resample` one bar at a time.

    Args:
        timeframe: The longer bars.
        bar_seconds: Length of the shorter ones.

    Raises:
        DataError: The lengths do not suit each other.
    """

    def __init__(self, timeframe: Timeframe, bar_seconds: int) -> None:
        _check_fits(timeframe, bar_seconds, timeframe.text)
        self._timeframe = timeframe
        self._bar_ns = bar_seconds * NANOSECONDS
        self._pending: BarRow | None = None
        self._partial = False
        self._started = False
        self._closes: list[int] = []

    def update(self, bar: BarRow) -> list[BarRow]:
        """Takes in a bar that just closed and returns the longer bars that are complete with it.

        None, one, or two: the bar may both come after one close and fall on the next. `bar` passed
        `check_bars` and closed after the bar before it and after every `advance`.
        """
        done = self._complete(bar.stamp_ns - 1)
        if self._pending is None:
            end, previous = self._close_at(bar.stamp_ns)
            self._partial = not self._started and bar.stamp_ns - self._bar_ns > previous
            self._started = True
            self._pending = bar._replace(volume=0.0 + bar.volume, stamp_ns=end)
        else:
            open_, high, low, _, volume, end = self._pending
            self._pending = BarRow(
                open_, max(high, bar.high), min(low, bar.low), bar.close, volume + bar.volume, end
            )
        return done + self._complete(bar.stamp_ns)

    def advance(self, stamp_ns: int) -> list[BarRow]:
        """The longer bar that is complete because time has come to `stamp_ns`, if there is one."""
        return self._complete(stamp_ns)

    def state(self) -> bytes:
        """Everything the resampler remembers, for `restore`; always of one length."""
        bar = self._pending or BarRow(0.0, 0.0, 0.0, 0.0, 0.0, 0)
        return STATE.pack(self._pending is not None, self._partial, self._started, *bar)

    def restore(self, state: bytes) -> None:
        """Continues from what `state` wrote."""
        pending, self._partial, self._started, *bar = STATE.unpack(state)
        self._pending = BarRow(*bar) if pending else None

    def _complete(self, until_ns: int) -> list[BarRow]:
        if self._pending is None or self._pending.stamp_ns > until_ns:
            return []
        done = [] if self._partial else [self._pending]
        self._pending, self._partial = None, False
        return done

    def _close_at(self, stamp_ns: int) -> tuple[int, int]:
        """The longer close at or after a stamp, and the one before it."""
        if not self._closes or not self._closes[0] < stamp_ns <= self._closes[-1]:
            self._closes = self._timeframe.closes(stamp_ns, stamp_ns + AHEAD_NS).tolist()
        place = bisect.bisect_left(self._closes, stamp_ns)
        return self._closes[place], self._closes[place - 1]


def _check_fits(timeframe: Timeframe, bar_seconds: int, field: str) -> None:
    if timeframe.seconds <= bar_seconds or timeframe.seconds % bar_seconds:
        raise DataError(
            f"timeframe of {field}",
            f"must be a multiple of the bars' own length ({bar_seconds} s), and longer",
            timeframe.text,
            "Use a longer timeframe, or shorter bars.",
        )
