# SPDX-License-Identifier: Apache-2.0
"""Measures against a benchmark: quantstats, a regression, and what is undefined."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from mtquant.evaluation import relative as r

MARKET = np.random.default_rng(1).normal(4e-4, 0.012, 500)
RETURNS = 0.7 * MARKET + np.random.default_rng(2).normal(1e-4, 0.006, 500)


def test_measures_equal_quantstats() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries it imports
        import quantstats.stats as q
    days = pd.date_range("2020-01-01", periods=500, freq="D")
    returns, market = pd.Series(RETURNS, days), pd.Series(MARKET, days)
    greeks = q.greeks(returns, market, periods=252.0)
    assert r.beta(RETURNS, MARKET) == pytest.approx(greeks["beta"], rel=1e-10)
    assert r.alpha(RETURNS, MARKET, 252.0) == pytest.approx(greeks["alpha"], rel=1e-10)
    # It leaves the ratio per bar.
    assert r.information_ratio(RETURNS, MARKET, 252.0) == pytest.approx(
        q.information_ratio(returns, market) * np.sqrt(252.0), rel=1e-10
    )


def test_beta_and_alpha_are_a_regression() -> None:
    line = linregress(MARKET, RETURNS)
    assert r.beta(RETURNS, MARKET) == pytest.approx(line.slope, rel=1e-10)
    assert r.alpha(RETURNS, MARKET, 100.0) == pytest.approx(100.0 * line.intercept, rel=1e-10)


def test_a_levered_market_has_no_alpha() -> None:
    assert r.beta(2.0 * MARKET, MARKET) == pytest.approx(2.0)
    assert r.alpha(2.0 * MARKET, MARKET, 252.0) == pytest.approx(0.0, abs=1e-12)


def test_what_is_undefined_is_nan() -> None:
    flat, unknown = np.full(500, 0.01), np.where(np.arange(500) == 3, np.nan, MARKET)
    undefined = (
        r.beta(RETURNS[:1], MARKET[:1]),
        r.beta(RETURNS, flat),
        r.beta(unknown, MARKET),
        r.beta(RETURNS, unknown),
        r.alpha(RETURNS, flat, 252.0),
        r.information_ratio(MARKET, MARKET, 252.0),
    )
    assert np.isnan(undefined).all()
