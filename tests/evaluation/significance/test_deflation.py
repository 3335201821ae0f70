# SPDX-License-Identifier: Apache-2.0
"""The examples of the papers, skfolio, simulation and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.measures import (
    deflated_sharpe_ratio,
    expected_max_sharpe_ratio,
    probabilistic_sharpe_ratio,
)

from mtquant.core.errors import DataError
from mtquant.evaluation.metrics import kurtosis, skewness
from mtquant.evaluation.significance import deflation as d
from mtquant.evaluation.significance.bootstrap import SharpeEstimate


@pytest.mark.parametrize(
    ("trials", "skew", "kurt", "expected"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_deflation_gives_the_example_of_the_paper(
    trials: float, skew: float, kurt: float, expected: float
) -> None:
    # Bailey and Lopez de Prado 2014, "A numerical example": 2.5 a year over 1,250 days of which a
    # year has 250; the variance of the ratios among the trials is 1/2 a year.
    threshold = d.luck_threshold(trials, math.sqrt(0.5 / 250))
    if trials == 100:
        assert threshold == pytest.approx(0.1132, abs=5e-5)
    found = d.probabilistic_sharpe(2.5 / math.sqrt(250), threshold, 1250, skew, kurt)
    assert found == pytest.approx(expected, abs=5e-5)


def test_probabilistic_ratio_gives_the_example_of_the_paper() -> None:
    # Bailey and Lopez de Prado 2012: 24 months, 0.458 a month, skewness -2.448,
    # kurtosis 10.164: 0.913; with a normal distribution it would be 0.982.
    assert d.probabilistic_sharpe(0.458, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)
    assert d.probabilistic_sharpe(0.458, 0.0, 24) == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(
    ("per_year", "skew", "kurt", "years"),
    [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_gives_the_years_of_the_paper(
    per_year: int, skew: float, kurt: float, years: float
) -> None:
    # The same paper: a yearly ratio of 2 against 1, with 95 % confidence.
    ratio = 2.0 / math.sqrt(per_year)
    bars = d.minimum_track_record(ratio, ratio / 2.0, skew, kurt)
    assert bars / per_year == pytest.approx(years, abs=5e-3)
    # By definition the probability reaches the confidence there.
    found = d.probabilistic_sharpe(ratio, ratio / 2.0, round(bars), skew, kurt)
    assert found == pytest.approx(0.95, abs=2e-3)


def test_minimum_backtest_gives_the_years_of_the_paper() -> None:
    # Bailey, Borwein, Lopez de Prado and Zhu 2014: 45 tries over 5 years, or 7 over 2, are enough
    # to expect a ratio of 1 from nothing; and eq. 4 gives 1.57 for 10.
    assert d.expected_maximum(10) == pytest.approx(1.57, abs=5e-3)
    assert d.minimum_backtest_years(45, 1.0) == pytest.approx(5.0, abs=0.01)
    assert d.minimum_backtest_years(7, 1.0) == pytest.approx(2.0, abs=0.1)
    assert math.isnan(d.minimum_backtest_years(7, 0.0))


@given(st.integers(2, 300), st.floats(0.0, 1.0))
def test_threshold_equals_skfolio(trials: int, deviation: float) -> None:
    expected = expected_max_sharpe_ratio(trials, deviation)
    assert d.luck_threshold(trials, deviation) == pytest.approx(max(0.0, expected), abs=1e-12)


def test_probabilities_equal_skfolio() -> None:
    generator = np.random.default_rng(3)
    returns = generator.standard_t(4, 900) * 0.01 + 6e-4
    others = generator.normal(0.0, 0.03, 40)
    ratio = float(returns.mean() / returns.std(ddof=1))
    moments = skewness(returns), kurtosis(returns)
    assert d.probabilistic_sharpe(ratio, 0.02, 900, *moments) == pytest.approx(
        probabilistic_sharpe_ratio(returns, 0.02), rel=1e-12
    )
    threshold = d.luck_threshold(40, float(others.std(ddof=1)))
    assert d.probabilistic_sharpe(ratio, threshold, 900, *moments) == pytest.approx(
        deflated_sharpe_ratio(returns, others), rel=1e-12
    )


@pytest.mark.parametrize(("trials", "exact"), [(10, 1.53875), (100, 2.50759), (1000, 3.24144)])
def test_expected_maximum_is_that_of_the_tables(trials: int, exact: float) -> None:
    # Harter, "Expected Values of Normal Order Statistics", Biometrika 48 (1961). The formula is for
    # large N: 2.3 % too high at 10, 0.4 % at 1,000.
    assert exact <= d.expected_maximum(trials) == pytest.approx(exact, rel=0.025)


@given(st.floats(1.0, 1e4), st.floats(1.0, 1e4))
def test_more_tries_never_lower_the_bar(one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert 0.0 <= d.expected_maximum(few) <= d.expected_maximum(many)


def test_one_try_is_the_probabilistic_ratio() -> None:
    # With one try and a bootstrap error below the formula's, nothing is deflated.
    found = SharpeEstimate(1.5, 0.5, 2.5, 0.1, 1000, 252.0)
    expected = d.probabilistic_sharpe(1.5 / math.sqrt(252), 0.0, 1000, -0.4, 5.0)
    assert d.deflated_sharpe(found, -0.4, 5.0, 1.0) == pytest.approx(expected, rel=1e-12)


def test_deflation_believes_the_larger_error() -> None:
    # A bootstrap error of 1 a year: threshold expected_maximum(20), distance in units of 1.
    found = SharpeEstimate(3.0, 1.0, 5.0, 1.0, 1000, 252.0)
    expected = d.NORMAL.cdf(3.0 - d.expected_maximum(20))
    assert d.deflated_sharpe(found, 0.0, 3.0, 20.0) == pytest.approx(expected, rel=1e-9)


def test_what_is_undefined_is_nan() -> None:
    nan = float("nan")
    unknown = SharpeEstimate(1.0, nan, nan, nan, 10, 252.0)
    undefined = (
        d.sharpe_error(0.1, 1, 0.0, 3.0),
        d.sharpe_error(1.0, 100, 5.0, 3.0),  # 1 - 5 + 1/2 is negative
        d.probabilistic_sharpe(nan, 0.0, 100),
        d.minimum_track_record(0.1, 0.1),
        d.deflated_sharpe(unknown, 0.0, 3.0, 5.0),
    )
    assert np.isnan(undefined).all()
    with pytest.raises(DataError, match="at least 1"):
        d.expected_maximum(0.5)
