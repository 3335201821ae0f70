# SPDX-License-Identifier: Apache-2.0
"""Stamps: what the times of a source mean, as the UTC moments at which bars closed."""

from __future__ import annotations

from datetime import time
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError

Stamps = NDArray[np.int64]
Stamped = Literal["open", "close", "session"]

NANOSECONDS = 1_000_000_000


def stamp_text(stamp_ns: int) -> str:
    """A stamp for people, for example ``"2020-01-06 01:00:00Z"``."""
    return f"{np.datetime64(int(stamp_ns), 'ns').astype('datetime64[s]')}Z".replace("T", " ")


def close_stamps(
    index: pd.Index,
    symbol: str,
    stamped: str,
    bar_seconds: int,
    session_timezone: str | None,
    session_close: str | None,
) -> Stamps:
    """UTC close stamps, int64 [T] nanoseconds, of an index whose meaning is `stamped`."""
    if stamped not in get_args(Stamped):
        raise DataError(
            f"{symbol}.stamped",
            "must be open, close or session",
            stamped,
            "Say whether the time index holds bar starts, bar ends or session dates.",
        )
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans:
        raise DataError(
            symbol,
            "must be indexed by times without gaps (a DatetimeIndex, no NaT)",
            index.dtype,
            "Convert the time column with pandas.to_datetime and make it the index.",
        )
    if stamped == "session":
        return session_stamps(index, symbol, session_timezone, session_close)
    if session_timezone is not None or session_close is not None:
        raise DataError(
            f"{symbol}.session_close",
            'must be left out unless stamped is "session"',
            session_close or session_timezone,
            'Drop it, or use stamped="session".',
        )
    if index.tz is None:
        raise DataError(
            symbol,
            "must have times with a time zone",
            str(index[0]) if len(index) else "no rows",
            'Say which clock it is: data.timezone in the configuration, timezone="UTC" of the '
            'reader, or frame.tz_localize("UTC").',
        )
    shift = bar_seconds * NANOSECONDS if stamped == "open" else 0
    return utc_nanoseconds(index, symbol) + shift


def session_stamps(
    index: pd.DatetimeIndex, symbol: str, session_timezone: str | None, session_close: str | None
) -> Stamps:
    """Close stamps of calendar dates: each date at the session's close in the session's zone.

    Args:
        index: Dates (midnight); a zone they are labelled with is ignored.
        symbol: Whose dates, for the messages.
        session_timezone: IANA name of the clock that the close is read on.
        session_close: ``"HH:MM"`` after midnight.

    Returns:
        int64 [T], UTC nanoseconds. Where a clock change skips the close or shows it twice, the
        later moment.

    Raises:
        DataError: A date has a time of day, or zone or close cannot be used.
    """
    # The date is the one written down, whatever zone it was labelled with.
    dates = index.tz_localize(None)
    if not (dates == dates.normalize()).all():
        raise DataError(
            symbol,
            "must be indexed by dates (midnight) when stamped is session",
            str(index[int((dates != dates.normalize()).argmax())]),
            'Use stamped="open" or stamped="close" for bars with a time of day.',
        )
    try:
        closing = time.fromisoformat(session_close or "")
        zone = ZoneInfo(session_timezone or "")
    except (ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{symbol}.session_close",
            "must be HH:MM in a known session_timezone when stamped is session",
            (session_close, session_timezone),
            'Give, for example, session_close="17:00", session_timezone="America/New_York".',
        ) from error
    if closing == time(0):
        # Midnight of the date is when such a session begins: its bar would be known a day early.
        raise DataError(
            f"{symbol}.session_close",
            "must be later than midnight of its date",
            session_close,
            'Use stamped="open" with bar_seconds=86400 for days that end at midnight.',
        )
    offset = pd.Timedelta(hours=closing.hour, minutes=closing.minute, seconds=closing.second)
    later = np.zeros(len(dates), dtype=bool)
    local = (dates + offset).tz_localize(zone, ambiguous=later, nonexistent="shift_forward")
    return utc_nanoseconds(local, symbol)


def utc_nanoseconds(index: pd.DatetimeIndex, symbol: str) -> Stamps:
    """Times with a zone as int64 [T]; times that do not fit into it are refused."""
    try:
        return np.asarray(index.as_unit("ns").asi8, dtype=np.int64)
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(
            symbol, "must have times between 1677 and 2262", str(error), "Drop the rows outside."
        ) from error
