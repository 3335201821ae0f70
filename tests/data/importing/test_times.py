# SPDX-License-Identifier: Apache-2.0
"""Times: every form back to the moment it was written from."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.data.importing.times import parse_times

# Two moments; the second has a day above 12, which shows the order of day and month.
FORMS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y.%m.%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%m-%d-%Y %I:%M:%S %p",
    "%d-%b-%Y %H:%M:%S",
    "%b %d, %Y %H:%M:%S",
)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0)
)


def nanoseconds(moment: datetime) -> int:
    return int(np.datetime64(moment, "ns").astype(np.int64))


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(moments, min_size=1, max_size=10))
def test_a_form_gives_back_the_moment(form: str, times: list[datetime]) -> None:
    times = [*times, datetime(2020, 1, 13, 1, 2, 3)]
    parsed = parse_times([time.strftime(form) for time in times])
    assert parsed.read.all() and not parsed.ambiguous and parsed.has_clock
    assert parsed.local.tolist() == [nanoseconds(time) for time in times]
    assert parsed.absolute == form.endswith("Z")


@pytest.mark.parametrize(("digits", "unit"), [(10, "s"), (13, "ms"), (16, "us"), (19, "ns")])
def test_counts_since_1970(digits: int, unit: str) -> None:
    count = int(np.datetime64("2020-01-06T01:02:03", unit).astype(np.int64))
    assert len(str(count)) == digits
    parsed = parse_times([str(count)])
    assert parsed.epoch
    assert parsed.local.tolist() == [nanoseconds(datetime(2020, 1, 6, 1, 2, 3))]
    assert not parse_times(["9" * 19]).read.any()  # beyond int64


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2020-01-06 01:00+02:00", 23),
        ("2020-01-06 01:00:00 GMT-0500", 6),
        ("2020-01-06T01:00:00.000Z", 1),
        ("13.01.2020 01:00:00.000 UTC", 1),
    ],
)
def test_offsets_are_taken_off(text: str, hour: int) -> None:
    parsed = parse_times([text])
    assert parsed.absolute
    assert parsed.local[0] // 3_600_000_000_000 % 24 == hour


def test_fractions_of_a_second_are_kept() -> None:
    parsed = parse_times(["2020-01-06 00:00:00.123456789"])
    assert parsed.local[0] % 1_000_000_000 == 123_456_789


def test_the_form_of_most_rows_decides() -> None:
    parsed = parse_times(["2020-01-06", "2020-01-06 00:00", "2020-01-07 00:00", "06.01.2020 00:00"])
    assert parsed.read.tolist() == [False, True, True, False]


def test_the_dates_show_their_order_or_nobody_knows() -> None:
    assert parse_times(["01/02/2020", "13/02/2020"]).form == "day first"
    assert parse_times(["01/02/2020", "02/13/2020"]).form == "month first"
    assert parse_times(["01/02/2020", "03/04/2020"]).ambiguous
    assert parse_times(["13/02/2020", "02/13/2020"]).ambiguous
    # The smaller party's dates do not exist in the larger one's order.
    assert parse_times(["13/02/2020", "14/02/2020", "02/13/2020"]).read.tolist() == [1, 1, 0]
    assert not parse_times(["01/02/2020"], "day_first").ambiguous


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-30 00:00",
        "2021-02-29 00:00",
        "2020-13-01 00:00",
        "2020-00-10 00:00",
        "2020-01-00 00:00",
        "2020-01-01 24:00",
        "2020-01-01 00:60",
        "2020-01-01 00:00:61",
        "2020-01-01 13:00 PM",
        "1600-01-01 00:00",
        "0000-01-01 00:00",
        "01-Foo-2020 00:00",
        "",
        "nan",
    ],
)
def test_times_that_do_not_exist_are_not_read(text: str) -> None:
    assert not parse_times([text]).read.any()
