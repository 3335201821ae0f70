# SPDX-License-Identifier: Apache-2.0
"""Batch, panel and stream agree; a scaler comes back as it was."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mtquant.core.config import load_config
from mtquant.core.errors import FeatureError
from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.features.catalog import CATALOG_VERSION, parse_feature
from mtquant.features.pipeline import FeaturePipeline, Scaler
from tests.features.samples import (
    EVERY_KIND,
    PEER,
    SESSIONS,
    companion,
    exact_values,
    feature_lists,
    features_of,
    feed,
    pipeline_of,
)
from tests.support.builders import bars_strategy, make_bars, replaced

Rows = NDArray[np.float32]
bars_samples = bars_strategy(min_bars=5, max_bars=70)


@given(feature_lists, bars_samples)
def test_the_stream_is_the_batch(names: list[str], bars: Bars) -> None:
    pipeline = pipeline_of(names)
    streamed = feed(pipeline.stream("EURUSD"), bars, range(len(bars)))
    assert streamed.tobytes() == features_of(pipeline, bars).tobytes()


@given(feature_lists, bars_samples, st.data())
def test_a_restored_stream_continues_byte_for_byte(
    names: list[str], bars: Bars, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(bars)))
    pipeline = pipeline_of(names)
    stream = pipeline.stream("EURUSD")
    feed(stream, bars, range(cut))
    # Another pipeline of the same names, as after a restart.
    restored = pipeline_of(names).stream("EURUSD")
    restored.restore(stream.state())
    assert restored.state() == stream.state()
    continued = feed(restored, bars, range(cut, len(bars)))
    assert continued.tobytes() == features_of(pipeline, bars)[cut:].tobytes()


def test_a_long_stream_forgets_and_still_is_the_batch() -> None:
    # 700 bars fill the past of a stream more than once; a restart falls in between.
    bars = make_bars(n=700, seed=8, gap=0.001, missing_frac=0.3)
    pipeline = pipeline_of(EVERY_KIND)
    stream = pipeline.stream("EURUSD")
    first = feed(stream, bars, range(600))
    restored = pipeline_of(EVERY_KIND).stream("EURUSD")
    restored.restore(stream.state())
    streamed = np.concatenate((first, feed(restored, bars, range(600, 700))))
    assert streamed.tobytes() == features_of(pipeline, bars).tobytes()


@given(feature_lists, bars_samples, bars_samples, st.data())
def test_later_bars_change_no_row_before_them(
    names: list[str], bars: Bars, other: Bars, data: st.DataObject
) -> None:
    last = data.draw(st.integers(0, len(bars) - 1))
    pipeline = pipeline_of(names)
    peer = companion(bars)
    before = pipeline.compute(bars, [peer])[: last + 1]
    changed, changed_peer = _later(bars, other, last), _later(peer, other, None, bars.stamps[last])
    found = pipeline.compute(changed, [changed_peer])[: last + 1]
    assert found.tobytes() == before.tobytes()


def _later(bars: Bars, other: Bars, last: int | None, stamp: int = 0) -> Bars:
    """Bars with the values of others behind a row or a stamp."""
    if last is None:
        last = int(np.searchsorted(bars.stamps, stamp, side="right")) - 1
    changed = {}
    for name in ("open", "high", "low", "close", "volume"):
        column = getattr(bars, name).copy()
        column[last + 1 :] = np.resize(getattr(other, name), len(bars))[last + 1 :]
        changed[name] = column
    return replaced(bars, **changed)


@given(feature_lists, bars_samples)
def test_rows_are_nan_during_warm_up_and_never_again(names: list[str], bars: Bars) -> None:
    pipeline = pipeline_of(names)
    rows = features_of(pipeline, bars)
    assert rows.dtype == np.float32
    for f, spec in enumerate(pipeline.specs):
        assert np.isnan(rows[: spec.warmup_bars, f]).all()
        assert np.isfinite(rows[spec.warmup_bars :, f]).all()


def test_columns_are_the_kernels_in_the_order_of_the_names() -> None:
    bars = make_bars(n=120, seed=1)
    names = EVERY_KIND[::-1]
    pipeline = pipeline_of(names)
    rows = features_of(pipeline, bars)
    assert pipeline.names == names
    assert pipeline.warmup_bars == max(parse_feature(name).warmup_bars for name in names)
    for f, name in enumerate(names):
        values = exact_values(name, bars).astype(np.float32)
        assert rows[len(bars) - len(values) :, f].tobytes() == values.tobytes()


def test_several_instruments_at_once_are_one_after_the_other() -> None:
    bars = [make_bars(symbol, n=300, seed=n) for n, symbol in enumerate(("EURUSD", "US30"))]
    bars.append(companion(bars[0]))
    pipeline = pipeline_of([name for name in EVERY_KIND if name != "session_left"])
    found = pipeline.compute_all(bars)
    for own, rows in zip(bars, found, strict=True):
        assert rows.tobytes() == pipeline.compute(own, bars).tobytes()


def test_a_peer_has_to_be_there() -> None:
    bars = make_bars(n=30)
    pipeline = FeaturePipeline([f"beta_5:{PEER}"])
    assert pipeline.peers == (PEER,)
    with pytest.raises(FeatureError, match=f"bars of {PEER}"):
        pipeline.compute(bars)
    stream = pipeline.stream()
    with pytest.raises(FeatureError, match=f"last close of {PEER}"):
        stream.update(1.0, 1.0, 1.0, 1.0, 0.0, 1)
    assert np.isnan(stream.update(1.0, 1.0, 1.0, 1.0, 0.0, 1, {PEER: math.nan})).all()


def test_a_session_has_to_be_known() -> None:
    with pytest.raises(FeatureError, match="must hold the session of EURUSD"):
        FeaturePipeline(["session_left"]).compute(make_bars(n=30))
    with pytest.raises(FeatureError, match="must hold the session of the instrument"):
        pipeline_of(["session_left"]).stream()


def test_from_config_knows_sessions_and_registry() -> None:
    config = load_config(None, ["features.catalog=[session_left, rsi_14]"]).features
    pipeline = FeaturePipeline.from_config(config, load_instruments(None))
    assert pipeline.names == ("session_left", "rsi_14")
    # US30 closes at 16:00 New York, the first bar of make_bars at 01:00 UTC = 20:00.
    assert pipeline.compute(make_bars("US30", n=30))[0, 0] == 20.0
    assert FeaturePipeline.from_config(config, {}, ["rsi_14"]).names == ("rsi_14",)


def test_on_a_panel_rows_are_carried_and_say_how_old_they_are() -> None:
    bars = [
        make_bars("EURUSD", n=60, seed=1, missing_frac=0.5),
        make_bars("US30", n=40, seed=2, start_ns=make_bars(n=6).stamps[-1], missing_frac=0.2),
    ]
    panel = Panel.from_bars(bars)
    pipeline = FeaturePipeline(["log_return_1", "stochastic_3", "hour_cos"])
    rows = pipeline.on_panel(panel, bars)
    assert pipeline.panel_names == ("log_return_1", "stochastic_3", "hour_cos", "age_bars")
    assert rows.dtype == np.float32
    assert rows.shape == (len(panel), 2, 4)
    own_rows = [pipeline.compute(own) for own in bars]
    for t in range(len(panel)):
        for n in range(2):
            last = panel.own_row[t, n]
            if last < 0:
                assert np.isnan(rows[t, n, :-1]).all()
            else:
                assert rows[t, n, :-1].tobytes() == own_rows[n][last].tobytes()
    assert rows[:, :, -1].tobytes() == panel.age_bars.tobytes()
    assert (rows[:, :, -1] > 0).any()


def test_bars_of_another_panel_are_refused() -> None:
    bars = [make_bars("EURUSD", n=20, seed=1), make_bars("GBPUSD", n=20, seed=2)]
    panel = Panel.from_bars(bars)
    pipeline = FeaturePipeline(["log_return_1"])
    later = make_bars("GBPUSD", n=20, seed=2, start_ns=int(bars[0].stamps[3]))
    for wrong in (bars[::-1], bars[:1], [bars[0], later]):
        with pytest.raises(FeatureError, match="must be the bars of the panel"):
            pipeline.on_panel(panel, wrong)


@pytest.mark.parametrize("names", [[], "rsi_14", ["rsi_14", "hour_sin", "rsi_14"], ["nothing"]])
def test_lists_that_are_no_features_are_refused(names: list[str]) -> None:
    with pytest.raises(FeatureError):
        FeaturePipeline(names)


def test_the_hash_names_features_order_and_catalogue() -> None:
    names = ["rsi_14", "hour_sin"]
    text = json.dumps([CATALOG_VERSION, names])
    assert FeaturePipeline(names).hash() == hashlib.sha256(text.encode()).hexdigest()
    others = [names[::-1], names[:1], ["rsi_15", "hour_sin"]]
    hashes = {FeaturePipeline(other).hash() for other in [names, *others]}
    assert len(hashes) == 4
    # Sessions count where a feature asks for them.
    assert pipeline_of(names).hash() == FeaturePipeline(names).hash()
    sessions = {"EURUSD": SESSIONS["US30"]}
    other_hours = FeaturePipeline(["session_left"], sessions=sessions)
    assert other_hours.hash() != pipeline_of(["session_left"]).hash()


GOOD = {"open": 1.0, "high": 1.2, "low": 0.9, "close": 1.1, "volume": 0.0, "stamp_ns": 2_000}


@pytest.mark.parametrize(
    "fault",
    [
        {"close": math.nan},
        {"open": math.inf},
        {"low": 0.0},
        {"low": -1.0},
        {"high": 1.05},
        {"low": 1.05},
        {"volume": math.nan},
        {"volume": -1.0},
        {"stamp_ns": 1_000},
    ],
)
def test_a_stream_refuses_a_bad_bar_and_stays_as_it_was(fault: dict[str, float]) -> None:
    stream = FeaturePipeline(["atr_2", "zscore_3"]).stream()
    stream.update(**{**GOOD, "stamp_ns": 1_000})
    before = stream.state()
    with pytest.raises(FeatureError):
        stream.update(**{**GOOD, **fault})
    assert stream.state() == before
    stream.update(**GOOD)


def test_a_state_of_other_features_is_refused() -> None:
    stream = FeaturePipeline(["zscore_3"]).stream()
    state = stream.state()
    for wrong in (FeaturePipeline(["bollinger_3"]).stream().state(), state[:-8], b""):
        with pytest.raises(FeatureError, match="same features"):
            stream.restore(wrong)
    assert stream.state() == state


matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    # Features stay far inside: 2^40 is a million million.
    elements=st.floats(-(2.0**40), 2.0**40, width=32),
)


@given(matrices, st.floats(0.5, 100.0))
def test_a_scaler_survives_json(rows: Rows, clip: float) -> None:
    scaler = Scaler.fit(rows, clip)
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again.mean.tobytes() == scaler.mean.tobytes()
    assert again.scale.tobytes() == scaler.scale.tobytes()
    assert again.clip == scaler.clip


@given(matrices)
def test_scaled_rows_are_finite_and_clipped(rows: Rows) -> None:
    scaler = Scaler.fit(rows, clip=3.0)
    scaled = scaler.apply(rows)
    assert scaled.dtype == np.float32
    assert (np.abs(scaled) <= 3.0).all()
    still = (rows == rows[0]).all(axis=0)
    assert (scaler.scale[still] == 1.0).all()
    assert (np.abs(scaled[:, still]) <= 1e-6 * np.abs(rows[:, still]).max(initial=1.0)).all()


def test_a_scaler_is_fitted_on_whole_rows() -> None:
    generator = np.random.Generator(np.random.PCG64(4))
    rows = generator.normal(3.0, 2.0, (500, 3)).astype(np.float32)
    holes = rows.copy()
    holes[:40, 1] = np.nan
    holes[60, 2] = np.inf
    kept = np.delete(rows[40:], 20, axis=0)
    scaler = Scaler.fit(holes)
    # float32 is good to 6e-8.
    np.testing.assert_allclose(scaler.mean, kept.mean(axis=0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(scaler.scale, kept.std(axis=0, dtype=np.float64), rtol=1e-7)
    scaled = scaler.apply(holes.reshape(50, 10, 3))
    assert scaled.shape == (50, 10, 3)
    assert np.isnan(scaled.reshape(500, 3)[:40, 1]).all()
    assert scaled.reshape(500, 3)[60, 2] == 10.0


@settings(max_examples=20)
@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 50))
def test_a_column_that_never_changes_is_not_divided(value: float, count: int) -> None:
    scaler = Scaler.fit(np.full((count, 1), value, dtype=np.float32))
    assert scaler.scale.tolist() == [1.0]
    assert scaler.apply(np.full((1, 1), value, dtype=np.float32)).tolist() == [[0.0]]


def test_rows_without_a_value_are_refused() -> None:
    rows = np.array([[1.0, np.nan], [np.nan, np.nan]], dtype=np.float32)
    with pytest.raises(FeatureError, match=r"columns without any value: \[1\]"):
        Scaler.fit(rows)
    for shape in ((0, 2), (2, 0), (4,), (2, 2, 2)):
        with pytest.raises(FeatureError):
            Scaler.fit(np.zeros(shape, dtype=np.float32))


def test_values_of_other_features_are_refused() -> None:
    scaler = Scaler.fit(np.eye(3, dtype=np.float32))
    with pytest.raises(FeatureError, match="must have 3 columns"):
        scaler.apply(np.zeros((4, 1), dtype=np.float32))


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"mean": [0.0], "scale": [1.0]},
        {"mean": [0.0], "scale": [1.0], "clip": 10.0, "more": 1},
        {"mean": [0.0, 1.0], "scale": [1.0], "clip": 10.0},
        {"mean": [0.0], "scale": [0.0], "clip": 10.0},
        {"mean": [math.nan], "scale": [1.0], "clip": 10.0},
        {"mean": [0.0], "scale": [1.0], "clip": 0.0},
        {"mean": ["a"], "scale": [1.0], "clip": 10.0},
        {"mean": [[0.0]], "scale": [[1.0]], "clip": 10.0},
        {"mean": [], "scale": [], "clip": 10.0},
    ],
)
def test_a_stored_scaler_is_checked(stored: dict[str, object]) -> None:
    with pytest.raises(FeatureError):
        Scaler.from_dict(stored)
