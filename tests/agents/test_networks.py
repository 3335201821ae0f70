# SPDX-License-Identifier: Apache-2.0
"""The actor computes what stable-baselines3 computes, and every input is scaled by its own rule."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO

from mtquant.agents.networks import Actor, ObservationScaler, observation_scaling, policy_arguments
from mtquant.core.seeding import SeedTree
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ACCOUNT_NAMES, ObservationLayout
from mtquant.rewards.compose import STATE_NAMES
from tests.support.markets import walk_world


@pytest.fixture(scope="module")
def model() -> PPO:
    """A policy trained for two rollouts, its last layer enlarged so that some actions are cut."""
    world = walk_world("environment.window_bars=2")
    env = MarketVecEnv(world.training_env(4, SeedTree(0)))
    mean, scale = observation_scaling(env.env.layout, world.scaler, 0.1)
    arguments = policy_arguments((8, 8), mean, scale)
    options = {"n_steps": 64, "batch_size": 64, "seed": 3, "device": "cpu"}
    model = PPO("MlpPolicy", env, policy_kwargs=arguments, **options).learn(512)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100.0)
    return model


def raw_observations(model: PPO) -> NDArray[np.float32]:
    """Real ones, and some so far out that the clip decides, float32 [M, size]."""
    env = model.get_env()
    assert env is not None
    real = [env.reset()] + [env.step(np.full((4, 1), 0.3))[0] for _ in range(20)]
    generator = np.random.Generator(np.random.PCG64(0))
    wild = generator.normal(0.0, 1.0, (50, real[0].shape[1])) * generator.choice(
        [0.01, 1.0, 1e6], (50, 1)
    )
    return np.concatenate([*real, wild]).astype(np.float32)


def test_the_actor_is_the_policys_deterministic_prediction(model: PPO) -> None:
    actor = Actor(model.policy.state_dict())
    observations = raw_observations(model)
    expected = model.policy.predict(observations, deterministic=True)[0][:, 0]
    found = np.array([actor.act(values)[0] for values in observations])
    # The policy's own predict clips to the action space, like the actor. Float32 sums in another
    # order differ by some 1e-7.
    assert np.abs(found - expected).max() <= 1e-6
    is_cut = np.abs(found) == 1.0
    assert 0 < is_cut.sum() < len(found)
    assert len(np.unique(found[~is_cut])) > 50


def test_the_exported_zip_takes_raw_observations(model: PPO, tmp_path: Path) -> None:
    model.save(tmp_path / "specialist.zip")
    loaded = PPO.load(tmp_path / "specialist.zip", device="cpu")
    actor = Actor(model.policy.state_dict())
    for values in raw_observations(model):
        expected = loaded.predict(values, deterministic=True)[0]
        np.testing.assert_allclose(actor.act(values), expected, rtol=0.0, atol=1e-6)


def test_the_actor_leaves_out_what_training_needs(model: PPO) -> None:
    actor = Actor(model.policy.state_dict())
    layers = [layer for layer in actor.layers if isinstance(layer, torch.nn.Linear)]
    assert [layer.weight.shape[0] for layer in layers] == [8, 8, 1]
    assert not any(parameter.requires_grad for parameter in actor.parameters())


def test_more_than_ten_layers_keep_their_order() -> None:
    """Sorted as texts, layer 10 would come before layer 2."""

    class Still(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
        observation_space = spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32)
        action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    widths = (4, 4, 4, 4, 4, 4, 4)  # layers 0, 2, ..., 12 of the Sequential
    mean, scale = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    arguments = policy_arguments(widths, mean, scale)
    model = PPO("MlpPolicy", Still(), policy_kwargs=arguments, seed=1, device="cpu")
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3.0)  # so that the order matters in the output
    values = np.array([0.5, -1.0, 2.0], dtype=np.float32)
    expected = model.predict(values, deterministic=True)[0]
    found = Actor(model.policy.state_dict()).act(values)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)


def test_every_entry_is_scaled_by_its_own_rule() -> None:
    layout = ObservationLayout(("EURUSD",), ("log_return_1", "rsi_14"), 2, STATE_NAMES)
    scaler = Scaler(
        np.array([0.5, 50.0], dtype=np.float32), np.array([0.01, 10.0], dtype=np.float32)
    )
    mean, scale = observation_scaling(layout, scaler, unit=0.2)
    expected = {
        "EURUSD.log_return_1[-1]": (0.5, 0.01),
        "EURUSD.rsi_14[-1]": (50.0, 10.0),
        "EURUSD.log_return_1": (0.5, 0.01),
        "EURUSD.rsi_14": (50.0, 10.0),
        "EURUSD.exposure": (0.0, 0.2),  # unit
        "EURUSD.open_return": (0.0, 0.02),  # OPEN_RETURN_SCALE
        "EURUSD.held_bars": (0.0, 1.0),
        "EURUSD.cost": (0.0, 1.0),
        "EURUSD.tradable": (0.0, 1.0),
        # The account block is not looked at: a scale of infinity makes it 0.
        **dict.fromkeys((*ACCOUNT_NAMES, *STATE_NAMES), (0.0, np.inf)),
    }
    assert layout.names() == tuple(expected)
    np.testing.assert_allclose(np.column_stack([mean, scale]), list(expected.values()), rtol=1e-7)
    assert mean.dtype == scale.dtype == np.float32


def test_scaled_observations_are_clipped_at_ten() -> None:
    space = spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32)
    scaler = ObservationScaler(space, mean=[1.0, 1.0, 1.0], scale=[0.1, 0.1, 0.1])
    scaled = scaler(torch.tensor([[1.5, 2.5, -1e9]]))
    # (1.5 - 1) / 0.1 = 5; (2.5 - 1) / 0.1 = 15 is cut to 10.
    np.testing.assert_allclose(scaled.numpy(), [[5.0, 10.0, -10.0]], rtol=1e-6)
    assert list(scaler.parameters()) == []
    assert set(scaler.state_dict()) == {"mean", "scale"}
