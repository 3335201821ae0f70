# SPDX-License-Identifier: Apache-2.0
"""Time to a session's close, by hand and against Python's own zones."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mtquant.data.bars import NANOSECONDS
from mtquant.data.instruments import Session
from mtquant.features.sessions import seconds_to_close

NEW_YORK = Session(timezone="America/New_York", close="17:00", week_opens="sunday")


def stamps(*texts: str) -> np.ndarray:
    return np.array([np.datetime64(text, "ns").astype(np.int64) for text in texts])


@pytest.mark.parametrize(
    ("stamp", "hours"),
    [
        ("2020-01-08T22:00", 0.0),  # 17:00 in New York, winter: the close itself
        ("2020-01-08T21:15", 0.75),
        ("2020-01-08T22:01", 24.0 - 1.0 / 60.0),
        ("2020-07-08T21:00", 0.0),  # 17:00 in New York, summer
        ("2020-07-08T20:00", 1.0),
    ],
)
def test_by_hand(stamp: str, hours: float) -> None:
    assert seconds_to_close(stamps(stamp), NEW_YORK).tolist() == [round(hours * 3600)]


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Asia/Kolkata", "UTC"])
def test_many_stamps_are_many_times_one(zone: str) -> None:
    # Half-hours of two years: four changes of the clock.
    session = Session(timezone=zone, close="16:30", week_opens="monday")
    start = stamps("2019-01-01T00:00")[0]
    many = start + np.arange(2 * 365 * 48) * 1800 * NANOSECONDS
    found = seconds_to_close(many, session)
    picked = np.random.Generator(np.random.PCG64(3)).integers(0, len(many), 300)
    for row in picked.tolist():
        assert found[row] == seconds_to_close(many[row : row + 1], session)[0]
        local = datetime.fromtimestamp(int(many[row]) // NANOSECONDS, ZoneInfo(zone))
        wall = local.replace(tzinfo=None)
        close = wall.replace(hour=16, minute=30, second=0)
        close = close if close >= wall else close + timedelta(days=1)
        assert found[row] == (close - wall).total_seconds()
