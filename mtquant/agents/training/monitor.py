# SPDX-License-Identifier: Apache-2.0
"""Watching a stable-baselines3 run: TensorBoard, validation, checkpoints, progress."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from mtquant.agents.crew import Crew
from mtquant.agents.stack import Weights
from mtquant.agents.training.job import Best, Job
from mtquant.agents.training.rollout import Episodes
from mtquant.agents.training.validation import evaluate_parts
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import METRICS, Telemetry


class _TelemetryWriter(KVWriter):
    """Hands what stable-baselines3 logs to our telemetry, under the names of the dictionary."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        known = {name: float(value) for name, value in key_values.items() if name in METRICS}
        self._telemetry.scalars(known, step)

    def close(self) -> None:
        """The telemetry is closed by its owner."""


def telemetry_logger(telemetry: Telemetry) -> Logger:
    """A stable-baselines3 logger that writes TensorBoard only."""
    return Logger(folder=None, output_formats=[_TelemetryWriter(telemetry)])


class Monitor(BaseCallback):
    """Follows one specialist's training.

    Args:
        job: What it is part of.
        symbol: Whose.
        telemetry: Where the curves go.
    """

    def __init__(self, job: Job, symbol: str, telemetry: Telemetry) -> None:
        super().__init__()
        self._job, self._symbol, self._telemetry = job, symbol, telemetry
        self._episodes = Episodes()
        self._updates = 0
        self._validated_step = -1
        self.best = Best()

    def _on_step(self) -> bool:
        for e in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][e]
            self._episodes.add(info["totals"], info["drawdown"])
        return True

    def _on_rollout_end(self) -> None:
        # ``rollout/*`` comes from stable-baselines3 itself, from the same episodes.
        found = self._episodes.metrics()
        metrics = {name: value for name, value in found.items() if name.startswith("market/")}
        self._telemetry.scalars(metrics, self.num_timesteps)
        self._job.report(self._symbol, self.num_timesteps, metrics)

    def _on_rollout_start(self) -> None:
        # A rollout starts after the update that used the one before.
        if (
            self._updates
            and self._updates % self._job.config.training.checkpoint_every_updates == 0
        ):
            self.validate()
        self._updates += 1

    def finish(self) -> None:
        """Validates the final model."""
        if self._validated_step != self.num_timesteps:
            self.validate()
        self._job.report(self._symbol, self.num_timesteps, self.best.metrics)

    def validate(self) -> None:
        """Measures the model on the validation rows; the best so far becomes the specialist."""
        self._validated_step = self.num_timesteps
        env = self._job.worlds[self._symbol].evaluation_env(1, SeedTree(0), whole=True)
        weights = kept_weights(self.model)
        (metrics,) = evaluate_parts(Crew.from_weights([weights]).act, [env])
        self._telemetry.scalars(metrics, self.num_timesteps)
        if self.best.beaten_by(metrics, self.num_timesteps):
            self._job.keep(self._symbol, weights, self.num_timesteps)


def kept_weights(model: BaseAlgorithm) -> Weights:
    """What is kept of a model's policy."""
    # The extractor is listed three times (shared, pi_, vf_): one tensor, kept once.
    return {
        name: tensor.cpu().clone()
        for name, tensor in model.policy.state_dict().items()
        if not name.startswith(("pi_features_extractor.", "vf_features_extractor."))
    }
