# SPDX-License-Identifier: Apache-2.0
"""Gaps: bars that the file's own week leads one to expect and that are not there.

A market's hours are read off the file: a bar is expected at an hour of the week at which most of
the five weeks around it have one. So weekends and nightly breaks are no gaps, hours that a source
changes in the course of years are followed, and a holiday is a gap, since nobody told the file
about holidays. A week without any bar is expected to be like the week before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.checked import Section
from mtquant.data.bars import NANOSECONDS, Stamps, stamp_text

WEEK = 604_800
WEEKS_AROUND = 5
LEAST_WEEKS = 3  # with fewer, one bar less than usual is half of all there are
MONDAY = 3 * 86_400 * NANOSECONDS  # 1970 began on a Thursday
MOST_SHOWN = 5


class Gap(Section):
    """A stretch of bars that are missing.

    Attributes:
        after: Close stamp of the last bar before it.
        until: Close stamp of the first bar after it.
        missing_bars: Bars expected in between.
    """

    after: str
    until: str
    missing_bars: int


class GapSummary(Section):
    """What is missing between the first and the last bar.

    Attributes:
        steps: Steps from bar to bar that are longer than one bar, closed markets included.
        count: Stretches in which bars were expected.
        missing_bars: Bars expected in them.
        known_week: Whether the file is long enough to know its week; if not, every longer step
            counts as a gap, of no known number of bars.
        longest: The gaps with the most missing bars.
    """

    steps: int
    count: int
    missing_bars: int
    known_week: bool
    longest: tuple[Gap, ...]


@dataclass(frozen=True)
class Gaps:
    """The gaps of bars.

    Attributes:
        after: int64 [G], places of the bars that come after each gap.
        missing: int64 [G], bars expected in it; 0 where the week is not known.
        summary: The same in a few numbers.
    """

    after: NDArray[np.int64]
    missing: NDArray[np.int64]
    summary: GapSummary


def find_gaps(stamps: Stamps, bar_seconds: int) -> Gaps:
    """The gaps of bars.

    Args:
        stamps: int64 [T], close stamps, UTC nanoseconds, strictly increasing.
        bar_seconds: Length of a bar.
    """
    long = np.diff(stamps) > bar_seconds * NANOSECONDS * 3 // 2
    # Bars that do not divide a week, and bars of a week and more, have no hours of the week.
    per_week = WEEK // bar_seconds if WEEK % bar_seconds == 0 else 0
    span = int(stamps[-1] - stamps[0]) // NANOSECONDS
    known = per_week > 1 and span >= LEAST_WEEKS * WEEK
    slots = (stamps + MONDAY) // (bar_seconds * NANOSECONDS)
    missing = np.zeros(len(long), dtype=np.int64)
    if known:
        absent = _absent(slots, per_week)
        # Missing bars belong to the step in which they fall; one beside an odd stamp to none.
        steps = np.searchsorted(slots, absent) - 1
        missing = np.bincount(steps, minlength=len(long))
    found = np.flatnonzero(missing > 0 if known else long)
    order = found[np.argsort(-missing[found], kind="stable")][:MOST_SHOWN]
    summary = GapSummary(
        steps=int(np.count_nonzero(long)),
        count=len(found),
        missing_bars=int(missing[found].sum()),
        known_week=known,
        longest=tuple(
            Gap(
                after=stamp_text(int(stamps[step])),
                until=stamp_text(int(stamps[step + 1])),
                missing_bars=int(missing[step]),
            )
            for step in order.tolist()
        ),
    )
    return Gaps(found + 1, missing[found], summary)


def _absent(slots: NDArray[np.int64], per_week: int) -> NDArray[np.int64]:
    """Slots between the first and the last at which a bar is expected and none is."""
    base = slots[0] // per_week
    place = slots - base * per_week
    n_weeks = int(place[-1] // per_week) + 1
    present = np.zeros((n_weeks, per_week), dtype=bool)
    present.reshape(-1)[place] = True
    observed = np.ones((n_weeks, per_week), dtype=bool)
    observed[0, : place[0]] = False
    observed.reshape(-1)[place[-1] + 1 :] = False
    active = np.flatnonzero(present.any(axis=1))
    expected = _expected(present[active], observed[active])
    # A week without bars is like the last one that had any.
    like = np.searchsorted(active, np.arange(n_weeks), side="right") - 1
    absent = np.flatnonzero((expected[like] & observed & ~present).reshape(-1))
    return absent + base * per_week


def _expected(present: NDArray[np.bool_], observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Slots at which most of the weeks around have a bar, bool [weeks, slots]."""
    half = WEEKS_AROUND // 2
    counts = []
    for flags in (present, observed):
        total = np.cumsum(np.pad(flags.astype(np.int32), ((1, 0), (0, 0))), axis=0)
        weeks = np.arange(len(flags))
        first = np.maximum(weeks - half, 0)
        last = np.minimum(weeks + half + 1, len(flags))
        counts.append(total[last] - total[first])
    result: NDArray[np.bool_] = counts[0] * 2 > counts[1]
    return result
