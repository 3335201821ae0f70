# SPDX-License-Identifier: Apache-2.0
"""Bars in parquet and clean csv files.

Files written by `write_parquet` describe themselves. Any other file has to be described by the
reader: what its stamps mean, how long a bar is and in which currency its prices are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mtquant.core.checked import validated
from mtquant.core.errors import DataError
from mtquant.core.records import write_atomically
from mtquant.data.bars import Bars, Stamped
from mtquant.data.instruments import Session

TIME_COLUMNS = ("timestamp", "time", "date", "datetime")
ATTRIBUTE = "mtquant.bars"
PANDAS_ATTRIBUTES = b"PANDAS_ATTRS"  # where pandas keeps `frame.attrs` in a parquet footer
# An offset from UTC at the end of an ISO 8601 time: Z, +01:00 or +0100.
OFFSET_PATTERN = r"(?:Z|[+-]\d\d:?\d\d)$"


def write_parquet(bars: Bars, path: Path, session: Session | None = None) -> None:
    """Writes bars, atomically, with everything `read_parquet` needs to return the same bars.

    Args:
        bars: The bars.
        path: The file; its folder is made.
        session: When the days of daily bars end, for `file_session`; None where that is not known.
    """
    frame = bars.to_frame()
    frame.attrs[ATTRIBUTE] = {
        "symbol": bars.symbol,
        "quote": bars.quote,
        "stamped": "close",
        "bar_seconds": bars.bar_seconds,
        "notes": list(bars.notes),
    }
    if session is not None:
        frame.attrs[ATTRIBUTE]["session"] = session.model_dump(mode="json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, frame.to_parquet)


def read_parquet(
    path: Path,
    symbol: str | None = None,
    quote: str | None = None,
    stamped: Stamped | None = None,
    bar_seconds: int | None = None,
    timezone: str | None = None,
    session_timezone: str | None = None,
    session_close: str | None = None,
) -> Bars:
    """Bars of a parquet file, checked.

    A file written by `write_parquet` needs no options, and refuses options that contradict it. Any
    other file needs `quote`, `stamped` and `bar_seconds`; its symbol is the file's name unless
    given. Times without a zone are refused unless `timezone` names their clock; session dates need
    none. The other options are those of `Bars.from_frame`.

    Raises:
        DataError: The file cannot be read, an option is missing or contradicts the file, a column
            is missing, or the bars break a rule; the message names the file.
    """
    with naming(path):
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(
                "content", "must be a readable parquet file", str(error), "Check the path."
            ) from error
        options: dict[str, Any] = {
            "symbol": symbol,
            "quote": quote,
            "stamped": stamped,
            "bar_seconds": bar_seconds,
            "session_timezone": session_timezone,
            "session_close": session_close,
        }
        if ATTRIBUTE in frame.attrs:
            given = {**options, "timezone": timezone}
            return Bars.from_frame(frame, **_own_options(frame.attrs[ATTRIBUTE], given))
        options["symbol"] = symbol or path.stem
        _require_options(options)
        return Bars.from_frame(_localised(_timed(frame), timezone), **options)


def describes_itself(path: Path) -> bool:
    """Whether `write_parquet` wrote the file; False too for one that cannot be read."""
    return bool(_described(path))


def file_session(path: Path) -> Session | None:
    """When the days of a file's bars end, if `write_parquet` was told.

    Raises:
        DataError: What the file says is no session.
    """
    session = _described(path).get("session")
    if session is None:
        return None
    return validated(Session, session, prefix=f"{path}: session.", error_class=DataError)


def read_csv(
    path: Path,
    quote: str,
    stamped: Stamped,
    bar_seconds: int,
    symbol: str | None = None,
    timezone: str | None = None,
    session_timezone: str | None = None,
    session_close: str | None = None,
) -> Bars:
    """Bars of a clean, comma-separated file with a header line, checked.

    Times are ISO 8601 in a column named timestamp, time, date or datetime. Times without an offset
    from UTC are refused unless `timezone` names their clock; session dates need none. The other
    options are those of `Bars.from_frame`; the symbol is the file's name unless given.

    Raises:
        DataError: The file cannot be read, a column is missing, a time cannot be understood, or the
            bars break a rule; the message names the file.
    """
    with naming(path):
        try:
            frame = _localised(_timed(pd.read_csv(path)), timezone)
        except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
            raise DataError(
                "content", "must be a readable csv file", str(error), "Check the path."
            ) from error
        except pd.errors.EmptyDataError as error:
            raise DataError("content", "must hold rows", "no rows", "Check the path.") from error
        return Bars.from_frame(
            frame,
            symbol=symbol or path.stem,
            quote=quote,
            stamped=stamped,
            bar_seconds=bar_seconds,
            session_timezone=session_timezone,
            session_close=session_close,
        )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name in front of every data error raised inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error.field}", error.rule, error.found, error.remedy) from error


def _described(path: Path) -> dict[str, Any]:
    """What a file says about itself; nothing where mtquant did not write it."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        described = json.loads(metadata.get(PANDAS_ATTRIBUTES, b"{}")).get(ATTRIBUTE, {})
    except (OSError, ValueError, AttributeError):
        return {}
    return described if isinstance(described, dict) else {}


