# SPDX-License-Identifier: Apache-2.0
"""What is missing against an exchange's week."""

from __future__ import annotations

import numpy as np

from mtquant.data.bars import Bars
from mtquant.data.yahoo.gaps import find_gaps
from tests.support.yahoo import ns

ZONE = "America/New_York"


def bars_at(closes: list[str], bar_seconds: int = 86_400) -> Bars:
    ones = np.ones(len(closes))
    stamps = np.array([ns(text) for text in closes])
    return Bars("ACME", stamps, ones, ones, ones, ones, ones, "USD", bar_seconds)


def test_missing_weekdays_and_the_longest_run() -> None:
    """Two weeks from Monday 2024-03-04: the first Wednesday, then Thursday to Monday are gone."""
    days = [4, 5, 7, 12, 13, 15]
    gaps = find_gaps(bars_at([f"2024-03-{day:02d} 16:00" for day in days]), ZONE)
    assert gaps.weekdays == 10
    assert gaps.missing == ("2024-03-06", "2024-03-08", "2024-03-11", "2024-03-14")
    # The weekend in between is no gap: Friday and Monday are one run.
    assert (gaps.longest, gaps.longest_days) == (("2024-03-08", "2024-03-11"), 2)
    assert gaps.short == ()


def test_nothing_missing() -> None:
    gaps = find_gaps(bars_at([f"2024-03-{day:02d} 16:00" for day in (7, 8, 11)]), ZONE)
    assert (gaps.weekdays, gaps.missing, gaps.longest, gaps.longest_days) == (3, (), None, 0)


def test_days_with_few_bars() -> None:
    """Seven hours a day; a half day (four bars) is no gap, one with two bars is."""
    hours = {4: 7, 5: 7, 6: 4, 7: 2, 8: 7, 11: 7, 12: 1}
    closes = [f"2024-03-{d:02d} {10 + k}:30" for d, n in hours.items() for k in range(n)]
    gaps = find_gaps(bars_at(closes, 3_600), ZONE)
    # The last day is still running.
    assert gaps.short == ("2024-03-07",)
    assert gaps.missing == ()


def test_midnight_ends_a_day() -> None:
    closes = [f"2024-03-{d:02d} 00:00" for d in (5, 6, 8)]  # Monday, Tuesday, Thursday
    assert find_gaps(bars_at(closes), ZONE).missing == ("2024-03-06",)
