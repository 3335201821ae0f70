# SPDX-License-Identifier: Apache-2.0
"""Time of day, week and month of the close stamp in UTC, and the place in the session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.kind import Kind, changes
from mtquant.features.past import SECONDS, SESSION_LEFT, Past, Triple

(
    HOUR,
    WEEKDAY,
    MONTH,
    SESSION_AGE,
    SESSION_TO_CLOSE,
) = range(5)

DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0
FULL_TURN = 2.0 * math.pi
# Of the days of the week as angles, Monday 0.
WEEK_SINES = tuple(math.sin(FULL_TURN * day / 7.0) for day in range(7))
WEEK_COSINES = tuple(math.cos(FULL_TURN * day / 7.0) for day in range(7))
# A longer step between stamps than so many bars is a break between sessions.
BREAK_BARS = 1.5
# The turn of the month: its last weekday and the first three of the next (Lakonishok, Smidt 1988).
FIRST_WEEKDAYS = 3


def _stamp_only(code: int, description: str, output: int = 0) -> Kind:
    return Kind(code, (), (), (), lambda: 0, description, output)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "hour_sin": _stamp_only(HOUR, "sine of the time of day of the close, UTC; -1..1"),
        "hour_cos": _stamp_only(HOUR, "cosine of the same", output=1),
        "weekday_sin": _stamp_only(
            WEEKDAY, "sine of the weekday of the close, UTC, Monday 0; -1..1"
        ),
        "weekday_cos": _stamp_only(WEEKDAY, "cosine of the same", output=1),
        "month_sin": _stamp_only(MONTH, "sine of the day of the month, UTC; -1..1"),
        "month_cos": _stamp_only(MONTH, "cosine of the same", output=1),
        "turn_of_month": _stamp_only(
            MONTH,
            "1 on a month's last weekday and the first three of the next, else 0 "
            "(Lakonishok, Smidt 1988)",
            output=2,
        ),
        "session_age": changes(
            SESSION_AGE, 24, "hours since the session's first bar began, at most w bars back"
        ),
        "session_left": Kind(
            SESSION_TO_CLOSE,
            (),
            (),
            (),
            lambda: 0,
            "hours to the instrument's session close by its own clock; 0..24",
            needs="session",
        ),
    }
)


@kernel
def day_number(seconds: float) -> int:
    """Whole days since 1970; the quotient is never rounded up to the next whole one."""
    return math.floor(seconds / DAY_SECONDS)


@kernel
def day_angle(seconds: float) -> float:
    """Time of day of a stamp as an angle; midnight UTC is 0."""
    return FULL_TURN * (seconds - day_number(seconds) * DAY_SECONDS) / DAY_SECONDS


@kernel
def weekday(days: int) -> int:
    """Day of the week, Monday 0, of a day counted from 1970 (which began on a Thursday)."""
    return (days + 3) % 7


@kernel
def month_days(days: int) -> tuple[int, int]:
    """Day of the month, 1 the first, of a day counted from 1970, and how many the month has.

    The Gregorian calendar repeats every 400 years of 146,097 days. With years that begin in March,
    month m (0 March .. 11 February) begins on day (153 m + 2) // 5.
    """
    shifted = days + 719_468  # days from 1 March of year 0 to 1 January 1970
    of_era = shifted % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    length = (153 * (month + 1) + 2) // 5 - (153 * month + 2) // 5
    if month == 11:
        following = year + 1  # February belongs to the civil year after
        leap = following % 4 == 0 and (following % 100 != 0 or following % 400 == 0)
        length = 29 if leap else 28
    return day, length


@kernel
def month(seconds: float) -> Triple:
    """Sine and cosine of the day of the month, its first day 0, and the turn of the month."""
    days = day_number(seconds)
    day, length = month_days(days)
    angle = FULL_TURN * (day - 1) / length
    return math.sin(angle), math.cos(angle), turn_of_month(days, day, length)


@kernel
def turn_of_month(days: int, day: int, length: int) -> float:
    """1 on the last weekday (Monday to Friday) of a month and the first three of the next, else 0.

    A weekend has the value of neither: it lies outside.
    """
    if weekday(days) > 4 or (day > FIRST_WEEKDAYS + 2 and length - day > 2):
        return 0.0  # between two weekends lie five weekdays, and a weekend is two days long
    before, after = 0, 0
    for other in range(max(days - day + 1, days - 6), days):
        before += 1 if weekday(other) < 5 else 0
    for other in range(days + 1, min(days - day + length, days + 3) + 1):
        after += 1 if weekday(other) < 5 else 0
    return 1.0 if before < FIRST_WEEKDAYS or after == 0 else 0.0


@kernel
def session_age(past: Past, t: int, w: int) -> float:
    """Hours from the opening of the session's first bar to the close of this one.

    A session begins with the first bar after a break: a step between stamps longer than 1.5 times
    the shortest of the newest w, which is the length of a bar. Without a break among them, the
    hours of those w steps.
    """
    stamps = past[SECONDS, t - w : t + 1]
    shortest = stamps[w] - stamps[0]
    for i in range(w):
        shortest = min(shortest, stamps[i + 1] - stamps[i])
    opened = stamps[0]
    for i in range(w):
        broken = stamps[i + 1] - stamps[i] > BREAK_BARS * shortest
        opened = stamps[i + 1] - shortest if broken else opened
    return (stamps[w] - opened) / HOUR_SECONDS


@kernel
def update(code: int, past: Past, t: int, w: int) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    a, b, c = math.nan, math.nan, math.nan
    seconds = past[SECONDS, t]
    if code == HOUR:
        a, b = math.sin(day_angle(seconds)), math.cos(day_angle(seconds))
    elif code == WEEKDAY:
        day = weekday(day_number(seconds))
        a, b = WEEK_SINES[day], WEEK_COSINES[day]
    elif code == MONTH:
        a, b, c = month(seconds)
    elif code == SESSION_AGE:
        a = session_age(past, t, w)
    elif code == SESSION_TO_CLOSE:
        a = past[SESSION_LEFT, t] / HOUR_SECONDS
    return a, b, c