def _own_options(described: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What a file says about itself, after a check that the caller does not say otherwise."""
    for name, value in given.items():
        if value is not None and value != described.get(name):
            raise DataError(
                name,
                f"must agree with what the file says of itself ({described.get(name)!r})",
                value,
                "Leave the option out.",
            )
    return {name: value for name, value in described.items() if name != "session"}


def _require_options(options: dict[str, Any]) -> None:
    for name in ("quote", "stamped", "bar_seconds"):
        if options[name] is None:
            raise DataError(
                name,
                "must be given for a file that mtquant did not write",
                None,
                'For example quote="USD", stamped="open", bar_seconds=3600.',
            )


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame indexed by time: its index if that holds times, else its time column."""
    if isinstance(frame.index, pd.DatetimeIndex):
        return frame
    names = {str(name).strip().lower(): name for name in frame.columns}
    present = [names[name] for name in TIME_COLUMNS if name in names]
    if not present:
        raise DataError(
            "time",
            f"must be the index or a column named one of {', '.join(TIME_COLUMNS)}",
            list(frame.columns),
            "Rename the time column to timestamp.",
        )
    times = frame[present[0]]
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        times = parse_times(times.astype("string").str.strip(), str(present[0]))
    return frame.set_index(pd.DatetimeIndex(times))


def parse_times(texts: pd.Series, column: str) -> pd.Series:
    """ISO 8601 texts as times: UTC where all have an offset, naive where none has."""
    has_offset = texts.str.contains(OFFSET_PATTERN, regex=True).fillna(False)
    if has_offset.any() and not has_offset.all():
        row = int((~has_offset).to_numpy().argmax())
        raise DataError(
            f"{column}, row {row}",
            "must have an offset from UTC like the other rows",
            texts.iloc[row],
            "Write all times with an offset, or none.",
        )
    try:
        return pd.to_datetime(texts, format="ISO8601", utc=bool(has_offset.any()))
    except ValueError as error:
        raise DataError(
            column, "must hold ISO 8601 times", str(error), "For example 2020-01-06T01:00:00Z."
        ) from error


def _localised(frame: pd.DataFrame, timezone: str | None) -> pd.DataFrame:
    """Gives naive times the clock they were written by, where one is named."""
    index = frame.index
    if timezone is None:
        return frame
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None:
        raise DataError(
            "timezone",
            "must be left out: the times have an offset from UTC",
            timezone,
            "Drop the option (data.timezone in the configuration).",
        )
    try:
        return frame.set_index(index.tz_localize(timezone))
    except (ValueError, KeyError) as error:
        raise DataError(
            "timezone",
            "must name a zone whose clock shows every time of the file exactly once",
            f"{timezone}: {error}",
            'Use a zone name such as "UTC" or "Europe/Athens".',
        ) from error
