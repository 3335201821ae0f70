# SPDX-License-Identifier: Apache-2.0
"""When a decision is made: at the close of a bar, or just before the next one opens.

A policy that reads news in the night wants to act at the next open. `decide_at` names the choice;
its stamps are what known-at tables (`mtquant.data.events`) are asked with.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, Stamps, stamp_text
from mtquant.data.stamps import session_stamps

DecideAt = Literal["close", "open"]
DAY = 86_400


def decision_stamps(
    bars: Bars,
    decide_at: DecideAt,
    session_timezone: str | None = None,
    session_open: str | None = None,
) -> Stamps:
    """The moment of each bar's decision, the one that is filled at the open of the bar after it.

    Args:
        bars: T bars.
        decide_at: ``"close"``: when bar t closes. ``"open"``: the last nanosecond before bar t + 1
            opens, as an order for an opening has to be there before it, but no earlier than close
            t: bars that follow each other without a break give the same stamps as ``"close"``. The
            last bar has no next one and keeps its close.
        session_timezone: Zone of `session_open`.
        session_open: ``"HH:MM"``, when sessions begin; for ``"open"`` on bars of a day, which may
            begin long after the one before closed. Shorter bars begin one length before they close.

    Returns:
        int64 [T], UTC nanoseconds: features of bars <= t and whatever has
        ``known_at <= stamps[t]`` may be used.

    Raises:
        DataError: The mode is unknown, daily bars come without a session open or others with one,
            or a session would open after it closed.
    """
    if decide_at not in get_args(DecideAt):
        raise DataError("decide_at", "must be close or open", decide_at, 'Use "close" or "open".')
    if (session_open is not None) != (decide_at == "open" and bars.bar_seconds >= DAY):
        raise DataError(
            "session_open",
            "must be given for decide_at open on bars of a day, and for nothing else",
            session_open,
            'For example session_open="09:30", session_timezone="America/New_York".',
        )
    if decide_at == "close":
        return bars.stamps
    opens = _opens(bars, session_timezone, session_open)
    stamps = bars.stamps.copy()
    stamps[:-1] = np.maximum(stamps[:-1], opens[1:] - 1)
    stamps.setflags(write=False)
    return stamps


def _opens(bars: Bars, session_timezone: str | None, session_open: str | None) -> Stamps:
    """When each bar opened, int64 [T]."""
    if session_open is None:
        return bars.stamps - bars.bar_seconds * NANOSECONDS
    utc = pd.DatetimeIndex(bars.stamps.astype("datetime64[ns]")).tz_localize("UTC")
    try:
        dates = utc.tz_convert(session_timezone).tz_localize(None).normalize()
        opens = session_stamps(dates, bars.symbol, session_timezone, session_open)
    except (KeyError, ValueError, OSError, DataError) as error:
        raise DataError(
            "session_open",
            "must be HH:MM after midnight on the clock of a known session_timezone",
            (session_open, session_timezone),
            'For example session_open="09:30", session_timezone="America/New_York".',
        ) from error
    late = opens >= bars.stamps
    if late.any():
        row = int(late.argmax())
        raise DataError(
            "session_open",
            f"must come before the close of every bar ({stamp_text(bars.stamps[row])})",
            session_open,
            "Check the zone and that the bars are stamped at their close.",
        )
    return opens
