# SPDX-License-Identifier: Apache-2.0
"""Phase 1: PPO specialists, one per instrument or as `training.specialists` says, each on its own
bars.

    results = Phase1Trainer(load_config(None), Path("models/phase1"), Path("logs/phase1")).train()

Training episodes are drawn from the training rows with costs drawn around the instrument's own;
the validation rows choose the best checkpoint. The test rows are not touched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtquant.agents.actors import Walk
from mtquant.agents.specialist import load_specialist
from mtquant.agents.training.job import Job
from mtquant.agents.training.phase import PhaseTrainer
from mtquant.agents.training.stacked import train_stacked
from mtquant.agents.training.validation import evaluate_episodes
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.errors import ConfigError
from mtquant.envs.gym import MarketGymEnv


class Phase1Trainer(PhaseTrainer):
    """Trains, keeps and evaluates the specialists.

    Arguments are `PhaseTrainer`'s; `timesteps` are bars per specialist. `output_dir` and `log_dir`
    receive one folder per specialist.

    Raises:
        RulesError: A specialist's instruments cannot be traded alone; and as `PhaseTrainer`.
    """

    phase = 1

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.worlds = {
            name: SpecialistWorld.build(
                name,
                {symbol: self.bars[symbol] for symbol in own},
                self.split,
                self.config,
                self.instruments,
            )
            for name, own in self.config.domains.items()
        }

    def create_specialist_environment(self, specialist_name: str) -> MarketGymEnv:
        """One account on a specialist's training rows as a Gymnasium environment.

        Raises:
            ConfigError: There is no such specialist.
        """
        seeds = self.seeds.child(specialist_name, "account")
        return MarketGymEnv(self._world(specialist_name).training_env(1, seeds))

    def train(self) -> dict[str, Any]:
        """Trains all specialists, at once with the stacked engine.

        Returns:
            For each specialist what `train_specialist` returns.
        """
        return self._train(list(self.worlds))

    def train_specialist(self, specialist_name: str) -> dict[str, Any]:
        """Trains one specialist and keeps its best checkpoint on the validation rows.

        Returns:
            ``"timesteps"``, ``"weights_sha256"``, ``"best_step"`` and the validation metrics.

        Raises:
            ConfigError: There is no such specialist.
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
        env = world.evaluation_env(n_episodes, self.seeds.child(specialist_name, "evaluation"))
        return evaluate_episodes(Walk(specialist.actor, n_episodes), env)

    def _world(self, name: str) -> SpecialistWorld:
        if name not in self.worlds:
            known = ", ".join(self.worlds)
            raise ConfigError(
                "specialist_name", "must be a configured specialist", name, f"Known: {known}."
            )
        return self.worlds[name]

    def _train(self, names: Sequence[str]) -> dict[str, Any]:
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
            self.resume,
            self.different_numerics,
        )
        if self.config.training.engine == "sb3":
            from mtquant.agents.training.library import train_with_library

            return train_with_library(job)
        return train_stacked(job)
