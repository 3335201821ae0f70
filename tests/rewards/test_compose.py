# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.config import RewardConfig
from mtquant.core.errors import RewardError
from mtquant.core.seeding import SeedTree
from mtquant.rewards import terms
from mtquant.rewards.catalog import BUILT_IN
from mtquant.rewards.checks import ledger_rows
from mtquant.rewards.compose import (
    CORE_TERMS,
    RATIO_NAMES,
    STATE_NAMES,
    STATES,
    TERM_NAMES,
    TERMS,
    Reward,
    start_reward,
    step_reward,
)
from tests.rewards.test_terms import returns, rows_of
from tests.support.markets import walk_world


@st.composite
def weights(draw):
    """Any weights with at most one differential ratio."""
    chosen = draw(st.sampled_from(RATIO_NAMES))
    drawn = draw(st.lists(st.floats(-3.0, 3.0), min_size=TERMS, max_size=TERMS))
    others = set(RATIO_NAMES) - {chosen}
    return [0.0 if name in others else one for name, one in zip(TERM_NAMES, drawn, strict=True)]


def play(reward, simple):
    """Rewards, trace and states of one episode."""
    return play_rows(reward, rows_of(simple))


def play_rows(reward, ledger):
    """The same for given ledger rows."""
    state, trace = np.full(STATES, np.nan), np.zeros(TERMS)
    start_reward(state)
    parameters, vector = reward.parameter_vector(), reward.weight_vector()
    rewards, states = [], []
    for row in ledger:
        rewards.append(step_reward(state, row, parameters, vector, trace))
        states.append(state.copy())
    return np.array(rewards), trace, np.array(states)


@given(returns, weights())
def test_the_trace_sums_to_the_reward(simple, weight):
    reward = Reward(dict(zip(TERM_NAMES, weight, strict=True)), scale=0.02)
    rewards, trace, _ = play(reward, simple)
    tolerance = 1e-9 * (1.0 + np.abs(rewards).sum() + np.abs(trace).sum())
    assert rewards.sum() == pytest.approx(trace.sum(), abs=tolerance)


@given(returns, weights())
def test_a_reward_is_the_weighted_sum_of_its_terms(simple, weight):
    alone = []
    for name in TERM_NAMES:
        rewards, trace, _ = play(Reward({name: 1.0}, scale=0.02), simple)
        assert (trace[[TERM_NAMES[k] != name for k in range(TERMS)]] == 0.0).all()
        alone.append(rewards)
    together, trace, _ = play(Reward(dict(zip(TERM_NAMES, weight, strict=True)), 0.02), simple)
    scale = 1.0 + np.abs(alone).max()
    np.testing.assert_allclose(together, np.array(weight) @ np.array(alone), atol=1e-9 * scale)


@given(returns, weights())
def test_no_weight_touches_a_state(simple, weight):
    reward = Reward(dict(zip(TERM_NAMES, weight, strict=True)), scale=0.02)
    *_, states = play(reward, simple)
    ratio = [name for name in RATIO_NAMES if reward.weights[name] != 0.0][:1]
    *_, plain = play(Reward(dict.fromkeys(ratio, 1.0), scale=0.02), simple)
    assert states.tobytes() == plain.tobytes()


