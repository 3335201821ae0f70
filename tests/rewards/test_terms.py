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


def downside_deviation_ratio(simple, scale, window, risk_free):
    """The differential downside deviation ratio as Moody & Saffell (2001) write it, in its two
    branches, for a mean that starts at 0, a squared downside deviation that starts at 1/2
    (returns of variance 1, symmetric around 0) and is at least 0.005.
    """
    mean, below, eta = 0.0, 0.5, 1.0 / window
    values = []
    for one in simple:
        gain = (one - risk_free) / scale
        deviation = math.sqrt(max(below, 0.005))
        if gain > 0.0:
            values.append(below * (gain - mean / 2.0) / deviation**3)
        else:
            numerator = below * (gain - mean / 2.0) - mean * gain**2 / 2.0
            values.append(numerator / deviation**3)
        mean += eta * (gain - mean)
        below += eta * (min(gain, 0.0) ** 2 - below)
    return np.array(values)


def ratio_values(name, rows, **settings):
    """Values and last state of one differential ratio."""
    state = np.array([0.0, 1.0])
    parameters = Reward({name: 1.0}, **settings).parameter_vector()
    return values_of(terms.differential_ratio, rows, parameters, state), state


@given(returns, scales, st.integers(2, 500), st.floats(-0.001, 0.001))
def test_differential_sharpe_is_moody_and_saffells(simple, scale, window, risk_free):
    settings = {"scale": scale, "sharpe_window_bars": window, "risk_free_per_bar": risk_free}
    values, state = ratio_values("differential_sharpe", rows_of(simple), **settings)
    expected, moments = moody_saffell(simple, scale, window, risk_free)
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(state, moments[-1], rtol=1e-9, atol=1e-12)


@given(returns, scales, st.integers(2, 500), st.floats(-0.001, 0.001))
def test_differential_sortino_is_moody_and_saffells(simple, scale, window, risk_free):
    settings = {"scale": scale, "sharpe_window_bars": window, "risk_free_per_bar": risk_free}
    values, _ = ratio_values("differential_sortino", rows_of(simple), **settings)
    # Ours is over the deviation that a symmetric return of the same losses has, sqrt(2) theirs.
    expected = downside_deviation_ratio(simple, scale, window, risk_free) / math.sqrt(2.0)
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@given(returns, scales, st.integers(2, 500))
def test_the_information_ratio_is_the_sharpe_ratio_above_the_benchmark(simple, scale, window):
    rows = rows_of(simple)
    rows[:, oc.BENCHMARK] = 0.5 * np.asarray(simple)[::-1] + 0.001
    settings = {"scale": scale, "sharpe_window_bars": window}
    # Cash is no yardstick beside a benchmark.
    values, _ = ratio_values("differential_information", rows, **settings, risk_free_per_bar=0.1)
    active, _ = moody_saffell(np.asarray(simple) - rows[:, oc.BENCHMARK], scale, window, 0.0)
    np.testing.assert_allclose(values, active, rtol=1e-9, atol=1e-9 * np.abs(active).max())


@pytest.mark.parametrize("name", ["differential_sharpe", "differential_sortino"])
def test_a_differential_ratio_adds_up_to_the_change_of_the_ratio(name):
    """S = A / sqrt(V), and dS = eta D + O(eta^2): the sum of eta D approaches the change of S
    linearly as eta falls (Moody & Saffell 2001, eq. 13).
    """
    simple = 0.002 + 0.01 * np.random.Generator(np.random.PCG64(4)).standard_normal(400)
    errors = []
    for window in (4_000, 8_000, 16_000):
        values, state = ratio_values(name, rows_of(simple), scale=0.01, sharpe_window_bars=window)
        centre = state[0] ** 2 if name == "differential_sharpe" else 0.0
        ratio = state[0] / math.sqrt(state[1] - centre)  # it began at 0
        errors.append(abs(values.sum() / window - ratio) / ratio)
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


@given(returns, scales, st.floats(0.0, 1.0))
def test_variance_is_what_symmetric_losses_cost_and_diversification_gives_back(
    simple, scale, price
):
    rows = rows_of([*simple, *(-one for one in simple)])  # every gain has its loss
    rows[:, oc.DIVERSIFICATION] = np.linspace(0.0, 0.9, len(rows))
    parameters = parameters_of(scale=scale, sharpe_target_per_bar=price)
    none = np.zeros(0)
    whole, below, back = (
        values_of(term, rows, parameters, none)
        for term in (terms.variance, terms.downside_variance, terms.diversification)
    )
    expected = -0.5 * price * (rows[:, oc.SIMPLE_RETURN] / scale) ** 2
    np.testing.assert_allclose(whole, expected, rtol=1e-9, atol=1e-12)
    assert below.sum() == pytest.approx(whole.sum(), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(back, -whole * rows[:, oc.DIVERSIFICATION], rtol=1e-9, atol=1e-12)


def test_the_price_of_risk_fills_the_position_of_a_strategy_at_the_target():
    """A strategy earns mu with deviation sigma at the largest position, w = 1. With growth and
    variance at weight 1 its best size is (mu / sigma) / price (Markowitz; first order in mu).
    """
    price, scale = 0.1, 0.001
    draws = np.random.Generator(np.random.PCG64(0)).standard_normal(4_000)
    draws = (draws - draws.mean()) / draws.std()
    parameters, none = parameters_of(scale=scale, sharpe_target_per_bar=price), np.zeros(0)
    sizes = np.linspace(0.1, 2.0, 39)  # steps of 0.05
    for sharpe, best in ((0.1, 1.0), (0.05, 0.5)):
        rewards = []
        for size in sizes:
            rows = rows_of(size * scale * (sharpe + draws))
            paid = [values_of(t, rows, parameters, none) for t in (terms.growth, terms.variance)]
            rewards.append(np.sum(paid))
        assert sizes[int(np.argmax(rewards))] == pytest.approx(best, abs=0.051)


@given(returns, scales)
def test_losses_and_trades_cost_what_the_ledger_says(simple, scale):
    rows, parameters = rows_of(simple), parameters_of(scale=scale)
    rows[:, oc.TAIL_LOSS], rows[:, oc.TURNOVER] = np.abs(simple), 2.0 * np.abs(simple)
    for term, column in ((terms.tail_loss, oc.TAIL_LOSS), (terms.turnover, oc.TURNOVER)):
        values = values_of(term, rows, parameters, np.zeros(0))
        np.testing.assert_allclose(values, -rows[:, column] / scale, rtol=1e-12)
