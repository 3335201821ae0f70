# SPDX-License-Identifier: Apache-2.0
"""Phase 1 through stable-baselines3: one specialist after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed

from mtquant.agents.networks import MessagePolicy, policy_arguments
from mtquant.agents.scaling import observation_scaling
from mtquant.agents.training.job import Job
from mtquant.agents.training.monitor import Monitor, telemetry_logger
from mtquant.core.telemetry import Telemetry
from mtquant.core.training_config import PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.learning.schedules import rate_at


def train_with_library(job: Job) -> dict[str, dict[str, Any]]:
    """Trains all specialists of a job; by symbol what `Phase1Trainer.train_specialist` returns."""
    torch.set_num_threads(job.config.training.torch_threads)
    return {symbol: _train(job, symbol) for symbol in job.worlds}


def _train(job: Job, symbol: str) -> dict[str, Any]:
    world, seeds = job.worlds[symbol], job.seeds.child(symbol)
    batch = world.training_env(job.settings.n_envs, seeds.child("episodes"))
    unit = world.environment.max_position_size
    scaling = observation_scaling(batch.layout, world.scaler, unit)
    seed = seeds.child("torch").integer()
    model = build_ppo(MarketVecEnv(batch), job.settings, scaling, seed, job.device)
    with Telemetry(job.log_dir / symbol, job.logger) as telemetry:
        model.set_logger(telemetry_logger(telemetry))
        monitor = Monitor(job, symbol, telemetry)
        model.learn(total_timesteps=job.timesteps, callback=monitor)
        monitor.finish()
    return monitor.best.result(job, symbol, int(model.num_timesteps))


def build_ppo(
    env: MarketVecEnv,
    settings: PPOSettings,
    scaling: tuple[NDArray[np.float32], NDArray[np.float32]],
    seed: int,
    device: str,
) -> PPO:
    """stable-baselines3's PPO with the configured numbers and the observation scaler inside.

    Args:
        env: The accounts.
        settings: PPO's numbers.
        scaling: Mean and scale of every entry of an observation.
        seed: Of torch's generator: first weights, action noise, minibatches.
        device: ``"cpu"`` or ``"cuda"``.
    """
    rate = LearningRate(settings.learning_rate, settings.learning_rate_decay)
    # Seeded here and not through PPO(seed=...), which would also reseed the episodes of `env`
    # from torch's seed instead of their own branch of the tree.
    set_random_seed(seed)
    forecasts = len(env.env.unit) if settings.forecast_coef else 0
    return PPO(
        MessagePolicy,
        env,
        learning_rate=rate,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.ent_coef,
        vf_coef=settings.vf_coef,
        max_grad_norm=settings.max_grad_norm,
        target_kl=settings.target_kl,
        policy_kwargs=policy_arguments(settings.hidden_units, *scaling, forecasts),
        device=device,
    )


class LearningRate:
    """A schedule as stable-baselines3 asks for it; a class, since a closure does not pickle."""

    def __init__(self, start: float, decay: str) -> None:
        self.start, self.decay = start, decay

    def __call__(self, progress_remaining: float) -> float:
        """Rate when `progress_remaining` (1 at the start, 0 at the end) is left."""
        return rate_at(self.start, self.decay, 1.0 - progress_remaining)
