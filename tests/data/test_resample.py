# SPDX-License-Identifier: Apache-2.0
"""Longer bars: a slow reference and pandas agree, no bar knows its future, streams are batches."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, check_bars, stamp_text
from mtquant.data.resample import BarRow, Resampler, Timeframe, resample
from tests.support.builders import ARRAYS, bars_from_closes, make_bars, replaced
from tests.support.clocks import HOUR_NS, NEW_YORK, SESSIONS, clock_bars, close_after, session

TEXTS = ("2h", "4h", "12h", "1d", "1w")
SECONDS = {"2h": 7_200, "4h": 14_400, "12h": 43_200, "1d": 86_400, "1w": 604_800}
AGGREGATES = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
sessions = st.sampled_from(SESSIONS)
texts = st.sampled_from(TEXTS)


def rows_of(bars: Bars) -> list[BarRow]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
    return [BarRow(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def assert_equal_arrays(left: Bars, right: Bars) -> None:
    for name in ARRAYS:
        assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name


@given(clock_bars(), texts, sessions)
def test_against_a_slow_reference(bars: Bars, text: str, days_end) -> None:
    expected = []
    for end, group in groupby(
        rows_of(bars), lambda row: close_after(row.stamp_ns, SECONDS[text], days_end)
    ):
        rows = list(group)
        expected.append(
            BarRow(
                rows[0].open,
                max(row.high for row in rows),
                min(row.low for row in rows),
                rows[-1].close,
                sum(row.volume for row in rows),
                end,
            )
        )
    began = int(bars.stamps[0]) - bars.bar_seconds * NANOSECONDS
    # The first bar lacks its beginning if none of the closes lies at or after it but its own.
    if close_after(began, SECONDS[text], days_end) == expected[0].stamp_ns:
        expected = expected[1:]
    if expected and expected[-1].stamp_ns > bars.stamps[-1]:
        expected = expected[:-1]
    longer = resample(bars, text, days_end)
    assert rows_of(longer) == expected
    assert longer.bar_seconds == SECONDS[text]
    if len(longer) >= 2:
        check_bars(longer)


@settings(max_examples=50)
@given(clock_bars(min_bars=20), st.sampled_from(("2h", "4h", "12h", "1d")))
def test_pandas_makes_the_same_bars_of_utc_days(bars: Bars, text: str) -> None:
    grouped = bars.to_frame().resample(text.replace("1d", "24h"), closed="right", label="right")
    expected = grouped.agg(AGGREGATES).dropna(subset=["open"])
    expected = expected[expected.index <= bars.to_frame().index[-1]]
    longer = resample(bars, text).to_frame()
    # pandas keeps a first bar that lacks its beginning.
    pd.testing.assert_frame_equal(
        longer, expected.iloc[len(expected) - len(longer) :], check_freq=False
    )
    assert len(expected) - len(longer) in (0, 1)


@given(clock_bars(), texts, sessions, st.data())
def test_the_future_changes_no_bar(bars: Bars, text: str, days_end, data: st.DataObject) -> None:
    """What closes at or before t is the same if later bars differ, move or never come."""
    now = int(data.draw(st.sampled_from(bars.stamps.tolist())))
    now += data.draw(st.integers(0, 3 * 86_400)) * NANOSECONDS
    later = bars.stamps > now
    prices = {name: getattr(bars, name) * np.where(later, 3.0, 1.0) for name in ARRAYS[1:]}
    altered = replaced(bars, stamps=bars.stamps + later * 7 * NANOSECONDS, **prices)
    seen = bars.rows(slice(0, int((~later).sum())))
    known = resample(seen, text, days_end, until_ns=now)
    assert (known.stamps <= now).all()
    for history in (bars, altered):
        longer = resample(history, text, days_end, until_ns=max(now, int(history.stamps[-1])))
        assert_equal_arrays(longer.rows(slice(0, int((longer.stamps <= now).sum()))), known)


@given(
    clock_bars(min_bars=2, max_bars=400),
    st.sampled_from((None, session("20:00", "UTC"), session("16:00", "UTC"))),
)
def test_steps_of_lengths_that_nest_are_one_step(bars: Bars, days_end) -> None:
    """1h -> 4h -> 1d -> 1w is 1h -> 1w where days end at a multiple of four hours."""
    until = int(bars.stamps[-1])
    stepwise = bars
    for text in ("4h", "1d", "1w"):
        if not len(stepwise):
            return
        stepwise = resample(stepwise, text, days_end, until)
        direct = resample(bars, text, days_end, until)
        # A first bar that lacks its beginning is dropped at every step, so one more may be gone.
        gone = len(direct) - len(stepwise)
        assert gone in (0, 1)
        # Volumes are whole numbers here, which add up exactly in any order.
        assert_equal_arrays(direct.rows(slice(gone, None)), stepwise)


@given(clock_bars(), texts, sessions, st.data())
def test_the_stream_is_the_batch(bars: Bars, text: str, days_end, data: st.DataObject) -> None:
    volume = np.random.Generator(np.random.PCG64(1)).random(len(bars))
    bars = replaced(bars, volume=volume)  # sums of these depend on the order of adding
    timeframe = Timeframe(text, days_end)
    stream = Resampler(timeframe, bars.bar_seconds)
    cut = data.draw(st.integers(0, len(bars)))
    streamed = []
    for number, row in enumerate(rows_of(bars)):
        if number == cut:
            stored = stream.state()
            stream = Resampler(timeframe, bars.bar_seconds)
            stream.restore(stored)
            assert stream.state() == stored
        done = stream.update(row)
        assert all(bar.stamp_ns <= row.stamp_ns for bar in done)
        streamed += done
    assert streamed == rows_of(resample(bars, text, days_end))
    until = int(bars.stamps[-1]) + 86_400 * NANOSECONDS
    assert streamed + stream.advance(until) == rows_of(resample(bars, text, days_end, until))


def hours(start: str, count: int) -> Bars:
    """Hourly bars without a hole; the close of each is its number."""
    first = int(np.datetime64(start, "ns").astype(np.int64))
    return bars_from_closes(np.arange(1.0, count + 1.0), start_ns=first)


@pytest.mark.parametrize(
    ("start", "lengths"),
    [
        # Clocks went forward on Sunday 2020-03-08: the Thursday before has 24 hours, the weekend
        # belongs to Monday and is an hour short.
        ("2020-03-05 22:00", [24, 71, 24]),
        # Back on Sunday 2020-11-01.
        ("2020-10-29 21:00", [24, 73, 24]),
    ],
)
def test_days_on_which_clocks_change(start: str, lengths: list[int]) -> None:
    bars = hours(start, sum(lengths))
    longer = resample(bars, "1d", NEW_YORK)
    ends = np.cumsum(lengths)
    assert longer.close.tolist() == ends.tolist()
    assert longer.stamps.tolist() == bars.stamps[ends - 1].tolist()
    local = longer.to_frame().index.tz_convert("America/New_York")
    assert set(local.strftime("%H:%M")) == {"17:00"}


def test_by_hand() -> None:
    """Ten hours from 02:00: the bar of 00-04 lacks two hours, that of 12-16 has not come."""
    longer = resample(hours("2020-01-06 02:00", 11), "4h")
    assert [stamp_text(stamp) for stamp in longer.stamps] == [
        "2020-01-06 08:00:00Z",
        "2020-01-06 12:00:00Z",
    ]
    assert longer.open.tolist() == [2.0, 6.0]
    assert longer.high.tolist() == [6.0, 10.0]
    assert longer.low.tolist() == [2.0, 6.0]
    assert longer.close.tolist() == [6.0, 10.0]
    assert longer.notes == ("4h bars made of bars of 3600 s",)


def test_a_week_ends_with_friday() -> None:
    bars = hours("2020-01-03 22:00", 14 * 24)  # from Friday's close in New York
    longer = resample(bars, "1w", NEW_YORK)
    assert [stamp_text(stamp) for stamp in longer.stamps] == [
        "2020-01-10 22:00:00Z",
        "2020-01-17 22:00:00Z",
    ]
    assert [stamp_text(stamp) for stamp in resample(bars, "1w").stamps] == ["2020-01-11 00:00:00Z"]


def test_gaps_stay_gaps() -> None:
    bars = hours("2020-01-06 00:00", 30)
    kept = np.r_[0:5, 24:30]
    holed = replaced(bars, **{name: getattr(bars, name)[kept] for name in ARRAYS})
    longer = resample(holed, "4h", until_ns=int(bars.stamps[-1]) + 4 * HOUR_NS)
    starts = [stamp_text(stamp)[11:13] for stamp in longer.stamps]
    assert starts == ["04", "08", "04", "08"]
    assert longer.close.tolist() == [4.0, 5.0, 28.0, 30.0]


def test_lengths_that_do_not_suit_are_refused() -> None:
    hourly = make_bars(n=10)
    for text in ("1h", "30min", "90min"):
        with pytest.raises(DataError, match="multiple of the bars' own length"):
            resample(hourly, text)
    for text in ("5h", "2d", "2w"):
        with pytest.raises(DataError, match="must divide a day, or be 1d or 1w"):
            resample(hourly, text)
    for text in ("", "4", "h", "0h", "4H", "-4h", "1.5h", "4 h"):
        with pytest.raises(DataError, match="whole number and a unit"):
            resample(hourly, text)
    with pytest.raises(DataError, match="must have a bar to resample"):
        resample(hourly.rows(slice(0, 0)), "4h")
    with pytest.raises(DataError, match="multiple"):
        Resampler(Timeframe("1h"), 3600)
