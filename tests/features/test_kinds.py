# SPDX-License-Identifier: Apache-2.0
"""Every kind against plain Python, NumPy and `ta`, and what all kinds promise."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import ta
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mtquant.data.bars import Bars
from mtquant.features import kinds
from mtquant.features.catalog import CATALOG, parse_feature
from tests.features.samples import (
    EVERY_KIND,
    WINDOWED,
    bar_tuples,
    exact_values,
    padded,
    short_name,
    ugly_bars,
)
from tests.support.builders import bars_from_closes, bars_strategy, make_bars, replaced

Values = NDArray[np.float64]
finite = st.floats(-1e6, 1e6, allow_subnormal=False)
windows = st.lists(finite, min_size=2, max_size=40).map(np.array)

PARAMETERS = {
    "window": 0,
    "halflife": 0,
    "fast": 0,
    "slow": 1,
    "signal": 2,
}
BAR = {"open": 0, "high": 1, "low": 2, "close": 3, "volume": 4, "seconds": 5}


@pytest.mark.parametrize("kind", CATALOG)
def test_compiled_and_plain_python_agree(kind: str) -> None:
    spec = parse_feature(short_name(kind, extra=2))
    bars = make_bars(n=150, seed=3, gap=0.001)
    function = getattr(kinds, kind)
    names = list(inspect.signature(function.py_func).parameters)
    state, params = np.zeros(spec.state_size - 1), padded(spec)
    plain = []
    for bar in bar_tuples(bars):
        given_by_name = {"state": state}
        given_by_name |= {name: params[place] for name, place in PARAMETERS.items()}
        given_by_name |= {name: bar[place] for name, place in BAR.items()}
        plain.append(function.py_func(*(given_by_name[name] for name in names)))
    # The two may use different logarithms and sines, each good to an ulp or so of 2.2e-16.
    found = exact_values(spec.name, bars)
    np.testing.assert_allclose(found, plain[spec.warmup_bars :], rtol=1e-11, atol=1e-13)


@given(windows)
def test_moments_are_those_of_numpy(window: Values) -> None:
    lead, squares = kinds.moments(window)
    plain = kinds.moments.py_func(window)
    assert (lead, squares) == plain
    scale = np.abs(window).max()
    # A factor n = 40 of rounding, 2.2e-16, on each of n terms.
    assert lead == pytest.approx(window[-1] - window.mean(), abs=1e-12 * scale)
    assert squares == pytest.approx(window.var() * len(window), rel=1e-10, abs=1e-12 * scale**2)


@given(windows, finite)
def test_window_helpers_are_those_of_numpy(window: Values, value: float) -> None:
    for function in (lambda f: f, lambda f: f.py_func):
        assert function(kinds.highest)(window) == window.max()
        assert function(kinds.lowest)(window) == window.min()
        pushed = window.copy()
        function(kinds.push)(pushed, value)
        assert pushed.tolist() == [*window[1:], value]


def reference(name: str, bars: pd.DataFrame) -> pd.Series:
    """The feature `name` by ta 0.11.0, in our units."""
    high, low, close = bars["high"], bars["low"], bars["close"]
    bands = ta.volatility.BollingerBands(close, window=20, window_dev=2)
    half_width = bands.bollinger_hband() - bands.bollinger_mavg()
    makers: dict[str, Callable[[], pd.Series]] = {
        "rsi_14": lambda: ta.momentum.RSIIndicator(close, window=14).rsi() / 100,
        "macd_12_26_9": lambda: ta.trend.MACD(close, 26, 12, 9).macd_diff() / close,
        "bollinger_20": lambda: (close - bands.bollinger_mavg()) / half_width,
        "atr_14": lambda: (
            ta.volatility.AverageTrueRange(high, low, close, 14).average_true_range() / close
        ),
        "stochastic_14": lambda: (
            ta.momentum.StochasticOscillator(high, low, close, 14).stoch() / 100
        ),
        "williams_14": lambda: (
            ta.momentum.WilliamsRIndicator(high, low, close, 14).williams_r() / 100
        ),
        "cci_20": lambda: ta.trend.CCIIndicator(high, low, close, 20).cci(),
        "log_return_1": lambda: ta.others.DailyLogReturnIndicator(close).daily_log_return() / 100,
        "range_position_20": lambda: ta.volatility.DonchianChannel(
            close, close, close, 20
        ).donchian_channel_pband(),
    }
    return makers[name]()


@pytest.mark.parametrize(
    "name",
    [
        "rsi_14",
        "macd_12_26_9",
        "bollinger_20",
        "atr_14",
        "stochastic_14",
        "williams_14",
        "cci_20",
        "log_return_1",
        "range_position_20",
    ],
)
@pytest.mark.parametrize("start_price", [1.1, 30_000.0])
def test_values_are_those_of_ta(name: str, start_price: float) -> None:
    bars = make_bars(n=600, seed=11, gap=0.001, start_price=start_price)
    expected = reference(name, bars.to_frame()).to_numpy()[parse_feature(name).warmup_bars :]
    # 1e-9 is what we promise; it is also the weight of the start, where ta begins otherwise.
    np.testing.assert_allclose(exact_values(name, bars), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [5, 20])
def test_windowed_statistics_are_those_of_numpy(window: int) -> None:
    bars = make_bars(n=300, seed=12)
    closes = sliding_window_view(bars.close, window)
    volumes = sliding_window_view(bars.volume, window)
    returns = sliding_window_view(np.diff(np.log(bars.close)), window)
    deviation = returns.std(axis=1, ddof=1)
    expected = {
        "log_return": np.log(bars.close[window:] / bars.close[:-window]),
        "volatility": deviation,
        "momentum": returns.sum(axis=1) / (deviation * window**0.5),
        "zscore": (closes[:, -1] - closes.mean(axis=1)) / closes.std(axis=1, ddof=1),
        "volume_zscore": (volumes[:, -1] - volumes.mean(axis=1)) / volumes.std(axis=1, ddof=1),
        "drawdown": closes[:, -1] / closes.max(axis=1) - 1.0,
    }
    for kind, values in expected.items():
        # Prices of 1 that move by 1e-3: both sides lose three of their sixteen digits.
        np.testing.assert_allclose(
            exact_values(f"{kind}_{window}", bars), values, rtol=1e-10, atol=1e-10
        )


def test_ewma_volatility_is_that_of_pandas() -> None:
    bars = make_bars(n=600, seed=13)
    close = bars.to_frame()["close"]
    squares = np.log(close / close.shift(1)) ** 2
    expected = np.sqrt(squares.ewm(halflife=10, adjust=False).mean()).to_numpy()[299:]
    # The start weighs 1e-9 in the variance, half of that in its root.
    np.testing.assert_allclose(exact_values("ewma_volatility_10", bars), expected, rtol=1e-8)


def test_the_calendar_by_hand() -> None:
    # 2020-01-08 was a Wednesday, day 2 of 7; 18:00 is three quarters of a day.
    start_ns = int(np.datetime64("2020-01-08T17:00", "ns").astype(np.int64))
    bars = bars_from_closes([1.0, 1.0], start_ns=start_ns)
    names = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
    found = [exact_values(name, bars)[0] for name in names]
    angle = 2 * np.pi * 2 / 7
    np.testing.assert_allclose(found, [-1.0, 0.0, np.sin(angle), np.cos(angle)], atol=1e-12)


@pytest.mark.parametrize("bars", ugly_bars().values(), ids=ugly_bars().keys())
@pytest.mark.parametrize("name", EVERY_KIND)
def test_ugly_bars_give_finite_values(name: str, bars: Bars) -> None:
    values = exact_values(name, bars)
    assert len(values) > 0
    assert np.isfinite(values).all()
    assert np.isfinite(values.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("log_return", 0.0),
        ("volatility", 0.0),
        ("ewma_volatility", 0.0),
        ("rsi", 0.5),
        ("macd", 0.0),
        ("bollinger", 0.0),
        ("atr", 0.0),
        ("stochastic", 0.5),
        ("zscore", 0.0),
        ("drawdown", 0.0),
        ("range_position", 0.5),
        ("momentum", 0.0),
        ("williams", -0.5),
        ("cci", 0.0),
        ("volume_zscore", 0.0),
    ],
)
def test_flat_bars_give_the_stated_value(kind: str, value: float) -> None:
    # 0.1 has no exact binary fraction: a mean of it taken as sum / n is off by an ulp.
    values = exact_values(short_name(kind, extra=1), ugly_bars()["flat"])
    assert set(values.tolist()) == {value}


@given(bars_strategy(min_bars=60, max_bars=90))
def test_bounded_features_keep_their_bounds(bars: Bars) -> None:
    bounds = {"rsi": (0, 1), "stochastic": (0, 1), "range_position": (0, 1), "williams": (-1, 0)}
    bounds |= {"drawdown": (-1, 0)}
    for kind, (low, high) in bounds.items():
        values = exact_values(short_name(kind, extra=1), bars)
        assert ((low <= values) & (values <= high)).all()


@given(bars_strategy(min_bars=12, max_bars=40), st.integers(1, 6))
def test_windowed_features_do_not_know_when_history_began(bars: Bars, start: int) -> None:
    later = bars.rows(slice(start, None))
    for name in WINDOWED:
        values, whole = exact_values(name, later), exact_values(name, bars)
        assert values.tobytes() == whole[start:].tobytes(), name


@pytest.mark.parametrize("name", ["rsi_14", "atr_14", "macd_12_26_9", "ewma_volatility_10"])
@pytest.mark.parametrize("start", [1, 100, 400])
def test_recursive_features_have_forgotten_when_history_began(name: str, start: int) -> None:
    bars = make_bars(n=900, seed=21, gap=0.002)
    values = exact_values(name, bars.rows(slice(start, None)))
    # The start weighs less than 1e-9; a move ten times the average may have stood there.
    np.testing.assert_allclose(values, exact_values(name, bars)[start:], rtol=0.0, atol=1e-8)


def test_rsi_forgets_a_move_before_a_long_calm() -> None:
    calm = bars_from_closes(np.full(400, 1.0))
    moved = bars_from_closes(np.concatenate(([0.5, 2.0], np.full(398, 1.0))))
    assert exact_values("rsi_14", calm)[-1] == exact_values("rsi_14", moved)[-1] == 0.5


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
