# SPDX-License-Identifier: Apache-2.0
"""Measures against skfolio 1.12 and scipy, and on numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skfolio.measures as reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from mtquant.core.errors import DataError
from mtquant.risk import measures as m

series = hnp.arrays(
    np.float64, st.integers(2, 300), elements=st.floats(-0.3, 0.3, allow_subnormal=False)
)
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@given(series, confidences)
def test_historical_measures_equal_skfolio(returns, confidence):
    share = {"beta": confidence}
    assert m.historical_var(returns, confidence) == pytest.approx(
        reference.value_at_risk(returns, **share), abs=1e-15
    )
    assert m.conditional_var(returns, confidence) == pytest.approx(
        reference.cvar(returns, **share), abs=1e-12
    )
    falls = reference.get_drawdowns(returns, compounded=True)
    np.testing.assert_allclose(m.drawdowns(returns), -falls, atol=1e-12)
    assert m.conditional_drawdown(returns, confidence) == pytest.approx(
        reference.cdar(falls, **share), abs=1e-12
    )
    assert m.volatility(returns) == pytest.approx(reference.standard_deviation(returns), abs=1e-12)


@given(series, confidences)
def test_parametric_var_is_the_quantile_of_the_fitted_normal(returns, confidence):
    expected = -stats.norm.ppf(1.0 - confidence) * returns.std(ddof=1) - returns.mean()
    assert m.parametric_var(returns, confidence) == pytest.approx(expected, abs=1e-12)


def test_ewma_is_the_riskmetrics_recursion_once_it_has_run_in():
    # RiskMetrics 1996, equation 5.3: v = 0.94 v + 0.06 r^2. After 500 bars the start is forgotten
    # to 0.94^500 = 4e-14.
    returns = np.random.default_rng(1).normal(0.0, 0.01, 500)
    variance = 0.0
    for value in returns:
        variance = 0.94 * variance + 0.06 * value**2
    assert m.ewma_volatility(returns) == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert m.ewma_var(returns) == pytest.approx(1.6448536269514722 * math.sqrt(variance), rel=1e-12)


def test_weights_of_a_short_history_sum_to_one():
    assert m.ewma_volatility([0.02, -0.02]) == pytest.approx(0.02, rel=1e-15)


@given(series)
def test_cornish_fisher_follows_its_formula_or_falls_back(returns):
    value = m.cornish_fisher_var(returns)
    # Moments of an almost constant series are rounding error, in scipy too.
    if returns.std() < 1e-6:
        return
    s, k = stats.skew(returns), stats.kurtosis(returns)
    z = stats.norm.ppf(0.05)
    corrected = z + (z**2 - 1) * s / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * s**2 / 36
    if m.cornish_fisher_valid(s, k):
        expected = -(returns.mean() + corrected * returns.std())
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-9)
    else:
        assert value == m.historical_var(returns)


@given(st.floats(-3.0, 3.0), st.floats(-2.0, 12.0))
def test_the_domain_of_validity_is_where_the_quantile_rises(s, k):
    # Maillard 2012: the corrected quantile is a quantile function only if it never falls. z far
    # beyond any probability in use, so that the parabola shows its sign.
    z = np.linspace(-300.0, 300.0, 60_001)
    slope = 1 + z * s / 3 + (z**2 - 1) * k / 8 - (6 * z**2 - 5) * s**2 / 36
    if abs(slope.min()) > 1e-3 and abs(k / 8 - s**2 / 6) > 1e-4:
        assert m.cornish_fisher_valid(s, k) == (slope.min() > 0.0)


def test_a_normal_sample_has_one_value_at_risk():
    returns = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) * 0.01
    values = [m.value_at_risk(returns, method) for method in ("parametric", "historical")]
    values.append(m.cornish_fisher_var(returns))
    # 1.645 x 1 %, up to the coarseness of 20,000 quantiles.
    np.testing.assert_allclose(values, 0.016449, rtol=2e-3)


def test_one_day_of_bars():
    # 24.6 hourly rows a trading day: the currencies' 6,200 a year.
    per_day = m.bars_per_day(6_200.0)
    assert per_day == pytest.approx(24.603, abs=1e-3)
    assert m.one_day(0.001, per_day) == pytest.approx(0.001 * 24.603**0.5, rel=1e-4)
    # The same weight is left after a day, whatever the bar.
    assert m.decay_per_bar(per_day) ** per_day == pytest.approx(0.94, rel=1e-12)


@pytest.mark.parametrize(
    ("returns", "confidence", "field"),
    [
        ([0.01], 0.95, "returns"),
        ([[0.01, 0.02]], 0.95, "returns"),
        ([0.01, math.nan], 0.95, "returns[1]"),
        ([0.01, 0.02], 1.0, "confidence"),
    ],
)
def test_what_cannot_be_measured_is_refused(returns, confidence, field):
    for measure in (*m.VAR_METHODS.values(), m.conditional_var):
        with pytest.raises(DataError) as caught:
            measure(returns, confidence)
        assert caught.value.field == field


def test_an_unknown_method_is_refused():
    with pytest.raises(DataError, match="ewma, parametric, historical, cornish_fisher"):
        m.value_at_risk([0.01, 0.02], "normal")
