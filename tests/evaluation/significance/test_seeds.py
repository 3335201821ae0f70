# SPDX-License-Identifier: Apache-2.0
"""The interquartile mean against scipy and its interval against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.seeds import interquartile_mean, seeds_interval


@given(
    arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-9, 9))
)
def test_mean_equals_scipy(scores: np.ndarray) -> None:
    # rliable, the program of the paper, is scipy.stats.trim_mean(scores, 0.25, axis=None).
    expected = trim_mean(scores, 0.25, axis=None)
    assert interquartile_mean(scores) == pytest.approx(expected, abs=1e-12)


def test_one_lucky_seed_does_not_bend_it() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 99.0])
    assert interquartile_mean(scores) == pytest.approx(0.45)
    assert np.isnan(interquartile_mean(np.array([1.0, np.nan])))
    assert np.isnan(interquartile_mean(np.empty(0)))


def test_interval_is_as_wide_as_theory_says() -> None:
    # 200 normal scores: 20,000 simulated means of as many had a variance of 1.21 / 200.
    scores = np.random.default_rng(1).normal(size=(200, 1))
    low, high = seeds_interval(scores, np.random.default_rng(2), 2000)
    assert low < interquartile_mean(scores) < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(1.21 / 200), rel=0.2)


def test_tasks_are_strata() -> None:
    # Tasks differ, seeds do not: nothing is left to vary.
    scores = np.tile([0.0, 1.0, 5.0, 9.0], (6, 1))
    low, high = seeds_interval(scores, np.random.default_rng(3), 200)
    assert low == high == interquartile_mean(scores) == 3.0


def test_a_ruin_is_the_lowest_score_there_is() -> None:
    """One of eight is left out at the end; of half of them some stay in the middle."""
    scores = np.arange(8.0)
    few, many = scores.copy(), scores.copy()
    few[7], many[4:] = -np.inf, -np.inf
    assert interquartile_mean(few) == np.mean([1.0, 2.0, 3.0, 4.0])
    assert interquartile_mean(many) == -np.inf
    low, high = seeds_interval(few[:, None], np.random.default_rng(4), 500)
    assert low == -np.inf and 3.0 < high < 6.0


@pytest.mark.parametrize(
    "scores",
    [np.zeros((1, 3)), np.zeros(5), np.full((3, 2), np.nan), np.full((3, 2), np.inf)],
)
def test_what_has_no_interval_is_refused(scores: np.ndarray) -> None:
    with pytest.raises(DataError, match="2 seeds"):
        seeds_interval(scores, np.random.default_rng(0), 10)
