# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import RewardConfig
from mtquant.core.errors import RewardError
from mtquant.rewards import terms
from mtquant.rewards.compose import (
    STATE_NAMES,
    STATES,
    TERM_NAMES,
    TERMS,
    Reward,
    start_reward,
    step_reward,
)
from tests.rewards.test_terms import returns, rows_of

weights = st.lists(st.floats(-3.0, 3.0), min_size=TERMS, max_size=TERMS)


def play(reward, simple):
    """Rewards, trace and states of one episode."""
    state, trace = np.full(STATES, np.nan), np.zeros(TERMS)
    start_reward(state)
    parameters, vector = reward.parameter_vector(), reward.weight_vector()
    rewards, states = [], []
    for row in rows_of(simple):
        rewards.append(step_reward(state, row, parameters, vector, trace))
        states.append(state.copy())
    return np.array(rewards), trace, np.array(states)


@given(returns, weights)
def test_the_trace_sums_to_the_reward(simple, weight):
    reward = Reward(dict(zip(TERM_NAMES, weight, strict=True)), scale=0.02)
    rewards, trace, _ = play(reward, simple)
    tolerance = 1e-9 * (1.0 + np.abs(rewards).sum() + np.abs(trace).sum())
    assert rewards.sum() == pytest.approx(trace.sum(), abs=tolerance)


@given(returns, weights)
def test_a_reward_is_the_weighted_sum_of_its_terms(simple, weight):
    alone = []
    for name in TERM_NAMES:
        rewards, trace, _ = play(Reward({name: 1.0}, scale=0.02), simple)
        assert (trace[[TERM_NAMES[k] != name for k in range(TERMS)]] == 0.0).all()
        alone.append(rewards)
    together, trace, _ = play(Reward(dict(zip(TERM_NAMES, weight, strict=True)), 0.02), simple)
    scale = 1.0 + np.abs(alone).max()
    np.testing.assert_allclose(together, np.array(weight) @ np.array(alone), atol=1e-9 * scale)


@given(returns, weights)
def test_no_weight_touches_a_state(simple, weight):
    reward = Reward(dict(zip(TERM_NAMES, weight, strict=True)), scale=0.02)
    *_, states = play(reward, simple)
    *_, plain = play(Reward({"growth": 1.0}, scale=0.02), simple)
    assert states.tobytes() == plain.tobytes()


def test_an_episode_starts_from_the_moments_of_a_driftless_account():
    state = np.full(STATES, np.nan)
    start_reward(state)
    assert dict(zip(STATE_NAMES, state, strict=True)) == {
        "sharpe_first_moment": 0.0,
        "sharpe_second_moment": 1.0,
        "worst_excess_drawdown": 0.0,
    }


def test_settings_reach_the_terms_by_name():
    reward = Reward({"drawdown": 2.0}, 0.5, 100, 0.001, 0.3)
    assert reward.weight_vector().tolist() == [
        2.0 if name == "drawdown" else 0.0 for name in TERM_NAMES
    ]
    vector = reward.parameter_vector()
    assert vector[terms.P_UNIT] == 2.0 and vector[terms.P_SHARPE_RATE] == 0.01
    assert vector[terms.P_RISK_FREE] == 0.001 and vector[terms.P_DRAWDOWN_TARGET] == 0.3


def test_a_config_says_how_often_costs_count():
    config = RewardConfig(transaction_cost_weight=1.5, risk_free_rate=0.0252, sharpe_window_bars=99)
    reward = Reward.from_config(config, {"growth": 1.0}, 0.01, 252.0)
    # Growth is net of costs already: 0.5 is what 1.5 asks for beyond that. 2.52 % a year over 252.
    assert reward.weights == {"growth": 1.0, "cost": 0.5}
    assert reward.risk_free_per_bar == pytest.approx(0.0001)
    assert reward.sharpe_window_bars == 99
    explicit = Reward.from_config(config, {"growth": 1.0, "cost": 0.2}, 0.01, 252.0)
    assert explicit.weights["cost"] == 0.2


def test_what_cannot_be_rewarded_is_refused():
    with pytest.raises(RewardError, match="Did you mean 'differential_sharpe'"):
        Reward({"diferential_sharp": 1.0}, scale=1.0)
    with pytest.raises(RewardError, match="Known: growth"):
        Reward({"xyzzy": 1.0}, scale=1.0)
    for weight in (np.nan, np.inf):
        with pytest.raises(RewardError, match="weight of growth must be finite"):
            Reward({"growth": weight}, scale=1.0)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(RewardError, match="reward scale must be positive"):
            Reward({"growth": 1.0}, scale=scale)
