# SPDX-License-Identifier: Apache-2.0
"""Known-at tables: texts, signals and betting lines, each with the moment it could be read.

    tweets = read_events(path, known_at="created_at", symbol="symbol", columns=["text"])
    tweets.of("AAPL").window(stamp_ns, 86_400)     # known in the day up to a stamp
    signals.as_of("score", panel.stamps, panel.symbols)   # the last one known, and its age

A row may be used at a stamp only if its ``known_at`` is not later. Everything is checked once, at
the door; `docs/time.md` has a worked example.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.checked import did_you_mean
from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Float, Stamps, stamp_text
from mtquant.data.files import naming, parse_times
from mtquant.data.stamps import session_stamps, utc_nanoseconds

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class AsOf:
    """What was known of one column at T stamps of N symbols.

    Attributes:
        values: float64 [T, N]; NaN before a symbol's first row.
        age_seconds: float64 [T, N], time since the value became known; 0 before the first row, like
            the ages of a panel.
        rows: int64 [T, N], row of the table the value is from; -1 before the first.
    """

    values: Float
    age_seconds: Float
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Events:
    """M rows, sorted by the moment they became known; equal moments by symbol, then by event.

    The order does not depend on the order of the rows in the file. The arrays are read-only.

    Attributes:
        name: What the table is, for messages.
        known_at: int64 [M], UTC nanoseconds since 1970, not decreasing.
        symbols: str [M], the instrument or betting market that a row is about.
        event_ids: str [M]; a line that moves has several rows of one event.
        columns: Payload by name, [M] each, without missing values.
        outcome_at: int64 [M], when what the row is about was decided, or None where that is not
            said; never before `known_at`.
        notes: Assumptions that every report must repeat.
    """

    name: str
    known_at: Stamps
    symbols: Texts
    event_ids: Texts
    columns: Mapping[str, NDArray[Any]]
    outcome_at: Stamps | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frozen = {name: array.view() for name, array in self.columns.items()}
        object.__setattr__(self, "columns", MappingProxyType(frozen))
        for array in (
            self.known_at,
            self.symbols,
            self.event_ids,
            self.outcome_at,
            *frozen.values(),
        ):
            if array is not None:
                array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.known_at)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        name: str,
        *,
        known_at: str,
        symbol: str,
        columns: Sequence[str],
        event: Sequence[str] = (),
        moves: bool = False,
        outcome_at: str | None = None,
        timezone: str | None = None,
        at: str | None = None,
        notes: Sequence[str] = (),
    ) -> Events:
        """A table out of a frame, checked.

        Args:
            frame: One row per text, signal or quote, in any order.
            name: What it is, for messages.
            known_at: Column of the moment from which a row could be read.
            symbol: Column of the instrument or market.
            columns: Payload.
            event: Columns that together name the event; none: every row is an event of its own.
            moves: Whether an event may have several rows, one after the other, as a betting line
                has; else an event given twice is refused.
            outcome_at: Column of the moment the outcome was decided.
            timezone: Clock of times without an offset from UTC. Where a clock change skips a time
                or shows it twice, the later moment counts.
            at: ``"HH:MM"``, for columns that hold calendar dates: the time of that day, on the
                clock of `timezone`, by which it was certainly known.
            notes: Assumptions that every report must repeat.

        Raises:
            DataError: There are no rows; a column or a value is missing; a time has no zone; an
                event is there twice, or twice at one moment; a row became known after its outcome.
        """
        used = [known_at, symbol, *event, *columns, *([outcome_at] if outcome_at else [])]
        require_columns(frame, used, name)
        require_values(frame, used, name)
        table = pd.DataFrame(
            {
                "known_at": moments(frame[known_at], f"{name}.{known_at}", timezone, at),
                "symbol": frame[symbol].astype(str).to_numpy(dtype=object),
                "event": event_ids(frame, event),
                "row": np.arange(len(frame)),
            }
        )
        _check_events(table, name, moves)
        decided = None
        if outcome_at is not None:
            decided = moments(frame[outcome_at], f"{name}.{outcome_at}", timezone, at)
            _check_outcomes(table, decided, name)
        order = table.sort_values(["known_at", "symbol", "event"])["row"].to_numpy()
        return cls(
            name=name,
            known_at=table["known_at"].to_numpy(dtype=np.int64)[order],
            symbols=table["symbol"].to_numpy(dtype=object)[order],
            event_ids=table["event"].to_numpy(dtype=object)[order],
            columns={column: _payload(frame[column])[order] for column in columns},
            outcome_at=None if decided is None else decided[order],
            notes=tuple(notes),
        )

    def take(self, rows: NDArray[Any] | slice) -> Events:
        """Some rows, by slice, mask or increasing positions."""
        return replace(
            self,
            known_at=self.known_at[rows],
            symbols=self.symbols[rows],
            event_ids=self.event_ids[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
            outcome_at=None if self.outcome_at is None else self.outcome_at[rows],
        )

    def of(self, symbol: str) -> Events:
        """The rows of one symbol; none, where the table does not know it."""
        return self.take(self.symbols == symbol)

    def between(self, after_ns: int, until_ns: int) -> Events:
        """The rows that became known in ``(after_ns, until_ns]``."""
        first, last = np.searchsorted(self.known_at, (after_ns, until_ns), side="right")
        return self.take(slice(int(first), max(int(first), int(last))))

    def window(self, stamp_ns: int, seconds: int) -> Events:
        """The rows that became known in the `seconds` up to a stamp, the stamp included."""
        return self.between(stamp_ns - seconds * NANOSECONDS, stamp_ns)

    def latest(self, stamp_ns: int) -> Events:
        """The last row known at a stamp of each event of each symbol: the line as it stands."""
        known = self.take(slice(0, int(np.searchsorted(self.known_at, stamp_ns, side="right"))))
        keys = pd.DataFrame({"symbol": known.symbols, "event": known.event_ids})
        return known.take(~keys.duplicated(keep="last").to_numpy())

    def as_of(self, column: str, stamps: Stamps, symbols: Sequence[str]) -> AsOf:
        """The last value of a column known at each stamp, per symbol, and how old it is.

        Args:
            column: A numeric column.
            stamps: int64 [T], UTC nanoseconds: a panel's, or `decision_stamps`.
            symbols: N symbols, for example a panel's; one without rows has no values.

        Raises:
            DataError: There is no such column, or it holds no numbers.
        """
        if column not in self.columns or not np.issubdtype(self.columns[column].dtype, np.number):
            numeric = [n for n, c in self.columns.items() if np.issubdtype(c.dtype, np.number)]
            remedy = did_you_mean(column, numeric) if numeric else "The table has none."
            raise DataError(f"{self.name}.{column}", "must be a numeric column", numeric, remedy)
        shape = (len(stamps), len(symbols))
        values, ages = np.full(shape, np.nan), np.zeros(shape)
        rows = np.full(shape, -1, dtype=np.int64)
        for n, symbol in enumerate(symbols):
            own = np.flatnonzero(self.symbols == symbol)
            last = np.searchsorted(self.known_at[own], stamps, side="right") - 1
            known = last >= 0
            rows[known, n] = own[last[known]]
            values[known, n] = self.columns[column][rows[known, n]]
            ages[known, n] = (stamps[known] - self.known_at[rows[known, n]]) / NANOSECONDS
        return AsOf(values, ages, rows)


def read_events(path: Path, *, symbol: str, event: Sequence[str] = (), **options: Any) -> Events:
    """A known-at table from a parquet or csv file; the options are those of `Events.from_frame`.

    The table's name is the file's, without its ending. Times in a csv file are ISO 8601.

    Raises:
        DataError: The file cannot be read, or breaks a rule; the message names the file.
    """
    with naming(path):
        try:
            if path.suffix == ".csv":
                # Names stay as they are written: 0700 is a symbol and not the number 700.
                frame = pd.read_csv(path, dtype={column: str for column in (symbol, *event)})
            else:
                frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # parser and decoding errors are ValueErrors
            raise DataError(
                "content", "must be a readable parquet or csv file", str(error), "Check the path."
            ) from error
        return Events.from_frame(frame, path.stem, symbol=symbol, event=event, **options)


def require_columns(frame: pd.DataFrame, used: Sequence[str], name: str) -> None:
    """Refuses a frame without rows or without a column."""
    missing = [column for column in used if column not in frame.columns]
    if missing:
        columns = [str(column) for column in frame.columns]
        near = difflib.get_close_matches(missing[0], columns, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "Name another table, or its columns so."
        raise DataError(name, f"must have the column {missing[0]}", list(frame.columns), remedy)
    if not len(frame):
        raise DataError(name, "must have rows", 0, "Leave the table out.")


def require_values(frame: pd.DataFrame, used: Sequence[str], name: str) -> None:
    """Refuses missing values and numbers that are not finite."""
    for column in dict.fromkeys(used):
        values = frame[column]
        empty = values.isna().to_numpy()
        if pd.api.types.is_float_dtype(values.dtype):
            empty = empty | ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if empty.any():
            row = int(empty.argmax())
            raise DataError(
                f"{name}.{column}, row {row}",
                f"must have a value ({int(empty.sum())} rows have none)",
                values.iloc[row],
                "Drop these rows first, and say so in a note.",
            )


def event_ids(frame: pd.DataFrame, event: Sequence[str]) -> Texts:
    """Names of the events, [M]; without columns row numbers, of equal width so that they sort."""
    if not event:
        width = len(str(len(frame)))
        return np.array([f"{row:0{width}d}" for row in range(len(frame))], dtype=object)
    parts = [frame[column].astype(str) for column in event]
    return np.array([" | ".join(texts) for texts in zip(*parts, strict=True)], dtype=object)


def moments(times: pd.Series, field: str, timezone: str | None, at: str | None) -> Stamps:
    """UTC nanoseconds, int64 [M], of a column of times or, with `at`, of dates."""
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        times = parse_times(times.astype("string").str.strip(), field)
    index = pd.DatetimeIndex(times)
    if at is not None:
        try:
            return session_stamps(index, field, timezone, at)
        except DataError as error:
            raise DataError(
                field,
                "must hold calendar dates, and at a time after midnight on the clock of timezone",
                error.found,
                'For dates give, for example, at="19:00", timezone="America/New_York"; leave at out'
                " where the column has times of day.",
            ) from error
    if index.tz is None and timezone is None:
        raise DataError(
            field,
            "must hold times with a time zone",
            str(index[0]),
            "Name their clock with timezone; for calendar dates also the time of day, with at.",
        )
    if index.tz is not None and timezone is not None:
        raise DataError(
            field,
            "has offsets from UTC and needs no timezone",
            timezone,
            "Leave the option out.",
        )
    if index.tz is None:
        try:
            later = np.zeros(len(index), dtype=bool)
            index = index.tz_localize(timezone, ambiguous=later, nonexistent="shift_forward")
        except (KeyError, ValueError, OSError) as error:
            raise DataError(
                field, "must be on a clock that is known", timezone, "Use an IANA name."
            ) from error
    return utc_nanoseconds(index, field)


def _payload(values: pd.Series) -> NDArray[Any]:
    """A column as an array: numbers keep their kind, everything else becomes objects."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy()
    return values.to_numpy(dtype=object)


