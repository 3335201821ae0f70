# SPDX-License-Identifier: Apache-2.0
"""What phase 1 hands to an engine, and what both engines do alike: keep the best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtquant.agents.networks import sb3_export
from mtquant.agents.specialist import ZIP_NAME, load_specialist, save_specialist
from mtquant.agents.training.phase import Progress
from mtquant.agents.training.replay import ReplayRecord, replay_record
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import Config, config_hash
from mtquant.core.records import write_atomically
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.features.signals import signals_digest

SCORE = "validation/sharpe"


@dataclass(frozen=True)
class Job:
    """Specialists to be trained.

    Attributes:
        worlds: Specialist -> what it is trained in.
        config: The configuration.
        timesteps: Bars per specialist.
        seeds: Node of the seed tree; a specialist's is its child.
        output_dir, log_dir: Receive a folder per specialist.
        device: ``"cpu"`` or ``"cuda"``.
        logger: Who hears of stages and surprises.
        progress: Called with a specialist's name, its steps and latest metrics.
        resume: Go on from the newest checkpoint below `output_dir`.
        different_numerics: Also from one of other versions, threads or another device.
    """

    worlds: Mapping[str, SpecialistWorld]
    config: Config
    timesteps: int
    seeds: SeedTree
    output_dir: Path
    log_dir: Path
    device: str
    logger: logging.Logger
    progress: Progress | None
    resume: bool = False
    different_numerics: bool = False

    @property
    def settings(self) -> PPOSettings:
        """PPO's numbers."""
        return self.config.training.effective()

    def report(self, name: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tells whoever watches."""
        if self.progress is not None:
            self.progress(name, step, metrics)

    def replay_record(self) -> ReplayRecord:
        """What is written down at the beginning, but for the updates."""
        until_ns = max(world.split.known_until_ns for world in self.worlds.values())
        return replay_record(
            1,
            self.timesteps,
            self.device,
            tuple(self.worlds),
            {symbol: own for world in self.worlds.values() for symbol, own in world.bars.items()},
            until_ns,
        )

    def keep(self, name: str, weights: Mapping[str, torch.Tensor], step: int) -> None:
        """Writes a network as the specialist, safetensors and zip."""
        self._save(name, weights, {"timesteps": step})
        env = MarketVecEnv(self.worlds[name].evaluation_env(1, SeedTree(0)))
        sb3_export(weights, env, self.output_dir / name / ZIP_NAME)

    def keep_library(
        self,
        name: str,
        weights: Mapping[str, torch.Tensor],
        step: int,
        policy: str,
        arguments: Mapping[str, Any],
        save: Callable[[Path], None],
    ) -> None:
        """Writes a network of `library_policies.POLICIES` as the specialist; `save` writes its
        algorithm's own zip.
        """
        fields = {"timesteps": step, "policy": policy, "policy_arguments": arguments}
        self._save(name, weights, fields)
        write_atomically(self.output_dir / name / ZIP_NAME, save)

    def _save(
        self, name: str, weights: Mapping[str, torch.Tensor], fields: Mapping[str, Any]
    ) -> None:
        manifest = {
            **self.worlds[name].manifest(),
            "config_hash": config_hash(self.config),
            "signals_sha256": signals_digest(
                self.config.features, self.worlds[name].split.known_until_ns
            ),
            "seed": self.config.training.seed,
            **fields,
        }
        save_specialist(self.output_dir / name, dict(weights), manifest)


class Best:
    """The best validation of one specialist so far.

    "Best" is the Sharpe ratio on the validation rows at the true costs; one that does not trade
    has 0.
    """

    def __init__(self) -> None:
        self.step, self.metrics = -1, dict[str, float]()

    def beaten_by(self, metrics: Mapping[str, float], step: int) -> bool:
        """Takes these metrics over if they are better."""
        better = metrics[SCORE] > self.metrics.get(SCORE, -np.inf)
        if better:
            self.step, self.metrics = step, dict(metrics)
        return better

    def state(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return {"step": self.step, "metrics": self.metrics}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from an earlier `state`."""
        self.step, self.metrics = state["step"], dict(state["metrics"])

    def result(self, job: Job, name: str, timesteps: int) -> dict[str, Any]:
        """What `Phase1Trainer.train_specialist` returns, once training is over."""
        manifest = load_specialist(job.output_dir / name).manifest
        job.logger.info(
            "specialist %s: %d steps, best at %d, validation %s",
            name,
            timesteps,
            self.step,
            {name: round(value, 4) for name, value in self.metrics.items()},
        )
        return {
            "timesteps": timesteps,
            "best_step": self.step,
            "weights_sha256": manifest.weights_sha256,
            **self.metrics,
        }
