# SPDX-License-Identifier: Apache-2.0
"""Backtest overfitting against the paper's recipe written plainly, and on known answers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.overfitting import backtest_overfitting


def by_the_book(returns: np.ndarray, parts: int) -> np.ndarray:
    """Logits by Bailey et al. 2015, step by step."""
    stretches = np.array_split(returns[len(returns) % parts :], parts)
    logits = []
    for chosen in combinations(range(parts), parts // 2):
        past = np.concatenate([stretches[k] for k in chosen])
        after = np.concatenate([stretches[k] for k in range(parts) if k not in chosen])
        best = np.argmax(past.mean(axis=0) / past.std(axis=0, ddof=1))
        rank = rankdata(after.mean(axis=0) / after.std(axis=0, ddof=1))[best]
        share = rank / (returns.shape[1] + 1)
        logits.append(np.log(share / (1.0 - share)))
    return np.array(logits)


def test_result_is_that_of_the_recipe() -> None:
    returns = np.random.default_rng(4).normal(1e-4, 0.01, (203, 7))
    found = backtest_overfitting(returns, parts=8)
    expected = by_the_book(returns, 8)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-9)
    assert found.probability == np.mean(expected <= 0.0)
    assert len(found.logits) == 70  # 8 over 4


def test_noise_is_overfitted_half_of_the_time() -> None:
    # 40 data sets of noise: each probability has a deviation near 0.2, their mean 0.03.
    generator = np.random.default_rng(6)
    found = [
        backtest_overfitting(generator.normal(0.0, 0.01, (256, 20)), parts=8).probability
        for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_a_real_edge_is_not_overfitted() -> None:
    returns = np.random.default_rng(7).normal(0.0, 0.01, (1000, 30))
    returns[:, 3] += 0.003  # 0.3 deviations a day: nothing comes near
    found = backtest_overfitting(returns)
    assert found.probability == found.loss_probability == 0.0
    assert len(found.logits) == 12_870


def test_only_the_order_matters() -> None:
    returns = np.random.default_rng(8).normal(2e-4, 0.01, (320, 6))
    scaled = returns * np.array([1.0, 3.0, 0.1, 7.0, 2.0, 5.0])
    np.testing.assert_array_equal(
        backtest_overfitting(returns, 8).logits, backtest_overfitting(scaled, 8).logits
    )


def test_equal_strategies_share_their_rank() -> None:
    returns = np.tile(np.random.default_rng(9).normal(0.0, 0.01, (64, 1)), 4)
    np.testing.assert_allclose(backtest_overfitting(returns, 4).logits, 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("returns", "parts"),
    [
        (np.zeros((100, 3)), 5),
        (np.zeros((100, 1)), 4),
        (np.zeros((7, 3)), 4),
        (np.full((100, 3), np.nan), 4),
    ],
    ids=["odd", "one strategy", "short", "unknown"],
)
def test_what_cannot_be_judged_is_refused(returns: np.ndarray, parts: int) -> None:
    with pytest.raises(DataError):
        backtest_overfitting(returns, parts)