def _check_events(table: pd.DataFrame, name: str, moves: bool) -> None:
    """Refuses an event given twice; for lines that move, twice at one moment."""
    keys = ["symbol", "event", *(["known_at"] if moves else [])]
    again = table.duplicated(keys).to_numpy()
    if not again.any():
        return
    second = int(again.argmax())
    same = (table[keys] == table.loc[second, keys]).all(axis=1).to_numpy()
    event, symbol = table.loc[second, "event"], table.loc[second, "symbol"]
    moment = stamp_text(table["known_at"].to_numpy()[second])
    raise DataError(
        f"{name}, rows {int(same.argmax())} and {second}",
        "must give each event once" + (" at one moment" if moves else ""),
        f"event {event!r} of {symbol!r} at {moment} ({int(again.sum())} such rows)",
        "Drop the repetitions" + ("." if moves else ", or say moves=True if they are updates."),
    )


def _check_outcomes(table: pd.DataFrame, decided: Stamps, name: str) -> None:
    known_at = table["known_at"].to_numpy()
    late = known_at > decided
    if late.any():
        row = int(late.argmax())
        raise DataError(
            f"{name}, row {row} (event {table.loc[row, 'event']!r})",
            f"must be known no later than its outcome ({int(late.sum())} rows are)",
            f"known at {stamp_text(known_at[row])}, decided at {stamp_text(decided[row])}",
            "Correct the times: a quote made after the end is no quote.",
        )
