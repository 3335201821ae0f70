# SPDX-License-Identifier: Apache-2.0
"""What `ta` does not have: against NumPy, pandas, SciPy, statsmodels, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import stats
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression
from statsmodels.tsa.stattools import acf

from mtquant.data.bars import Bars
from mtquant.features.kinds.volatility import CALM, WILD
from tests.features.samples import PEER, companion, exact_values, known_close
from tests.support.builders import bars_from_closes, make_bars

Values = NDArray[np.float64]


def windows(values: Values, window: int) -> Values:
    """One row per full window."""
    return sliding_window_view(values, window)


def returns_of(bars: Bars) -> Values:
    """Log returns, one less than bars."""
    return np.diff(np.log(bars.close))


@pytest.mark.parametrize("window", [5, 20, 33, 77])
def test_windowed_statistics_are_those_of_numpy(window: int) -> None:
    bars = make_bars(n=300, seed=12, gap=0.001)
    closes, volumes = windows(bars.close, window), windows(bars.volume, window)
    returns = windows(returns_of(bars), window)
    deviation = returns.std(axis=1, ddof=1)
    way = windows(np.abs(np.diff(bars.close)), window).sum(axis=1)
    expected = {
        "log_return": np.log(bars.close[window:] / bars.close[:-window]),
        "volatility": deviation,
        "downside_volatility": np.sqrt((np.minimum(returns, 0.0) ** 2).mean(axis=1)),
        "momentum": returns.sum(axis=1) / (deviation * window**0.5),
        "zscore": (closes[:, -1] - closes.mean(axis=1)) / closes.std(axis=1, ddof=1),
        "volume_zscore": (volumes[:, -1] - volumes.mean(axis=1)) / volumes.std(axis=1, ddof=1),
        "drawdown": closes[:, -1] / closes.max(axis=1) - 1.0,
        "efficiency": np.abs(bars.close[window:] - bars.close[:-window]) / way,
    }
    for kind, values in expected.items():
        # Prices of 1 that move by 1e-3: both sides lose three of their sixteen digits.
        np.testing.assert_allclose(
            exact_values(f"{kind}_{window}", bars), values, rtol=1e-10, atol=1e-10, err_msg=kind
        )


@pytest.mark.parametrize("window", [4, 21])
def test_range_estimators_are_their_papers(window: int) -> None:
    bars = make_bars(n=120, seed=3, gap=0.002)
    o, h, l, c = (np.log(getattr(bars, name)) for name in ("open", "high", "low", "close"))  # noqa: E741
    parkinson = windows((h - l) ** 2 / (4.0 * np.log(2.0)), window).mean(axis=1)
    garman_klass = windows(0.5 * (h - l) ** 2 - (2.0 * np.log(2.0) - 1.0) * (c - o) ** 2, window)
    satchell = windows((h - c) * (h - o) + (l - c) * (l - o), window).mean(axis=1)
    # Yang and Zhang 2000, equations 6 to 9; alpha = 1.34.
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    gaps = windows(o[1:] - c[:-1], window).var(axis=1, ddof=1)
    bodies = windows(c - o, window).var(axis=1, ddof=1)[1:]
    expected = {
        "parkinson": np.sqrt(parkinson),
        "garman_klass": np.sqrt(garman_klass.mean(axis=1)),
        "rogers_satchell": np.sqrt(satchell),
        "yang_zhang": np.sqrt(gaps + k * bodies + (1.0 - k) * satchell[1:]),
    }
    for kind, values in expected.items():
        found = exact_values(f"{kind}_{window}", bars)
        np.testing.assert_allclose(found, values, rtol=1e-9, err_msg=kind)
    np.testing.assert_allclose(exact_values("gap", bars), o[1:] - c[:-1], atol=1e-15)


def test_ewma_volatility_is_that_of_pandas() -> None:
    bars = make_bars(n=600, seed=13)
    close = bars.to_frame()["close"]
    squares = np.log(close / close.shift(1)) ** 2
    expected = np.sqrt(squares.ewm(halflife=10, adjust=False).mean()).to_numpy()[299:]
    # The start weighs 1e-9 in the variance, half of that in its root.
    np.testing.assert_allclose(exact_values("ewma_volatility_10", bars), expected, rtol=1e-8)


@pytest.mark.parametrize("window", [5, 30])
def test_the_line_is_that_of_scipy(window: int) -> None:
    bars = make_bars(n=90, seed=14)
    fits = [stats.linregress(np.arange(window), closes) for closes in windows(bars.close, window)]
    slopes = np.array([fit.slope for fit in fits]) / bars.close[window - 1 :]
    np.testing.assert_allclose(exact_values(f"slope_{window}", bars), slopes, atol=1e-12)
    shares = [fit.rvalue**2 for fit in fits]
    np.testing.assert_allclose(exact_values(f"r_squared_{window}", bars), shares, atol=1e-9)


@pytest.mark.parametrize("window", [8, 61])
def test_shape_and_memory_are_those_of_pandas_and_statsmodels(window: int) -> None:
    bars = make_bars(n=200, seed=15, gap=0.002)
    returns = pd.Series(returns_of(bars))
    rolling = returns.rolling(window)
    found = exact_values(f"skewness_{window}", bars)
    np.testing.assert_allclose(found, rolling.skew().dropna(), rtol=1e-8, atol=1e-8)
    found = exact_values(f"kurtosis_{window}", bars)
    np.testing.assert_allclose(found, rolling.kurt().dropna(), rtol=1e-8, atol=1e-8)
    for lag in (1, 4):
        expected = [acf(own, nlags=lag, fft=False)[lag] for own in windows(returns, window)]
        found = exact_values(f"autocorrelation_{window}_{lag}", bars)
        np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("window", [32, 128])
def test_hurst_is_the_slope_of_aggregated_variance(window: int) -> None:
    bars = make_bars(n=200, seed=16)
    expected = []
    for own in windows(returns_of(bars), window):
        scales = [1, 4, 16]
        squares = [np.mean(own.reshape(-1, k).sum(axis=1) ** 2) for k in scales]
        expected.append(0.5 * np.polyfit(np.log2(scales), np.log2(squares), 1)[0])
    found = exact_values(f"hurst_{window}", bars)
    np.testing.assert_allclose(found, np.clip(expected, 0.0, 1.0), atol=1e-9)


def test_hurst_knows_trends_and_returns() -> None:
    generator = np.random.Generator(np.random.PCG64(2))
    steps = generator.normal(0.0, 0.001, 4_000)
    smooth = np.convolve(steps, np.ones(30), "valid")  # neighbours agree
    choppy = np.diff(steps)  # neighbours disagree
    found = {
        name: exact_values("hurst_1024", bars_from_closes(np.exp(np.cumsum(own)))).mean()
        for name, own in (("walk", steps), ("smooth", smooth), ("choppy", choppy))
    }
    # A walk has 0.5; the standard error of one window of 1,024 bars is about 0.04.
    assert found["walk"] == pytest.approx(0.5, abs=0.08)
    assert found["smooth"] > 0.8
    assert found["choppy"] < 0.2


@pytest.mark.parametrize("window", [5, 60, 61])
def test_comparisons_are_those_of_numpy(window: int) -> None:
    bars = make_bars(n=200, seed=17, missing_frac=0.3)
    peer = companion(bars)
    closes = np.array([known_close(peer, stamp) for stamp in bars.stamps])
    own, other = returns_of(bars), np.diff(np.log(closes))
    assert (other == 0.0).sum() > 50  # hours in which only one of the two traded
    pairs = zip(windows(own, window), windows(other, window), strict=True)
    covariances = np.array([np.cov(x, y, ddof=1) for x, y in pairs])
    between, variance = covariances[:, 0, 1], covariances[:, 1, 1]
    beta = exact_values(f"beta_{window}:{PEER}", bars, peer)
    np.testing.assert_allclose(beta, between / variance, rtol=1e-9, atol=1e-11)
    correlation = exact_values(f"correlation_{window}:{PEER}", bars, peer)
    expected = between / np.sqrt(variance * covariances[:, 0, 0])
    np.testing.assert_allclose(correlation, expected, rtol=1e-9, atol=1e-11)
    strength = exact_values(f"relative_strength_{window}:{PEER}", bars, peer)
    gains = windows(own, window).sum(axis=1) - windows(other, window).sum(axis=1)
    np.testing.assert_allclose(strength, gains, atol=1e-12)


def test_an_instrument_beside_itself() -> None:
    bars = make_bars(PEER, n=100, seed=18)
    for kind, value in (("beta", 1.0), ("correlation", 1.0), ("relative_strength", 0.0)):
        found = exact_values(f"{kind}_20:{PEER}", bars, bars)
        np.testing.assert_allclose(found, value, atol=1e-12)


def test_a_peer_that_begins_later_is_nan_until_it_fills_the_window() -> None:
    bars = make_bars(n=60, seed=19)
    peer = companion(bars, missing=1_000).rows(slice(25, None))
    for kind, first in (("relative_strength", 25 + 5), ("beta", 25 + 5), ("correlation", 25 + 5)):
        values = exact_values(f"{kind}_5:{PEER}", bars, peer)
        assert np.flatnonzero(np.isfinite(values))[0] == first - 5  # 5 rows of warm-up are cut
        assert np.isfinite(values[first - 5 :]).all()


def test_regime_is_the_filter_of_statsmodels() -> None:
    """Hamilton's filter on returns over the slow average, with our two regimes as parameters."""
    bars = make_bars(n=1_500, seed=20, gap=0.004)
    halflife, stay = 40, 20
    squares = pd.Series(returns_of(bars) ** 2)
    slow = squares.ewm(halflife=halflife, adjust=False).mean().shift(1)
    scaled = (returns_of(bars) / np.sqrt(slow))[1:]
    model = MarkovRegression(scaled, k_regimes=2, trend="n", switching_variance=True)
    chances = [1.0 - 1.0 / stay, 1.0 / stay]  # of calm after calm, of calm after wild
    result = model.filter([*chances, CALM**2, WILD**2])
    expected = np.asarray(result.filtered_marginal_probabilities)[:, 1]
    found = exact_values(f"regime_{halflife}_{stay}", bars)
    # Row t of the bars is row t - 2 of the scaled returns.
    np.testing.assert_allclose(found, expected[-len(found) :], atol=1e-8)
    assert found.min() < 0.1
    assert found.max() > 0.9


def test_regime_after_a_market_that_stood_still() -> None:
    # 2,000 flat bars: the slow average underflows to 0; then one move, however small.
    closes = np.concatenate((np.full(2_000, 1.0), [1.0 + 1e-9, 1.0 + 1e-9]))
    found = exact_values("regime_2_5", bars_from_closes(closes))
    assert found[-3] < 0.2
    assert found[-2] > 0.99
