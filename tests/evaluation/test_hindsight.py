# SPDX-License-Identifier: Apache-2.0
"""The best allocation afterwards: against exhaustive search, its limits, its periods."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.evaluation.hindsight import best_by_period, best_constant, months, share

ONES = np.ones(3)


def growth(returns: np.ndarray, scales: np.ndarray) -> float:
    return float(np.log1p(returns @ scales).sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 1.5))
def test_no_allocation_of_a_grid_is_better(seed: int, gross: float) -> None:
    draws = np.random.default_rng(seed)
    returns = 0.02 * draws.standard_normal((80, 3)) + 0.004 * draws.standard_normal(3)
    caps = draws.uniform(0.1, 0.8, 3)
    found = best_constant(returns, caps, ONES, gross)
    assert (found >= 0.0).all() and (found <= caps + 1e-12).all()
    assert found.sum() <= gross + 1e-9
    grid = itertools.product(*(np.linspace(0.0, cap, 9) for cap in caps))
    allowed = [np.array(scales) for scales in grid if sum(scales) <= gross]
    assert growth(returns, found) >= max(growth(returns, scales) for scales in allowed) - 1e-9


def test_kelly_of_a_coin() -> None:
    """Won with 60 %, even money: bet 0.2 (Kelly 1956, "A new interpretation of information rate",
    2 p - 1).
    """
    returns = np.array([[1.0]] * 6 + [[-1.0]] * 4)
    found = best_constant(returns, np.ones(1), np.ones(1), 1.0)
    assert found[0] == pytest.approx(0.2, abs=1e-4)


def test_a_specialist_of_two_instruments_uses_twice_its_scale() -> None:
    returns = np.full((10, 2), 0.01)
    found = best_constant(returns, np.ones(2), np.array([2.0, 1.0]), 1.0)
    assert found == pytest.approx([0.0, 1.0], abs=1e-6)


def test_losers_and_nothing_get_nothing() -> None:
    assert best_constant(np.full((10, 3), -0.01), ONES, ONES, 1.0) == pytest.approx(np.zeros(3))
    assert best_constant(np.zeros((10, 3)), ONES, ONES, 1.0).tolist() == [0.0] * 3


def test_every_period_has_its_own() -> None:
    returns = np.array([[0.01, -0.01]] * 5 + [[-0.01, 0.01]] * 5)
    periods = np.repeat([3, 4], 5)
    found = best_by_period(returns, periods, np.full(2, 0.5), np.ones(2), 1.0)
    assert found[:5] == pytest.approx(np.tile([0.5, 0.0], (5, 1)), abs=1e-6)
    assert found[5:] == pytest.approx(np.tile([0.0, 0.5], (5, 1)), abs=1e-6)


def test_months_are_the_calendars() -> None:
    stamps = np.array(["2020-01-31T23:00", "2020-02-01T00:00", "2021-02-01"], "datetime64[ns]")
    assert np.diff(months(stamps.astype(np.int64))).tolist() == [1, 12]


def test_a_share_of_no_gain_is_undefined() -> None:
    assert share(0.01, 0.04) == 0.25
    assert np.isnan(share(0.01, 0.0)) and np.isnan(share(0.01, -0.01))
