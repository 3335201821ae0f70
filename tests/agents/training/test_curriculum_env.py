# SPDX-License-Identifier: Apache-2.0
"""Accounts that go from scenario to scenario: when, what stays, and what is kept of it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mtquant.agents.training.curriculum_env import CurriculumEnv, move_on, training_env
from mtquant.agents.training.scenarios import scenario_env
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.errors import CheckpointError
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import TrainingConfig
from mtquant.envs.market_env import MarketEnv
from tests.support.markets import walk_world

ACCOUNTS = 3
ON = TrainingConfig(
    curriculum_learning=True,
    curriculum={"levels": 3, "min_steps_per_level": 0, "max_steps_per_level": 300},
)
PASSED, BETWEEN = {"validation/sharpe": 1.0}, {"validation/sharpe": 0.0}


@cache
def world() -> SpecialistWorld:
    return walk_world()


def accounts(training: TrainingConfig = ON, seed: int = 0) -> MarketEnv:
    own = world()
    return training_env(own, training, own.bars, own.split, ACCOUNTS, SeedTree(seed))


def schooled(seed: int = 0) -> CurriculumEnv:
    env = accounts(seed=seed)
    assert isinstance(env, CurriculumEnv)
    return env


def lived(env: MarketEnv, bars: int = 40) -> np.ndarray:
    """Observations of accounts that hold a third of what they may."""
    seen = [env.observations.copy()]
    for _ in range(bars):
        env.step(np.full((ACCOUNTS, 1), 0.3, dtype=np.float32))
        seen.append(env.observations.copy())
    return np.array(seen)


def test_without_the_curriculum_accounts_are_those_of_the_world() -> None:
    env, own = accounts(TrainingConfig()), world().training_env(ACCOUNTS, SeedTree(0))
    env.reset()
    own.reset()
    assert np.array_equal(lived(env), lived(own))
    assert move_on(env, 1_000, PASSED, lambda: pytest.fail("must not begin anew")) == {}


def test_a_scenario_ends_at_a_validation_or_where_the_difficulty_moves() -> None:
    env = schooled()
    assert not env.move_on(100, None)
    assert not env.move_on(299, None)
    assert env.move_on(300, None)  # the level lasted its 300 bars
    assert env.curriculum.difficulty == 0.5
    assert env.move_on(400, BETWEEN)  # the same difficulty, other bars
    assert env.curriculum.difficulty == 0.5
    assert env.move_on(450, PASSED)
    assert env.move_on(500, PASSED)
    assert env.curriculum.difficulty == 1.0


def test_metrics_are_those_of_the_rollout_just_lived_through() -> None:
    env, begun = schooled(), []
    found = [
        move_on(env, step, None, lambda: begun.append(env.reset())) for step in (200, 400, 500)
    ]
    assert [own["curriculum/difficulty"] for own in found] == [0.0, 0.0, 0.5]
    assert len(begun) == 1


def test_what_is_around_it_holds_the_same_arrays() -> None:
    env = schooled()
    held = env.observations, env.rewards, env.done
    first = env.reset().copy()
    tape = env.simulator.tape
    env.move_on(300, None)
    env.reset()
    lived(env)
    assert all(
        own is was for own, was in zip((env.observations, env.rewards, env.done), held, strict=True)
    )
    assert not np.array_equal(env.observations, first)
    assert env.simulator.tape is not tape


def test_behind_a_scenario_it_lives_as_a_batch_made_for_that_scenario() -> None:
    """Byte by byte, in the very arrays that whoever is around it holds."""
    env = schooled()
    held = env.observations, env.rewards, env.done
    env.reset()
    lived(env)
    env.move_on(300, None)
    env.reset()
    scenario = env.curriculum.latest
    assert scenario is not None
    own, seeds = world(), scenario.seeds.child("episodes")
    fresh = scenario_env(own, scenario, own.bars, own.split, ACCOUNTS, seeds)
    fresh.reset()
    assert np.array_equal(held[0], fresh.observations)
    for _ in range(400):  # past the ends of episodes
        actions = np.full((ACCOUNTS, 1), 0.3, dtype=np.float32)
        assert env.step(actions).tolist() == fresh.step(actions).tolist()
        for mine, theirs in zip(held, (fresh.observations, fresh.rewards, fresh.done), strict=True):
            assert np.array_equal(mine, theirs)
        if env.done.any():
            return
    pytest.fail("no episode ended")


def test_rules_and_reward_stay_those_of_the_real_bars() -> None:
    env, own = schooled(), world()
    env.move_on(300, None)
    assert env.reward is own.reward
    assert env.simulator.rules is own.rules
    assert env.layout == own.training_env(1, SeedTree(0)).layout


def test_it_goes_on_where_it_was(seed: int = 3) -> None:
    """In a scenario that is not the first, from the middle of an episode."""
    env = schooled(seed)
    env.move_on(300, None)
    env.reset()
    lived(env, 25)
    again = schooled(seed)
    again.reset()
    again.load_state(env.state())
    assert again.curriculum.state() == env.curriculum.state()
    assert np.array_equal(lived(again, 60), lived(env, 60))
    for own in (env, again):
        own.move_on(600, PASSED)
        own.reset()
    assert np.array_equal(lived(again), lived(env))


def test_a_state_without_the_curriculum_is_refused() -> None:
    plain = world().training_env(ACCOUNTS, SeedTree(0))
    plain.reset()
    with pytest.raises(CheckpointError, match="curriculum state must hold"):
        schooled().load_state(plain.state())
