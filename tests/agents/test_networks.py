# SPDX-License-Identifier: Apache-2.0
"""A crew computes what stable-baselines3's policy computes, and is exported as one."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO

from mtquant.agents.crew import Crew, messages
from mtquant.agents.networks import (
    MessagePolicy,
    ObservationScaler,
    policy_arguments,
    sb3_export,
)
from mtquant.agents.stack import Weights, confidence, stack_of
from mtquant.agents.training.monitor import kept_weights
from mtquant.core.seeding import SeedTree
from mtquant.envs.sb3 import MarketVecEnv
from tests.support.markets import walk_world


@pytest.fixture(scope="module")
def model() -> PPO:
    """A policy trained for two rollouts, its last layer enlarged so that some actions are cut."""
    world = walk_world("environment.window_bars=2")
    env = MarketVecEnv(world.training_env(4, SeedTree(0)))
    mean, scale = world.scaling()
    arguments = policy_arguments((8, 8), mean, scale, forecasts=1)
    options = {"n_steps": 64, "batch_size": 64, "seed": 3, "device": "cpu"}
    model = PPO(MessagePolicy, env, policy_kwargs=arguments, **options).learn(512)
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


def crew_of(model: PPO) -> Crew:
    return Crew.from_weights([kept_weights(model)])


def act(crew: Crew, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions [B, A] of a crew of one."""
    return crew.act(observations[None])[0]


def test_a_crew_of_one_is_the_policys_deterministic_prediction(model: PPO) -> None:
    observations = raw_observations(model)
    expected = model.policy.predict(observations, deterministic=True)[0][:, 0]
    found = act(crew_of(model), observations)[:, 0]
    # The policy's own predict clips to the action space, like the actor. Float32 sums in another
    # order differ by some 1e-7.
    assert np.abs(found - expected).max() <= 1e-6
    is_cut = np.abs(found) == 1.0
    assert 0 < is_cut.sum() < len(found)
    assert len(np.unique(found[~is_cut])) > 50


def test_the_exported_zip_takes_raw_observations(model: PPO, tmp_path: Path) -> None:
    model.save(tmp_path / "specialist.zip")
    loaded = PPO.load(tmp_path / "specialist.zip", device="cpu")
    observations = raw_observations(model)
    expected = loaded.predict(observations, deterministic=True)[0]
    np.testing.assert_allclose(act(crew_of(model), observations), expected, rtol=0.0, atol=1e-6)


def test_a_specialist_of_the_engine_is_exported_with_its_message_head(
    model: PPO, tmp_path: Path
) -> None:
    env = model.get_env()
    assert env is not None
    weights = kept_weights(model)
    sb3_export(weights, env, tmp_path / "specialist.zip")
    loaded = PPO.load(tmp_path / "specialist.zip", device="cpu")
    for name, tensor in weights.items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor), name
    observations = raw_observations(model)
    crew, raw = crew_of(model), torch.from_numpy(observations)
    assert isinstance(loaded.policy, MessagePolicy)
    with torch.no_grad():
        mean, log_deviation = loaded.policy.forecast(raw)
        value = loaded.policy.predict_values(raw)[:, 0]
    said = crew.speak([observations])[:, 0]
    signal = loaded.predict(observations, deterministic=True)[0][:, 0]
    sure = confidence(mean, log_deviation)[:, 0]
    expected = torch.stack(
        (
            torch.from_numpy(signal),
            sure,
            value.clamp(-10.0, 10.0),
            mean[:, 0].clamp(-10.0, 10.0),
            torch.exp(log_deviation[:, 0]).clamp(max=10.0),
        ),
        dim=1,
    )
    np.testing.assert_allclose(said, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_weights_go_through_the_stack_unchanged(model: PPO) -> None:
    weights = kept_weights(model)
    again: Weights = stack_of([weights, weights]).weights(1)
    assert set(again) == {name for name in weights if not name.startswith("features_extractor")}
    for name, tensor in again.items():
        assert torch.equal(tensor, weights[name]), name


def test_confidence_is_the_chance_of_the_right_sign() -> None:
    forecast, log_deviation = torch.tensor([0.0, 1.0, -1.0]), torch.zeros(3)
    # Twice the normal distribution at 1, less 1.
    expected = torch.tensor([0.0, 0.6826895, 0.6826895])
    torch.testing.assert_close(confidence(forecast, log_deviation), expected)


def test_without_a_message_head_only_signal_and_value_are_told(model: PPO) -> None:
    weights = {k: v for k, v in kept_weights(model).items() if not k.startswith("message_net")}
    stack = stack_of([weights])
    said = messages(stack.forward(torch.zeros(1, 2, stack.shape.inputs)))
    assert said.shape == (2, 1, 1, 5)
    assert not said[..., [1, 3, 4]].any()


def test_more_than_ten_layers_keep_their_order() -> None:
    """Sorted as texts, layer 10 would come before layer 2."""

    class Still(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
        observation_space = spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32)
        action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    widths = (4, 4, 4, 4, 4, 4, 4)  # layers 0, 2, ..., 12 of the Sequential
    mean, scale = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    arguments = policy_arguments(widths, mean, scale, forecasts=0)
    model = PPO(MessagePolicy, Still(), policy_kwargs=arguments, seed=1, device="cpu")
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3.0)  # so that the order matters in the output
    values = np.array([0.5, -1.0, 2.0], dtype=np.float32)
    expected = model.predict(values, deterministic=True)[0]
    found = act(crew_of(model), values[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)


def test_scaled_observations_are_clipped_at_ten() -> None:
    space = spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32)
    scaler = ObservationScaler(space, mean=[1.0, 1.0, 1.0], scale=[0.1, 0.1, 0.1])
    scaled = scaler(torch.tensor([[1.5, 2.5, -1e9]]))
    # (1.5 - 1) / 0.1 = 5; (2.5 - 1) / 0.1 = 15 is cut to 10.
    np.testing.assert_allclose(scaled.numpy(), [[5.0, 10.0, -10.0]], rtol=1e-6)
    assert list(scaler.parameters()) == []
    assert set(scaler.state_dict()) == {"mean", "scale"}
