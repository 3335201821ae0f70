# SPDX-License-Identifier: Apache-2.0
"""Phase 1 through stable-baselines3 and sb3-contrib: one specialist after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from mtquant.agents.training.algorithms import Setup, build_model, has_head
from mtquant.agents.training.foresight import Foresight
from mtquant.agents.training.job import Job
from mtquant.agents.training.monitor import Monitor, telemetry_logger
from mtquant.agents.training.replay import Recorder
from mtquant.core.telemetry import Telemetry
from mtquant.core.training_config import Algorithm, PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.learning.threads import use_threads


def train_with_library(job: Job) -> dict[str, dict[str, Any]]:
    """Trains all specialists of a job; by name what `Phase1Trainer.train_specialist` returns."""
    use_threads(job.config.training.torch_threads)
    recorder = Recorder(job.output_dir, job.replay_record())
    return {name: _train(job, name, recorder) for name in job.worlds}


def _train(job: Job, name: str, recorder: Recorder) -> dict[str, Any]:
    world, seeds = job.worlds[name], job.seeds.child(name)
    batch = world.training_env(job.settings.n_envs, seeds.child("episodes"))
    scaling = world.scaling()
    seed, algorithm = seeds.child("torch").integer(), job.config.training.algorithm
    setup = Setup(job.settings, job.timesteps)
    model = build_model(algorithm, MarketVecEnv(batch), setup, scaling, seed, job.device)
    with Telemetry(job.log_dir / name, job.logger) as telemetry:
        telemetry.settings(job.config.training.hyper_parameters())
        model.set_logger(telemetry_logger(telemetry))
        monitor = Monitor(job, name, telemetry, recorder)
        every = _log_interval(model, algorithm, job.settings)
        watching = [*foresight(algorithm, job.settings), monitor]
        model.learn(total_timesteps=job.timesteps, callback=watching, log_interval=every)
        monitor.finish()
    return monitor.best.result(job, name, int(model.num_timesteps))


def _log_interval(model: BaseAlgorithm, algorithm: Algorithm, settings: PPOSettings) -> int:
    """Between points of a curve: in rollouts, of which A2C has more; SAC counts in episodes."""
    if algorithm == "sac":
        return settings.n_envs
    return max(1, settings.n_steps // int(getattr(model, "n_steps", settings.n_steps)))


def foresight(algorithm: Algorithm, settings: PPOSettings) -> list[BaseCallback]:
    """What trains the message head, where there is one."""
    return [Foresight(settings)] if has_head(algorithm, settings) else []


def build_ppo(
    env: MarketVecEnv,
    settings: PPOSettings,
    scaling: tuple[NDArray[np.float32], NDArray[np.float32]],
    seed: int,
    device: str,
) -> BaseAlgorithm:
    """`algorithms.build_model` of PPO, whose numbers do not depend on the length of the run."""
    return build_model("ppo", env, Setup(settings, 0), scaling, seed, device)
