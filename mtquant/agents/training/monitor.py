# SPDX-License-Identifier: Apache-2.0
"""Watching a stable-baselines3 run: TensorBoard, validation, checkpoints, progress."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from mtquant.agents.actors import ACTOR_CRITIC, Walk, actor_of
from mtquant.agents.library_policies import POLICIES, kept_state
from mtquant.agents.stack import Weights
from mtquant.agents.training.job import Best, Job
from mtquant.agents.training.replay import Recorder, tensors_digest
from mtquant.agents.training.rollout import Episodes
from mtquant.agents.training.validation import evaluate_parts
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import METRICS, Telemetry

# What other algorithms call what the dictionary has a name for.
SAME = {
    "train/policy_loss": "train/policy_gradient_loss",  # a2c
    "train/kl_divergence_loss": "train/approx_kl",  # trpo: of the accepted step
    "train/actor_loss": "train/policy_gradient_loss",  # sac
    "train/critic_loss": "train/value_loss",  # sac
}


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
        named = {SAME.get(name, name): value for name, value in key_values.items()}
        known = {name: float(value) for name, value in named.items() if name in METRICS}
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
        name: Whose.
        telemetry: Where the curves go.
        recorder: Who writes down the first updates.
    """

    def __init__(self, job: Job, name: str, telemetry: Telemetry, recorder: Recorder) -> None:
        super().__init__()
        self._job, self._name, self._telemetry = job, name, telemetry
        self._episodes = Episodes()
        self._arguments = {"hidden_units": list(job.settings.hidden_units)}
        self._policy = job.config.training.algorithm
        self._reported = self._validated = 0  # rollouts, and intervals between validations
        self._validated_step = -1
        self._recorder, self._digest = recorder, ""
        self.best = Best()

    def _on_step(self) -> bool:
        for e in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][e]
            self._episodes.add(info["totals"], info["rewards"], info["drawdown"])
        return True

    def _on_rollout_end(self) -> None:
        # An algorithm's own rollout may be shorter than the configured one, on which all are
        # reported: SAC's are a few bars.
        rollouts = self.num_timesteps // self._job.settings.rollout_steps
        if rollouts == self._reported:
            return
        self._reported = rollouts
        # ``rollout/*`` comes from stable-baselines3 itself, from the same episodes.
        found = self._episodes.metrics()
        own = {name: value for name, value in found.items() if not name.startswith("rollout/")}
        self._telemetry.scalars(own, self.num_timesteps)
        self._job.report(self._name, self.num_timesteps, own)

    def _on_rollout_start(self) -> None:
        # A rollout starts after the update that used the one before.
        self._record()
        training = self._job.config.training
        interval = training.checkpoint_every_updates * self._job.settings.rollout_steps
        if self.num_timesteps // interval > self._validated:
            self._validated = self.num_timesteps // interval
            self.validate()

    def _record(self) -> None:
        """Writes down weights that an update has changed: SAC's first rollouts change none."""
        if not self._recorder.wants:
            return
        digest = tensors_digest(kept_weights(self.model))
        if self._digest not in ("", digest):
            self._recorder.add({self._name: digest})
        self._digest = digest

    def finish(self) -> None:
        """Validates the final model."""
        if self._validated_step != self.num_timesteps:
            self.validate()

    def validate(self) -> None:
        """Measures the model on the validation rows; the best so far becomes the specialist."""
        self._validated_step = self.num_timesteps
        env = self._job.worlds[self._name].evaluation_env(1, SeedTree(0), whole=True)
        weights, size = kept_weights(self.model), (env.layout.size, len(env.unit))
        own = self._policy in POLICIES
        policy, arguments = (self._policy, self._arguments) if own else (ACTOR_CRITIC, {})
        walk = Walk(actor_of(policy, weights, *size, arguments))
        (metrics,) = evaluate_parts(lambda seen: [walk(seen[0])], [env])
        self._telemetry.scalars(metrics, self.num_timesteps)
        if self.best.beaten_by(metrics, self.num_timesteps):
            if own:
                step, save = self.num_timesteps, self.model.save
                self._job.keep_library(self._name, weights, step, policy, arguments, save)
            else:
                self._job.keep(self._name, weights, self.num_timesteps)
        self._job.report(self._name, self.num_timesteps, metrics)


def kept_weights(model: BaseAlgorithm) -> Weights:
    """What is kept of a model's policy."""
    return kept_state(model.policy)
