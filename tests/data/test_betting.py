# SPDX-License-Identifier: Apache-2.0
"""Wide odds tables: every quotation is known when it says, and a closing line at the start."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, stamp_text
from mtquant.data.betting import Quotation, betting_lines

OPEN = Quotation("open", 86_400, {"home": "home_open", "away": "away_open"})
CLOSE = Quotation("close", 0, {"home": "home_close", "away": "away_close"})


def games() -> pd.DataFrame:
    """Two games, of which the second was not quoted early. Teams have the outcomes' names."""
    return pd.DataFrame(
        {
            "kickoff": pd.to_datetime(["2020-03-07T15:00:00Z", "2020-03-07T17:30:00Z"]),
            "home": ["Lens", "Metz"],
            "away": ["Nice", "Brest"],
            "home_open": [2.0, np.nan],
            "away_open": [1.9, 2.2],
            "home_close": [2.1, 1.7],
            "away_close": [1.8, 2.3],
        }
    )


def lines(frame: pd.DataFrame | None = None, **options):
    fixed = {
        "market": "winner",
        "event": ["home", "away"],
        "starts_at": "kickoff",
        "quotations": [OPEN, CLOSE],
        "decided_after_seconds": 7_200,
    }
    return betting_lines(games() if frame is None else frame, "cup", **{**fixed, **options})


def test_lines_are_known_when_their_quotation_says() -> None:
    table = lines()
    assert table.event_ids.tolist() == ["Lens | Nice", "Lens | Nice", "Metz | Brest"]
    assert [stamp_text(stamp) for stamp in table.known_at] == [
        "2020-03-06 15:00:00Z",
        "2020-03-07 15:00:00Z",
        "2020-03-07 17:30:00Z",
    ]
    assert table.columns["home"].tolist() == [2.0, 2.1, 1.7]
    assert table.columns["away"].tolist() == [1.9, 1.8, 2.3]
    assert table.columns["stage"].tolist() == ["open", "close", "close"]
    assert set(table.symbols) == {"winner"}
    assert table.outcome_at is not None
    starts = table.known_at + np.array([86_400, 0, 0]) * NANOSECONDS
    assert (table.outcome_at - starts).tolist() == [7_200 * NANOSECONDS] * 3
    assert table.notes == (
        "open odds of cup count as known 24 h before the start; 1 games have none",
        "close odds of cup count as known at the start; 0 games have none",
    )


def test_the_closing_line_is_not_known_before_the_start() -> None:
    table = lines()
    start = int(table.known_at[1])
    assert table.latest(start - 1).columns["home"].tolist() == [2.0]
    assert table.latest(start).columns["home"].tolist() == [2.1]


def test_starts_that_are_dates_need_an_hour() -> None:
    frame = games().assign(kickoff=pd.to_datetime(["2020-03-06", "2020-03-09"]))
    with pytest.raises(DataError, match=r"cup.kickoff must hold times with a time zone"):
        lines(frame)
    table = lines(frame, timezone="America/New_York", at="23:00", quotations=[CLOSE])
    # 23:00 in New York is 04:00 UTC in winter and 03:00 in summer.
    assert [stamp_text(stamp) for stamp in table.known_at] == [
        "2020-03-07 04:00:00Z",
        "2020-03-10 03:00:00Z",
    ]


def test_faults_are_refused() -> None:
    american = games().assign(home_close=[-110.0, 1.7])
    with pytest.raises(DataError, match=r"cup.home_close, row 0 must be decimal odds above 1"):
        lines(american)
    with pytest.raises(DataError, match="must have the column home_open"):
        lines(games().drop(columns="home_open"))
    with pytest.raises(DataError, match="must hold the same outcomes"):
        lines(quotations=[OPEN, Quotation("close", 0, {"home": "home_close"})])
    with pytest.raises(DataError, match="must hold the same outcomes"):
        lines(quotations=[])
    with pytest.raises(DataError, match="must not be negative"):
        lines(quotations=[Quotation("late", -1, OPEN.columns)])
    with pytest.raises(DataError, match="must not be negative"):
        lines(decided_after_seconds=-1)
    with pytest.raises(DataError, match=r"once at one moment"):
        lines(quotations=[CLOSE, Quotation("last", 0, CLOSE.columns)])
