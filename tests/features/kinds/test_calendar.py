# SPDX-License-Identifier: Apache-2.0
"""Calendar and session kinds, by hand and against Python's calendar."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from mtquant.data.bars import NANOSECONDS
from mtquant.features.kinds import calendar as kinds
from tests.features.samples import exact_values
from tests.support.builders import bars_from_closes, replaced


def stamp(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def test_hour_and_weekday_by_hand() -> None:
    # 2020-01-08 was a Wednesday, day 2 of 7; 18:00 is three quarters of a day.
    bars = bars_from_closes([1.0, 1.0], start_ns=stamp("2020-01-08T17:00"))
    names = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
    found = [exact_values(name, bars)[0] for name in names]
    angle = 2 * np.pi * 2 / 7
    np.testing.assert_allclose(found, [-1.0, 0.0, np.sin(angle), np.cos(angle)], atol=1e-12)


def test_month_by_hand() -> None:
    # 2020-02-08 is day 7 of 29, counted from 0.
    bars = bars_from_closes([1.0, 1.0], start_ns=stamp("2020-02-08T11:00"))
    found = [exact_values(name, bars)[0] for name in ("month_sin", "month_cos")]
    angle = 2 * np.pi * 7 / 29
    np.testing.assert_allclose(found, [np.sin(angle), np.cos(angle)], atol=1e-12)


def test_days_of_the_month_are_those_of_python() -> None:
    first = date(1970, 1, 1)
    # 160 years: 2000 and 2100 among them, of which only the first has a 29 February.
    for days in range(0, 160 * 366, 1):
        day = first + timedelta(days=days)
        expected = (day.day, calendar.monthrange(day.year, day.month)[1])
        if kinds.month_days(days) != expected:
            assert kinds.month_days(days) == expected, day


def test_the_turn_of_the_month_is_four_weekdays() -> None:
    for year in (2019, 2020, 2023):
        for month in range(1, 13):
            last = calendar.monthrange(year, month)[1]
            days = [date(year, month, day) for day in range(1, last + 1)]
            weekdays = [day for day in days if day.weekday() < 5]
            turn = {*weekdays[:3], weekdays[-1]}
            for day in days:
                noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
                assert kinds.month(noon)[2] == (1.0 if day in turn else 0.0), day


@pytest.mark.parametrize(
    ("closing_hours", "ages"),
    [
        # A session that opens at 09:00 and bars of one hour; the night is a break.
        ([10, 11, 12, 34, 35, 36], [1.0, 2.0, 3.0]),
        # No break among 3 steps: their hours.
        ([10, 11, 12, 13, 14, 15], [3.0, 3.0, 3.0]),
        # A single missing hour is a break of two bars.
        ([10, 11, 12, 14, 15, 16], [1.0, 2.0, 3.0]),
    ],
)
def test_session_age_by_hand(closing_hours: list[int], ages: list[float]) -> None:
    bars = bars_from_closes(np.ones(6))
    stamps = stamp("2020-01-06T00:00") + np.array(closing_hours) * 3600 * NANOSECONDS
    found = exact_values("session_age_3", replaced(bars, stamps=stamps))
    assert found.tolist() == ages


def test_session_left_by_hand() -> None:
    # EURUSD closes at 17:00 New York, 22:00 UTC in winter.
    bars = bars_from_closes([1.0, 1.0, 1.0], start_ns=stamp("2020-01-08T19:00"))
    assert exact_values("session_left", bars).tolist() == [2.0, 1.0, 0.0]
