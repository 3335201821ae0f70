# SPDX-License-Identifier: Apache-2.0
"""Bars on awkward clocks: days on which clocks change, missing hours, stamps off the hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st

from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.instruments import Session
from tests.support.builders import make_bars

MINUTE_NS = 60 * NANOSECONDS
HOUR_NS = 60 * MINUTE_NS


def session(close: str, timezone: str = "America/New_York") -> Session:
    return Session(timezone=timezone, close=close, week_opens="sunday")


NEW_YORK = session("17:00")
# 01:30 and 02:30 are shown twice and skipped when New York's clocks change.
SESSIONS = (
    None,
    NEW_YORK,
    session("14:30"),
    session("01:30"),
    session("02:30"),
    session("16:30", "Europe/London"),
    session("15:00", "Asia/Tokyo"),
    session("20:00", "UTC"),
)
# Thursdays: an ordinary one, and those before the clock changes of New York and London in 2020.
STARTS = ("2020-01-09", "2020-03-05", "2020-03-26", "2020-10-22", "2020-10-29")


@st.composite
def clock_bars(
    draw: st.DrawFn, symbol: str = "EURUSD", min_bars: int = 2, max_bars: int = 200
) -> Bars:
    """Bars of 15 minutes or an hour around a clock change, with holes, on or off the hour."""
    start_ns = int(np.datetime64(draw(st.sampled_from(STARTS)), "ns").astype(np.int64))
    start_ns += draw(st.integers(0, 60)) * HOUR_NS
    start_ns += draw(st.sampled_from((0, 0, 0, 15, 40))) * MINUTE_NS
    return make_bars(
        symbol,
        n=draw(st.integers(min_bars, max_bars)),
        seed=draw(st.integers(0, 1000)),
        bar_seconds=draw(st.sampled_from((900, 3600, 3600))),
        gap=0.001,
        start_ns=start_ns,
        missing_frac=draw(st.sampled_from((0.0, 0.3, 0.9))),
    )


def close_after(stamp_ns: int, seconds: int, days_end: Session | None) -> int:
    """The first close of a timeframe at or after a stamp, found slowly with `zoneinfo`."""
    step = seconds * NANOSECONDS
    if seconds < 86_400 or (days_end is None and seconds == 86_400):
        return -(-stamp_ns // step) * step
    day = datetime.fromtimestamp(stamp_ns / NANOSECONDS, UTC).date() - timedelta(days=3)
    while True:
        if days_end is None:
            end = datetime.combine(day + timedelta(days=1), time(0), UTC)
        else:
            end = wall_moment(day, time.fromisoformat(days_end.close), ZoneInfo(days_end.timezone))
        is_end = day.weekday() == 4 if seconds == 7 * 86_400 else day.weekday() < 5
        moment = int(end.timestamp()) * NANOSECONDS
        if is_end and moment >= stamp_ns:
            return moment
        day += timedelta(days=1)


def wall_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A wall-clock time; the later where it is shown twice, the next where it is skipped."""
    local = datetime.combine(day, at, zone).replace(fold=1)
    while local.astimezone(UTC).astimezone(zone).replace(fold=0) != local.replace(fold=0):
        local = (local.replace(tzinfo=None) + timedelta(minutes=1)).replace(tzinfo=zone, fold=1)
    return local
