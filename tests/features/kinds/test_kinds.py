# SPDX-License-Identifier: Apache-2.0
"""What all kinds promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.data.bars import Bars
from mtquant.features.catalog import CATALOG, default_name
from tests.features.samples import (
    EVERY_KIND,
    PEER,
    RECURSIVE,
    WINDOWED,
    companion,
    exact_values,
    short_name,
    ugly_bars,
)
from tests.support.builders import bars_from_closes, bars_strategy, make_bars, replaced

# Lowest and highest value, where the catalogue promises them.
BOUNDS = {
    "rsi": (0, 1),
    "stochastic": (0, 1),
    "stochastic_d": (0, 1),
    "williams": (-1, 0),
    "range_position": (0, 1),
    "drawdown": (-1, 0),
    "ultimate": (0, 1),
    "efficiency": (0, 1),
    "r_squared": (0, 1),
    "adx": (0, 1),
    "plus_di": (0, 1),
    "minus_di": (0, 1),
    "aroon_up": (0, 1),
    "aroon_down": (0, 1),
    "aroon": (-1, 1),
    "obv": (-1, 1),
    "mfi": (0, 1),
    "cmf": (-1, 1),
    "autocorrelation": (-1, 1),
    "hurst": (0, 1),
    "correlation": (-1, 1),
    "regime": (0, 1),
    "hour_sin": (-1, 1),
    "turn_of_month": (0, 1),
    "session_left": (0, 24),
    **{
        name: (0, np.inf)
        for name in (
            "volatility",
            "downside_volatility",
            "ewma_volatility",
            "parkinson",
            "garman_klass",
            "rogers_satchell",
            "yang_zhang",
            "atr",
            "donchian_width",
            "bollinger_width",
            "keltner_width",
            "session_age",
        )
    },
}
# What a kind that looks at prices or volume says where nothing moves, if it is not 0.
STILL = {
    "rsi": 0.5,
    "stochastic": 0.5,
    "stochastic_d": 0.5,
    "range_position": 0.5,
    "williams": -0.5,
    "ultimate": 0.5,
    "mfi": 0.5,
    "hurst": 0.5,
    "aroon_up": 1.0,
    "aroon_down": 1.0,
}
LOOKS_AT_STAMPS = (
    *("hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "month_sin", "month_cos"),
    *("turn_of_month", "session_age", "session_left"),
)
COMPARES = tuple(kind for kind in CATALOG if CATALOG[kind].needs == "peer")


@pytest.mark.parametrize("bars", ugly_bars().values(), ids=ugly_bars().keys())
@pytest.mark.parametrize("name", EVERY_KIND)
def test_ugly_bars_give_finite_values(name: str, bars: Bars) -> None:
    values = exact_values(name, bars)
    assert len(values) > 0
    assert np.isfinite(values).all()
    assert np.isfinite(values.astype(np.float32)).all()


@pytest.mark.parametrize("kind", sorted(set(CATALOG) - {*LOOKS_AT_STAMPS, *COMPARES, "regime"}))
def test_flat_bars_give_the_stated_value(kind: str) -> None:
    # 0.1 has no exact binary fraction: a mean of it taken as sum / n is off by an ulp.
    values = exact_values(short_name(kind, extra=1), ugly_bars()["flat"])
    assert set(values.tolist()) == {STILL.get(kind, 0.0)}


def test_flat_bars_beside_a_moving_peer() -> None:
    bars = ugly_bars()["flat"]
    for kind in ("beta", "correlation"):
        assert set(exact_values(f"{kind}_5:{PEER}", bars).tolist()) == {0.0}
    moving = make_bars(n=120, seed=4)
    still = replaced(bars, symbol=PEER, stamps=moving.stamps)
    for kind in ("beta", "correlation"):
        assert set(exact_values(f"{kind}_5:{PEER}", moving, still).tolist()) == {0.0}


@settings(max_examples=15)  # each tries all kinds
@given(bars_strategy(min_bars=110, max_bars=130))
def test_bounded_features_keep_their_bounds(bars: Bars) -> None:
    for kind, (low, high) in BOUNDS.items():
        values = exact_values(short_name(kind, extra=1), bars)
        # A mean of numbers within bounds may leave them by its last bit.
        assert ((low - 1e-15 <= values) & (values <= high + 1e-15)).all(), kind


@settings(max_examples=30)  # each tries all kinds
@given(bars_strategy(min_bars=12, max_bars=60), st.integers(1, 6))
def test_windowed_features_do_not_know_when_history_began(bars: Bars, start: int) -> None:
    later, peer = bars.rows(slice(start, None)), companion(bars)
    for name in WINDOWED:
        values, whole = exact_values(name, later, peer), exact_values(name, bars, peer)
        assert values.tobytes() == whole[start:].tobytes(), name


@pytest.mark.parametrize("kind", RECURSIVE)
@pytest.mark.parametrize("start", [1, 100, 400])
def test_recursive_features_have_forgotten_when_history_began(kind: str, start: int) -> None:
    # The longest warm-up is that of regime_20_10, 598 + 93 bars.
    bars = make_bars(n=1_200, seed=21, gap=0.002)
    name = "regime_20_10" if kind == "regime" else default_name(kind)
    values = exact_values(name, bars.rows(slice(start, None)))
    assert len(values) > 10
    # The start weighs less than 1e-9; a move ten times the average may have stood there.
    np.testing.assert_allclose(values, exact_values(name, bars)[start:], rtol=0.0, atol=1e-8)


def test_ratios_of_averages_forget_a_move_before_a_long_calm() -> None:
    calm = bars_from_closes(np.full(900, 1.0))
    moved = bars_from_closes(np.concatenate(([0.5, 2.0], np.full(898, 1.0))))
    for name in ("rsi_14", "adx_14", "plus_di_14", "keltner_20_10"):
        # What is left of the move weighs (13/14)^900 = 1e-29.
        still, after = exact_values(name, calm)[-1], exact_values(name, moved)[-1]
        assert after == pytest.approx(still, abs=1e-18), name


@settings(max_examples=15)  # each tries all kinds
@given(bars_strategy(min_bars=60, max_bars=90))
def test_doubling_prices_changes_no_bit(bars: Bars) -> None:
    # A power of two only moves the exponent, so scale-free has to mean the same bytes.
    scaled = _scaled(bars, 1024.0)
    for name in EVERY_KIND:
        assert exact_values(name, bars).tobytes() == exact_values(name, scaled).tobytes(), name


@pytest.mark.parametrize("name", EVERY_KIND)
def test_prices_times_a_thousand_change_nothing(name: str) -> None:
    bars = make_bars(n=150, seed=5)
    found = exact_values(name, _scaled(bars, 1000.0))
    np.testing.assert_allclose(found, exact_values(name, bars), rtol=1e-9, atol=1e-9)


def _scaled(bars: Bars, factor: float) -> Bars:
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    return replaced(bars, **prices)
