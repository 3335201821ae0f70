# SPDX-License-Identifier: Apache-2.0
"""Gaps against a week that is known, since the test made it."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.data.bars import NANOSECONDS
from mtquant.data.importing.gaps import find_gaps

HOUR = 3_600
MONDAY = int(np.datetime64("2020-01-06", "s").astype(np.int64))


def weeks(count: int, hours: range = range(120), first: int = 0) -> np.ndarray:
    """Hourly close stamps of weeks that trade in the given hours, seconds."""
    starts = [week * 168 + hour for week in range(first, first + count) for hour in hours]
    return MONDAY + (np.array(starts) + 1) * HOUR


def gaps(stamps: np.ndarray, bar: int = HOUR):
    return find_gaps(stamps * NANOSECONDS, bar)


def test_weekends_are_no_gaps() -> None:
    summary = gaps(weeks(10)).summary
    assert (summary.count, summary.missing_bars, summary.known_week) == (0, 0, True)
    assert summary.steps == 9


def test_a_hole_is_counted_to_the_bar() -> None:
    stamps = weeks(10)
    kept = np.delete(stamps, slice(500, 507))
    found = gaps(kept)
    assert (found.summary.count, found.summary.missing_bars) == (1, 7)
    assert found.after.tolist() == [500]
    (gap,) = found.summary.longest
    assert gap.after == str(np.datetime64(int(kept[499]), "s")).replace("T", " ") + "Z"


def test_a_hole_over_weeks_is_expected_to_be_like_the_week_before() -> None:
    stamps = weeks(12)
    summary = gaps(np.delete(stamps, slice(4 * 120, 7 * 120 + 60))).summary
    assert (summary.count, summary.missing_bars) == (1, 3 * 120 + 60)


def test_hours_that_change_over_the_years_are_followed() -> None:
    stamps = np.concatenate((weeks(10), weeks(10, range(30, 80), first=10)))
    assert gaps(stamps).summary.missing_bars == 0


def test_a_short_file_does_not_know_its_week() -> None:
    summary = gaps(np.delete(weeks(2), slice(5, 8))).summary
    assert (summary.known_week, summary.count, summary.missing_bars) == (False, 2, 0)


def test_weekly_bars_know_no_week() -> None:
    stamps = MONDAY + np.array([1, 2, 3, 5, 6]) * 7 * 24 * HOUR
    summary = gaps(stamps, 7 * 24 * HOUR).summary
    assert (summary.known_week, summary.count) == (False, 1)


@pytest.mark.parametrize("seed", range(5))
def test_bars_missing_here_and_there_are_all_counted(seed: int) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    stamps = weeks(10)
    # One week in ten loses any hour of the week, so most of the weeks around have it.
    hours = generator.choice(np.arange(1, 119), 20, replace=False)
    places = hours + generator.integers(0, 10, 20) * 120
    assert gaps(np.delete(stamps, places)).summary.missing_bars == 20
