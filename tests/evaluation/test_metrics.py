# SPDX-License-Identifier: Apache-2.0
"""Measures against independent formulas, by hand, and by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtquant.core.errors import RunError
from mtquant.evaluation import metrics as m
from tests.support.ledgers import daily_stamps, ledger_from_returns, trading_ledger

PERIODS = 252.0
RETURNS = np.random.default_rng(5).normal(3e-4, 0.01, 700)
EQUITY = 1000.0 * np.cumprod(1.0 + RETURNS)

# Returns as they occur, calm and wild, with exact zeros (a bar without a position).
returns = arrays(
    np.float64,
    st.integers(0, 60),
    elements=st.one_of(st.just(0.0), st.floats(-0.5, 0.5, allow_subnormal=False)),
)


# --- references: the formulas of quantstats 0.0.86 (stats.py), written again with pandas ---------


def test_ratios_equal_the_formulas_of_quantstats() -> None:
    series = pd.Series(RETURNS)
    assert m.sharpe(RETURNS, PERIODS) == pytest.approx(
        series.mean() / series.std(ddof=1) * 252**0.5, rel=1e-12
    )
    downside = ((series[series < 0] ** 2).sum() / len(series)) ** 0.5
    assert m.sortino(RETURNS, PERIODS) == pytest.approx(
        series.mean() / downside * 252**0.5, rel=1e-12
    )
    assert m.annual_volatility(RETURNS, PERIODS) == pytest.approx(
        series.std() * 252**0.5, rel=1e-12
    )
    gains, losses = series[series > 0].sum(), series[series < 0].sum()
    assert m.profit_factor(RETURNS) == pytest.approx(abs(gains / losses), rel=1e-12)
    assert m.win_rate(RETURNS) == (series > 0).sum() / (series != 0).sum()


def test_drawdown_and_growth_equal_the_formulas_of_quantstats() -> None:
    # quantstats puts a base before the first return, as we do the initial equity.
    prices = pd.Series(np.concatenate(([1000.0], EQUITY)))
    falls = prices / prices.cummax() - 1.0
    np.testing.assert_allclose(m.drawdowns(EQUITY, 1000.0), -falls.to_numpy()[1:], atol=1e-14)
    growth = float(prices.iloc[-1] / prices.iloc[0]) ** (252.0 / 700.0) - 1.0
    assert m.annual_return(EQUITY, 1000.0, PERIODS) == pytest.approx(growth, rel=1e-12)
    assert m.calmar(EQUITY, 1000.0, PERIODS) == pytest.approx(growth / -falls.min(), rel=1e-12)


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
        # Tenfold in one hour is 10^8766 a year, more than a float holds.
        m.annual_return(np.array([1000.0]), 100.0, 8766.0),
    )
    assert np.isnan(undefined).all()


def test_nan_in_gives_nan_out() -> None:
    steps = np.array([0.01, np.nan, -0.02, 0.01])
    for value in (m.sharpe(steps, PERIODS), m.sortino(steps, PERIODS), m.win_rate(steps)):
        assert np.isnan(value)
    assert np.isnan(m.profit_factor(steps))


def test_ruin_is_minus_one_a_year() -> None:
    assert m.annual_return(np.array([50.0, 0.0]), 100.0, PERIODS) == -1.0


# --- the interval ---------------------------------------------------------------------------------


def test_interval_is_as_wide_as_theory_says() -> None:
    # Lo (2002), "The Statistics of Sharpe Ratios": for independent returns the standard error
    # per bar is sqrt((1 + SR^2 / 2) / T). 2,000 normal draws, 0.05 a bar, 400 resamples.
    steps = np.random.default_rng(11).normal(0.0005, 0.01, 2000)
    low, high = m.sharpe_interval(steps, 1.0, seed=3, reps=400)
    ratio = m.sharpe(steps, 1.0)
    half = 1.96 * np.sqrt((1.0 + ratio**2 / 2.0) / 2000)
    assert low < ratio < high
    assert (high - low) / 2.0 == pytest.approx(half, rel=0.2)


def test_interval_is_wider_for_dependent_returns() -> None:
    # AR(1) with coefficient 0.5: the variance of the mean is (1 + .5) / (1 - .5) = 3 times as
    # large and the interval up to sqrt(3) = 1.73 times as wide; shuffling takes that away.
    generator = np.random.default_rng(12)
    steps, noise = np.zeros(2000), generator.normal(0.0, 0.01, 2000)
    for t in range(1, 2000):
        steps[t] = 0.5 * steps[t - 1] + noise[t]
    low, high = m.sharpe_interval(steps, 1.0, seed=3, reps=300)
    shuffled_low, shuffled_high = m.sharpe_interval(
        generator.permutation(steps), 1.0, seed=3, reps=300
    )
    assert (high - low) > 1.3 * (shuffled_high - shuffled_low)


def test_interval_is_drawn_from_its_seed_alone() -> None:
    first = m.sharpe_interval(RETURNS, PERIODS, seed=1, reps=50)
    np.random.default_rng(0).normal()
    assert m.sharpe_interval(RETURNS, PERIODS, seed=1, reps=50) == first
    assert m.sharpe_interval(RETURNS, PERIODS, seed=2, reps=50) != first


@pytest.mark.parametrize("steps", [RETURNS[:19], np.zeros(100)], ids=["short", "flat"])
def test_interval_is_nan_where_it_means_nothing(steps: np.ndarray) -> None:
    assert np.isnan(m.sharpe_interval(steps, PERIODS, seed=0, reps=50)).all()


def test_one_lucky_bar_is_no_evidence() -> None:
    # One bar of 1,000 moved: e^-1 = 37 % of the resamples miss it, more than the 2.5 % below the
    # lower end, which is therefore 0.
    steps = np.zeros(1000)
    steps[500] = 0.05
    low, high = m.sharpe_interval(steps, 1.0, seed=0, reps=200)
    assert low == 0.0 < m.sharpe(steps, 1.0) < high


# --- summaries ------------------------------------------------------------------------------------


def test_summary_has_the_documented_keys_in_order() -> None:
    assert list(m.summarize(trading_ledger(bars=300))) == list(m.METRIC_TEXTS)


def test_summary_counts_and_sums() -> None:
    ledger = trading_ledger(bars=400, seed=8)
    summary = m.summarize(ledger)
    quantity = ledger.fills_frame()["quantity"]
    assert summary["fills"] == (quantity != 0).sum() > 0
    assert summary["refusals"] == (quantity == 0).sum() > 0
    assert summary["fees"] == pytest.approx(ledger.fills_frame()["fee"].sum())
    assert summary["turnover_per_year"] == pytest.approx(
        ledger.column("turnover").mean() * m.periods_per_year(ledger.stamps)
    )
    assert summary["time_in_market"] == np.mean(np.abs(ledger.positions).sum(axis=1) > 0)


def test_summary_refuses_an_empty_ledger() -> None:
    with pytest.raises(RunError, match="at least one bar"):
        m.summarize(ledger_from_returns([]))


def test_summary_of_one_bar_is_mostly_undefined() -> None:
    summary = m.summarize(ledger_from_returns([0.01]))
    assert summary["total_return"] == pytest.approx(0.01)
    assert np.isnan(
        [summary["sharpe"], summary["annual_return"], summary["turnover_per_year"]]
    ).all()
