# SPDX-License-Identifier: Apache-2.0
"""Measures against quantstats and skfolio, by hand, and by property."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skfolio.measures as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtquant.evaluation import metrics as m
from tests.support.ledgers import daily_stamps

PERIODS = 252.0
RETURNS = np.random.default_rng(5).normal(3e-4, 0.01, 700)
EQUITY = 1000.0 * np.cumprod(1.0 + RETURNS)

# Returns as they occur, calm and wild, with exact zeros (a bar without a position).
returns = arrays(
    np.float64,
    st.integers(0, 60),
    elements=st.one_of(st.just(0.0), st.floats(-0.5, 0.5, allow_subnormal=False)),
)


# --- references: quantstats 0.0.86 and skfolio 1.12 themselves -----------------------------------

SERIES = pd.Series(RETURNS, index=pd.date_range("2020-01-01", periods=len(RETURNS), freq="D"))
EQUAL_TO_QUANTSTATS = {
    "sharpe": (m.sharpe(RETURNS, PERIODS), lambda q: q.sharpe(SERIES)),
    "sharpe above 2 %": (m.sharpe(RETURNS, PERIODS, 0.02), lambda q: q.sharpe(SERIES, rf=0.02)),
    "sortino": (m.sortino(RETURNS, PERIODS), lambda q: q.sortino(SERIES)),
    "volatility": (m.annual_volatility(RETURNS, PERIODS), lambda q: q.volatility(SERIES)),
    "calmar": (m.calmar(EQUITY, 1000.0, PERIODS), lambda q: q.calmar(SERIES)),
    "annual return": (m.annual_return(EQUITY, 1000.0, PERIODS), lambda q: q.cagr(SERIES)),
    "total return": (m.total_return(EQUITY, 1000.0), lambda q: q.comp(SERIES)),
    "drawdown": (m.max_drawdown(EQUITY, 1000.0), lambda q: -q.max_drawdown(SERIES)),
    "omega": (m.omega(RETURNS), lambda q: q.omega(SERIES)),
    "win rate": (m.win_rate(RETURNS), lambda q: q.win_rate(SERIES)),
    "profit factor": (m.profit_factor(RETURNS), lambda q: q.profit_factor(SERIES)),
    "tail ratio": (m.tail_ratio(RETURNS), lambda q: q.tail_ratio(SERIES)),
    # It counts calendar days, here one a bar.
    "longest drawdown": (
        m.longest_drawdown(EQUITY, 1000.0),
        lambda q: q.drawdown_details(q.to_drawdown_series(SERIES))["days"].max(),
    ),
}


@pytest.fixture(scope="module")
def quantstats() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries it imports
        import quantstats.stats
    return quantstats.stats


@pytest.mark.parametrize("name", EQUAL_TO_QUANTSTATS)
def test_measure_equals_quantstats(name: str, quantstats: Any) -> None:
    ours, theirs = EQUAL_TO_QUANTSTATS[name]
    assert ours == pytest.approx(float(theirs(quantstats)), rel=1e-10)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (m.skewness, sk.skew),
        (m.kurtosis, sk.kurtosis),
        (m.value_at_risk, sk.value_at_risk),
        (m.conditional_value_at_risk, sk.cvar),
        (
            m.conditional_drawdown,
            lambda returns: sk.cdar(sk.get_drawdowns(returns, compounded=True)),
        ),
    ],
    ids=["skewness", "kurtosis", "value at risk", "cvar", "cdar"],
)
def test_measure_equals_skfolio(ours: Any, theirs: Any) -> None:
    assert ours(RETURNS) == pytest.approx(float(theirs(RETURNS)), rel=1e-10)


def test_what_quantstats_adjusts_is_known(quantstats: Any) -> None:
    # pandas' estimates for small samples (Joanes and Gill 1998), as the documentation says.
    n = len(RETURNS)
    skew = m.skewness(RETURNS) * np.sqrt(n * (n - 1)) / (n - 2)
    excess = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m.kurtosis(RETURNS) - 3.0) + 6.0)
    assert quantstats.skew(SERIES) == pytest.approx(skew, rel=1e-10)
    assert quantstats.kurtosis(SERIES) == pytest.approx(excess, rel=1e-10)


def test_drawdowns_equal_skfolio() -> None:
    falls = sk.get_drawdowns(RETURNS, compounded=True)
    np.testing.assert_allclose(m.drawdowns(EQUITY, 1000.0), -falls, atol=1e-14)


def test_values_by_hand() -> None:
    # 100 -> 110 -> 99 -> 108.9: returns +10 %, -10 %, +10 %; the only fall is 11 of 110.
    equity, steps = np.array([110.0, 99.0, 108.9]), np.array([0.1, -0.1, 0.1])
    assert m.total_return(equity, 100.0) == pytest.approx(0.089)
    assert m.max_drawdown(equity, 100.0) == pytest.approx(0.1)
    # Mean 1/30; deviation sqrt(((1/15)^2 * 2 + (2/15)^2) / 2) = 0.11547; downside sqrt(.01/3).
    assert m.sharpe(steps, 1.0) == pytest.approx(0.2886751, rel=1e-6)
    assert m.sortino(steps, 1.0) == pytest.approx((1 / 30) / (0.01 / 3) ** 0.5)
    # One year of 2 % over 252 bars is 7.858e-5 a bar, taken off every return.
    rate = 1.02 ** (1 / 252) - 1
    assert m.sharpe(steps, 252.0, 0.02) == pytest.approx(m.sharpe(steps - rate, 252.0))
    # Gains 0.2 over losses 0.1; one bar below the peak; the worst 5 % of 3 bars is the worst.
    assert m.omega(steps) == pytest.approx(2.0)
    assert m.longest_drawdown(equity, 100.0) == 2.0
    assert m.value_at_risk(steps) == m.conditional_value_at_risk(steps) == pytest.approx(0.1)
    assert m.conditional_drawdown(steps) == pytest.approx(0.1)


def test_first_bar_loss_counts_as_drawdown() -> None:
    assert m.max_drawdown(np.array([90.0, 95.0]), 100.0) == pytest.approx(0.1)


# --- calendar -------------------------------------------------------------------------------------


def test_periods_per_year_come_from_the_stamps() -> None:
    # 5 weekdays of 7 days: 365.25 * 5 / 7 = 260.9; hours: 24 * 365.25 = 8766.
    assert m.periods_per_year(daily_stamps(1001)) == pytest.approx(260.9, abs=0.2)
    hours = np.arange(5000, dtype=np.int64) * 3600 * 10**9
    assert m.periods_per_year(hours) == pytest.approx(8766.0)
    assert np.isnan(m.periods_per_year(hours[:1]))


# --- properties -----------------------------------------------------------------------------------


@given(returns, st.floats(0.1, 10.0))
@settings(deadline=None)
def test_ratios_do_not_depend_on_scale_and_turn_with_the_sign(
    steps: np.ndarray, scale: float
) -> None:
    for ratio in (m.sharpe, m.sortino):
        np.testing.assert_allclose(
            ratio(steps * scale, PERIODS), ratio(steps, PERIODS), rtol=1e-6, atol=1e-9
        )
    np.testing.assert_allclose(
        m.sharpe(-steps, PERIODS), -m.sharpe(steps, PERIODS), rtol=1e-9, atol=1e-9
    )


@given(returns)
@settings(deadline=None)
def test_results_are_in_range_and_never_infinite(steps: np.ndarray) -> None:
    equity = 50.0 * np.cumprod(1.0 + steps)
    falls = m.drawdowns(equity, 50.0)
    assert ((falls >= 0.0) & (falls <= 1.0)).all()
    values = (
        m.total_return(equity, 50.0),
        m.annual_return(equity, 50.0, PERIODS),
        m.annual_volatility(steps, PERIODS),
        m.sharpe(steps, PERIODS),
        m.sortino(steps, PERIODS),
        m.calmar(equity, 50.0, PERIODS),
        m.win_rate(steps),
        m.profit_factor(steps),
        m.tail_ratio(steps),
        m.skewness(steps),
        m.kurtosis(steps),
        m.value_at_risk(steps),
        m.conditional_value_at_risk(steps),
        m.conditional_drawdown(steps),
        m.longest_drawdown(equity, 50.0),
    )
    assert not np.isinf(values).any()
    if len(steps):
        assert m.max_drawdown(equity, 50.0) == falls.max()
        assert m.drawdowns(equity * 3.0, 150.0) == pytest.approx(falls, abs=1e-12)


def test_undefined_results_are_nan() -> None:
    nothing, constant, rising = np.empty(0), np.full(50, 0.01), np.array([101.0, 102.0])
    undefined = (
        m.total_return(nothing, 100.0),
        m.total_return(rising, 0.0),
        m.max_drawdown(nothing, 100.0),
        m.sharpe(nothing, PERIODS),
        m.sharpe(constant, PERIODS),
        m.sharpe(np.zeros(50), PERIODS),
        m.sortino(constant, PERIODS),
        m.calmar(rising, 100.0, PERIODS),
        m.win_rate(np.zeros(9)),
        m.profit_factor(nothing),
        m.profit_factor(constant),
        m.time_in_market(np.empty((0, 2))),
        m.longest_drawdown(nothing, 100.0),
        m.tail_ratio(nothing),
        m.tail_ratio(np.zeros(9)),
        m.skewness(constant),
        m.kurtosis(nothing),
        m.value_at_risk(nothing),
        m.conditional_drawdown(nothing[:1]),
        # Tenfold in one hour is 10^8766 a year, more than a float holds.
        m.annual_return(np.array([1000.0]), 100.0, 8766.0),
    )
    assert np.isnan(undefined).all()


def test_nan_in_gives_nan_out() -> None:
    steps = np.array([0.01, np.nan, -0.02, 0.01])
    for value in (m.sharpe(steps, PERIODS), m.sortino(steps, PERIODS), m.win_rate(steps)):
        assert np.isnan(value)
    measures = (m.profit_factor, m.omega, m.tail_ratio, m.skewness, m.kurtosis, m.value_at_risk)
    assert np.isnan([measure(steps) for measure in measures]).all()
    assert np.isnan(m.conditional_drawdown(steps))
    assert np.isnan(m.longest_drawdown(np.cumprod(1.0 + steps), 1.0))


def test_ruin_is_minus_one_a_year() -> None:
    assert m.annual_return(np.array([50.0, 0.0]), 100.0, PERIODS) == -1.0
