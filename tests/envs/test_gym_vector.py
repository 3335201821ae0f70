# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium `VectorEnv`: equal to Gymnasium's own over single environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import (
    ClipReward,
    DictInfoToList,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
)
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.gym_vector import MarketVectorEnv
from tests.support.markets import walk_world
from tests.support.portfolios import OneBranch

ACCOUNTS = 3
SHORT = "environment.episode_length=7"
# A loss of 1 % ends the account, as in test_gym.py, so that some episodes terminate.
FRAGILE = (
    "environment.bankruptcy_equity_frac=0.99",
    "environment.max_position_size=1.0",
    "environment.stop_loss_pct=0",
)


def vector_env(*overrides: str, seed: int = 0) -> MarketVectorEnv:
    return MarketVectorEnv(walk_world(*overrides).training_env(ACCOUNTS, SeedTree(seed)))


def actions(bars: int) -> Iterator[NDArray[np.float32]]:
    generator = np.random.Generator(np.random.PCG64(5))
    for _ in range(bars):
        yield generator.uniform(-1.0, 1.0, (ACCOUNTS, 1)).astype(np.float32)


def assert_same(left: Any, right: Any) -> None:
    """Equal to the last bit and of the same types, in containers too."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, tuple) or (isinstance(left, np.ndarray) and left.dtype == object):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert left.tobytes() == right.tobytes()
    else:
        assert left == right


@pytest.mark.parametrize("overrides", [(SHORT,), FRAGILE], ids=["truncated", "terminated"])
def test_it_is_gymnasiums_own_vector_of_single_environments(overrides: tuple[str, ...]) -> None:
    world = walk_world(*overrides)

    def single(e: int) -> MarketGymEnv:
        return MarketGymEnv(world.training_env(1, OneBranch(0, (), e)))

    reference = SyncVectorEnv(
        [lambda e=e: single(e) for e in range(ACCOUNTS)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = vector_env(*overrides)
    assert ours.metadata["autoreset_mode"] is reference.metadata["autoreset_mode"]
    for name in ("observation_space", "action_space"):
        assert getattr(ours, name) == getattr(reference, name)
        assert getattr(ours, f"single_{name}") == getattr(reference, f"single_{name}")
    assert ours.num_envs == reference.num_envs
    assert_same(ours.reset(), reference.reset())
    terminated = truncated = 0
    for action in actions(40):
        left, right = ours.step(action), reference.step(action)
        assert_same(left, right)
        terminated += left[2].sum()
        truncated += left[3].sum()
    assert (terminated > ACCOUNTS) if overrides is FRAGILE else (truncated > ACCOUNTS)


def test_episode_statistics_are_recorded() -> None:
    env = RecordEpisodeStatistics(vector_env(SHORT))
    env.reset(seed=1)
    for step, action in enumerate(actions(21), start=1):
        *_, truncated, infos = env.step(action)
        assert truncated.all() == (step % 7 == 0)
        if truncated.all():
            assert infos["episode"]["l"].tolist() == [7] * ACCOUNTS
            # Our own sums of the same episode, before the rewards were rounded to float32.
            assert infos["episode"]["r"] == pytest.approx(
                infos["final_info"]["totals"]["reward"], abs=1e-5
            )
    assert env.episode_count == 3 * ACCOUNTS


@pytest.mark.parametrize(
    "wrap",
    [
        NormalizeReward,
        DictInfoToList,
        lambda env: ClipReward(env, -0.1, 0.1),
        lambda env: RescaleAction(env, np.float32(-2.0), np.float32(2.0)),
    ],
    ids=["NormalizeReward", "DictInfoToList", "ClipReward", "RescaleAction"],
)
def test_gymnasiums_vector_wrappers_work_on_it(wrap: Any) -> None:
    env = wrap(vector_env(SHORT))
    env.reset(seed=0)
    for action in actions(15):
        seen, rewards, *_ = env.step(action)
        assert seen.shape == env.observation_space.shape
        assert np.isfinite(seen).all() and np.isfinite(rewards).all()


def test_types_shapes_and_spaces() -> None:
    env = vector_env(SHORT)
    assert env.observation_space == batch_space(env.single_observation_space, ACCOUNTS)
    assert env.action_space == batch_space(env.single_action_space, ACCOUNTS)
    seen, infos = env.reset(seed=0)
    assert env.observation_space.contains(seen) and infos == {}
    env.action_space.seed(0)
    for _ in range(8):
        seen, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        assert env.observation_space.contains(seen)
        for array, dtype in (
            (rewards, np.float64),
            (terminated, np.bool_),
            (truncated, np.bool_),
        ):
            assert array.shape == (ACCOUNTS,) and array.dtype == dtype
        assert isinstance(infos, dict)


def test_seeds_decide_the_episodes() -> None:
    def life(env: MarketVectorEnv, seed: int | None) -> list[Any]:
        return [env.reset(seed=seed), *(env.step(action) for action in actions(30))]

    env, other = vector_env(SHORT), vector_env(SHORT, seed=9)
    first = life(env, 4)
    assert env.np_random_seed == 4
    assert not data_equivalence(first, life(env, None))  # the stream goes on
    assert data_equivalence(first, life(env, 4), exact=True)
    assert data_equivalence(first, life(other, 4), exact=True)
    assert not data_equivalence(first, life(env, 5))


def test_what_is_returned_lives_longer_than_the_next_step() -> None:
    env = vector_env(SHORT)
    kept = [env.reset(seed=0)[0]]
    copies = [kept[0].copy()]
    for action in actions(20):
        *arrays, infos = env.step(action)
        finals = [last for last in infos.get("final_obs", []) if last is not None]
        kept += [*arrays, *finals]
        copies += [array.copy() for array in (*arrays, *finals)]
    assert all(np.array_equal(left, right) for left, right in zip(kept, copies, strict=True))


def test_a_part_of_the_accounts_cannot_be_reset() -> None:
    mask = np.array([True, False, False])
    with pytest.raises(ConfigError, match=r"options\.reset_mask must be left out.*Step on"):
        vector_env().reset(options={"reset_mask": mask})


def test_it_can_be_closed_twice() -> None:
    env = vector_env()
    env.close()
    env.close()
    assert env.closed
    assert repr(env) == "MarketVectorEnv(num_envs=3)"
