# SPDX-License-Identifier: Apache-2.0
"""Times as files write them, read in one form for the whole column.

A form is a way of writing: which part comes first, whether there is a time of day, whether there is
an offset from UTC. Most rows decide which form a file uses; a row in another one is a bad time, and
is never read by a second rule. Whether 01/02/2020 is in January or February is read off the dates
that can be only one of both; where none can, the user has to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000_000
_CLOCK = (
    r"(?:[T ]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?(?: ?(?P<half>[AaPp][Mm]))?)?"
    r"(?: *(?P<offset>Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}:?[0-9]{2}))?"
)
_PACKED = r"(?P<year>(?:19|20)[0-9]{2})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12][0-9]|3[01])"
_TWO = "[0-9]{2}"
YEAR_FIRST, PACKED, LOOSE, NAMED, EPOCH = (
    "year first",
    "YYYYMMDD",
    "day or month first",
    "month by name",
    "since 1970",
)
FORMS = (
    (
        YEAR_FIRST,
        r"(?P<year>[0-9]{4})([-./])(?P<month>[0-9]{1,2})\2(?P<day>[0-9]{1,2})" + _CLOCK,
    ),
    (
        PACKED,
        rf"{_PACKED}(?:[T ]?(?P<hour>{_TWO}):?(?P<minute>{_TWO})(?::?(?P<second>{_TWO}))?)?",
    ),
    (EPOCH, r"(?P<epoch>[0-9]{9,10}|[0-9]{12,13}|[0-9]{16}|[0-9]{19})(?:\.0+)?"),
    (LOOSE, r"(?P<a>[0-9]{1,2})([-./])(?P<b>[0-9]{1,2})\2(?P<year>[0-9]{4})" + _CLOCK),
    (NAMED, r"(?P<day>[0-9]{1,2})[- ](?P<name>[A-Za-z]{3})[- ](?P<year>[0-9]{4})" + _CLOCK),
    (NAMED, r"(?P<name>[A-Za-z]{3}) (?P<day>[0-9]{1,2}),? (?P<year>[0-9]{4})" + _CLOCK),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in FORMS)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_2262 = 9_214_646_400 * SECOND  # int64 ends a few months later
_EPOCH_UNITS = {9: SECOND, 10: SECOND, 12: 10**6, 13: 10**6, 16: 1_000, 19: 1}


@dataclass(frozen=True)
class Times:
    """R times.

    Attributes:
        local: int64 [R], nanoseconds since 1970 on the file's own clock; UTC where `absolute`.
        read: bool [R], whether the time could be read.
        form: How most of them are written.
        absolute: Whether they say their offset from UTC themselves.
        epoch: Whether they count from 1970.
        has_clock: Whether they have a time of day.
        ambiguous: Whether day and month could be swapped and nobody has said which is which.
    """

    local: NDArray[np.int64]
    read: NDArray[np.bool_]
    form: str
    absolute: bool
    epoch: bool
    has_clock: bool
    ambiguous: bool


_Form = tuple[str, bool, bool, str]


def parse_times(texts: Sequence[str], date_order: str | None = None) -> Times:
    """Reads times in the form that most of them have.

    Args:
        texts: R texts, without space around them.
        date_order: ``"day_first"``, ``"month_first"``, or None to go by the dates.
    """
    forms: list[_Form | None] = []
    parts: list[dict[str, str | None]] = []
    for text in texts:
        form, groups = _match(text)
        forms.append(form)
        parts.append(groups)
    counts = Counter(form for form in forms if form is not None)
    if not counts:
        nothing = np.zeros(len(texts), dtype=np.int64)
        return Times(nothing, nothing.astype(bool), "unknown", False, False, False, False)
    most = counts.most_common(1)[0][0]
    name, has_clock, absolute, _ = most
    chosen = np.array([form == most for form in forms])
    local = np.zeros(len(texts), dtype=np.int64)
    rows = np.flatnonzero(chosen)
    kept = [parts[row] for row in rows]
    order, ambiguous = _date_order(kept, date_order) if name == LOOSE else (None, False)
    if name == EPOCH:
        moments, fits = _from_epoch(kept)
    else:
        moments, fits = _from_parts(kept, order)
    local[rows], chosen[rows] = moments, fits
    words = order.replace("_", " ") if order else name
    return Times(local, chosen, words, absolute, name == EPOCH, has_clock, ambiguous)


def _match(text: str) -> tuple[_Form | None, dict[str, str | None]]:
    """The form of one time and its parts."""
    for name, pattern in _PATTERNS:
        match = pattern.fullmatch(text)
        if match:
            groups = match.groupdict()
            has_clock = groups.get("hour") is not None or name == EPOCH
            absolute = groups.get("offset") is not None
            digits = groups.get("epoch") or ""
            unit = str(_EPOCH_UNITS[len(digits)]) if digits else ""
            return (name, has_clock, absolute, unit), groups
    return None, {}


def _date_order(parts: list[dict[str, str | None]], told: str | None) -> tuple[str, bool]:
    """Which number is the day, and whether that is unknown."""
    if told is not None:
        return told, False
    first = sum(int(each["a"] or 0) > 12 for each in parts)
    second = sum(int(each["b"] or 0) > 12 for each in parts)
    # A date that the larger party rules out is a bad time; with none to count, nobody knows.
    return ("day_first" if first >= second else "month_first"), first == second


def _from_epoch(parts: list[dict[str, str | None]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Nanoseconds of counts of seconds to nanoseconds; those beyond 2262 do not fit."""
    counts = [int(each["epoch"] or 0) * _EPOCH_UNITS[len(each["epoch"] or "")] for each in parts]
    fits = np.array([count < _YEAR_2262 for count in counts], dtype=bool)
    return np.array([min(count, _YEAR_2262) for count in counts], dtype=np.int64), fits


