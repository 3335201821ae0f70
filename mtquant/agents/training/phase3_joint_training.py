# SPDX-License-Identifier: Apache-2.0
"""Phase 3: meta-controller and specialists learn together, each other's gradients coordinated.

Phase3JointTrainer(config, Path("models/phase3"), Path("logs/phase3"), instruments).train()
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.agents.crew import Crew
from mtquant.agents.hierarchy import META, HierarchyManifest, read_hierarchy, require_domains
from mtquant.agents.specialist import bars_digest
from mtquant.agents.training.curriculum_env import move_on
from mtquant.agents.training.gradient_coordination import GradientCoordinationSystem
from mtquant.agents.training.hierarchical import HierarchicalTrainer
from mtquant.agents.training.joint_loop import JointLoop
from mtquant.agents.training.joint_rollout import JointCollector
from mtquant.agents.training.phase2_trainer import NAME, decisions
from mtquant.agents.training.replay import Recorder, tensors_digest
from mtquant.core.errors import CheckpointError
from mtquant.envs.pettingzoo import JointTrainingEnv
from mtquant.features.signals import signals_digest
from mtquant.learning.threads import use_threads


class Phase3JointTrainer(HierarchicalTrainer):
    """Trains the whole hierarchy.

    Args:
        *arguments, **named: `PhaseTrainer`'s.
        hierarchy_dir: Folder of phase 2; ``phase2`` beside `output_dir` when None.

    Raises:
        CheckpointError: Phase 2 has left no hierarchy, or one of other instruments, specialists,
            rules, features or bars. It is checked here, before any training.
    """

    phase = 3

    def __init__(self, *arguments: Any, hierarchy_dir: Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.hierarchy_dir = hierarchy_dir or self.output_dir.parent / "phase2"
        self.load_pretrained_models()

    def load_pretrained_models(self) -> None:
        """Loads specialists and meta-controller of phase 2, and checks them."""
        manifest, weights = read_hierarchy(self.hierarchy_dir)
        self._check(manifest)
        self.forecast_units = manifest.forecast_units
        self.crew = Crew.from_weights([weights[name] for name in self.domains], self.device)
        self.meta = Crew.from_weights([weights[META]], self.device)

    def create_joint_training_env(self) -> JointTrainingEnv:
        """One portfolio on the training rows as a PettingZoo environment."""
        env = self.world.training_env(1, self.seeds.child("portfolio"))
        return JointTrainingEnv(env, self.domains)

    def train(self) -> dict[str, Any]:
        """Trains all networks and keeps the best hierarchy on the validation rows.

        What phase 2 has left is validated first, so that the best is never worse there than that.

        Returns:
            ``"timesteps"``, ``"weights_sha256"``, ``"best_step"`` and the validation metrics; a
            ``"note"`` where nothing was better than what phase 2 has left (``"best_step"`` 0).
        """
        use_threads(self.config.training.torch_threads)
        session, best = self.session(self.crew, self.meta), {NAME: self.best}
        loop = self.build_loop()
        begun = session.begin(loop, best, resume=self.resume)
        recorder = Recorder(self.output_dir, self.replay_record(NAME, self.hierarchy_dir), begun)
        with ExitStack() as stack:
            board, *boards = self.open_boards(stack, begun)
            if not begun:
                self.keep_best(self.validate(self.crew, self.meta), 0, self.crew, self.meta)
            while not loop.done:
                metrics, specialists = loop.iterate()
                self.record_updates(recorder)
                overall, weights = decisions(loop.collector.rollout.meta)
                metrics |= overall
                checked = loop.done or loop.steps % self.check_every == 0
                found = self.validate(self.crew, self.meta) if checked else None
                if found is not None:
                    self.keep_best(found, loop.steps, self.crew, self.meta)
                    metrics |= found
                metrics |= move_on(self.env, loop.steps, found, loop.collector.reset)
                board.scalars(metrics, loop.steps)
                for own, weight, values in zip(boards, weights, specialists or repeat({})):
                    own.scalars(weight | values, loop.steps)
                if checked:
                    session.save(loop, best, [board, *boards])
                self.report(NAME, loop.steps, metrics)
        return self.result(loop.steps)

    def record_updates(self, recorder: Recorder) -> None:
        """Writes down the weights after an update, while that is asked for."""
        if recorder.wants:
            crews = {"specialists": self.crew, NAME: self.meta}
            held = {name: crew.stack.parameters for name, crew in crews.items()}
            recorder.add({NAME: tensors_digest(held)})

    def build_loop(self) -> JointLoop:
        """The engine, ready to begin."""
        training, settings = self.config.training, self.settings
        env = self.open_env()
        for crew in (self.crew, self.meta):
            crew.stack.compute_in(training.precision)
        names = [*self.domains, NAME]
        noise = [self.seeds.child("noise", name).generator() for name in names]
        units = np.array([self.forecast_units[symbol] for symbol in self.bars])
        collector = JointCollector(
            env,
            self.domains,
            self.crew,
            self.meta,
            settings.n_steps,
            noise,
            units,
            training.specialist_reward,
            settings.surprise,
        )
        coordination = GradientCoordinationSystem(training.gradient_method)
        frequencies = (training.meta_update_freq, training.specialist_update_freq)
        return JointLoop(collector, settings, coordination, self.timesteps, self.seeds, frequencies)

    def _check(self, manifest: HierarchyManifest) -> None:
        """Refuses a hierarchy of another world.

        Raises:
            CheckpointError: What differs.
        """
        bars, until = self.bars, manifest.known_until_ns
        known = {name: bars_digest(own, until) for name, own in bars.items()}
        checks = (
            ("instruments", manifest.symbols, tuple(bars)),
            ("features", manifest.features_hash, self.world.pipeline.hash()),
            ("rules", manifest.rules_hash, self.world.rules.hash()),
            ("bars", dict(manifest.bars_sha256), known),
            ("predictions", manifest.signals_sha256, signals_digest(self.config.features, until)),
        )
        for what, found, expected in checks:
            if found != expected:
                raise CheckpointError(
                    f"{what} of {self.hierarchy_dir}",
                    f"must be those of phase 3: {expected}",
                    found,
                    "Use the configuration that phase 2 ran with, or train phase 2 again.",
                )
        require_domains(manifest, self.domains, self.hierarchy_dir)
