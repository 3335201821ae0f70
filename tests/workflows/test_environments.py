# SPDX-License-Identifier: Apache-2.0
"""The market under its Gymnasium id."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.gym_vector import MarketVectorEnv
from mtquant.workflows.environments import MARKET_ID, market_world
from tests.support.markets import SYMBOLS, TINY, market_settings, write_market

ID = f"mtquant.workflows.environments:{MARKET_ID}"


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = write_market(tmp_path_factory.mktemp("bars"))
    return [*market_settings(folder), *TINY]


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        # Observations are raw, without bounds; see tests/envs/test_gym.py.
        warnings.filterwarnings("ignore", ".*A Box observation space m.* value is -?infinity")
        yield


@pytest.mark.usefixtures("silent")
def test_it_is_made_and_checked_by_name(overrides: list[str]) -> None:
    env = gymnasium.make(ID, symbol=SYMBOLS[1], overrides=overrides)
    assert isinstance(env.unwrapped, MarketGymEnv)
    check_env(env.unwrapped)  # with a specification, so that building and closing are checked too
    seen, _ = env.reset(seed=3)
    alone = MarketGymEnv(market_world(SYMBOLS[1], None, overrides).training_env(1, SeedTree(0)))
    assert seen.tobytes() == alone.reset(seed=3)[0].tobytes()


@pytest.mark.usefixtures("silent")
def test_a_batch_is_made_by_name(overrides: list[str]) -> None:
    env = gymnasium.make_vec(ID, num_envs=5, symbol=SYMBOLS[0], overrides=overrides)
    assert isinstance(env, MarketVectorEnv) and env.num_envs == 5
    seen, _ = env.reset(seed=3)
    again = EnvSpec.from_json(env.spec.to_json())
    other = gymnasium.make_vec(again)
    assert other.reset(seed=3)[0].tobytes() == seen.tobytes()
    env.close()


@pytest.mark.slow
@pytest.mark.usefixtures("silent")
def test_worker_processes_find_it(overrides: list[str]) -> None:
    env = gymnasium.make_vec(
        ID,
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        symbol=SYMBOLS[0],
        overrides=overrides,
    )
    try:
        seen, _ = env.reset(seed=0)
        assert seen[0].tobytes() != seen[1].tobytes()
        assert np.isfinite(env.step(env.action_space.sample())[0]).all()
    finally:
        env.close()


def test_an_unknown_symbol_names_the_nearest(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"symbol must be one of .* Did you mean EURUSD\?"):
        market_world("EURUSDX", None, overrides)


def test_a_config_file_is_read(tmp_path: Path, overrides: list[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("environment: {episode_length: 9}\n")
    kept = [text for text in overrides if "episode_length" not in text]
    assert market_world(SYMBOLS[0], str(path), kept).environment.episode_length == 9
