# SPDX-License-Identifier: Apache-2.0
"""Phase 2: a meta-controller learns to share out capital among specialists that are frozen.

Phase2Trainer(config, Path("models/phase2"), Path("logs/phase2"), instruments).train()
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.agents.crew import Crew
from mtquant.agents.specialist import load_specialists
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.curriculum_env import move_on
from mtquant.agents.training.hierarchical import HierarchicalTrainer, scaling_of
from mtquant.agents.training.loop import PPOLoop
from mtquant.agents.training.replay import Recorder
from mtquant.agents.training.rollout import Rollout
from mtquant.agents.training.session import weights_digest
from mtquant.envs import allocation
from mtquant.envs.meta import MetaControllerTrainingEnv
from mtquant.learning.threads import use_threads

NAME = "meta-controller"


class Phase2Trainer(HierarchicalTrainer):
    """Trains the meta-controller.

    Args:
        *arguments, **named: `PhaseTrainer`'s.
        specialists_dir: Folder of phase 1; ``phase1`` beside `output_dir` when None.

    Raises:
        CheckpointError: Phase 1 has left no such specialists as are configured, or some of other
            rules, features or bars. It is checked here, before any training.
    """

    phase = 2

    def __init__(self, *arguments: Any, specialists_dir: Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.specialists_dir = specialists_dir or self.output_dir.parent / "phase1"
        self.load_pretrained_specialists()

    def load_pretrained_specialists(self) -> None:
        """Loads the configured specialists from phase 1, and checks them."""
        rows, units = [], {}
        for name, specialist in load_specialists(self.specialists_dir, self.domains).items():
            self.check_specialist(specialist, name, self.specialists_dir / name)
            rows.append(specialist.weights)
            for symbol in self.domains[name]:
                units[symbol] = specialist.manifest.reward_scale / specialist.manifest.unit
        self.crew = Crew.from_weights(rows, self.device)
        self.forecast_units = {symbol: units[symbol] for symbol in self.bars}

    def create_portfolio_environment(self) -> MetaControllerTrainingEnv:
        """One portfolio on the training rows as a Gymnasium environment."""
        env = self.world.training_env(1, self.seeds.child("portfolio"))
        return MetaControllerTrainingEnv(env, self.speak_with(self.crew, env), self.domains)

    def train(self) -> dict[str, Any]:
        """Trains the meta-controller and keeps its best checkpoint on the validation rows.

        Returns:
            ``"timesteps"``, ``"weights_sha256"``, ``"best_step"`` and the validation metrics.
        """
        use_threads(self.config.training.torch_threads)
        loop = self.build_loop()
        meta = Crew(loop.stack, loop.scaling)
        session, best = self.session(self.crew), {NAME: self.best}
        begun = session.begin(loop, best, resume=self.resume)
        recorder = Recorder(self.output_dir, self.replay_record(NAME, self.specialists_dir), begun)
        with ExitStack() as stack:
            board, *boards = self.open_boards(stack, begun)
            while not loop.done:
                (metrics,) = loop.iterate()
                recorder.add({NAME: weights_digest(loop.stack.parameters)})
                overall, weights = decisions(loop.collector.rollout)
                metrics |= overall
                checked = loop.done or loop.steps % self.check_every == 0
                found = self.validate(self.crew, meta) if checked else None
                if found is not None:
                    self.keep_best(found, loop.steps, self.crew, meta)
                    metrics |= found
                metrics |= move_on(self.env, loop.steps, found, loop.collector.batches[0].reset)
                board.scalars(metrics, loop.steps)
                for own, values in zip(boards, weights, strict=True):
                    own.scalars(values, loop.steps)
                if checked:
                    session.save(loop, best, [board, *boards])
                self.report(NAME, loop.steps, metrics)
        return self.result(loop.steps)

    def build_loop(self) -> PPOLoop:
        """The engine, ready to begin."""
        settings = self.settings
        env = self.open_env()
        batch = self.heard(env, self.crew)
        shape = PolicyShape(batch.observations.shape[1], settings.hidden_units, len(batch.unit))
        seed = self.seeds.child("torch").integer()
        stack = ActorCriticStack.fresh(shape, [seed], device=self.device)
        for own in (stack, self.crew.stack):
            own.compute_in(self.config.training.precision)
        scaling = scaling_of(self.meta_scaling(self.crew), self.crew)
        return PPOLoop([batch], stack, scaling, settings, self.timesteps, [self.seeds])


def decisions(rollout: Rollout) -> tuple[dict[str, float], list[dict[str, float]]]:
    """How the meta-controller shared out capital in a rollout (``meta/*`` of `docs/metrics.md`):
    in all, and to each specialist.
    """
    actions = rollout.actions[0].flatten(0, 1).float().cpu().numpy()
    weights, budgets = allocation.weights_and_budget(np.clip(actions, -1.0, 1.0))
    invested = weights[:, :-1]
    shares = invested / invested.sum(axis=1, keepdims=True)
    overall = {
        "meta/risk_budget": float(budgets.mean()),
        "meta/cash": float(weights[:, -1].mean()),
        "meta/specialists_used": float((1.0 / (shares**2).sum(axis=1)).mean()),
    }
    return overall, [{"meta/weight": float(weight)} for weight in invested.mean(axis=0)]
