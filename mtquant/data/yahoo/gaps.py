# SPDX-License-Identifier: Apache-2.0
"""What is missing between the first and the last bar, against an exchange's week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mtquant.data.bars import Bars

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Gaps:
    """Days of the exchange's clock, as ISO texts, oldest first.

    No calendar of holidays is assumed, so holidays are among them: nine or ten weekdays a year are
    what an American exchange misses in an ordinary one.

    Attributes:
        weekdays: How many weekdays lie between the first and the last bar.
        missing: Weekdays without a bar.
        short: For bars shorter than a day: days with fewer than half the usual number.
        longest: First and last day of the longest run of missing weekdays; None without one.
        longest_days: How many weekdays that run has.
    """

    weekdays: int
    missing: tuple[str, ...]
    short: tuple[str, ...]
    longest: tuple[str, str] | None
    longest_days: int


def find_gaps(bars: Bars, timezone: str) -> Gaps:
    """Weekdays on which there should have been bars.

    Args:
        bars: At least one bar.
        timezone: The exchange's clock; a bar belongs to the day in which it closed, midnight being
            the end of a day.
    """
    closes = pd.DatetimeIndex(bars.stamps - 1, tz="UTC").tz_convert(timezone)
    days, counts = np.unique(
        closes.tz_localize(None).to_numpy().astype("datetime64[D]"), return_counts=True
    )
    week = np.arange(days[0], days[-1] + 1)
    week = week[np.is_busday(week)]
    absent = ~np.isin(week, days)
    scarce = np.zeros(len(days), bool)
    if bars.bar_seconds < DAY_SECONDS:
        weekday = np.is_busday(days)
        usual = np.median(counts[weekday]) if weekday.any() else 0.0
        # The first and the last day may have begun and end outside of the history.
        scarce = weekday & (counts < usual / 2) & (days != days[0]) & (days != days[-1])
    longest, length = _longest_run(absent)
    return Gaps(
        weekdays=len(week),
        missing=tuple(map(str, week[absent])),
        short=tuple(map(str, days[scarce])),
        longest=(str(week[longest]), str(week[longest + length - 1])) if length else None,
        longest_days=length,
    )


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Where the longest run of true values begins, and how long it is."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    best = int(lengths.argmax())
    return int(starts[best]), int(lengths[best])
