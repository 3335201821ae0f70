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


def with_ties(returns: np.ndarray, parts: int) -> float:
    """PBO by counting: whom anybody could have chosen, and how many were better afterwards."""
    stretches = np.array_split(returns[len(returns) % parts :], parts)
    found = []
    for chosen in combinations(range(parts), parts // 2):
        past, after = (
            [
                ratio(np.concatenate([stretches[k] for k in own])[:, n])
                for n in range(len(returns.T))
            ]
            for own in (chosen, [k for k in range(parts) if k not in chosen])
        )
        winners = [n for n, own in enumerate(past) if own == max(past)]
        at_or_below = []
        for n in winners:
            above = sum(other > after[n] for other in after)
            below = sum(other < after[n] for other in after)
            at_or_below.append(below <= above)  # a rank (N + 1) / 2 or less
        found.append(np.mean(at_or_below))
    return float(np.mean(found))


def ratio(returns: np.ndarray) -> float:
    """Sharpe ratio per bar; 0 for what never moves."""
    return 0.0 if np.ptp(returns) == 0.0 else round(returns.mean() / returns.std(ddof=1), 12)


def test_result_is_that_of_the_recipe() -> None:
    returns = np.random.default_rng(4).normal(1e-4, 0.01, (203, 7))
    found = backtest_overfitting(returns, parts=8)
    expected = by_the_book(returns, 8)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-9)
    assert found.probability == np.mean(expected <= 0.0)
    assert len(found.logits) == 70  # 8 over 4


@pytest.mark.parametrize("count", [2, 3, 5, 6, 9])
def test_ties_and_odd_numbers_are_counted_as_by_hand(count: int) -> None:
    """Strategies that stand still for half of the time, that never trade, and twins."""
    generator = np.random.default_rng(count)
    returns = generator.normal(-5e-4, 0.01, (96, count))
    returns[:48, : count // 2] = 0.0  # the best of a falling past, together
    returns[:, -1] = 0.0 if count % 2 else returns[:, -2] * 3.0
    found = backtest_overfitting(returns, 6)
    assert found.probability == pytest.approx(with_ties(returns, 6), abs=1e-12)
    order = generator.permutation(count)
    mixed = backtest_overfitting(returns[:, order], 6)
    assert mixed.probability == pytest.approx(found.probability, abs=1e-12)
    np.testing.assert_allclose(mixed.logits, found.logits, atol=1e-9)


def test_what_luck_gives_is_told_for_odd_numbers() -> None:
    """Of three, one is the median itself: at or below it are two."""
    generator = np.random.default_rng(12)
    found = [backtest_overfitting(generator.normal(0.0, 0.01, (128, 3)), 8) for _ in range(60)]
    assert {one.by_luck for one in found} == {2.0 / 3.0}
    assert np.mean([one.probability for one in found]) == pytest.approx(2.0 / 3.0, abs=0.08)
    assert backtest_overfitting(generator.normal(0.0, 0.01, (128, 4)), 8).by_luck == 0.5


def test_a_return_that_never_moves_has_no_ratio() -> None:
    """Rounding leaves 1e-16 of a constant return as its variance."""
    returns = np.random.default_rng(13).normal(2e-3, 0.01, (320, 3))
    returns[:, 1] = 0.1
    still = np.where(np.arange(3) == 1, 0.0, returns)
    found, expected = (backtest_overfitting(own, 8).logits for own in (returns, still))
    np.testing.assert_allclose(found, expected)


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
