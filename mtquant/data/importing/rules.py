# SPDX-License-Identifier: Apache-2.0
"""The rules on single rows: times, clocks, prices and volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.importing.clocks import NEVER, Clock
from mtquant.data.importing.columns import PRICES, Columns
from mtquant.data.importing.numbers import BAD, MISSING, READ, parse_numbers
from mtquant.data.importing.sheet import Sheet
from mtquant.data.importing.source import ImportSource
from mtquant.data.importing.times import Times, parse_times

Stamps = NDArray[np.int64]
Float = NDArray[np.float64]
Texts = Mapping[str, list[str]]
NOTATION = (
    "Mend the file, say decimal or thousands if it writes numbers in another way, or import with"
    " bad_number=drop."
)


@dataclass(frozen=True)
class Values:
    """Prices and volume of R rows; rows that are dropped hold anything.

    Attributes:
        prices: float64 [R, 4]: open, high, low, close, as `PRICES`.
        volume: float64 [R].
    """

    prices: Float
    volume: Float


def read_times(
    sheet: Sheet, texts: Texts, columns: Columns, source: ImportSource
) -> tuple[Stamps, str]:
    """The moment that each row's time says, and how it was read.

    Returns:
        int64 [R], UTC nanoseconds; for session dates midnight of the date. Rows that are dropped
        hold 0.

    Raises:
        DataError: The policy refuses a time, or day and month or the clock are not known.
    """
    joined = _joined(texts)
    # Lines that were dropped have no say in how the file writes its times.
    rows = np.flatnonzero(sheet.alive)
    parsed = parse_times([joined[row] for row in rows], source.date_order)
    local, read = np.zeros(len(sheet), dtype=np.int64), np.zeros(len(sheet), dtype=bool)
    local[rows], read[rows] = parsed.local, parsed.read
    if parsed.ambiguous:
        remedy = "Say date_order=day_first or date_order=month_first."
        line = f"{sheet.name}, line {sheet.lines[rows[0]]}"
        raise DataError(
            line, "must show which is the day and which the month", joined[rows[0]], remedy
        )
    if source.stamped == "session" and not parsed.epoch:
        read &= local % (86_400 * 1_000_000_000) == 0
    sheet.meet("bad_time", ~read, joined.__getitem__)
    clock = _clock(sheet, parsed, columns, source, joined)
    if clock is None:
        return local, f"{parsed.form}, session dates"
    if isinstance(clock, str):
        return local, f"{parsed.form}, {clock}"
    return _on_clock(sheet, local, clock, joined.__getitem__), f"{parsed.form}, clock {clock.text}"


def read_values(sheet: Sheet, texts: Texts, columns: Columns, source: ImportSource) -> Values:
    """Prices, divided by `price_scale`, and volume, after the rules on single rows.

    Raises:
        DataError: The policy refuses a row.
    """
    roles = [*PRICES, "volume"] if "volume" in texts else list(PRICES)
    read = [parse_numbers(texts[role], source.decimal, source.thousands) for role in roles]
    numbers = np.stack([values for values, _ in read], axis=1)
    status = np.stack([found for _, found in read], axis=1)

    def shown(broken: NDArray[np.bool_]) -> Callable[[int], str]:
        """The first broken number of a row, by its name in the file."""
        return lambda row: _cell(texts, columns, roles[int(broken[row].argmax())], row)

    def four(row: int) -> str:
        return ", ".join(texts[role][row] for role in PRICES)

    bad = status == BAD
    sheet.meet("bad_number", np.any(bad, axis=1), shown(bad), remedy=NOTATION)
    prices, missing = numbers[:, :4] / (source.price_scale or 1.0), status[:, :4] == MISSING
    zero = (status[:, :4] == READ) & (prices == 0.0)
    sheet.meet("empty_bar", np.all(missing, axis=1) | np.all(zero, axis=1), four)
    sheet.meet("missing", np.any(missing, axis=1), shown(missing))
    below = prices <= 0.0
    sheet.meet("nonpositive", np.any(below, axis=1), shown(below))
    top, bottom = prices.max(axis=1), prices.min(axis=1)
    high, low = PRICES.index("high"), PRICES.index("low")
    rows = sheet.meet("disordered", (prices[:, high] < top) | (prices[:, low] > bottom), four)
    prices[rows, high], prices[rows, low] = top[rows], bottom[rows]
    if "volume" not in texts:
        return Values(prices, np.zeros(len(sheet)))
    volume = numbers[:, 4]
    broken = (status[:, 4] == MISSING) | (volume < 0.0)
    rows = sheet.meet("bad_volume", broken, lambda row: _cell(texts, columns, "volume", row))
    volume[rows] = 0.0
    return Values(prices, volume)


def _cell(texts: Texts, columns: Columns, role: str, row: int) -> str:
    return f"{columns.names[role]}={texts[role][row]}"


def _joined(texts: Texts) -> list[str]:
    """One text per row for its time."""
    if "timestamp" in texts:
        return texts["timestamp"]
    if "date" not in texts:
        return texts["time"]
    if "time" not in texts:
        return texts["date"]
    pairs = zip(texts["date"], texts["time"], strict=True)
    return [f"{date} {_with_colons(time)}" for date, time in pairs]


def _with_colons(time: str) -> str:
    """A time of day of its own column: ``"0304"`` and ``"030405"`` get their colons."""
    if time.isascii() and time.isdigit() and len(time) in (4, 6):
        return ":".join(time[place : place + 2] for place in range(0, len(time), 2))
    return time


def _clock(
    sheet: Sheet, times: Times, columns: Columns, source: ImportSource, texts: list[str]
) -> Clock | str | None:
    """The clock to convert by; a text where the times are UTC already; None for session dates."""
    rows = np.flatnonzero(sheet.alive)
    found = texts[rows[0]] if len(rows) else "no rows"
    if source.stamped == "session":
        if times.has_clock and times.epoch:
            rule, remedy = "must hold dates for stamped=session", "Say stamped=open or close."
            raise DataError(sheet.name, rule, found, remedy)
        return None
    if times.absolute:
        if source.clock is not None:
            rule = "must have no offset from UTC if a clock is told"
            raise DataError(sheet.name, rule, found, "Leave the clock out.")
        return "offset from UTC in every time"
    if source.clock is not None:
        return Clock(source.clock)
    if times.epoch:
        return "so UTC"
    if columns.utc:
        return "UTC by the column's name"
    remedy = "Say clock: a zone, an offset from UTC, or the broker's dated list of them."
    raise DataError(sheet.name, "must have times of a known clock", found, remedy)


def _on_clock(sheet: Sheet, local: Stamps, clock: Clock, shown: Callable[[int], str]) -> Stamps:
    """UTC nanoseconds of local times, after the rules on skipped and repeated hours."""
    first, last = clock.moments(local)
    sheet.meet("skipped_hour", first == NEVER, shown)
    twice = first != last
    answer = sheet.policy.repeated_hour
    rows = np.flatnonzero(twice & sheet.alive)
    if answer != "in_order":
        sheet.meet("repeated_hour", twice, shown)
        return np.where(twice & (answer == "later"), last, first)
    _, group, sizes = np.unique(local[rows], return_inverse=True, return_counts=True)
    paired = np.zeros(len(sheet), dtype=bool)
    paired[rows[sizes[group] == 2]] = True
    remedy = "A time that stands once cannot be put in order: say repeated_hour=earlier or later."
    sheet.meet("repeated_hour", twice & ~paired, shown, answer="refuse", remedy=remedy)
    found = sheet.meet("repeated_hour", paired, shown)
    moments = first.copy()
    # Newest first is an order too.
    steps = np.diff(local[sheet.alive])
    newest_first = (steps < 0).sum() > (steps > 0).sum()
    _, firsts = np.unique(local[found], return_index=True)
    second = np.ones(len(found), dtype=bool)
    second[firsts] = False
    late = found[second != newest_first]
    moments[late] = last[late]
    return moments
