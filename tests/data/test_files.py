# SPDX-License-Identifier: Apache-2.0
"""Files: bars come back as they were, and a file's name stands in every complaint about it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings

from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.files import describes_itself, read_csv, read_parquet, write_parquet
from tests.support.builders import assert_same_bars, bars_strategy, make_bars, replaced


@settings(max_examples=20)
@given(bars=bars_strategy())
def test_parquet_round_trip(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bars") / "folder" / "X.parquet"
    noted = replaced(bars, notes=("closes only", "ä second note"))
    write_parquet(noted, path)
    assert_same_bars(noted, read_parquet(path))
    first = path.read_bytes()
    write_parquet(read_parquet(path), path)
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_own_files_refuse_options_that_contradict_them(tmp_path: Path) -> None:
    path = tmp_path / "X.parquet"
    write_parquet(make_bars(), path)
    assert len(read_parquet(path, symbol="EURUSD", stamped="close", bar_seconds=3600)) == 200
    with pytest.raises(DataError, match=r"X\.parquet: stamped must agree.*'close'.*found 'open'"):
        read_parquet(path, stamped="open")


def foreign(bars: Bars, index_name: str = "timestamp") -> pd.DataFrame:
    """The frame another program would write: stamped at the bar's start."""
    frame = bars.to_frame().shift(freq=-pd.Timedelta(seconds=bars.bar_seconds))
    return frame.rename_axis(index_name)


def test_foreign_parquet_by_index_or_by_column(tmp_path: Path) -> None:
    bars = make_bars()
    indexed, flat = tmp_path / "EURUSD.parquet", tmp_path / "other.parquet"
    foreign(bars).to_parquet(indexed)
    foreign(bars).reset_index().rename(columns=str.upper).to_parquet(flat)
    for path in (indexed, flat):
        read = read_parquet(path, "EURUSD", quote="USD", stamped="open", bar_seconds=3600)
        assert_same_bars(bars, read)
    assert read_parquet(flat, None, "USD", "open", 3600).symbol == "other"


@pytest.mark.parametrize("missing", ["quote", "stamped", "bar_seconds"])
def test_foreign_parquet_must_be_described(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "EURUSD.parquet"
    foreign(make_bars()).to_parquet(path)
    options = {"quote": "USD", "stamped": "open", "bar_seconds": 3600, missing: None}
    with pytest.raises(DataError, match=rf"EURUSD\.parquet: {missing} must be given"):
        read_parquet(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["Timestamp", "time", "DATE", "datetime"])
def test_csv_with_offsets(tmp_path: Path, column: str) -> None:
    path = tmp_path / "EURUSD.csv"
    # Local times whose offset changes: Athens goes from UTC+2 to +3 on 2020-03-29 (tz database).
    bars = make_bars(n=24 * 90)
    foreign(bars, column).tz_convert("Europe/Athens").to_csv(path)
    assert "+02:00" in path.read_text()
    assert "+03:00" in path.read_text()
    assert_same_bars(bars, read_csv(path, "USD", "open", 3600))


def test_csv_without_offsets_needs_its_clock(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    foreign(make_bars()).tz_convert("Asia/Tokyo").tz_localize(None).to_csv(path)
    with pytest.raises(DataError, match=r"EURUSD\.csv: .*time zone.*timezone=\"UTC\""):
        read_csv(path, "USD", "open", 3600)
    assert_same_bars(make_bars(), read_csv(path, "USD", "open", 3600, timezone="Asia/Tokyo"))
    with pytest.raises(DataError, match="timezone must name a zone"):
        read_csv(path, "USD", "open", 3600, timezone="Asia/Nowhere")


def test_csv_of_session_dates(tmp_path: Path) -> None:
    path = tmp_path / "SPX500.csv"
    rows = "Date,Open,High,Low,Close\n2018-03-09,1,1,1,1\n2018-03-12,1,1,1,1\n"
    path.write_text(rows)
    bars = read_csv(
        path,
        "USD",
        "session",
        86_400,
        session_timezone="America/New_York",
        session_close="17:00",
    )
    # 17:00 in New York: 22:00 UTC in winter, 21:00 in summer time, which began on 2018-03-11.
    assert [str(t) for t in bars.to_frame().index] == [
        "2018-03-09 22:00:00+00:00",
        "2018-03-12 21:00:00+00:00",
    ]


HEADER = "time,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "content must hold rows"),
        ("a;b\n1;2\n", "time must be the index or a column"),
        ("time,open,high,low\n2020-01-06T00Z,1,1,1\n", "must have the column close"),
        (
            HEADER + "2020-01-06T00:00Z,1,1,1,1,0\n2020-01-06T01:00,1,1,1,1,0\n",
            "time, row 1 must have an offset",
        ),
        (HEADER + "Monday,1,1,1,1,0\n", "must hold ISO 8601 times"),
        (HEADER + "06-01-2020,1,1,1,1,0\n", "must hold ISO 8601 times"),
        (HEADER + ",1,1,1,1,0\n", "no NaT"),
        (HEADER + "2020-01-06T00:00Z,1,1,1,1,0\n", "must have at least 2 rows"),
        (
            HEADER + "2020-01-06T00:00Z,1,1,1,1,0\n2020-01-06T01:00Z,1,x,1,1,0\n",
            "high must be numeric",
        ),
        ("a,b\n1,2\n1,2,3\n", "must be a readable csv file"),
    ],
)
def test_csv_complaints_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"bad\.csv: .*{message}"):
        read_csv(path, "USD", "open", 3600)


def test_parquet_without_a_zone_needs_its_clock(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet"
    foreign(make_bars()).tz_convert("Asia/Tokyo").tz_localize(None).to_parquet(path)
    with pytest.raises(DataError, match=r"EURUSD\.parquet: .*time zone.*data\.timezone"):
        read_parquet(path, None, "USD", "open", 3600)
    read = read_parquet(path, None, "USD", "open", 3600, timezone="Asia/Tokyo")
    assert_same_bars(make_bars(), read)


def test_which_files_describe_themselves(tmp_path: Path) -> None:
    own, other, text = (tmp_path / name for name in ("own.parquet", "other.parquet", "text"))
    write_parquet(make_bars(), own)
    foreign(make_bars()).to_parquet(other)
    text.write_text("not parquet")
    found = [describes_itself(path) for path in (own, other, text, tmp_path / "nothing")]
    assert found == [True, False, False, False]
    with pytest.raises(DataError, match=r"own\.parquet: timezone must agree"):
        read_parquet(own, timezone="UTC")


def test_an_offset_and_a_clock_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    foreign(make_bars()).to_csv(path)
    with pytest.raises(DataError, match="timezone must be left out"):
        read_csv(path, "USD", "open", 3600, timezone="UTC")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "X.parquet"
    with pytest.raises(DataError, match=r"X\.parquet: content must be a readable parquet file"):
        read_parquet(path)
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match="must be a readable parquet file"):
        read_parquet(path)
    with pytest.raises(DataError, match="must be a readable csv file"):
        read_csv(tmp_path / "nothing.csv", "USD", "open", 3600)
