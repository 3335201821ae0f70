# SPDX-License-Identifier: Apache-2.0
"""Watching a stable-baselines3 run: TensorBoard, validation, checkpoints, progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from mtquant.agents.networks import Actor
from mtquant.agents.training.validation import evaluate_part
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import METRICS, Telemetry

LATEST_EPISODES = 100


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
        world: Its bars and rules.
        telemetry: Where the curves go.
        every_updates: Validate and keep a checkpoint after this many updates.
        keep: Writes the model as it stands.
        report: Called with steps and the latest metrics after every rollout.
    """

    def __init__(
        self,
        world: SpecialistWorld,
        telemetry: Telemetry,
        every_updates: int,
        keep: Callable[[int], None],
        report: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        super().__init__()
        self._world, self._telemetry, self._keep, self._report = world, telemetry, keep, report
        self._every_updates = every_updates
        self._episodes: deque[dict[str, float]] = deque(maxlen=LATEST_EPISODES)
        self._updates = 0
        self._validated_step = -1
        self.best_step = -1
        self.best_metrics: dict[str, float] = {}

    def _on_step(self) -> bool:
        for e in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][e]
            self._episodes.append({**info["totals"], "drawdown": info["drawdown"]})
        return True

    def _on_rollout_end(self) -> None:
        metrics = self._market_metrics()
        self._telemetry.scalars(metrics, self.num_timesteps)
        self._report(self.num_timesteps, metrics)

    def _on_rollout_start(self) -> None:
        # A rollout starts after the update that used the one before.
        if self._updates and self._updates % self._every_updates == 0:
            self.validate()
        self._updates += 1

    def finish(self) -> None:
        """Validates the final model."""
        if self._validated_step != self.num_timesteps:
            self.validate()
        self._report(self.num_timesteps, self.best_metrics)

    def validate(self) -> None:
        """Measures the model on the validation rows; the best so far becomes the specialist.

        "Best" is the validation Sharpe ratio at the true costs; a model that does not trade has 0.
        """
        self._validated_step = self.num_timesteps
        env = self._world.evaluation_env(1, SeedTree(0), whole=True)
        metrics = evaluate_part(Actor(self.model.policy.state_dict()).cpu().act, env)
        self._telemetry.scalars(metrics, self.num_timesteps)
        if metrics["validation/sharpe"] > self.best_metrics.get("validation/sharpe", -np.inf):
            self.best_step, self.best_metrics = self.num_timesteps, metrics
            self._keep(self.num_timesteps)

    def _market_metrics(self) -> dict[str, float]:
        """Means over the latest episodes, per bar lived through.

        ``rollout/*`` comes from stable-baselines3 itself, from the same episodes.
        """
        if not self._episodes:
            return {}
        totals = {name: sum(end[name] for end in self._episodes) for name in self._episodes[0]}
        bars, count = totals["length"], len(self._episodes)
        return {
            "market/growth": totals["growth"] / bars,
            "market/turnover": totals["turnover"] / bars,
            "market/cost": totals["cost"] / bars,
            "market/drawdown": totals["drawdown"] / count,
            "market/gross": totals["gross"] / bars,
            "market/stop_rate": totals["stops"] / bars,
            "market/limit_bind_rate": totals["bound_bars"] / bars,
        }
