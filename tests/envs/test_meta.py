# SPDX-License-Identifier: Apache-2.0
"""Phase 2's environment: equal to a desk under the same targets, one by one as in batches."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_with_sb3

from mtquant.agents.specialist import load_specialist, save_specialist
from mtquant.core import outcome as oc
from mtquant.core.errors import ConfigError, PolicyError
from mtquant.core.seeding import SeedTree
from mtquant.envs import allocation
from mtquant.envs.gym_vector import MarketVectorEnv
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.meta import MetaControllerBatch, MetaControllerTrainingEnv
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.market.desk import Desk
from mtquant.market.tape import T_TRADABLE
from tests.support.markets import walk_world
from tests.support.portfolios import (
    Followers,
    OneBranch,
    always_open,
    calm_world,
    decisions,
    portfolio_env,
)
from tests.support.specialists import constant_weights, manifest_of

# Nothing that could end an account.
CALM = {"free": True, "maintenance_margin_frac": 0.0, "max_gross_exposure": 1.0}


def meta_env(seed: int = 0, **environment: object) -> MetaControllerTrainingEnv:
    env = portfolio_env(calm_world(seed), **environment)
    return MetaControllerTrainingEnv(env, Followers())


# --- both libraries' checkers ---


def test_gymnasium_finds_nothing_wrong() -> None:
    with warnings.catch_warnings():
        # As in test_gym.py: observations are raw, and there are no pictures.
        warnings.filterwarnings("ignore", ".*A Box observation space m.* value is -?infinity")
        warnings.filterwarnings("ignore", ".*Not able to test alternative render modes")
        check_with_gymnasium(meta_env())


def test_stable_baselines3_finds_nothing_wrong() -> None:
    check_with_sb3(meta_env())


def test_stable_baselines3_trains_on_batches() -> None:
    batch = MetaControllerBatch(portfolio_env(calm_world(0), 4), Followers())
    model = PPO("MlpPolicy", MarketVecEnv(batch), n_steps=24, batch_size=48, seed=0, device="cpu")
    model.learn(96)
    assert [end["l"] for end in model.ep_info_buffer] == [12] * 8  # 4 portfolios, 24 bars of 12


def test_gymnasium_steps_batches() -> None:
    batch = MetaControllerBatch(portfolio_env(calm_world(0), 4), Followers())
    env = MarketVectorEnv(batch)
    seen, _ = env.reset(seed=3)
    assert env.observation_space.contains(seen)
    for _ in range(12):
        *_, truncated, infos = env.step(env.action_space.sample())
    assert truncated.all()
    assert all(env.single_observation_space.contains(last) for last in infos["final_obs"])


# --- what a decision does ---


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_an_episode_is_what_a_desk_does_under_the_same_targets(seed: int) -> None:
    world = calm_world(seed)
    env = portfolio_env(world, seeds=SeedTree(seed), scale=1.0)
    batch, simulator = MetaControllerBatch(env, Followers()), env.simulator
    cost_scale = float(simulator.scales[0, simulator.cursor[0]])
    batch.reset()
    start = int(simulator.row[0])
    desk = Desk(world.tape, world.rules, "x", start_row=start, cost_scale=cost_scale)
    owner, cap = np.arange(3), world.rules.max_gross_exposure
    names = world.rules.limits().caps
    for action in decisions(seed, 12, 1, 3):
        weights, budgets = allocation.weights_and_budget(action)
        signals = batch.messages[:, :, 0]
        scales = allocation.instrument_scales(weights, budgets, owner, cap, names, signals)
        targets = allocation.exposures(scales, signals)
        ended = batch.step(action)
        desk.plan(targets[0].astype(np.float64))
        outcome = desk.advance()
        assert batch.rewards[0] == np.float32(outcome[oc.GROWTH])
        if len(ended):
            break
    assert batch.episode_end(0).outcome.tobytes() == outcome.tobytes()
    assert batch.episode_end(0).totals["length"] == len(desk.ledger())


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_a_batch_is_as_many_batches_of_one(seed: int) -> None:
    world, seeds, accounts = calm_world(seed), SeedTree(seed, ("meta",)), 5
    actions = decisions(seed, 30, accounts, 3)
    batch = MetaControllerBatch(portfolio_env(world, accounts, seeds), Followers())
    ones = [
        MetaControllerBatch(
            portfolio_env(world, 1, OneBranch(seeds.root, seeds.path, e)), Followers()
        )
        for e in range(accounts)
    ]
    batch.reset()
    for one in ones:
        one.reset()
    ends = 0
    for step in actions:
        ended = set(batch.step(step).tolist())
        for e, one in enumerate(ones):
            assert (e in ended) == bool(len(one.step(step[e : e + 1])))
            assert one.observations[0].tobytes() == batch.observations[e].tobytes()
            assert one.rewards[0] == batch.rewards[e]
            assert one.done[0] == batch.done[e]
            if e in ended:
                ends += 1
                left, right = one.episode_end(0), batch.episode_end(e)
                same = left.terminal_observation.tobytes() == right.terminal_observation.tobytes()
                assert same and left.totals == right.totals and left.truncated == right.truncated
    assert ends >= 2 * accounts


def test_the_terminal_observation_is_the_bar_that_ended_the_episode() -> None:
    # Only two rows to begin an episode of 27 bars at, and as many that end one later.
    world = always_open(calm_world(4, rows=31, **CALM))
    short, long = (
        MetaControllerTrainingEnv(
            portfolio_env(world, episode_length=length, cost_draw_range=(1.0, 1.0)), Followers()
        )
        for length in (27, 28)
    )
    seed = next(seed for seed in range(99) if starts_alike(short, long, seed))
    short.reset(seed=seed)
    long.reset(seed=seed)
    for action in decisions(0, 27, 1, 3)[:, 0]:
        left, right = short.step(action), long.step(action)
        assert left[0].tobytes() == right[0].tobytes()
    assert left[3] and not right[3]
    assert left[4]["totals"]["length"] == 27


def starts_alike(left: MetaControllerTrainingEnv, right: MetaControllerTrainingEnv, seed: int):
    return left.reset(seed=seed)[0].tobytes() == right.reset(seed=seed)[0].tobytes()


def test_messages_stand_while_a_market_is_closed() -> None:
    world = always_open(calm_world(5))
    world.tape.prices[::2, 1, T_TRADABLE] = 0.0  # a bar of its own every other row
    env = portfolio_env(world, seeds=SeedTree(1))
    batch = MetaControllerBatch(env, Followers())
    batch.reset()
    before = batch.messages.copy()
    for action in decisions(0, 11, 1, 3):
        batch.step(action)
        closed = env.simulator.row[0] % 2 == 0
        assert (batch.messages[0, 1].tobytes() == before[0, 1].tobytes()) == closed
        assert batch.messages[0, 0].tobytes() != before[0, 0].tobytes()
        before = batch.messages.copy()


def test_a_new_episode_has_heard_nothing_yet() -> None:
    world = always_open(calm_world(5))
    world.tape.prices[::2, 1, T_TRADABLE] = 0.0
    env = portfolio_env(world, seeds=SeedTree(1))
    batch = MetaControllerBatch(env, Followers())
    batch.reset()
    begun_closed = 0
    for action in decisions(0, 120, 1, 3):
        if len(batch.step(action)) and env.simulator.row[0] % 2 == 0:
            begun_closed += 1
            assert not batch.messages[0, 1].any() and batch.messages[0, 0].any()
    assert begun_closed >= 2  # of ten episodes, which begin at random rows


def test_specialists_are_shown_their_position_as_a_share() -> None:
    world = always_open(calm_world(6, free=True, max_gross_exposure=1.0, fill_at="close"))
    rules = world.rules
    names = tuple(
        replace(item, lot=1e-4, name_cap=5.0, stop_loss_frac=0.0, take_profit_frac=0.0)
        for item in rules.instruments
    )
    env = portfolio_env(world, rules=replace(rules, instruments=names))

    def always_long(views: list[np.ndarray]) -> np.ndarray:
        shown.append([float(view[0, 2]) for view in views])
        return np.ones((1, 3, MESSAGE), dtype=np.float32)

    shown: list[list[float]] = []
    batch = MetaControllerBatch(env, always_long)
    batch.reset()
    batch.step(np.array([[0.5, -0.5, 0.0, 0.2, 0.3]], dtype=np.float32))
    assert shown[0] == [0.0] * 3
    # All hold what they asked for, so each sees a whole position (the name cap), however small its
    # weight; the bar's own move of at most some tens of per cent comes on top.
    assert np.array(shown[1]) == pytest.approx(5.0, rel=0.5)
    assert np.abs(env.observations[0, [2, 9, 16]]).max() < 0.5


def test_a_frozen_specialist_of_phase_1_can_be_handed_in(tmp_path) -> None:
    world = walk_world()
    manifest = manifest_of(world)
    size = len(manifest["observation_names"])
    save_specialist(tmp_path, constant_weights(size, 0.25), manifest)
    specialist = load_specialist(tmp_path)

    def speak(views: list[np.ndarray]) -> np.ndarray:
        signals = [specialist.action(view)[0] for view in views[0]]
        return np.array([[[signal, 0.0, 0.0, 0.0, 0.0]] for signal in signals], dtype=np.float32)

    env = world.training_env(2, SeedTree(0))
    env.unit[:] = 1.0
    batch = MetaControllerBatch(env, speak)
    batch.reset()
    assert batch.messages[:, 0, 0].tolist() == [0.25, 0.25]


# --- what is refused ---


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        (np.zeros((1, 4), dtype=np.float32), r"must have shape \(1, 5\); found \(1, 4\)"),
        (np.full((1, 5), np.nan, dtype=np.float32), "must be finite"),
    ],
)
def test_decisions_that_mean_nothing_are_refused(action: np.ndarray, rule: str) -> None:
    batch = MetaControllerBatch(portfolio_env(calm_world(0)), Followers())
    batch.reset()
    with pytest.raises(PolicyError, match=f"action of the meta-controller {rule}"):
        batch.step(action)


def test_messages_of_another_shape_are_refused() -> None:
    batch = MetaControllerBatch(portfolio_env(calm_world(0), 2), lambda views: views[0])
    with pytest.raises(PolicyError, match=r"messages must have shape \(2, 3, 5\)"):
        batch.reset()


def test_a_gymnasium_env_is_one_portfolio() -> None:
    with pytest.raises(ConfigError, match="must be 1 for a Gymnasium Env"):
        MetaControllerTrainingEnv(portfolio_env(calm_world(0), 2), Followers())
