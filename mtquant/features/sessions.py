# SPDX-License-Identifier: Apache-2.0
"""How long until an instrument's session closes, by the clock on its wall."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from mtquant.data.bars import NANOSECONDS, Float, Stamps
from mtquant.data.instruments import Session

DAY_SECONDS = 86_400


def seconds_to_close(stamps: Stamps, session: Session) -> Float:
    """Seconds from each stamp to the next time the session's wall clock shows its close.

    Whole seconds, 0 at the close itself. A change of the clock in between is not counted: twice a
    year the figure is an hour off during one session.

    Args:
        stamps: int64 [T], UTC nanoseconds since 1970, increasing.
        session: The instrument's session.

    Returns:
        float64 [T], in 0..86,400.
    """
    seconds = stamps // NANOSECONDS
    hours, minutes = session.close.split(":")
    close = int(hours) * 3_600 + int(minutes) * 60
    local = seconds + _offsets(seconds, ZoneInfo(session.timezone))
    return ((close - local) % DAY_SECONDS).astype(np.float64)


def _offsets(seconds: Stamps, zone: ZoneInfo) -> Stamps:
    """Offset of a zone from UTC at each moment, in seconds; asked once per day that keeps one."""
    if len(seconds) == 1:  # the stream's way, many times faster
        return np.array([_offset(int(seconds[0]), zone)])
    days, day_of = np.unique(seconds // DAY_SECONDS, return_inverse=True)
    edges = np.unique(np.concatenate((days, days + 1))) * DAY_SECONDS
    at_edge = dict(zip(edges.tolist(), (_offset(edge, zone) for edge in edges.tolist())))
    starts = [at_edge[day * DAY_SECONDS] for day in days.tolist()]
    ends = [at_edge[(day + 1) * DAY_SECONDS] for day in days.tolist()]
    offsets = np.array(starts, dtype=np.int64)[day_of]
    changing = (np.array(starts) != np.array(ends))[day_of]
    for row in np.flatnonzero(changing):
        offsets[row] = _offset(int(seconds[row]), zone)
    return offsets


def _offset(seconds: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
