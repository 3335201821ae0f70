# SPDX-License-Identifier: Apache-2.0
"""The stable-baselines3 `VecEnv`: equal to the batch it wraps, with the ends its users rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from mtquant.core.seeding import SeedTree
from mtquant.envs.fused import EPISODE_NAMES
from mtquant.envs.sb3 import MarketVecEnv
from tests.support.markets import walk_world

ACCOUNTS = 3


def vec_env(*overrides: str, seed: int = 0) -> MarketVecEnv:
    return MarketVecEnv(walk_world(*overrides).training_env(ACCOUNTS, SeedTree(seed)))


def actions(bars: int, accounts: int = ACCOUNTS) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.PCG64(5))
    return generator.uniform(-1.0, 1.0, (bars, accounts, 1)).astype(np.float32)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_its_algorithms_train_on_it(algorithm: type[BaseAlgorithm]) -> None:
    env = vec_env("environment.episode_length=30")
    options = {"batch_size": 32} if algorithm is PPO else {}
    model = algorithm("MlpPolicy", env, n_steps=32, seed=0, device="cpu", **options)
    before = [weight.clone() for weight in model.policy.parameters()]
    model.learn(300)
    # 300 is not a multiple of 3 accounts x 32 bars: the last rollout is finished.
    assert model.num_timesteps == 384
    assert any(not old.equal(new) for old, new in zip(before, model.policy.parameters()))
    # Each account lived 128 bars in episodes of 30: 4 ends each.
    assert [end["l"] for end in model.ep_info_buffer] == [30] * 12


def test_it_is_the_batch_stepped_directly() -> None:
    env = vec_env("environment.episode_length=15")
    batch = walk_world("environment.episode_length=15").training_env(ACCOUNTS, SeedTree(0))
    assert env.reset().tobytes() == batch.reset().tobytes()
    ends = 0
    for action in actions(40):
        seen, rewards, done, infos = env.step(action)
        ended = {e: batch.episode_end(e) for e in batch.step(action).tolist()}
        assert seen.tobytes() == batch.observations.tobytes()
        assert rewards.tobytes() == batch.rewards.tobytes()
        assert rewards.dtype == np.float32
        assert np.flatnonzero(done).tolist() == sorted(ended)
        for e, info in enumerate(infos):
            if e not in ended:
                assert info == {}  # stable-baselines3 copies infos at every step
                continue
            end = ended[e]
            terminal = info["terminal_observation"]
            assert terminal.tobytes() == end.terminal_observation.tobytes()
            assert info["TimeLimit.truncated"] is True
            assert tuple(info["totals"]) == EPISODE_NAMES
            assert info["episode"]["r"] == end.totals["reward"]
            assert info["episode"]["l"] == 15
            ends += 1
    assert ends == 2 * ACCOUNTS  # 40 bars, episodes of 15


def test_observations_and_rewards_are_copies() -> None:
    env = vec_env("environment.episode_length=15")
    kept = [env.reset()]
    copies = [kept[0].copy()]
    for action in actions(40):
        seen, rewards, done, infos = env.step(action)
        ended = [info["terminal_observation"] for info in infos if info]
        kept += [seen, rewards, done, *ended]
        copies += [array.copy() for array in (seen, rewards, done, *ended)]
    assert all(np.array_equal(left, right) for left, right in zip(kept, copies, strict=True))


def test_the_terminal_observation_is_the_bar_that_ended_the_episode() -> None:
    world = walk_world()
    rows = world.rows["validation"]
    shorter = replace(world, rows={"validation": slice(rows.start, rows.stop - 20)})
    through, stopped = (
        MarketVecEnv(each.evaluation_env(1, SeedTree(0), whole=True)) for each in (world, shorter)
    )
    assert through.reset().tobytes() == stopped.reset().tobytes()
    bars = rows.stop - rows.start - 21  # the first row is where the account is opened
    for action in actions(bars, 1):
        going_on = through.step(action)[0][0]
        first_of_next, _, done, infos = stopped.step(action)
    assert done.tolist() == [True]
    assert infos[0]["terminal_observation"].tobytes() == going_on.tobytes()
    # What is returned is the first observation of the next episode, which starts where the first
    # one did, since it is to cover the whole part.
    assert first_of_next.tobytes() == stopped.reset().tobytes()


def test_bankruptcy_is_not_a_time_limit() -> None:
    # See tests/envs/test_gym.py: a loss of 1 % ends the account.
    env = vec_env(
        "environment.bankruptcy_equity_frac=0.99",
        "environment.max_position_size=1.0",
        "environment.stop_loss_pct=0",
    )
    env.reset()
    ends = []
    for _ in range(200):
        *_, infos = env.step(np.ones((ACCOUNTS, 1), dtype=np.float32))
        ends += [info for info in infos if info]
    ruined = [bool(end["totals"]["growth"] <= np.log(0.99)) for end in ends]
    assert 0 < sum(ruined) < len(ends)
    for end, is_ruined in zip(ends, ruined, strict=True):
        assert end["TimeLimit.truncated"] == (not is_ruined)
        assert end["episode"]["l"] == 50 or is_ruined


def test_seeding_is_reproducible() -> None:
    def life(env: MarketVecEnv, seed: int) -> bytes:
        env.seed(seed)
        seen = [env.reset()] + [env.step(action)[0] for action in actions(60)]
        return np.array(seen).tobytes()

    env, other = vec_env(seed=0), vec_env(seed=1)
    first = life(env, 3)
    assert life(env, 3) == first
    assert life(other, 3) == first
    assert life(env, 4) != first


def test_a_reset_without_a_seed_goes_on_with_new_episodes() -> None:
    env = vec_env()
    assert env.reset().tobytes() != env.reset().tobytes()


def test_accounts_live_different_episodes() -> None:
    first = vec_env().reset()
    assert len({row.tobytes() for row in first}) == ACCOUNTS


def test_the_rest_of_the_interface() -> None:
    env = vec_env()
    assert env.get_attr("num_envs", [0, 2]) == [ACCOUNTS, ACCOUNTS]
    env.set_attr("mark", 7)
    assert env.get_attr("mark") == [7] * ACCOUNTS
    assert env.env_method("get_images", indices=[1]) == [[None] * ACCOUNTS]
    assert env.env_is_wrapped(MarketVecEnv) == [False] * ACCOUNTS
    env.close()