def _from_parts(
    parts: list[dict[str, str | None]], order: str | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Nanoseconds of dates and times of day, less their offset; whether the calendar has them."""

    def column(name: str) -> NDArray[np.int64]:
        return np.array([int(each.get(name) or 0) for each in parts], dtype=np.int64)

    year, month, day = column("year"), column("month"), column("day")
    if order is not None:
        day_name, month_name = ("a", "b") if order == "day_first" else ("b", "a")
        day, month = column(day_name), column(month_name)
    named = [(each.get("name") or "").lower() for each in parts]
    month += np.array([_MONTHS.index(text) + 1 if text in _MONTHS else 0 for text in named])
    hour, half = column("hour"), [(each.get("half") or "").lower() for each in parts]
    minute, second = column("minute"), column("second")
    twelve = np.array([text != "" for text in half], dtype=bool)
    fits = (year >= 1678) & (year <= 2261) & (month >= 1) & (month <= 12) & (minute < 60)
    fits &= (second < 60) & np.where(twelve, (hour >= 1) & (hour <= 12), hour < 24)
    hour = np.where(twelve, hour % 12, hour)
    hour += np.array([12 if text == "pm" else 0 for text in half], dtype=np.int64)
    months = np.where(fits, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    fits &= (day >= 1) & (days.astype("datetime64[M]") == months)
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
    seconds -= np.array([_offset_seconds(each.get("offset")) for each in parts], dtype=np.int64)
    fraction = np.array(
        [int((each.get("fraction") or "").ljust(9, "0")) for each in parts], dtype=np.int64
    )
    return np.where(fits, seconds * SECOND + fraction, 0), fits


def _offset_seconds(text: str | None) -> int:
    """Seconds ahead of UTC of ``"Z"``, ``"+02:00"``, ``"GMT-0500"``."""
    digits = (text or "").replace(":", "").lstrip("UTCGMZ")
    if not digits:
        return 0
    seconds = int(digits[1:3]) * 3_600 + int(digits[3:5]) * 60
    return -seconds if digits[0] == "-" else seconds
