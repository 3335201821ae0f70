# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium environment: both libraries' checkers, ends of episodes, seeds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as check_with_sb3

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv
from tests.support.markets import walk_world


def gym_env(*overrides: str, seed: int = 0) -> MarketGymEnv:
    return MarketGymEnv(walk_world(*overrides).training_env(1, SeedTree(seed)))


def actions(bars: int, seed: int = 5) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.uniform(-1.0, 1.0, (bars, 1)).astype(np.float32)


def test_gymnasium_finds_nothing_wrong() -> None:
    with warnings.catch_warnings():
        # Observations are raw: prices' returns and ages have no bounds that hold for every market.
        warnings.filterwarnings("ignore", ".*A Box observation space m.* value is -?infinity")
        # The checker can build other render modes only of registered environments; we have none.
        warnings.filterwarnings("ignore", ".*Not able to test alternative render modes")
        check_with_gymnasium(gym_env())


def test_stable_baselines3_finds_nothing_wrong() -> None:
    check_with_sb3(gym_env())


def test_a_batch_is_refused() -> None:
    batch = walk_world().training_env(2, SeedTree(0))
    with pytest.raises(ConfigError, match=r"n_accounts must be 1.*found 2\. Use MarketVecEnv"):
        MarketGymEnv(batch)


def test_an_episode_is_truncated_when_its_time_ends() -> None:
    env = gym_env("environment.episode_length=7")
    env.reset(seed=1)
    for action in actions(6):
        *_, terminated, truncated, info = env.step(action)
        assert (terminated, truncated, info) == (False, False, {})
    *_, terminated, truncated, info = env.step(actions(1)[0])
    assert (terminated, truncated) == (False, True)
    assert info["totals"]["length"] == 7
    assert 0.0 <= info["drawdown"] < 1.0


def test_an_episode_is_terminated_when_the_account_is_bankrupt() -> None:
    # At 99 % of the deposit the account counts as bankrupt; a walk of 1 % a bar, held whole and
    # with the stop off, loses that much within a few bars.
    env = gym_env(
        "environment.bankruptcy_equity_frac=0.99",
        "environment.max_position_size=1.0",
        "environment.stop_loss_pct=0",
    )
    env.reset(seed=2)
    for _ in range(50):
        *_, terminated, truncated, info = env.step(np.ones(1, dtype=np.float32))
        if terminated or truncated:
            break
    assert (terminated, truncated) == (True, False)
    # growth is log(equity / deposit): at most log(0.99) where equity is at most 99 %.
    assert info["totals"]["growth"] <= np.log(0.99)


def test_seeds_decide_the_episodes() -> None:
    env, other = gym_env(), gym_env(seed=9)
    first = env.reset(seed=4)[0]
    second = env.reset()[0]
    assert first.tobytes() != second.tobytes()
    assert env.reset(seed=4)[0].tobytes() == first.tobytes()
    assert env.reset()[0].tobytes() == second.tobytes()
    # The seed of the reset alone decides, not the one the environment was built with.
    assert other.reset(seed=4)[0].tobytes() == first.tobytes()
    assert env.reset(seed=5)[0].tobytes() != first.tobytes()


def test_it_is_the_batch_of_one() -> None:
    env = gym_env("environment.episode_length=20")
    batch = walk_world("environment.episode_length=20").training_env(1, SeedTree(0))
    seen = env.reset(seed=3)[0]
    batch.seed(SeedTree(3))
    assert seen.tobytes() == batch.reset()[0].tobytes()
    for action in actions(20):
        seen, reward, _, truncated, _ = env.step(action)
        ended = batch.step(action[None])
        expected = (
            batch.episode_end(0).terminal_observation if len(ended) else batch.observations[0]
        )
        assert seen.tobytes() == expected.tobytes()
        assert reward == batch.rewards[0]
    assert truncated


def test_observations_live_longer_than_the_next_step() -> None:
    env = gym_env()
    kept = [env.reset(seed=0)[0]]
    copies = [kept[0].copy()]
    for action in actions(60):  # beyond one episode of 50 bars
        values, _, terminated, truncated, _ = env.step(action)
        kept.append(values)
        copies.append(values.copy())
        if terminated or truncated:
            kept.append(env.reset()[0])
            copies.append(kept[-1].copy())
    assert all(np.array_equal(left, right) for left, right in zip(kept, copies, strict=True))
