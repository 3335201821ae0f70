# SPDX-License-Identifier: Apache-2.0
"""Names, bounds, warm-ups and the page that describes them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mtquant.core.errors import FeatureError
from mtquant.features import kernels, kinds
from mtquant.features.catalog import CATALOG, LONGEST_BARS, MOST_PARAMETERS, parse_feature, pattern

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
        ("range_position_55", "range_position", (55,), 54),
        ("hour_sin", "hour_sin", (), 0),
        # Recursive: smallest n with (13/14)^n, (1/2)^(n/10), (25/27)^n, (8/10)^n below 1e-9.
        ("rsi_14", "rsi", (14,), 280),
        ("atr_14", "atr", (14,), 280),
        ("ewma_volatility_10", "ewma_volatility", (10,), 299),
        ("macd_12_26_9", "macd", (12, 26, 9), 270 + 93),
    ],
)
def test_a_name_is_read(name: str, kind: str, params: tuple[int, ...], warmup_bars: int) -> None:
    spec = parse_feature(name)
    assert (spec.name, spec.kind, spec.params) == (name, kind, params)
    assert spec.warmup_bars == warmup_bars


@pytest.mark.parametrize("window", [2, 3, 14, 200])
def test_the_warm_up_of_wilder_averages_is_the_shortest_that_forgets(window: int) -> None:
    kept = 1.0 - 1.0 / window
    warmup_bars = parse_feature(f"rsi_{window}").warmup_bars
    assert kept**warmup_bars < kinds.START_WEIGHT <= kept ** (warmup_bars - 1)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("rsj_14", "'rsi_14'"),
        ("log_returns_5", "'log_return_5'"),
        ("hour_sine", "'hour_sin'"),
        ("mcad_12", "'macd_<fast_bars>_<slow_bars>_<signal_bars>'"),
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
        "zscore_0",
        f"zscore_{LONGEST_BARS + 1}",
        "zscore_" + "9" * 5000,
        "macd_26_12_9",
        "macd_12_12_9",
        "hour_sin_3",
    ],
)
def test_illegal_parameters_are_refused(name: str) -> None:
    kind = name.rstrip("_0123456789")
    with pytest.raises(FeatureError) as caught:
        parse_feature(name)
    assert pattern(kind) in caught.value.remedy


def test_every_kind_has_its_own_code_and_kernel() -> None:
    assert sorted(kind.code for kind in CATALOG.values()) == list(range(len(CATALOG)))
    for name, kind in CATALOG.items():
        assert kind.code == getattr(kernels, name.upper())
        assert callable(getattr(kinds, name))
        assert len(kind.parameters) == len(kind.minimum) <= MOST_PARAMETERS


def test_the_smallest_parameters_of_every_kind_are_legal() -> None:
    for name, kind in CATALOG.items():
        spec = parse_feature("_".join([name, *map(str, kind.minimum)]))
        assert spec.warmup_bars >= 0
        assert math.isfinite(spec.warmup_bars)


def test_the_page_describes_every_kind() -> None:
    page = DOCS.read_text(encoding="utf-8")
    missing = [pattern(kind) for kind in CATALOG if f"`{pattern(kind)}`" not in page]
    assert missing == []
