# SPDX-License-Identifier: Apache-2.0
"""Decision stamps: at the close, or just before the next open and never earlier than the close."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, stamp_text
from mtquant.data.decisions import decision_stamps
from tests.support.builders import make_bars
from tests.support.clocks import clock_bars

NEW_YORK = {"session_timezone": "America/New_York", "session_open": "09:30"}


def sessions(dates: list[str]) -> Bars:
    index = pd.DatetimeIndex(dates)
    frame = pd.DataFrame({name: 1.0 for name in ("open", "high", "low", "close")}, index=index)
    return Bars.from_frame(frame, "SPX500", "USD", "session", 86_400, "America/New_York", "16:00")


def test_sessions_open_long_after_they_closed() -> None:
    # Friday, the Monday after the clocks went forward, Tuesday.
    bars = sessions(["2020-03-06", "2020-03-09", "2020-03-10"])
    stamps = decision_stamps(bars, "open", **NEW_YORK)
    # 09:30 in New York is 13:30 UTC in summer; the last bar keeps its close.
    expected = ["2020-03-09 13:29:59Z", "2020-03-10 13:29:59Z", "2020-03-10 20:00:00Z"]
    assert [stamp_text(stamp) for stamp in stamps] == expected
    assert ((stamps[:-1] + 1) % NANOSECONDS == 0).all()
    assert decision_stamps(bars, "close").tolist() == bars.stamps.tolist()


@given(clock_bars(), st.sampled_from(("open", "close")))
def test_a_decision_lies_between_its_bar_and_the_next_fill(bars: Bars, decide_at) -> None:
    stamps = decision_stamps(bars, decide_at)
    opens = bars.stamps - bars.bar_seconds * NANOSECONDS
    assert (stamps >= bars.stamps).all()
    assert (stamps[:-1] <= np.maximum(opens[1:], bars.stamps[:-1])).all()
    # Only a break in trading gives news a chance between a close and the next open.
    moved = stamps > bars.stamps
    assert (moved[:-1] == (opens[1:] > bars.stamps[:-1] + 1)).all() or decide_at == "close"
    assert not moved[-1]


@pytest.mark.parametrize(
    ("bars", "decide_at", "options", "message"),
    [
        (make_bars(n=3), "noon", {}, "must be close or open"),
        (make_bars(n=3), "open", NEW_YORK, "session_open must be given for"),
        (sessions(["2020-03-09", "2020-03-10"]), "open", {}, "session_open must be given for"),
        (sessions(["2020-03-09", "2020-03-10"]), "close", NEW_YORK, "session_open must be given"),
        (
            sessions(["2020-03-09", "2020-03-10"]),
            "open",
            {**NEW_YORK, "session_open": "16:00"},
            r"must come before the close of every bar \(2020-03-09 20:00:00Z\)",
        ),
        (
            sessions(["2020-03-09", "2020-03-10"]),
            "open",
            {**NEW_YORK, "session_timezone": "Mars/Olympus"},
            "must be HH:MM after midnight on the clock of a known session_timezone",
        ),
        (
            sessions(["2020-03-09", "2020-03-10"]),
            "open",
            {**NEW_YORK, "session_open": "nine"},
            "must be HH:MM after midnight on the clock of a known session_timezone",
        ),
    ],
)
def test_faults_are_refused(bars: Bars, decide_at, options, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decision_stamps(bars, decide_at, **options)
