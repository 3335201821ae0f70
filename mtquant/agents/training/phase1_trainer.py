# SPDX-License-Identifier: Apache-2.0
"""Phase 1: one PPO specialist per instrument, each on its own bars.

    results = Phase1Trainer(load_config(None), Path("models/phase1"), Path("logs/phase1")).train()

Training episodes are drawn from the training rows with costs drawn around the instrument's own;
the validation rows choose the best checkpoint. The test rows are not touched here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mtquant.agents.specialist import load_specialist
from mtquant.agents.training.job import Job, Progress
from mtquant.agents.training.stacked import train_stacked
from mtquant.agents.training.validation import evaluate_episodes
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import Config
from mtquant.core.errors import ConfigError
from mtquant.core.runs import check_writable
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars, split_bars

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
        """Trains all specialists, at once with the stacked engine.

        Returns:
            For each instrument what `train_specialist` returns.
        """
        return self._train(list(self.worlds))

    def train_specialist(self, specialist_name: str) -> dict[str, Any]:
        """Trains one specialist and keeps its best checkpoint on the validation rows.

        Returns:
            ``"timesteps"``, ``"weights_sha256"``, ``"best_step"`` and the validation metrics.

        Raises:
            ConfigError: There is no such instrument.
        """
        self._world(specialist_name)
        return self._train([specialist_name])[specialist_name]

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

    def _train(self, names: list[str]) -> dict[str, Any]:
        job = Job(
            {name: self.worlds[name] for name in names},
            self.config,
            self.timesteps,
            self.seeds,
            self.output_dir,
            self.log_dir,
            self.device,
            self.logger,
            self.progress,
        )
        if self.config.training.engine == "sb3":
            from mtquant.agents.training.library import train_with_library

            return train_with_library(job)
        return train_stacked(job)


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