def test_an_episode_starts_from_the_moments_of_a_driftless_account():
    state = np.full(STATES, np.nan)
    start_reward(state)
    assert dict(zip(STATE_NAMES, state, strict=True)) == {
        "ratio_first_moment": 0.0,
        "ratio_second_moment": 1.0,
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


def test_the_configs_weights_multiply_the_terms_that_a_phase_names():
    config = RewardConfig(
        risk_penalty_weight=3.0,
        downside_volatility_weight=5.0,
        diversification_bonus_weight=7.0,
        sharpe_target=1.5,
    )
    named = {"tail_loss": 0.5, "variance": 2.0, "downside_variance": 1.0, "diversification": 0.1}
    reward = Reward.from_config(config, named, 0.01, 225.0)
    expected = {"tail_loss": 1.5, "variance": 6.0, "downside_variance": 5.0, "diversification": 0.7}
    assert reward.weights == pytest.approx({**expected, "cost": 0.0})  # times 3, 3, 5, 7
    assert reward.sharpe_target_per_bar == pytest.approx(0.1)  # 1.5 a year over sqrt(225)
    plain = Reward.from_config(config, config.phase_1, 0.01, 225.0)
    assert plain.weights == {"differential_sharpe": 1.0, "cost": 0.0}


@pytest.mark.parametrize("phase", ["phase_1", "phase_2", "phase_3"])
def test_every_default_phase_is_a_reward(phase):
    Reward.from_config(RewardConfig(), getattr(RewardConfig(), phase), 0.01, 252.0)


def test_the_default_of_phase_3_pays_no_risk():
    """At any return and diversification, what diversification gives back is less than what the
    downside costs over a gain and a loss of the same size: weights 0.5 and 1.
    """
    reward = Reward.from_config(RewardConfig(), RewardConfig().phase_3, 0.01, 252.0)
    rows = rows_of([0.02, -0.02])
    rows[:, oc.DIVERSIFICATION] = 1.0
    _, trace, _ = play_rows(reward, rows)
    paid = dict(zip(TERM_NAMES, trace, strict=True))
    assert paid["diversification"] == pytest.approx(-0.5 * paid["downside_variance"])


@pytest.mark.parametrize("name", TERM_NAMES)
def test_the_catalogue_holds_what_is_composed(name):
    """Function and start of each term's record give what `step_reward` pays for it alone."""
    reward, term = Reward({name: 1.0}, scale=0.02), BUILT_IN[name]
    generator = np.random.Generator(np.random.PCG64(1))
    rows = ledger_rows(generator.normal(-0.01, 0.03, 40), generator)
    rewards, *_ = play_rows(reward, rows)
    state, parameters = np.array(term.start, dtype=np.float64), reward.parameter_vector()
    alone = [term.function(state, row, parameters) for row in rows]
    np.testing.assert_array_equal(rewards, alone)
    assert np.abs(rewards).max() > 0.0
    assert tuple(BUILT_IN) == TERM_NAMES


@pytest.mark.parametrize("name", TERM_NAMES)
def test_terms_behind_the_core_are_switched_on_by_their_weight(name):
    more = Reward({name: 1.0}, scale=0.02).parameter_vector()[terms.P_MORE]
    assert bool(more) == (TERM_NAMES.index(name) >= CORE_TERMS)


def test_training_pays_what_its_ledger_rows_say():
    """Every term, paid by the compiled loop and once more from the rows it wrote, which are those
    of a backtest (tests/backtest/test_runner.py).
    """
    named = {name: 1.0 for name in TERM_NAMES if name not in RATIO_NAMES[1:]}
    settings = ", ".join(f"{name}: {weight}" for name, weight in named.items())
    world = walk_world(f"reward.phase_1={{{settings}}}", "environment.max_position_size=1")
    env = world.evaluation_env(1, SeedTree(5), whole=True)
    env.reset()
    generator = np.random.Generator(np.random.PCG64(3))
    bars = world.rows["validation"].stop - world.rows["validation"].start - 1
    paid, rows = [], []
    for _ in range(bars):
        ended = env.step(generator.uniform(-1.0, 1.0, (1, 1)).astype(np.float32))
        paid.append(float(env.rewards[0]))
        rows.append(env.episode_end(0).outcome if len(ended) else env.outcome(0).copy())
    rewards, trace, _ = play_rows(world.reward, np.array(rows))
    np.testing.assert_array_equal(np.float32(rewards), np.float32(paid))
    assert env.episode_end(0).terms.tobytes() == trace.tobytes()


def test_what_cannot_be_rewarded_is_refused():
    with pytest.raises(RewardError, match="Did you mean 'differential_sharpe'"):
        Reward({"diferential_sharp": 1.0}, scale=1.0)
    with pytest.raises(RewardError, match="at most one differential ratio"):
        Reward({"differential_sharpe": 1.0, "differential_sortino": 0.5}, scale=1.0)
    Reward({"differential_sharpe": 1.0, "differential_sortino": 0.0}, scale=1.0)
    with pytest.raises(RewardError, match="Known: growth"):
        Reward({"xyzzy": 1.0}, scale=1.0)
    for weight in (np.nan, np.inf):
        with pytest.raises(RewardError, match="weight of growth must be finite"):
            Reward({"growth": weight}, scale=1.0)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(RewardError, match="reward scale must be positive"):
            Reward({"growth": 1.0}, scale=scale)


@given(
    st.sampled_from((None, *RATIO_NAMES)),
    st.floats(-3.0, 3.0),
    st.floats(-2.0, 2.0),
    st.floats(0.05, 4.0),
    st.sampled_from((0.02, 1.0)),
)
def test_what_a_gain_is_worth_is_the_slope_of_the_reward(ratio, weight, first, second, scale):
    """By central differences around a bar that gains nothing, in units of the scale."""
    second += first * first  # a variance that is not cut
    weights = {"growth": 0.7, "variance": 0.5, **({ratio: weight} if ratio else {})}
    reward = Reward(weights, scale)
    paid = []
    for gain in (-1e-4, 1e-4):
        (row,) = rows_of([gain * scale])
        state = np.array([first, second, 0.0])
        parameters, vector = reward.parameter_vector(), reward.weight_vector()
        paid.append(step_reward(state, row, parameters, vector, np.zeros(TERMS)))
    states = np.array([[first, 9.0], [second, 90.0], [0.0, 0.0]])
    found = reward.worth_of_gain(states)
    assert found.shape == (2,)
    assert (paid[1] - paid[0]) / 2e-4 == pytest.approx(found[0], rel=1e-3, abs=1e-4)
