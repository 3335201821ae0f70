# SPDX-License-Identifier: Apache-2.0
"""Rank correlation against chance: equal to SciPy's, calm on noise, loud on leaks."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from mtquant.workflows.verify.association import ALARM, association, next_returns


def test_the_correlation_is_spearmans() -> None:
    draw = np.random.default_rng(0)
    left = draw.integers(0, 5, 400).astype(float)  # many ties
    right = draw.normal(size=400) + 0.3 * left
    found = association(left, right)
    assert abs(found.correlation - spearmanr(left, right).statistic) < 1e-12
    assert found.rows == 400


def test_noise_hardly_ever_alarms() -> None:
    draw = np.random.default_rng(1)
    largest = 0.0
    for _ in range(300):
        slow = np.convolve(draw.normal(size=900), np.ones(30), "same")
        heavy = draw.standard_t(3, 900)
        largest = max(largest, abs(association(slow, heavy).deviations))
    assert largest < 5.0 < ALARM


def test_a_periodic_column_gets_the_chance_of_all_its_phases() -> None:
    hours = np.sin(2.0 * np.pi * np.arange(2_000) / 24.0)
    seasonal = hours + np.random.default_rng(2).normal(size=2_000)
    found = association(hours, seasonal)
    assert found.correlation > 0.4 and not found.alarming


def test_a_leak_alarms_and_says_how_much() -> None:
    draw = np.random.default_rng(3)
    truth = draw.normal(size=1_000)
    found = association(truth + draw.normal(size=1_000), truth)
    assert found.alarming and 0.6 < found.correlation < 0.8


def test_rows_that_are_not_known_are_left_out() -> None:
    column, returns = np.arange(300.0), np.arange(300.0)
    column[:50], returns[-40:] = np.nan, np.inf
    assert association(column, returns).rows == 210
    assert association(column[:120], returns[:120]).deviations == 0.0
    assert association(np.ones(300), np.arange(300.0)).correlation == 0.0


def test_next_returns_look_ahead_by_as_many_bars() -> None:
    closes = np.exp(np.array([0.0, 1.0, 3.0, 6.0]))
    np.testing.assert_allclose(next_returns(closes, 1), [1.0, 2.0, 3.0, np.nan])
    np.testing.assert_allclose(next_returns(closes, 2), [3.0, 5.0, np.nan, np.nan])
