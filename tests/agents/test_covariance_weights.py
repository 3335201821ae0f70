# SPDX-License-Identifier: Apache-2.0
"""Weights from a covariance: skfolio's solvers, closed forms, and what defines each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio import RiskMeasure
from skfolio.optimization import MeanRisk, RiskBudgeting

from mtquant.agents.covariance_weights import minimum_variance_weights, risk_parity_weights

WEIGHTS = (minimum_variance_weights, risk_parity_weights)


def returns_of(seed: int, count: int = 6, bars: int = 300) -> np.ndarray:
    """Correlated daily returns of unlike size."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(count, count)) + 0.5
    return generator.normal(size=(bars, count)) @ mix * generator.uniform(0.002, 0.02, count)


def test_weights_equal_skfolio() -> None:
    # Its solvers stop at about 1e-5.
    returns = returns_of(1)
    covariance = np.cov(returns.T)
    least = MeanRisk(risk_measure=RiskMeasure.VARIANCE).fit(returns).weights_
    equal = RiskBudgeting(risk_measure=RiskMeasure.VARIANCE).fit(returns).weights_
    np.testing.assert_allclose(minimum_variance_weights(covariance), least, atol=2e-4)
    np.testing.assert_allclose(risk_parity_weights(covariance), equal, atol=2e-4)


@given(st.integers(0, 10_000), st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_each_is_what_it_says(seed: int, count: int) -> None:
    covariance = np.cov(returns_of(seed, count, 60).T).reshape(count, count)
    least, equal = (weights(covariance) for weights in WEIGHTS)
    for found in (least, equal):
        assert found.sum() == pytest.approx(1.0) and (found >= 0.0).all()
    # Least: held instruments have the same marginal variance, no other has a lower one.
    marginal = covariance @ least
    variance = float(least @ marginal)
    assert (marginal >= variance * (1.0 - 1e-6)).all()
    np.testing.assert_allclose(marginal[least > 0.0], variance, rtol=1e-5)
    # Parity: shares of the variance are equal.
    np.testing.assert_allclose(
        equal * (covariance @ equal) / (equal @ covariance @ equal), 1.0 / count, rtol=1e-5
    )


def test_uncorrelated_weights_by_hand() -> None:
    # Inverse variances 1 and 1/4; inverse volatilities 1 and 1/2.
    covariance = np.diag([1e-4, 4e-4])
    np.testing.assert_allclose(minimum_variance_weights(covariance), [0.8, 0.2])
    np.testing.assert_allclose(risk_parity_weights(covariance), [2 / 3, 1 / 3])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_an_instrument_without_variance_is_left_out(weights: object) -> None:
    assert weights(np.diag([0.0, 1e-4])).tolist() == [0.0, 1.0]
    assert weights(np.zeros((2, 2))).tolist() == [0.0, 0.0]
