# SPDX-License-Identifier: Apache-2.0
"""Names, bounds, warm-ups and the page that describes them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mtquant.core.errors import FeatureError
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, LONGEST_BARS, default_name, parse_feature, pattern
from mtquant.features.kind import START_WEIGHT
from tests.features.samples import PEER, short_name

DOCS = Path(__file__).parents[2] / "docs" / "features.md"


@pytest.mark.parametrize(
    ("name", "kind", "params", "warmup_bars"),
    [
        # Windowed: a return needs the bar before, a window of w levels is full on row w - 1.
        ("log_return_1", "log_return", (1,), 1),
        ("volatility_20", "volatility", (20,), 20),
        ("momentum_20", "momentum", (20,), 20),
        ("bollinger_20", "bollinger", (20,), 19),
        ("stochastic_1", "stochastic", (1,), 0),
        ("stochastic_d_14_3", "stochastic_d", (14, 3), 15),
        ("range_position_55", "range_position", (55,), 54),
        ("ichimoku_cloud_9_26_52", "ichimoku_cloud", (9, 26, 52), 26 + 51),
        ("hour_sin", "hour_sin", (), 0),
        # Recursive: smallest n with (13/14)^n, (1/2)^(n/10), (25/27)^n, (8/10)^n below 1e-9.
        ("rsi_14", "rsi", (14,), 280),
        ("atr_14", "atr", (14,), 280),
        ("plus_di_14", "plus_di", (14,), 280),
        ("adx_14", "adx", (14,), 560),
        ("ewma_volatility_10", "ewma_volatility", (10,), 299),
        ("macd_12_26_9", "macd", (12, 26, 9), 270 + 93),
        # The same with (1/2)^(n/10) and (3/5)^n.
        ("regime_10_5", "regime", (10, 5), 299 + 41),
    ],
)
def test_a_name_is_read(name: str, kind: str, params: tuple[int, ...], warmup_bars: int) -> None:
    spec = parse_feature(name)
    assert (spec.name, spec.kind, spec.params, spec.peer) == (name, kind, params, None)
    assert spec.warmup_bars == warmup_bars


def test_a_name_may_end_in_a_peer() -> None:
    spec = parse_feature("beta_60:SPX500")
    assert (spec.kind, spec.params, spec.peer, spec.warmup_bars) == ("beta", (60,), "SPX500", 60)


@pytest.mark.parametrize("window", [2, 3, 14, 200])
def test_the_warm_up_of_wilder_averages_is_the_shortest_that_forgets(window: int) -> None:
    kept = 1.0 - 1.0 / window
    warmup_bars = parse_feature(f"rsi_{window}").warmup_bars
    assert kept**warmup_bars < START_WEIGHT <= kept ** (warmup_bars - 1)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("rsj_14", "'rsi_14'"),
        ("log_returns_5", "'log_return_5'"),
        ("hour_sine", "'hour_sin'"),
        ("mcad_12", "'macd_<fast_bars>_<slow_bars>_<signal_bars>'"),
        ("betta_60:SPX500", "'beta_<window_bars>:<PEER>'"),
        ("", "Did you mean"),
        ("rsi_14\n", "'rsi_<window_bars>'"),
    ],
)
def test_an_unknown_kind_names_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(FeatureError) as caught:
        parse_feature(name)
    assert suggestion in caught.value.remedy


@pytest.mark.parametrize(
    "name",
    [
        "rsi",
        "rsi_14_3",
        "rsi_1",
        "rsi_014",
        "rsi_14:SPX500",
        "beta_60",
        "zscore_0",
        f"zscore_{LONGEST_BARS + 1}",
        "zscore_" + "9" * 5000,
        "macd_26_12_9",
        "macd_12_12_9",
        "hour_sin_3",
        "hurst_100",
        "autocorrelation_10_6",
        "ultimate_7_28_14",
        "ichimoku_26_9",
        "ichimoku_cloud_9_52_26",
    ],
)
def test_illegal_parameters_are_refused(name: str) -> None:
    kind = name.partition(":")[0].rstrip("_0123456789")
    with pytest.raises(FeatureError) as caught:
        parse_feature(name)
    assert pattern(kind) in caught.value.remedy


@pytest.mark.parametrize("kind", CATALOG)
def test_usual_and_smallest_parameters_are_legal(kind: str) -> None:
    row = CATALOG[kind]
    assert len(row.parameters) == len(row.minimum) == len(row.default)
    for name in (default_name(kind, PEER), short_name(kind)):
        spec = parse_feature(name)
        assert spec.warmup_bars >= 0
        assert 0 <= row.output < kernels.VALUES
        assert len(row.numbers(*spec.params)) <= kernels.MOST_NUMBERS
        assert all(math.isfinite(number) for number in row.numbers(*spec.params))


def test_the_page_describes_every_kind() -> None:
    page = DOCS.read_text(encoding="utf-8")
    missing = [pattern(kind) for kind in CATALOG if f"`{pattern(kind)}`" not in page]
    assert missing == []
