# SPDX-License-Identifier: Apache-2.0
"""Each reward term against its definition, in plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.rewards import terms
from mtquant.rewards.compose import Reward
from tests.support.judges import run_desk
from tests.support.tapes import random_world

returns = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=60)
scales = st.floats(0.001, 0.1)


def rows_of(simple):
    """Outcome rows of an account that earns these simple returns and trades a little."""
    simple = np.asarray(simple)
    rows = np.zeros((len(simple), len(oc.OUTCOME_COLUMNS)))
    path = np.concatenate([[1.0], np.cumprod(1.0 + simple, dtype=np.float64)])
    rows[:, oc.SIMPLE_RETURN], rows[:, oc.GROWTH] = simple, np.log1p(simple)
    rows[:, oc.DRAWDOWN] = 1.0 - path[1:] / np.maximum.accumulate(path)[1:]
    rows[:, oc.COST] = np.abs(simple) / 10.0
    return rows


def values_of(term, rows, parameters, state):
    return np.array([term(state, row, parameters) for row in rows])


def parameters_of(**settings):
    return Reward({"growth": 1.0}, **settings).parameter_vector()


@given(returns, scales)
def test_growth_sums_to_the_log_of_final_over_initial(simple, scale):
    values = values_of(terms.growth, rows_of(simple), parameters_of(scale=scale), np.zeros(0))
    final = float(np.prod(1.0 + np.asarray(simple), dtype=np.float64))
    assert scale * values.sum() == pytest.approx(math.log(final), abs=1e-9)


@given(st.integers(0, 10_000))
def test_growth_of_a_desk_sums_to_its_equity(seed):
    world = random_world(seed, rows=20)
    ledger = run_desk(world.tape, world.rules, world.targets)
    values = values_of(terms.growth, ledger.outcomes, parameters_of(scale=0.01), np.zeros(0))
    # docs/execution.md, step 4: below the line equity counts as at least 1e-6 of the deposit.
    final = max(ledger.equity[-1], 1e-6 * ledger.initial_equity)
    expected = math.log(final / ledger.initial_equity)
    assert 0.01 * values.sum() == pytest.approx(expected, abs=1e-9)


def moody_saffell(simple, scale, window, risk_free):
    """The differential Sharpe ratio as Moody & Saffell (2001) write it, eq. (14), with moments
    that start at 0 and 1 and a variance of at least 0.01; also the moments after each bar.
    """
    first, second, eta = 0.0, 1.0, 1.0 / window
    values, moments = [], []
    for one in simple:
        gain = (one - risk_free) / scale
        delta_first, delta_second = gain - first, gain**2 - second
        spread = max(second - first**2, 0.01)
        values.append((second * delta_first - first * delta_second / 2.0) / spread**1.5)
        first += eta * delta_first
        second += eta * delta_second
        moments.append((first, second))
    return np.array(values), np.array(moments)


@given(returns, scales, st.integers(2, 500), st.floats(-0.001, 0.001))
def test_differential_sharpe_is_moody_and_saffells(simple, scale, window, risk_free):
    parameters = parameters_of(scale=scale, sharpe_window_bars=window, risk_free_per_bar=risk_free)
    state = np.array([0.0, 1.0])
    values = values_of(terms.differential_sharpe, rows_of(simple), parameters, state)
    expected, moments = moody_saffell(simple, scale, window, risk_free)
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(state, moments[-1], rtol=1e-9, atol=1e-12)


def test_differential_sharpe_adds_up_to_the_change_of_the_ratio():
    """S = A / sqrt(B - A^2), and dS = eta D + O(eta^2): the sum of eta D approaches the change of S
    linearly as eta falls (Moody & Saffell 2001, eq. 13).
    """
    simple = 0.002 + 0.01 * np.random.Generator(np.random.PCG64(4)).standard_normal(400)
    errors = []
    for window in (4_000, 8_000, 16_000):
        parameters = parameters_of(scale=0.01, sharpe_window_bars=window)
        state = np.array([0.0, 1.0])
        values = values_of(terms.differential_sharpe, rows_of(simple), parameters, state)
        sharpe = state[0] / math.sqrt(state[1] - state[0] ** 2)  # it began at 0
        errors.append(abs(values.sum() / window - sharpe) / sharpe)
    # Relative to S, itself of order 400 eta, the error is of order eta: halved by each halving.
    assert errors[0] < 0.01
    for coarse, fine in itertools.pairwise(errors):
        assert fine == pytest.approx(coarse / 2.0, rel=0.1)


@given(returns, scales, st.floats(0.0, 0.5))
def test_drawdown_sums_to_the_worst_beyond_the_target(simple, scale, target):
    rows = rows_of(simple)
    parameters = parameters_of(scale=scale, drawdown_target_frac=target)
    values = values_of(terms.drawdown, rows, parameters, np.zeros(1))
    assert (values <= 0.0).all()
    worst = max(0.0, rows[:, oc.DRAWDOWN].max() - target)
    assert -scale * values.sum() == pytest.approx(worst, abs=1e-12)


@given(returns, scales)
def test_cost_counts_costs(simple, scale):
    rows = rows_of(simple)
    values = values_of(terms.cost, rows, parameters_of(scale=scale), np.zeros(0))
    np.testing.assert_allclose(values, -rows[:, oc.COST] / scale, rtol=1e-12)
