# SPDX-License-Identifier: Apache-2.0
"""Features of longer bars: shown from their close on and no earlier, the same bytes in a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtquant.core.errors import FeatureError
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.panel import Panel
from mtquant.data.resample import resample
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.timeframes import TimeframePipeline, warmup_rows, without_ages
from tests.support.builders import ARRAYS, bars_from_closes, make_bars, replaced
from tests.support.clocks import HOUR_NS, NEW_YORK, SESSIONS, STARTS, session

PLAIN = ("log_return_1", "stochastic_3", "hour_cos")
MIXED = ("log_return_1@1d", "log_return_1", "zscore_3@4h", "stochastic_3", "stochastic_2@1d")
SECONDS = {"4h": 14_400, "1d": 86_400}


@st.composite
def markets(draw: st.DrawFn, most: int = 3) -> tuple[list[Bars], dict]:
    """One to three instruments with hours and sessions of their own; some begin late."""
    start_ns = int(np.datetime64(draw(st.sampled_from(STARTS)), "ns").astype(np.int64))
    bars, sessions = [], {}
    for n in range(draw(st.integers(1, most))):
        sessions[f"S{n}"] = draw(st.sampled_from(SESSIONS))
        own = make_bars(
            f"S{n}",
            n=draw(st.integers(150, 250)),
            seed=draw(st.integers(0, 1000)),
            gap=0.01,
            start_ns=start_ns + draw(st.integers(0, 300)) * HOUR_NS // 4,
            missing_frac=draw(st.sampled_from((0.0, 0.3, 0.7))),
        )
        bars.append(own)
    return bars, sessions


@given(markets())
def test_names_without_a_mark_are_a_plain_pipeline(market) -> None:
    bars, sessions = market
    panel = Panel.from_bars(bars)
    pipeline, plain = TimeframePipeline(PLAIN, sessions), FeaturePipeline(PLAIN)
    assert pipeline.on_panel(panel, bars).tobytes() == plain.on_panel(panel, bars).tobytes()
    assert pipeline.hash() == plain.hash()
    assert pipeline.panel_names == plain.panel_names
    assert pipeline.timeframes == ()


@settings(max_examples=40)
@given(markets())
def test_against_a_slow_reference(market) -> None:
    bars, sessions = market
    panel = Panel.from_bars(bars)
    pipeline = TimeframePipeline(MIXED, sessions)
    assert pipeline.timeframes == ("1d", "4h")
    assert pipeline.panel_names == (*MIXED, "age_bars", "age_bars@1d", "age_bars@4h")
    rows = pipeline.on_panel(panel, bars)
    until = int(panel.stamps[-1])
    for n, own in enumerate(bars):
        for column, name in enumerate(MIXED):
            plain, _, text = name.partition("@")
            longer = resample(own, text, sessions[own.symbol], until) if text else own
            values = FeaturePipeline([plain]).compute(longer)[:, 0]
            for t in range(0, len(panel), 7):
                known = [k for k, stamp in enumerate(longer.stamps) if stamp <= panel.stamps[t]]
                value = values[known[-1]] if known else np.float32(np.nan)
                assert rows[t, n, column].tobytes() == value.tobytes()
                if text:
                    age_column = pipeline.panel_names.index(f"age_bars@{text}")
                    age_ns = panel.stamps[t] - longer.stamps[known[-1]] if known else 0
                    age = np.float32(age_ns / (SECONDS[text] * NANOSECONDS))
                    assert rows[t, n, age_column] == age
    assert rows[:, :, len(MIXED)].tobytes() == panel.age_bars.tobytes()


@given(markets(), st.data())
def test_the_future_changes_no_row(market, data: st.DataObject) -> None:
    """Rows up to t are the same if later bars differ, move, or never come."""
    bars, sessions = market
    panel = Panel.from_bars(bars)
    # All instruments have two days behind them, a weekend between: with fewer it refuses.
    first = int(max(own.stamps[0] for own in bars)) + 7 * 86_400 * NANOSECONDS
    choices = panel.stamps[panel.stamps > first]
    assume(len(choices) > 0)
    now = int(data.draw(st.sampled_from(choices.tolist())))
    seen, altered = [], []
    for own in bars:
        later = own.stamps > now
        prices = {name: getattr(own, name) * np.where(later, 3.0, 1.0) for name in ARRAYS[1:]}
        altered.append(replaced(own, stamps=own.stamps + later * 7 * NANOSECONDS, **prices))
        seen.append(own.rows(slice(0, int((~later).sum()))))
    pipeline = TimeframePipeline(MIXED, sessions)
    known = pipeline.on_panel(Panel.from_bars(seen), seen)
    for history in (bars, altered):
        rows = pipeline.on_panel(Panel.from_bars(history), history)
        assert rows[: len(known)].tobytes() == known.tobytes()


@settings(max_examples=40)
@given(markets(), st.data())
def test_streams_are_the_batch(market, data: st.DataObject) -> None:
    """One stream per instrument, asked at every stamp of the panel, stored and restored once."""
    bars, sessions = market
    panel = Panel.from_bars(bars)
    pipeline = TimeframePipeline(MIXED, sessions)
    rows = pipeline.on_panel(panel, bars)
    cut = data.draw(st.integers(0, len(panel) - 1))
    for n, own in enumerate(bars):
        stream = pipeline.stream(own.symbol, own.bar_seconds)
        for t, stamp in enumerate(panel.stamps):
            if t == cut:
                stored = stream.state()
                stream = TimeframePipeline(MIXED, sessions).stream(own.symbol, own.bar_seconds)
                stream.restore(stored)
                assert stream.state() == stored
            if panel.tradable[t, n]:
                k = panel.own_row[t, n]
                bar = (getattr(own, name)[k] for name in (*ARRAYS[1:], "stamps"))
                row = stream.update(*bar)
            else:
                row = stream.at(stamp)
            assert row.tobytes() == rows[t, n].tobytes()


def test_a_daily_feature_appears_when_the_day_closes() -> None:
    """Hourly closes 1, 2, 3, ... from New York's close of a Thursday; Friday's return is known at
    its close, hour 24, and Monday's at hour 24 + 72.
    """
    start_ns = int(np.datetime64("2020-01-09 22:00", "ns").astype(np.int64))
    bars = bars_from_closes(np.arange(1.0, 131.0), start_ns=start_ns)
    pipeline = TimeframePipeline(["log_return_1@1d"], {"EURUSD": NEW_YORK})
    rows = pipeline.on_panel(Panel.from_bars([bars]), [bars])[:, 0]
    known = np.isfinite(rows[:, 0])
    assert known.tolist() == [False] * 95 + [True] * 35
    assert set(rows[95:119, 0].tolist()) == {float(np.float32(np.log(96.0 / 24.0)))}
    assert rows[119, 0] == np.float32(np.log(120.0 / 96.0))
    age = pipeline.panel_names.index("age_bars@1d")
    assert rows[22:25, age].tolist() == [0.0, 0.0, np.float32(1.0 / 24.0)]
    assert warmup_rows(rows[:, None]) == 95


def test_a_list_of_longer_features_alone_still_checks_its_bars() -> None:
    bars = make_bars(n=100)
    pipeline = TimeframePipeline(["log_return_1@4h"])
    assert pipeline.panel_names == ("log_return_1@4h", "age_bars", "age_bars@4h")
    assert pipeline.on_panel(Panel.from_bars([bars]), [bars]).shape == (100, 1, 3)
    with pytest.raises(FeatureError, match="finite, positive prices"):
        pipeline.stream("EURUSD", 3600).update(1.0, 1.0, 1.0, float("nan"), 0.0, 1)
    with pytest.raises(FeatureError, match="must be the bars of the panel"):
        pipeline.on_panel(Panel.from_bars([bars]), [make_bars(n=99)])


def test_warm_up_that_never_ends_is_all_rows() -> None:
    assert warmup_rows(np.full((5, 1, 2), np.nan, dtype=np.float32)) == 5
    assert warmup_rows(np.zeros((5, 1, 2), dtype=np.float32)) == 0


def test_ages_are_no_features() -> None:
    names = TimeframePipeline(MIXED).panel_names
    assert without_ages(names) == list(MIXED)


def test_the_hash_depends_on_sessions_where_they_matter() -> None:
    names = ["log_return_1", "rsi_14@1d"]
    sessions = [None, NEW_YORK, session("16:00"), session("17:00", "Europe/London")]
    hashes = {TimeframePipeline(names, {"EURUSD": each}).hash() for each in sessions}
    hashes |= {TimeframePipeline(each).hash() for each in (names[::-1], names[:1], names)}
    assert len(hashes) == 7
    hours = ["log_return_1", "rsi_14@4h"]  # are the same whenever days end
    assert TimeframePipeline(hours, {"EURUSD": NEW_YORK}).hash() == TimeframePipeline(hours).hash()
    again = TimeframePipeline(names, {"EURUSD": session("17:00")})
    assert again.hash() == TimeframePipeline(names, {"EURUSD": NEW_YORK}).hash()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must be a list of names"),
        ("rsi_14@1d", "must be a list of names"),
        (["rsi_14@1d", "rsi_14@1d"], "must name each feature once"),
        (["rsi_14@"], "must have a timeframe after @"),
        (["rsi_14@day"], "whole number and a unit"),
        (["rsi_14@3d"], "must divide a day, or be 1d or 1w"),
        (["rsi_14@1d@1w"], "whole number and a unit"),
        (["rsi@1d"], "must have 1 parameters"),
        (["rso_14@1d"], "must name a kind"),
    ],
)
def test_lists_that_are_no_features_are_refused(names, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        TimeframePipeline(names)


def test_timeframes_that_do_not_suit_the_bars_are_refused() -> None:
    bars = make_bars(n=30)
    panel = Panel.from_bars([bars])
    hourly = TimeframePipeline(["rsi_14@1h"])
    with pytest.raises(FeatureError, match=r"features @1h must be a multiple"):
        hourly.on_panel(panel, [bars])
    with pytest.raises(FeatureError, match=r"features @1h must be a multiple"):
        hourly.stream("EURUSD", 3600)
    with pytest.raises(FeatureError, match=r"@1d of EURUSD must have at least 2 complete bars"):
        TimeframePipeline(["rsi_14@1d"]).on_panel(panel, [bars])


def test_a_stream_keeps_time() -> None:
    pipeline = TimeframePipeline(["log_return_1", "log_return_1@4h"])
    stream = pipeline.stream("EURUSD", 3600)
    stream.update(1.0, 1.0, 1.0, 1.0, 0.0, HOUR_NS)
    before = stream.state()
    with pytest.raises(FeatureError, match="finite"):
        stream.update(1.0, 1.0, 1.0, -1.0, 0.0, 2 * HOUR_NS)
    with pytest.raises(FeatureError, match="must not come before"):
        stream.at(HOUR_NS - 1)
    assert stream.state() == before
    stream.at(4 * HOUR_NS)  # the bar of four hours is complete: one of 04:00 would come too late
    with pytest.raises(FeatureError, match="must close after the last moment"):
        stream.update(1.0, 1.0, 1.0, 1.0, 0.0, 4 * HOUR_NS)
    with pytest.raises(FeatureError, match="written by a stream of the same features"):
        stream.restore(before[:-1])
    with pytest.raises(FeatureError, match="written by a stream of the same features"):
        TimeframePipeline(["log_return_1", "log_return_1@2h"]).stream("A", 3600).restore(before)
