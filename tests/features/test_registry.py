# SPDX-License-Identifier: Apache-2.0
"""Features of the user's own: as a batch, as a stream, after a restart, and refused."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from mtquant.core.config import load_config
from mtquant.core.errors import FeatureError
from mtquant.data.bars import Bars
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import (
    Bar,
    BarWindow,
    FeatureRegistry,
    LookbackFeature,
    UpdateFeature,
    load_registry,
)
from tests.features.samples import feed
from tests.support.builders import bars_strategy, make_bars

Values = NDArray[np.float64]


def spread(window: BarWindow) -> float:
    return float((window.high - window.low).mean() / window.close[-1])


def bars_since_fall(state: Values, bar: Bar) -> float:
    """State: close before, bars since it last fell."""
    state[1] = 0.0 if bar.close < state[0] else min(state[1] + 1.0, 5.0)
    state[0] = bar.close
    return float(state[1])


SPREAD = LookbackFeature(name="spread_4", compute=spread, lookback_bars=4)
SINCE_FALL = UpdateFeature(name="since_fall", update=bars_since_fall, warmup_bars=6, state_size=2)
REGISTRY = FeatureRegistry([SPREAD, SINCE_FALL])
NAMES = ["spread_4", "rsi_2", "since_fall", "zscore_3"]


@given(bars_strategy(min_bars=12, max_bars=40))
def test_they_stand_between_built_in_ones(bars: Bars) -> None:
    pipeline = FeaturePipeline(NAMES, registry=REGISTRY)
    rows = pipeline.compute(bars)
    built_in = FeaturePipeline(["rsi_2", "zscore_3"]).compute(bars)
    assert rows[:, [1, 3]].tobytes() == built_in.tobytes()
    assert pipeline.warmup_bars == 30  # that of rsi_2: (1/2)^30 < 1e-9
    for t in range(len(bars)):
        window = slice(t - 3, t + 1)
        expected = (bars.high[window] - bars.low[window]).mean() / bars.close[t] if t > 2 else None
        assert np.isnan(rows[t, 0]) if expected is None else rows[t, 0] == np.float32(expected)
    stream = pipeline.stream()
    half = len(bars) // 2
    first = feed(stream, bars, range(half))
    restored = FeaturePipeline(NAMES, registry=REGISTRY).stream()
    restored.restore(stream.state())
    streamed = np.concatenate((first, feed(restored, bars, range(half, len(bars)))))
    assert streamed.tobytes() == rows.tobytes()


def test_a_list_of_users_features_alone() -> None:
    bars = make_bars(n=30)
    pipeline = FeaturePipeline(["since_fall"], registry=REGISTRY)
    rows = pipeline.compute(bars)
    assert np.isfinite(rows[6:]).all()
    assert feed(pipeline.stream(), bars, range(30)).tobytes() == rows.tobytes()


def test_a_window_is_a_copy_of_exactly_its_rows() -> None:
    seen = []

    def look(window: BarWindow) -> float:
        seen.append(window)
        assert window.close.base.shape == (6, 3)  # nothing to look ahead into
        window.close[:] = 7.0
        return 0.0

    bars = make_bars(n=9)
    feature = LookbackFeature(name="look", compute=look, lookback_bars=3)
    FeaturePipeline(["look"], registry=FeatureRegistry([feature])).compute(bars)
    assert len(seen) == 7
    assert seen[2].volume.tolist() == bars.volume[2:5].tolist()
    assert bars.close[4] != 7.0


def test_the_hash_knows_names_versions_and_memory() -> None:
    def hashed(feature: LookbackFeature | UpdateFeature) -> str:
        return FeaturePipeline([feature.name], registry=FeatureRegistry([feature])).hash()

    others = [
        SPREAD,
        LookbackFeature(name="spread_4", compute=spread, lookback_bars=4, version=2),
        LookbackFeature(name="spread_4", compute=spread, lookback_bars=5),
        UpdateFeature(name="spread_4", update=bars_since_fall, warmup_bars=3, state_size=2),
    ]
    assert len({hashed(feature) for feature in others}) == 4


@pytest.mark.parametrize("name", ["rsi", "rsi_14", "macd_3", "Spread", "a-b", "", "beta_3:US30"])
def test_a_name_has_to_be_its_own(name: str) -> None:
    with pytest.raises(FeatureError, match="name"):
        FeatureRegistry([LookbackFeature(name=name, compute=spread, lookback_bars=2)])
    with pytest.raises(FeatureError, match="a name of its own"):
        FeatureRegistry([SPREAD, SPREAD])


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_counts_are_bounded(count: int) -> None:
    with pytest.raises(FeatureError, match="lookback_bars"):
        LookbackFeature(name="spread", compute=spread, lookback_bars=count)
    with pytest.raises(FeatureError, match=r"must have (warmup_bars|state_size)"):
        UpdateFeature(
            name="own",
            update=bars_since_fall,
            warmup_bars=count if count else -1,
            state_size=count,
        )


def broken(at: int, value: float) -> UpdateFeature:
    """A feature that gives `value`, or raises an error where that is 0, on bar `at`."""

    def update(state: Values, bar: Bar) -> float:
        state[0] += 1.0
        if state[0] == at:
            return value if value else 1.0 / int(value)
        return state[0]

    return UpdateFeature(name="broken", update=update, warmup_bars=2, state_size=1)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "finite"), (np.inf, "finite"), (0.0, "ZeroDivisionError")]
)
def test_a_failure_is_named_and_the_stream_stays_as_it_was(value: float, message: str) -> None:
    bars = make_bars(n=12)
    pipeline = FeaturePipeline(
        ["rsi_2", "broken", "zscore_3"], registry=FeatureRegistry([broken(8, value)])
    )
    with pytest.raises(FeatureError, match=message):
        pipeline.compute(bars)
    stream = pipeline.stream()
    feed(stream, bars, range(7))
    before = stream.state()
    with pytest.raises(FeatureError, match=message):
        feed(stream, bars, range(7, 8))
    assert stream.state() == before


def test_a_batch_of_another_length_is_refused() -> None:
    class Short(LookbackFeature):
        def batch(self, rows: Values) -> Values:
            return np.zeros(3)

    feature = Short(name="short", compute=spread, lookback_bars=2)
    pipeline = FeaturePipeline(["short"], registry=FeatureRegistry([feature]))
    with pytest.raises(FeatureError, match="must give 9 values"):
        pipeline.compute(make_bars(n=9))


def test_a_configuration_names_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_features")
    module.registry, module.other = REGISTRY, 3
    monkeypatch.setitem(sys.modules, "my_features", module)
    overrides = ["features.catalog=[spread_4, rsi_14]", "features.user='my_features:registry'"]
    config = load_config(None, overrides).features
    pipeline = FeaturePipeline.from_config(config, {})
    assert pipeline.specs[0] is SPREAD
    for reference in ("my_features:other", "my_features:nothing", "no_such_module:registry"):
        with pytest.raises(FeatureError, match=r"features\.user"):
            load_registry(reference)
