# SPDX-License-Identifier: Apache-2.0
"""stable-baselines3's PPO with a message head that learns, and with rewards without luck."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from mtquant.agents.networks import MessagePolicy
from mtquant.agents.training.foresight import Foresight
from mtquant.agents.training.library import build_ppo, foresight
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from tests.support.markets import momentum_bars, tiny_config, tiny_world

SETTINGS = PPOSettings(
    n_envs=4, n_steps=64, batch_size=64, n_epochs=2, hidden_units=(8, 8), learning_rate=1e-2
)
WORLD = tiny_world(
    tiny_config("unread", "reward.phase_1={differential_sharpe: 0, growth: 1}"),
    momentum_bars(600, seed=1, persistence=0.8, noise=0.006),
)


def model(**changes: float) -> tuple[PPO, PPOSettings]:
    settings = SETTINGS.model_copy(update=changes)
    env = MarketVecEnv(WORLD.training_env(settings.n_envs, SeedTree(1)))
    built = build_ppo(env, settings, WORLD.scaling(), 7, "cpu")
    assert isinstance(built, PPO)
    return built, settings


class Kept(BaseCallback):
    """What the first rollout's buffer was given, without what time's end adds."""

    def _on_rollout_start(self) -> None:
        self.rewards: list[np.ndarray] = []

    def _on_step(self) -> bool:
        self.rewards.append(self.locals["rewards"].copy())
        return True


def first_rollout(surprise: float) -> tuple[np.ndarray, PPO]:
    """Rewards [T, E], and the model whose buffer has them."""
    built, settings = model(surprise=surprise)
    kept = Kept()
    built.learn(settings.rollout_steps, callback=[Foresight(settings), kept])
    return np.array(kept.rewards), built


def test_the_buffer_holds_rewards_without_luck() -> None:
    """Every position paid at its forecast: less action x (return - forecast), by an untrained head
    whose forecasts are small.
    """
    whole, _ = first_rollout(1.0)
    half, _ = first_rollout(0.5)
    none, built = first_rollout(0.0)
    np.testing.assert_allclose(0.5 * (whole + none), half, rtol=1e-4, atol=1e-5)
    assert none.var() < 0.2 * whole.var()
    buffer = built.rollout_buffer
    mid_episode = buffer.rewards == none  # elsewhere the value of what came next was added
    assert mid_episode.mean() > 0.9


def test_the_head_learns_what_can_be_foreseen() -> None:
    """Returns follow r' = 0.8 r + noise, so their best forecast explains 64 % of them."""
    built, settings = model(learning_rate=3e-3, n_epochs=4)
    built.learn(60 * settings.rollout_steps, callback=Foresight(settings))
    policy = built.policy
    assert isinstance(policy, MessagePolicy)
    env = WORLD.training_env(64, SeedTree(2))
    env.reset()
    said, came = [], []
    for _ in range(20):
        with torch.no_grad():
            said.append(policy.forecast(torch.from_numpy(env.observations))[0].numpy().copy())
        came.append(env.next_returns())
        env.step(np.zeros((64, 1), dtype=np.float32))
    left = np.nanvar(np.array(came) - np.array(said)) / np.nanvar(np.array(came))
    assert left < 0.6


def test_what_has_no_head_is_left_alone() -> None:
    assert foresight("ppo", SETTINGS.model_copy(update={"forecast_coef": 0.0})) == []
    assert foresight("trpo", SETTINGS) == []
    (found,) = foresight("ppo", SETTINGS)
    assert isinstance(found, Foresight)


def test_the_same_seed_is_the_same_network() -> None:
    weights = []
    for _ in range(2):
        built, settings = model(surprise=0.0)
        built.learn(2 * settings.rollout_steps, callback=Foresight(settings))
        assert built.get_env().before_step is None  # nobody listens any more
        weights.append(torch.cat([own.flatten() for own in built.policy.parameters()]))
    assert torch.equal(*weights)
