# SPDX-License-Identifier: Apache-2.0
"""Phase 1: one PPO specialist per instrument, each on its own bars.

    results = Phase1Trainer(load_config(None), Path("models/phase1"), Path("logs/phase1")).train()

Training episodes are drawn from the training rows with costs drawn around the instrument's own;
the validation rows choose the best checkpoint. The test rows are not touched here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed

from mtquant.agents.networks import observation_scaling, policy_arguments
from mtquant.agents.specialist import ZIP_NAME, load_specialist, save_specialist
from mtquant.agents.training.monitor import Monitor, telemetry_logger
from mtquant.agents.training.validation import evaluate_episodes
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import Config, config_hash
from mtquant.core.errors import ConfigError
from mtquant.core.records import write_atomically
from mtquant.core.runs import check_writable
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import Telemetry
from mtquant.core.training_config import PPOSettings
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars, split_bars
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.sb3 import MarketVecEnv

Progress = Callable[[str, int, Mapping[str, float]], None]
DEVICES = ("auto", "cpu", "cuda")


class Phase1Trainer:
    """Trains, keeps and evaluates the specialists.

    Args:
        config: The configuration.
        output_dir: Receives one folder per specialist.
        log_dir: Receives one TensorBoard folder per specialist.
        instruments: Configured instruments by symbol.
        timesteps: Bars lived through per specialist; the config's `phase_1_timesteps` when None.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; the config's when None.
        logger: Who hears of stages and surprises.
        progress: Called with the specialist's name, its steps so far and its latest metrics.

    Raises:
        ConfigError: cuda was asked for and there is no GPU.
        DataError, RulesError, RunError: Bars, instruments or folders cannot be used. All of it is
            checked here, before any training.
    """

    def __init__(
        self,
        config: Config,
        output_dir: Path,
        log_dir: Path,
        instruments: Mapping[str, Instrument],
        *,
        timesteps: int | None = None,
        device: str | None = None,
        logger: logging.Logger | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = config
        self.settings = config.training.effective()
        self.output_dir, self.log_dir = output_dir, log_dir
        self.timesteps = timesteps or config.training.phase_1_timesteps
        self.device = resolve_device(device or config.training.device)
        self.logger = logger or logging.getLogger(__name__)
        self.progress = progress
        self.seeds = SeedTree(config.training.seed).child("phase1")
        for folder in (output_dir, log_dir):
            check_writable(folder)
        bars = load_bars(config.data, instruments)
        split = split_bars(bars, config.data)
        self.worlds = {
            symbol: SpecialistWorld.build(series, split, config, instruments)
            for symbol, series in bars.items()
        }

    @property
    def bars(self) -> dict[str, Bars]:
        """Bars by instrument."""
        return {symbol: world.bars for symbol, world in self.worlds.items()}

    def train(self) -> dict[str, Any]:
        """Trains all specialists, one after the other.

        Returns:
            For each instrument what `train_specialist` returns.
        """
        return {symbol: self.train_specialist(symbol) for symbol in self.worlds}

    def train_specialist(self, specialist_name: str) -> dict[str, Any]:
        """Trains one specialist and keeps its best checkpoint on the validation rows.

        Returns:
            ``"timesteps"``, ``"weights_sha256"``, ``"best_step"`` and the validation metrics.

        Raises:
            ConfigError: There is no such instrument.
        """
        world = self._world(specialist_name)
        folder = self.output_dir / specialist_name
        torch.set_num_threads(self.config.training.torch_threads)
        seeds = self.seeds.child(specialist_name)
        batch = world.training_env(self.settings.n_envs, seeds.child("episodes"))
        model = self._model(batch, world, seeds)
        with Telemetry(self.log_dir / specialist_name, self.logger) as telemetry:
            model.set_logger(telemetry_logger(telemetry))
            monitor = Monitor(
                world,
                telemetry,
                every_updates=self.config.training.checkpoint_every_updates,
                keep=lambda step: self._keep(model, world, folder, step),
                report=lambda step, metrics: self._report(specialist_name, step, metrics),
            )
            model.learn(total_timesteps=self.timesteps, callback=monitor)
            monitor.finish()
        specialist = load_specialist(folder)
        self.logger.info(
            "specialist %s: %d steps, best at %d, validation %s",
            specialist_name,
            model.num_timesteps,
            monitor.best_step,
            {name: round(value, 4) for name, value in monitor.best_metrics.items()},
        )
        return {
            "timesteps": int(model.num_timesteps),
            "best_step": monitor.best_step,
            "weights_sha256": specialist.manifest.weights_sha256,
            **monitor.best_metrics,
        }

    def evaluate_specialist(self, specialist_name: str, n_episodes: int = 100) -> dict[str, Any]:
        """Lets a trained specialist trade random validation episodes at the true costs.

        Returns:
            Means over the episodes, and the standard error of the mean growth.

        Raises:
            CheckpointError: It has not been trained yet.
        """
        world = self._world(specialist_name)
        specialist = load_specialist(self.output_dir / specialist_name)
        seeds = self.seeds.child(specialist_name, "evaluation")
        return evaluate_episodes(specialist.action, world.evaluation_env(n_episodes, seeds))

    def _world(self, name: str) -> SpecialistWorld:
        if name not in self.worlds:
            known = ", ".join(self.worlds)
            raise ConfigError(
                "specialist_name", "must be a configured instrument", name, f"Known: {known}."
            )
        return self.worlds[name]

    def _model(self, batch: MarketEnv, world: SpecialistWorld, seeds: SeedTree) -> PPO:
        unit = self.config.environment.max_position_size
        scaling = observation_scaling(batch.layout, world.scaler, unit)
        seed = seeds.child("torch").integer()
        return build_ppo(MarketVecEnv(batch), self.settings, scaling, seed, self.device)

    def _keep(self, model: PPO, world: SpecialistWorld, folder: Path, step: int) -> None:
        """Writes the model as it stands as the specialist, safetensors and zip."""
        # The extractor is listed three times (shared, pi_, vf_): one tensor, kept once.
        weights = {
            name: tensor.cpu()
            for name, tensor in model.policy.state_dict().items()
            if not name.startswith(("pi_features_extractor.", "vf_features_extractor."))
        }
        save_specialist(
            folder,
            weights,
            {
                **world.manifest(),
                "config_hash": config_hash(self.config),
                "seed": self.config.training.seed,
                "timesteps": step,
            },
        )
        write_atomically(folder / ZIP_NAME, model.save)

    def _report(self, name: str, step: int, metrics: Mapping[str, float]) -> None:
        if self.progress is not None:
            self.progress(name, step, metrics)


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
    rate: float | Callable[[float], float] = settings.learning_rate
    if settings.learning_rate_decay == "linear":
        rate = LinearDecay(settings.learning_rate)
    # Seeded here and not through PPO(seed=...), which would also reseed the episodes of `env`
    # from torch's seed instead of their own branch of the tree.
    set_random_seed(seed)
    return PPO(
        "MlpPolicy",
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
        policy_kwargs=policy_arguments(settings.hidden_units, *scaling),
        device=device,
    )


class LinearDecay:
    """Learning rate that falls to 0 at the end; a class, since a closure does not pickle."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, progress_remaining: float) -> float:
        """Rate when `progress_remaining` (1 at the start, 0 at the end) is left.

        stable-baselines3 rounds up to whole rollouts without clamping what remains: in the last one
        it is below 0, which would climb the loss.
        """
        return self.start * max(0.0, progress_remaining)


def resolve_device(device: str) -> str:
    """``"auto"`` is the cpu: small networks under stable-baselines3 are slower on a GPU, where each
    minibatch pays for launches and copies (its own warning says so).

    Raises:
        ConfigError: cuda was asked for and there is none, or the name is another.
    """
    if device not in DEVICES:
        remedy = "Use --device auto."
        raise ConfigError("device", f"must be one of {', '.join(DEVICES)}", device, remedy)
    if device == "auto":
        return "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        remedy = "Use --device auto or --device cpu."
        raise ConfigError("device", "must be available on this machine", device, remedy)
    return device
