# SPDX-License-Identifier: Apache-2.0
"""Known-at tables: what is refused at the door, and that nothing is seen before its moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, stamp_text
from mtquant.data.events import Events, read_events

SYMBOLS = ("A", "B", "C")
DAY = 86_400
FIRST_NS = int(np.datetime64("2020-03-07", "ns").astype(np.int64))


@st.composite
def frames(draw: st.DrawFn, least: int = 1) -> pd.DataFrame:
    """Signals in any order, many at the same moment; a line of an event moves."""
    keys = draw(
        st.lists(
            st.tuples(st.integers(0, 30), st.sampled_from(SYMBOLS[:2]), st.integers(0, 3)),
            min_size=least,
            max_size=40,
            unique=True,
        )
    )
    hours = [hour for hour, *_ in keys]
    times = pd.to_datetime(FIRST_NS + np.array(hours) * 3600 * NANOSECONDS, utc=True)
    scores = draw(st.lists(st.integers(-9, 9), min_size=len(keys), max_size=len(keys)))
    return pd.DataFrame(
        {
            "read_at": times,
            "symbol": [symbol for _, symbol, _ in keys],
            "event": [f"e{event}" for *_, event in keys],
            "score": np.array(scores, dtype=np.float64),
        }
    )


def table(frame: pd.DataFrame, **options) -> Events:
    fixed = {"known_at": "read_at", "symbol": "symbol", "columns": ["score"], "event": ["event"]}
    return Events.from_frame(frame, "signals", **{**fixed, "moves": True, **options})


def same(left: Events, right: Events) -> bool:
    return left.known_at.tobytes() == right.known_at.tobytes() and all(
        a.tolist() == b.tolist()
        for a, b in (
            (left.symbols, right.symbols),
            (left.event_ids, right.event_ids),
            *((left.columns[name], right.columns[name]) for name in left.columns),
        )
    )


@settings(max_examples=40)
@given(frames(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(frame: pd.DataFrame, random) -> None:
    order = list(range(len(frame)))
    random.shuffle(order)
    events = table(frame)
    assert same(events, table(frame.iloc[order]))
    assert (np.diff(events.known_at) >= 0).all()
    assert len(events) == len(frame)


@settings(max_examples=40)
@given(frames(), st.lists(st.integers(-2, 33 * 4), min_size=1, max_size=20, unique=True))
def test_against_a_slow_reference(frame: pd.DataFrame, quarters: list[int]) -> None:
    events = table(frame)
    stamps = FIRST_NS + np.array(sorted(quarters)) * 900 * NANOSECONDS
    found = events.as_of("score", stamps, SYMBOLS)
    rows = sorted(
        zip(events.known_at.tolist(), frame_rows(events), strict=True), key=lambda row: row[0]
    )
    for t, stamp in enumerate(stamps):
        for n, symbol in enumerate(SYMBOLS):
            known = [(when, row) for when, row in rows if when <= stamp and row[0] == symbol]
            if not known:
                assert np.isnan(found.values[t, n])
                assert (found.age_seconds[t, n], found.rows[t, n]) == (0.0, -1)
                continue
            when, row = known[-1]
            assert found.values[t, n] == row[2]
            assert found.age_seconds[t, n] == (stamp - when) / NANOSECONDS
            assert events.known_at[found.rows[t, n]] == when
        lines = {row[:2]: row[2] for when, row in rows if when <= stamp}
        latest = events.latest(int(stamp))
        assert {row[:2]: row[2] for row in frame_rows(latest)} == lines
        assert len(latest) == len(lines)
        window = events.window(int(stamp), 7200)
        assert frame_rows(window) == [
            row for when, row in rows if stamp - 7200 * NANOSECONDS < when <= stamp
        ]


def frame_rows(events: Events) -> list[tuple]:
    return list(
        zip(events.symbols, events.event_ids, events.columns["score"].tolist(), strict=True)
    )


@settings(max_examples=40)
@given(frames(), frames(), st.integers(0, 30))
def test_what_becomes_known_later_changes_nothing(
    frame: pd.DataFrame, other: pd.DataFrame, hour: int
) -> None:
    now = FIRST_NS + hour * 3600 * NANOSECONDS
    until = pd.Timestamp(now, tz="UTC")
    early = frame[frame["read_at"] <= until]
    late = other[other["read_at"] > until]
    assume(not early.empty)
    stamps = np.arange(FIRST_NS, now + 1, 3600 * NANOSECONDS)
    altered = table(pd.concat([early, late], sort=False, ignore_index=True))
    for events in (table(frame), altered):
        known = table(early)
        expected, found = (each.as_of("score", stamps, SYMBOLS) for each in (known, events))
        for name in ("values", "age_seconds", "rows"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
        for stamp in stamps[::5].tolist():
            assert same(events.latest(stamp), known.latest(stamp))
            assert same(events.window(stamp, DAY), known.window(stamp, DAY))


def test_a_row_may_be_used_from_its_own_moment_on() -> None:
    events = table(signal_frame(["2020-03-07T10:00:00Z"]))
    moment = int(events.known_at[0])
    stamps = np.array([moment - 1, moment, moment + 5 * NANOSECONDS])
    found = events.as_of("score", stamps, ["A"])
    assert found.values[:, 0].tolist()[1:] == [0.0, 0.0]
    assert np.isnan(found.values[0, 0])
    assert found.age_seconds[:, 0].tolist() == [0.0, 0.0, 5.0]
    assert [len(events.window(int(stamp), 5)) for stamp in stamps] == [0, 1, 0]


def signal_frame(times, **columns) -> pd.DataFrame:
    """Rows of symbol A, events e0, e1, ..., scores 0, 1, ..."""
    rows = len(times)
    frame = {
        "read_at": times,
        "symbol": ["A"] * rows,
        "event": [f"e{row}" for row in range(rows)],
        "score": np.arange(rows, dtype=np.float64),
    }
    return pd.DataFrame({**frame, **columns})


def test_a_line_that_moves() -> None:
    """Two games; the first is quoted three times."""
    times = [f"2020-03-07T{hour:02d}:00:00Z" for hour in (12, 10, 11, 13)]
    frame = signal_frame(times, event=["g1", "g1", "g2", "g1"], score=[2.1, 2.0, 3.0, 1.9])
    events = table(frame)
    at_noon = FIRST_NS + 12 * 3600 * NANOSECONDS
    assert frame_rows(events.latest(at_noon)) == [("A", "g2", 3.0), ("A", "g1", 2.1)]
    assert len(events.latest(FIRST_NS)) == 0
    with pytest.raises(
        DataError, match=r"rows 0 and 1 must give each event once; found .*'g1' of 'A'.*moves=True"
    ):
        table(frame, moves=False)
    with pytest.raises(DataError, match=r"rows 1 and 4 .*at one moment"):
        table(pd.concat([frame, frame.iloc[[1]]], sort=False))


def test_one_event_may_concern_several_symbols() -> None:
    frame = signal_frame(["2020-03-07T10:00:00Z"] * 2, symbol=["A", "B"], event=["e", "e"])
    events = table(frame, moves=False)
    assert len(events.latest(int(events.known_at[0]))) == 2
    assert len(events.of("B")) == 1
    assert len(events.of("Z")) == 0


def test_rows_without_event_columns_are_events_of_their_own() -> None:
    events = table(signal_frame(["2020-03-07T10:00:00Z"] * 12), event=[], moves=False)
    assert events.event_ids.tolist() == [f"{row:02d}" for row in range(12)]
    assert events.columns["score"].tolist() == list(range(12))


def test_naive_times_need_a_clock() -> None:
    winter, twice, skipped = "2020-01-07 10:00", "2020-11-01 01:30", "2020-03-08 02:30"
    frame = signal_frame([winter, twice, skipped])
    with pytest.raises(DataError, match=r"signals.read_at must hold times with a time zone"):
        table(frame)
    events = table(frame, timezone="America/New_York")
    # 10:00 is 15:00 UTC; the second 01:30 is that of winter time; 02:30 did not exist and is 03:00.
    expected = ["2020-01-07 15:00:00Z", "2020-03-08 07:00:00Z", "2020-11-01 06:30:00Z"]
    assert [stamp_text(stamp) for stamp in events.known_at] == expected
    with pytest.raises(DataError, match="needs no timezone"):
        table(signal_frame(["2020-01-07T10:00:00Z"]), timezone="UTC")
    with pytest.raises(DataError, match="clock that is known"):
        table(frame, timezone="Mars/Olympus")
    with pytest.raises(DataError, match="between 1677 and 2262"):
        table(signal_frame(["2500-01-07T10:00:00Z"]))
    with pytest.raises(DataError, match="ISO 8601"):
        table(signal_frame(["yesterday"]), timezone="UTC")


def test_dates_need_the_hour_by_which_they_were_known() -> None:
    dates = pd.to_datetime(["2020-03-06", "2020-03-09"])
    events = table(signal_frame(dates), timezone="America/New_York", at="19:00")
    expected = ["2020-03-07 00:00:00Z", "2020-03-09 23:00:00Z"]  # winter and summer time
    assert [stamp_text(stamp) for stamp in events.known_at] == expected
    with pytest.raises(DataError, match=r"signals\.read_at must hold calendar dates.*10:00"):
        table(signal_frame(["2020-03-06 10:00"]), timezone="America/New_York", at="19:00")
    for options in ({"at": "nine"}, {"at": "00:00"}, {"at": "19:00", "timezone": None}):
        with pytest.raises(DataError, match="at a time after midnight on the clock of timezone"):
            table(signal_frame(dates), **{"timezone": "America/New_York", **options})


def test_nothing_is_known_after_its_outcome() -> None:
    times = ["2020-03-07T10:00:00Z", "2020-03-07T12:00:00Z"]
    frame = signal_frame(times, decided=["2020-03-07T10:00:00Z", "2020-03-07T13:00:00Z"])
    events = table(frame, outcome_at="decided")
    assert events.outcome_at is not None
    assert (events.outcome_at - events.known_at).tolist() == [0, 3600 * NANOSECONDS]
    frame.loc[1, "decided"] = "2020-03-07T11:59:59Z"
    with pytest.raises(DataError, match=r"row 1 \(event 'e1'\) must be known no later than its"):
        table(frame, outcome_at="decided")


@pytest.mark.parametrize("missing", [np.nan, np.inf, None])
def test_missing_values_are_refused(missing) -> None:
    frame = signal_frame(["2020-03-07T10:00:00Z"] * 3, score=[1.0, missing, 2.0])
    with pytest.raises(DataError, match=r"signals.score, row 1 must have a value \(1 rows"):
        table(frame)


def test_other_faults_are_refused() -> None:
    frame = signal_frame(["2020-03-07T10:00:00Z", None])
    with pytest.raises(DataError, match=r"signals.read_at, row 1 must have a value"):
        table(frame)
    with pytest.raises(DataError, match=r"must have the column scores.*Did you mean score"):
        table(frame, columns=["scores"])
    with pytest.raises(DataError, match=r"must have the column kickoff.*Name another table"):
        table(frame, columns=["kickoff"])
    with pytest.raises(DataError, match="must have rows"):
        table(frame.iloc[:0])
    events = table(frame.iloc[:1], columns=["score", "event"])
    with pytest.raises(DataError, match=r"signals.event must be a numeric column.*mean score"):
        events.as_of("event", events.known_at, ["A"])
    with pytest.raises(ValueError, match="read-only"):
        events.known_at[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        events.columns["score"][0] = 1


def test_names_in_a_csv_file_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text("read_at,symbol,id,score\n2020-03-07T10:00:00Z,0700,007,1\n")
    options = {"known_at": "read_at", "columns": ["score"]}
    events = read_events(path, symbol="symbol", event=["id"], **options)
    assert (events.symbols.tolist(), events.event_ids.tolist()) == (["0700"], ["007"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files(tmp_path: Path, suffix: str) -> None:
    frame = signal_frame(["2020-03-07T10:00:00Z", "2020-03-07T09:00:00+01:00"], text=["é", "b, c"])
    path = tmp_path / f"news{suffix}"
    (frame.to_csv if suffix == ".csv" else frame.to_parquet)(path, index=False)
    options = {"known_at": "read_at", "symbol": "symbol", "columns": ["text", "score"]}
    events = read_events(path, **options)
    assert events.name == "news"
    assert events.columns["text"].tolist() == ["b, c", "é"]
    assert [stamp_text(stamp)[11:13] for stamp in events.known_at] == ["08", "10"]
    with pytest.raises(DataError, match=rf"news\{suffix}: news must have the column nothing"):
        read_events(path, **{**options, "columns": ["nothing"]})
    path.write_bytes(b"\xff\x00" * 9)
    with pytest.raises(DataError, match=rf"news\{suffix}: content must be a readable"):
        read_events(path, **options)
    with pytest.raises(DataError, match="content must be a readable"):
        read_events(tmp_path / f"absent{suffix}", **options)
