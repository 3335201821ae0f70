# SPDX-License-Identifier: Apache-2.0
"""Intervals cover what they should, stay paired, and know what they do not know."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from mtquant.evaluation.significance.paired import intervals, mean_intervals, rank_correlation


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        series = random(seed).standard_normal((400, 1))
        ((low, high),) = mean_intervals(series, 200, random(1_000 + seed))
        covered += low <= 0.0 <= high
    # 95 % asked for, of 100 tries a standard error of 2.2 %; block bootstraps cover a little less.
    assert 0.87 <= covered / 100 <= 0.99


def test_what_moved_both_is_no_difference() -> None:
    common = random().standard_normal(300)
    pair = np.column_stack([common, common + 0.01])
    ((low, high),) = mean_intervals(pair[:, 1:] - pair[:, :1], 100, random(1))
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01)
    alone = mean_intervals(pair, 100, random(1))
    assert alone[0][0] == pytest.approx(alone[1][0] - 0.01)  # drawn by the same rows


def test_a_measure_may_return_several_numbers() -> None:
    series = random().standard_normal((100, 2))
    found = intervals(series, lambda drawn: np.array([drawn.min(), drawn.max()]), 50, random(1))
    assert len(found) == 2 and found[0][1] < found[1][0]


def test_the_rank_correlation_is_scipys() -> None:
    first = random().standard_normal(200).round(1)  # with ties
    second = 0.5 * first + random(1).standard_normal(200)
    found, (low, high) = rank_correlation(first, second, 300, random(2))
    assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert low < found < high
    assert low > 0.0


def test_pairs_that_are_not_known_do_not_count() -> None:
    first, second = random().standard_normal((2, 60, 2))
    first[::3, 0] = np.nan
    known = np.isfinite(first)
    found, _ = rank_correlation(first, second, 10, random(1))
    assert found == pytest.approx(spearmanr(first[known], second[known]).statistic, abs=1e-12)


@pytest.mark.parametrize("first", [np.ones(50), np.full(50, np.nan), np.arange(50.0)[:10]])
def test_constants_and_too_few_pairs_have_no_correlation(first: np.ndarray) -> None:
    found, interval = rank_correlation(first, np.arange(float(len(first))), 10, random())
    assert np.isnan(found) and np.isnan(interval).all()
