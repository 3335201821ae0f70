# SPDX-License-Identifier: Apache-2.0
"""Clocks: against zoneinfo for zones, by hand for a broker that changes its mind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import ConfigError, DataError
from mtquant.data.importing.clocks import NEVER, Clock, read_clock
from mtquant.data.importing.policy import ImportPolicy
from mtquant.data.importing.reader import import_file
from mtquant.data.importing.source import ClockChange, ImportSource

EPOCH = datetime(1970, 1, 1)
ZONES = ("UTC", "Europe/Athens", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
# A server on Athens time that stood at UTC+3 from 2013-06-05 22:00 to 2013-06-13 22:00 UTC: the
# first change skips no time in summer; from Berlin's UTC+2 it skips an hour and later repeats one.
BROKER = (
    ClockChange(zone="Europe/Berlin"),
    ClockChange(since=datetime(2013, 6, 5, 22, tzinfo=UTC), zone="+03:00"),
    ClockChange(since=datetime(2013, 6, 13, 22, tzinfo=UTC), zone="Europe/Berlin"),
)


def nanoseconds(moment: datetime) -> int:
    return int((moment - EPOCH) // timedelta(microseconds=1)) * 1_000


def texts(stamps: np.ndarray) -> list[str]:
    return ["never" if s == NEVER else str(np.datetime64(int(s), "ns"))[:16] for s in stamps]


@given(
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)), min_size=1, max_size=20),
)
def test_a_zone_agrees_with_zoneinfo(name: str, times: list[datetime]) -> None:
    zone = ZoneInfo(name)
    first, last = Clock(name).moments(np.array([nanoseconds(time) for time in times]))
    for time, one, two in zip(times, first.tolist(), last.tolist(), strict=True):
        moments = {
            nanoseconds(time.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None))
            for fold in (0, 1)
        }
        # A moment counts if the clock shows the time at it (PEP 495: a skipped time has none).
        shown = {
            moment
            for moment in moments
            if (EPOCH + timedelta(microseconds=moment // 1_000))
            .replace(tzinfo=UTC)
            .astimezone(zone)
            .replace(tzinfo=None)
            == time
        }
        assert {one, two} == (shown or {NEVER})
        assert one <= two


@pytest.mark.parametrize("text", ["+02:00", "UTC+2", "GMT+02:00", "+0200", "+2"])
def test_an_offset_is_ahead_of_utc(text: str) -> None:
    first, last = Clock(text).moments(np.array([nanoseconds(datetime(2020, 1, 6, 2))]))
    assert texts(first) == texts(last) == ["2020-01-06T00:00"]


def test_a_broker_that_changes_its_clock_skips_and_repeats_hours() -> None:
    hours = [datetime(2013, 6, 5, 23), datetime(2013, 6, 6), datetime(2013, 6, 6, 1)]
    hours += [datetime(2013, 6, 13, 23), datetime(2013, 6, 14), datetime(2013, 6, 14, 1)]
    first, last = Clock(BROKER).moments(np.array([nanoseconds(hour) for hour in hours]))
    # 22:00 UTC was midnight in Berlin's summer and became 01:00.
    assert texts(first)[:3] == ["2013-06-05T21:00", "never", "2013-06-05T22:00"]
    # Eight days later 01:00 became midnight again.
    assert texts(first)[3:] == ["2013-06-13T20:00", "2013-06-13T21:00", "2013-06-13T23:00"]
    assert texts(last)[3:] == ["2013-06-13T20:00", "2013-06-13T22:00", "2013-06-13T23:00"]


def test_a_clock_file_is_read_and_checked(tmp_path) -> None:
    path = tmp_path / "clock.yaml"
    path.write_text(
        'clock:\n  - {zone: Europe/Berlin}\n  - {since: 2013-06-05T22:00:00Z, zone: "+03:00"}\n'
    )
    assert read_clock(path) == BROKER[:2]
    assert Clock(BROKER[:2]).text == "Europe/Berlin, from 2013-06-05 22:00Z +03:00"
    path.write_text("clock:\n  - {zon: Europe/Berlin}\n")
    with pytest.raises(ConfigError, match="zone is required"):
        read_clock(path)


@pytest.mark.parametrize(
    "clock", ["Mars/Base", "+25:00", "+01:75", BROKER[1:], (BROKER[0], BROKER[2], BROKER[1])]
)
def test_a_clock_that_cannot_be_is_refused(clock) -> None:
    with pytest.raises(ConfigError, match="clock must be"):
        Clock(clock)


HOURS = ["23:00", "00:00", "01:00", "02:00"]


def write(path, days: list[tuple[str, str]]) -> None:
    rows = [f"{day} {hour},1.1,1.2,1.0,{1.1 + 0.001 * i:.3f}" for i, (day, hour) in enumerate(days)]
    path.write_text("time,open,high,low,close\n" + "\n".join(rows) + "\n", encoding="utf-8")


def source(clock) -> ImportSource:
    return ImportSource(symbol="X", quote="USD", bar="1h", stamped="open", clock=clock)


def test_skipped_and_repeated_hours_follow_the_policy(tmp_path) -> None:
    path = tmp_path / "a.csv"
    write(path, [("2013-06-05", "23:00"), ("2013-06-06", "00:00"), ("2013-06-06", "01:00")])
    with pytest.raises(DataError, match=r"line 3 .*\[skipped_hour\].*2013-06-06 00:00"):
        import_file(path, source(BROKER), ImportPolicy())
    imported = import_file(path, source(BROKER), ImportPolicy(skipped_hour="drop"))
    assert imported.report.count("skipped_hour") == 1
    assert imported.lines.tolist() == [2, 4]
    write(path, [("2013-06-13", "23:00"), ("2013-06-14", "00:00"), ("2013-06-14", "01:00")])
    with pytest.raises(DataError, match=r"line 3 .*\[repeated_hour\].*2013-06-14 00:00"):
        import_file(path, source(BROKER), ImportPolicy())
    for answer, closed in (("earlier", "22:00"), ("later", "23:00")):
        imported = import_file(path, source(BROKER), ImportPolicy(repeated_hour=answer))
        assert imported.report.count("repeated_hour") == 1
        assert texts(imported.bars.stamps)[1] == f"2013-06-13T{closed}"


@pytest.mark.parametrize("newest_first", [False, True])
def test_two_rows_of_a_repeated_hour_keep_their_order(tmp_path, newest_first: bool) -> None:
    path = tmp_path / "a.csv"
    # New York, 2020-11-01: 01:00 was shown at 05:00 and at 06:00 UTC.
    rows = [("2020-11-01", hour) for hour in ("00:00", "01:00", "01:00", "02:00")]
    write(path, rows[::-1] if newest_first else rows)
    policy = ImportPolicy(repeated_hour="in_order")
    imported = import_file(path, source("America/New_York"), policy)
    assert [text[11:] for text in texts(imported.bars.stamps)] == [
        "05:00",
        "06:00",
        "07:00",
        "08:00",
    ]
    lines = [2, 3, 4, 5]
    assert imported.lines.tolist() == (lines[::-1] if newest_first else lines)
    write(path, rows[1:2] + rows[3:])
    with pytest.raises(DataError, match="stands once cannot be put in order"):
        import_file(path, source("America/New_York"), policy)
