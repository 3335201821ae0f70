# SPDX-License-Identifier: Apache-2.0
"""Bars: what the door lets in, and what stamps mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, Stamped, check_bars, stamp_text
from tests.support.builders import (
    ARRAYS,
    START_NS,
    assert_same_bars,
    bars_from_closes,
    bars_strategy,
    make_bars,
    replaced,
)

HOUR_NS = 3600 * NANOSECONDS


def changed(bars: Bars, name: str, row: int, value: float) -> Bars:
    array = getattr(bars, name).copy()
    array[row] = value
    return replaced(bars, **{name: array})


def frame_at(times: Any) -> pd.DataFrame:
    prices = {name: [1.0] * len(times) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(prices, index=pd.DatetimeIndex(times))


def from_frame(frame: pd.DataFrame, stamped: Any = "open", **options: Any) -> Bars:
    bar_seconds = options.pop("bar_seconds", 3600)
    return Bars.from_frame(frame, "X", "USD", stamped, bar_seconds, **options)


def test_arrays_are_read_only_copies() -> None:
    source = np.array([1.0, 2.0])
    stamps = np.array([0, 1])
    bars = Bars("X", stamps, source, source, source, source, source, "USD", 1)
    source[0] = 9.0
    assert bars.close[0] == 1.0
    for name in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(bars, name)[0] = 5


@given(bars_strategy())
def test_generated_bars_pass_the_check_and_survive_a_frame(bars: Bars) -> None:
    check_bars(bars)
    same = Bars.from_frame(bars.to_frame(), bars.symbol, "USD", "close", bars.bar_seconds)
    assert_same_bars(bars, same)


@given(bars_strategy())
def test_open_stamps_move_by_one_bar(bars: Bars) -> None:
    frame = bars.to_frame().shift(freq=-pd.Timedelta(seconds=bars.bar_seconds))
    assert_same_bars(bars, Bars.from_frame(frame, bars.symbol, "USD", "open", bars.bar_seconds))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_index_does_not_matter(unit: str) -> None:
    frame = make_bars(n=5).to_frame()
    frame.index = pd.DatetimeIndex(frame.index).as_unit(unit)  # type: ignore[arg-type]
    assert_same_bars(make_bars(n=5), Bars.from_frame(frame, "EURUSD", "USD", "close", 3600))


def test_another_zone_gives_the_same_utc_stamps() -> None:
    frame = make_bars(n=5).to_frame().tz_convert("Asia/Tokyo")
    assert_same_bars(make_bars(n=5), Bars.from_frame(frame, "EURUSD", "USD", "close", 3600))


def test_sessions_close_at_the_local_hour_in_winter_and_summer() -> None:
    # New York is UTC-5 until Saturday 2018-03-10 and UTC-4 from Sunday 2018-03-11 on (tz database).
    for dates in (["2018-03-09", "2018-03-12"], ["2018-03-09T00:00Z", "2018-03-12T00:00Z"]):
        bars = from_frame(
            frame_at(dates),
            "session",
            bar_seconds=86_400,
            session_timezone="America/New_York",
            session_close="17:00",
        )
        assert [stamp_text(s) for s in bars.stamps] == [
            "2018-03-09 22:00:00Z",
            "2018-03-12 21:00:00Z",
        ]


def test_a_session_close_that_the_clock_repeats_or_skips_is_never_early() -> None:
    # 2018-11-04 01:30 happens twice in New York, at 05:30 and 06:30 UTC; 2018-03-11 02:30 never,
    # the clock went from 02:00 EST to 03:00 EDT at 07:00 UTC (tz database).
    for date, close, expected in (
        ("2018-11-04", "01:30", "2018-11-04 06:30:00Z"),
        ("2018-03-11", "02:30", "2018-03-11 07:00:00Z"),
    ):
        frame = frame_at([date, "2018-12-03"])
        options = {"session_timezone": "America/New_York", "session_close": close}
        assert stamp_text(from_frame(frame, "session", **options).stamps[0]) == expected


@pytest.mark.parametrize(
    ("times", "stamped", "options", "message"),
    [
        (["2020-01-06", "2020-01-07"], "open", {}, "must have times with a time zone.*tz_localize"),
        (["2020-01-06", "2020-01-07"], "close", {}, "must have times with a time zone"),
        (["2020-01-06T00Z", "2020-01-06T01Z"], "begin", {}, "open, close or session.*'begin'"),
        (["2020-01-06T00Z", None], "open", {}, "no NaT"),
        (["2020-01-06", "2020-01-07"], "session", {}, "must be HH:MM"),
        (
            ["2020-01-06", "2020-01-07"],
            "session",
            {"session_timezone": "Mars/Olympus", "session_close": "17:00"},
            "known session_timezone.*Mars",
        ),
        (
            ["2020-01-06", "2020-01-07"],
            "session",
            {"session_timezone": "UTC", "session_close": "00:00"},
            'later than midnight.*stamped="open"',
        ),
        (
            ["2020-01-06", "2020-01-07T05:00"],
            "session",
            {"session_timezone": "UTC", "session_close": "17:00"},
            "must be indexed by dates.*05:00",
        ),
        (
            ["2020-01-06T00Z", "2020-01-06T01Z"],
            "open",
            {"session_timezone": "UTC"},
            "left out unless stamped",
        ),
    ],
)
def test_times_that_could_be_misread_are_refused(
    times: list[str | None], stamped: Stamped, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        from_frame(frame_at(times), stamped, **options)


def test_an_index_without_times_is_refused() -> None:
    frame = make_bars(n=5).to_frame().reset_index(drop=True)
    with pytest.raises(DataError, match="DatetimeIndex"):
        from_frame(frame)


def test_column_names_may_be_in_any_case_and_volume_may_be_unknown() -> None:
    frame = make_bars(n=5).to_frame().drop(columns="volume").rename(columns=str.title)
    bars = from_frame(frame.assign(Comment="text"), "close", notes=("first",))
    assert bars.close.tolist() == make_bars(n=5).close.tolist()
    assert bars.volume.tolist() == [0.0] * 5
    assert bars.notes == ("first", "volume is unknown and counts as 0")


def test_missing_doubled_and_wordy_columns_are_named() -> None:
    frame = make_bars(n=5).to_frame()
    with pytest.raises(DataError, match="columns open, low"):
        from_frame(frame.drop(columns=["open", "low"]))
    with pytest.raises(DataError, match="one column named 'close'"):
        from_frame(frame.assign(Close=1.0))
    with pytest.raises(DataError, match=r"X\.close must be numeric"):
        from_frame(frame.assign(close="much"))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("stamps", START_NS + 3 * HOUR_NS, "must come after the row before"),  # row 2's own stamp
        ("stamps", START_NS + 2 * HOUR_NS, "must come after the row before"),
        ("stamps", START_NS + 3 * HOUR_NS + HOUR_NS // 4, "at least half a bar"),
        ("open", np.nan, "open must be finite, found nan"),
        ("high", np.inf, "high must be finite, found inf"),
        ("low", 0.0, "low must be positive, found 0.0.*importer"),
        ("close", -37.63, "close must be positive, found -37.63.*importer"),
        ("high", 0.5, "high must be at least open, close and low, found 0.5"),
        ("low", 2.0, "low must be at most open, close and high, found 2.0"),
        ("volume", -1.0, "volume must be finite and not negative, found -1.0"),
        ("volume", np.nan, "volume must be finite and not negative, found nan"),
    ],
)
def test_a_broken_row_is_named_with_rule_and_value(name: str, value: float, rule: str) -> None:
    # Row 3 of bars from 2020-01-06 00:00 UTC closes at 04:00; row 2 at 03:00.
    bars = changed(make_bars(n=8), name, 3, value)
    with pytest.raises(DataError, match=f"EURUSD must hold clean bars: row 3.*{rule}") as caught:
        check_bars(bars)
    assert "2020-01-06" in str(caught.value)


@given(bars_strategy(), st.data())
def test_any_single_broken_price_is_refused(bars: Bars, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(bars) - 1))
    name = data.draw(st.sampled_from(("open", "high", "low", "close")))
    value = data.draw(st.sampled_from((np.nan, np.inf, -np.inf, 0.0, -1.0)))
    with pytest.raises(DataError, match=rf"row {row} \("):
        check_bars(changed(bars, name, row, value))


def test_up_to_five_findings_with_counts_in_one_message() -> None:
    bars = make_bars(n=8)
    zeros = np.array([0.0] * 2 + [1.0] * 6)
    bars = replaced(
        bars,
        stamps=bars.stamps[::-1],
        open=zeros,
        high=zeros,
        low=zeros,
        close=zeros,
        volume=-np.ones(8),
    )
    with pytest.raises(DataError) as caught:
        check_bars(bars)
    message = str(caught.value)
    assert "row 1 and 6 more" in message
    assert "row 0 and 1 more" in message
    # Broken: stamps, four prices not positive, volume. Equal zeros are consistent extremes.
    assert "1 more rules are broken" in message
    assert len(caught.value.found) == 5  # type: ignore[arg-type]


def test_shapes_row_count_and_bar_length_come_first() -> None:
    bars = make_bars(n=8)
    with pytest.raises(DataError, match="one stamp, four prices and a volume"):
        check_bars(replaced(bars, close=bars.close[:-1]))
    with pytest.raises(DataError, match="at least 2 rows"):
        check_bars(bars.rows(slice(0, 1)))
    with pytest.raises(DataError, match="bar_seconds must be positive"):
        check_bars(replaced(bars, bar_seconds=0))


@given(bars_strategy(), st.data())
def test_between_is_half_open_on_close_stamps(bars: Bars, data: st.DataObject) -> None:
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(bars) - 1)] * 2)))
    start, end = int(bars.stamps[first]), int(bars.stamps[last])
    assert_same_bars(bars.between(start, end), bars.rows(slice(first, last)))
    assert len(bars.between(start, end + 1)) == last - first + 1


def test_bars_per_year_counts_the_bars_own_calendar() -> None:
    # 365.25 days of 24 hourly bars each.
    assert make_bars(n=50).bars_per_year == pytest.approx(8766.0, rel=1e-12)
    with pytest.raises(DataError, match="at least 2 bars"):
        _ = make_bars(n=50).rows(slice(0, 1)).bars_per_year


def test_builders_do_what_they_say() -> None:
    bars = make_bars(n=400, gap=0.01, missing_frac=0.5, seed=3)
    # With half of the hours missing the mean step of 399 is 2 hours; 4 standard errors are 0.28.
    assert np.diff(bars.stamps).mean() / HOUR_NS == pytest.approx(2.0, abs=0.28)
    jumps = np.log(bars.open[1:] / bars.close[:-1])
    # Standard error of a standard deviation of 399 draws: 0.01 / sqrt(798) = 0.00035; four of them.
    assert jumps.std() == pytest.approx(0.01, abs=0.0014)
    closes = bars_from_closes([1.0, 2.0, 1.5], quote="JPY", notes=("n",))
    assert closes.open.tolist() == [1.0, 1.0, 2.0]
    assert (closes.quote, closes.notes) == ("JPY", ("n",))
    assert_same_bars(make_bars(seed=5), make_bars(seed=5))
