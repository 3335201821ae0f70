# SPDX-License-Identifier: Apache-2.0
"""Predictions as a feature of whichever instrument they are about, from when they were known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtquant.core.config import Config, load_config
from mtquant.core.errors import ConfigError, DataError, FeatureError
from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.features.check import check_feature
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import FeatureRegistry
from mtquant.features.signals import (
    LastKnown,
    PredictedUp,
    configured_registry,
    read_signals,
    signals_digest,
)
from mtquant.features.timeframes import TimeframePipeline
from tests.support.markets import momentum_bars

DAY_NS = 86_400 * 10**9
SYMBOLS = ("EURUSD", "GBPUSD")
BARS = {symbol: momentum_bars(300, seed, 0.8, 0.004, symbol) for seed, symbol in enumerate(SYMBOLS)}
NAMES = ["log_return_1", "predicted_up"]


def predictions(*, first: int = 100, last: int = 300) -> pd.DataFrame:
    """One for every bar of some rows, known a minute after its close; each instrument its own."""
    parts = []
    for n, (symbol, bars) in enumerate(BARS.items()):
        stamps = bars.stamps[first:last] + 60 * 10**9
        chances = np.random.default_rng(n).uniform(0.05, 0.95, len(stamps)).round(2)
        columns = {"symbol": symbol, "known_at": pd.to_datetime(stamps, utc=True)}
        columns |= {"chance_up": chances, "confidence": np.maximum(chances, 1.0 - chances)}
        parts.append(pd.DataFrame(columns | {"says": "UP", "template_hash": "a"}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "signals.parquet"
    predictions().to_parquet(file)
    return file


def configured(path: Path) -> Config:
    catalog = f"features.catalog=[{', '.join(NAMES)}]"
    return load_config(None, (catalog, f"features.signals={path}"))


def expected(bars: Bars) -> np.ndarray:
    """2p - 1 of the prediction made at the bar before, which is known by now."""
    frame = predictions()
    own = frame[frame["symbol"] == bars.symbol]["chance_up"].to_numpy()
    values = np.zeros(len(bars))
    values[101:] = 2.0 * own[:-1] - 1.0
    return values


def test_the_last_prediction_counts_until_it_is_too_old(path):
    signals = read_signals(path)
    last = LastKnown(signals, max_age_seconds=2 * 86_400)
    own = signals.of("EURUSD")
    first, end = int(own.known_at[0]), int(own.known_at[-1])
    stamps = np.array([first - 1, first, end + 2 * DAY_NS, end + 2 * DAY_NS + 1])
    chances = own.columns["chance_up"]
    assert last.chances_up("EURUSD", stamps).tolist() == [0.5, chances[0], chances[-1], 0.5]
    assert last.chances_up("USDJPY", stamps).tolist() == [0.5] * 4


def test_every_instrument_is_told_its_own_predictions(path):
    """Through the configuration, on a panel."""
    pipeline = TimeframePipeline.from_config(configured(path), load_instruments(None), SYMBOLS)
    bars = [BARS[symbol] for symbol in SYMBOLS]
    rows = pipeline.on_panel(Panel.from_bars(bars), bars)
    for n, own in enumerate(bars):
        np.testing.assert_allclose(rows[:, n, 1], expected(own), atol=1e-6)


def test_a_stream_gives_the_bytes_of_the_batch(path):
    pipeline = TimeframePipeline.from_config(configured(path), load_instruments(None), SYMBOLS)
    bars = BARS["GBPUSD"]
    whole = pipeline.on_panel(Panel.from_bars([bars]), [bars])[:, 0]
    stream = pipeline.stream("GBPUSD", bars.bar_seconds)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
    for t in range(len(bars)):
        assert stream.update(*(own[t].item() for own in columns)).tobytes() == whole[t].tobytes()


def test_it_keeps_the_rules_of_features(path):
    report = check_feature(PredictedUp(path), BARS["EURUSD"])
    assert report.passed
    assert "causal" in report.rules


def test_a_stream_hears_what_was_predicted_since(path):
    predictions(last=200).to_parquet(path)
    stream = FeaturePipeline(NAMES, configured_registry(configured(path).features)).stream("EURUSD")
    bars, found = BARS["EURUSD"], np.zeros(300)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
    for t in range(len(bars)):
        if t == 250:  # every prediction is too old by now
            newer = path.with_suffix(".new")
            predictions().to_parquet(newer)
            os.replace(newer, path)
        found[t] = stream.update(*(own[t].item() for own in columns))[1]
    wanted = expected(bars)
    np.testing.assert_allclose(found[:201], wanted[:201], atol=1e-6)
    assert (found[210:250] == 0.0).all()
    np.testing.assert_allclose(found[250:], wanted[250:], atol=1e-6)


def test_an_instrument_that_nothing_was_predicted_of_is_refused(path):
    config = configured(path)
    other = momentum_bars(300, 5, 0.8, 0.004, "USDJPY")
    pipeline = TimeframePipeline.from_config(config, load_instruments(None), ("USDJPY",))
    with pytest.raises(FeatureError, match="predictions of USDJPY"):
        pipeline.on_panel(Panel.from_bars([other]), [other])
    with pytest.raises(FeatureError, match="predictions of the instrument"):
        FeaturePipeline(NAMES, FeatureRegistry([PredictedUp(path)])).stream()
    with pytest.raises(FeatureError, match=r"of\(symbol\)"):
        PredictedUp(path).batch(np.zeros((6, 3)))


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.parquet"):
        PredictedUp(tmp_path / "nowhere.parquet").of("EURUSD")


def test_a_table_and_its_feature_go_together(path):
    with pytest.raises(ConfigError, match="table of predictions that predicted_up reads"):
        load_config(None, ("features.catalog=[predicted_up@1d]",))
    with pytest.raises(ConfigError, match="has no effect"):
        load_config(None, (f"features.signals={path}",))


def test_impossible_chances_are_refused(path, tmp_path):
    frame = predictions()
    frame.loc[0, "chance_up"] = 87.0
    frame.to_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(DataError, match=r"0\.87"):
        read_signals(tmp_path / "wrong.parquet")
    pd.concat([predictions()] * 2).to_parquet(tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="once"):
        read_signals(tmp_path / "twice.parquet")


def test_a_continued_table_says_what_it_said(tmp_path: Path) -> None:
    frame = predictions()
    certain = frame.assign(chance_up=1)  # integers, until somebody is less sure
    later = frame.tail(1).assign(known_at=frame["known_at"].max() + pd.Timedelta("1D"))
    until = int(certain["known_at"].max().value) + 1
    said = []
    for table in (certain, pd.concat([certain, later]), certain.assign(chance_up=0)):
        table.to_parquet(tmp_path / "signals.parquet")
        said.append(signals_digest(configured(tmp_path / "signals.parquet").features, until))
    assert said[0] == said[1] != said[2]
    assert signals_digest(load_config(None).features, until) == ""
