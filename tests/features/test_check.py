# SPDX-License-Identifier: Apache-2.0
"""`check_feature` passes what is sound and names what is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mtquant.core.errors import FeatureError
from mtquant.data.bars import Bars
from mtquant.features.catalog import CATALOG, default_name
from mtquant.features.check import FeatureReport, check_feature
from mtquant.features.registry import Bar, BarWindow, LookbackFeature, UpdateFeature
from tests.features.samples import RECURSIVE, WINDOWED
from tests.support.builders import make_bars

Values = NDArray[np.float64]
WINDOW = 10


@pytest.fixture(scope="module")
def bars() -> Bars:
    return make_bars(n=400, seed=30, gap=0.001, missing_frac=0.2)


def rules(report: FeatureReport) -> set[str]:
    """The rules that the report finds broken."""
    return {finding.rule for finding in report.findings}


def score(closes: Values) -> float:
    deviation = closes.std()
    return float((closes[-1] - closes.mean()) / deviation) if deviation > 1e-12 else 0.0


def average(state: Values, bar: Bar) -> float:
    """An exponential average of the close, span 5, against the close. State: average."""
    state[0] = state[0] + (bar.close - state[0]) / 3.0 if state[0] > 0.0 else bar.close
    return bar.close / state[0] - 1.0


SOUND = [
    LookbackFeature(
        name="own_range",
        compute=lambda window: float(np.log(window.high.max() / window.low.min())),
        lookback_bars=WINDOW,
    ),
    # (2/3)^52 < 1e-9.
    UpdateFeature(name="own_mean", update=average, warmup_bars=52, state_size=1, recursive=True),
    LookbackFeature(
        name="own_price",
        compute=lambda window: float(window.close[-1]),
        lookback_bars=1,
        scale_free=False,
    ),
]


@pytest.mark.parametrize("feature", SOUND, ids=lambda feature: feature.name)
def test_sound_features_pass(feature: LookbackFeature | UpdateFeature, bars: Bars) -> None:
    report = check_feature(feature, bars)
    assert report.passed, str(report)
    assert ("scale-free" in report.rules) == feature.scale_free
    report.raise_if_broken()


@pytest.mark.parametrize(
    "name", [*(name for name in WINDOWED if ":" not in name and name != "session_left")]
)
def test_built_in_windowed_features_pass(name: str, bars: Bars) -> None:
    report = check_feature(name, bars.rows(slice(0, 160)))
    assert report.passed, str(report)


@pytest.mark.parametrize("kind", RECURSIVE)
def test_built_in_recursive_features_pass(kind: str) -> None:
    name = {"regime": "regime_2_4", "trix": "trix_3"}.get(kind, default_name(kind))
    long = make_bars(n=3_700, seed=31, gap=0.001)
    report = check_feature(name, long)
    assert report.passed, str(report)


class Centred(LookbackFeature):
    """Its fast batch looks ahead: the mean is taken around the row."""

    def batch(self, rows: Values) -> Values:
        closes = rows[3]
        means = np.convolve(closes, np.ones(5) / 5.0, "same")
        return closes / means - 1.0


def test_a_feature_that_peeks_is_caught(bars: Bars) -> None:
    feature = Centred(
        name="centred",
        compute=lambda window: float(window.close[-1] / window.close.mean() - 1.0),
        lookback_bars=5,
    )
    report = check_feature(feature, bars)
    assert {"causal", "streamable"} <= rules(report)
    finding = next(finding for finding in report.findings if finding.rule == "causal")
    # The mean reaches two rows ahead: the two rows before the first cut, at 5, move.
    assert finding.row in (3, 4)
    assert finding.expected != finding.found
    assert f"row {finding.row}" in str(report)
    with pytest.raises(FeatureError, match="causal"):
        report.raise_if_broken()


def test_a_feature_that_scales_by_the_whole_history_is_caught(bars: Bars) -> None:
    class Standardised(LookbackFeature):
        def batch(self, rows: Values) -> Values:
            returns = np.diff(np.log(rows[3]), prepend=np.log(rows[3, 0]))
            return returns / max(returns.std(), 1e-12)

    feature = Standardised(name="standardised", compute=lambda window: 0.0, lookback_bars=2)
    assert {"causal", "streamable", "forgetful"} <= rules(check_feature(feature, bars))


def test_a_feature_that_remembers_other_runs_is_caught(bars: Bars) -> None:
    later: dict[float, float] = {}
    before = [0.0]

    def peek(window: BarWindow) -> float:
        """The next close, if an earlier run has told."""
        now = float(window.seconds[-1])
        later[before[0]] = float(window.close[-1])
        before[0] = now
        return later.get(now, float(window.close[-1])) / float(window.close[-1]) - 1.0

    feature = LookbackFeature(name="told", compute=peek, lookback_bars=1)
    assert {"repeatable", "causal"} <= rules(check_feature(feature, bars))


def test_a_feature_with_a_global_state_is_caught(bars: Bars) -> None:
    total = np.zeros(2)

    def drift(state: Values, bar: Bar) -> float:
        """An average that is kept outside of the state."""
        average(total, bar)
        return bar.close / total[0] - 1.0

    feature = UpdateFeature(
        name="drift", update=drift, warmup_bars=52, state_size=0, recursive=True
    )
    assert {"repeatable", "streamable"} <= rules(check_feature(feature, bars))


def running_score(state: Values, bar: Bar) -> float:
    """A z-score by running sums. State: sum, sum of squares, place, closes [WINDOW]."""
    place = int(state[2])
    old = state[3 + place]
    state[0] += bar.close - old
    state[1] += bar.close * bar.close - old * old
    state[3 + place] = bar.close
    state[2] = (place + 1) % WINDOW
    mean = state[0] / WINDOW
    variance = state[1] / WINDOW - mean * mean
    return (bar.close - mean) / np.sqrt(variance) if variance > 1e-12 * mean * mean else 0.0


@pytest.mark.parametrize("recursive", [False, True])
def test_a_feature_with_running_sums_is_caught(recursive: bool, bars: Bars) -> None:
    feature = UpdateFeature(
        name="running",
        update=running_score,
        warmup_bars=WINDOW,
        state_size=3 + WINDOW,
        recursive=recursive,
    )
    report = check_feature(feature, bars)
    assert rules(report) == {"forgetful"}
    # The same from its window alone is sound.
    sound = LookbackFeature(
        name="afresh", compute=lambda window: score(window.close), lookback_bars=WINDOW
    )
    assert "forgetful" not in rules(check_feature(sound, bars))


def test_an_average_that_warms_up_too_briefly_is_caught(bars: Bars) -> None:
    feature = UpdateFeature(
        name="brief", update=average, warmup_bars=10, state_size=1, recursive=True
    )
    assert rules(check_feature(feature, bars)) == {"forgetful"}


def test_a_division_by_zero_is_caught(bars: Bars) -> None:
    def steps(window: BarWindow) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.float64(np.diff(window.close)[-1]) / np.diff(window.close).std())

    report = check_feature(LookbackFeature(name="steps", compute=steps, lookback_bars=5), bars)
    assert rules(report) == {"finite"}
    assert report.findings[0].text == "flat bars without volume"
    assert report.findings[0].row == 4


def test_a_price_that_calls_itself_scale_free_is_caught(bars: Bars) -> None:
    feature = LookbackFeature(
        name="price", compute=lambda window: float(window.close[-1]), lookback_bars=1
    )
    report = check_feature(feature, bars)
    assert rules(report) == {"scale-free"}
    assert report.findings[0].found == 1_024.0 * report.findings[0].expected


def test_too_few_bars_and_errors_are_named(bars: Bars) -> None:
    with pytest.raises(FeatureError, match="at least 144 bars"):
        windowed = UpdateFeature(name="own", update=average, warmup_bars=52, state_size=1)
        check_feature(windowed, bars.rows(slice(0, 100)))
    failing = LookbackFeature(name="failing", compute=lambda window: 1 / 0, lookback_bars=2)
    with pytest.raises(FeatureError, match="ZeroDivisionError"):
        check_feature(failing, bars)
    for kind in CATALOG:
        if CATALOG[kind].needs:
            with pytest.raises(FeatureError):
                check_feature(default_name(kind, "SPX500"), bars)
