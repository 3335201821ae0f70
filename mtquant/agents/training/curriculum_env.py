# SPDX-License-Identifier: Apache-2.0
"""Where accounts train: on the real training rows, or in the scenarios of the curriculum.

    env = training_env(world, config.training, bars, split, n_accounts, seeds)
    ...                                                      # one rollout, one update
    metrics = move_on(env, step, validation, restart)        # {} without the curriculum

A `CurriculumEnv` is a `MarketEnv` that goes from one scenario to the next. Its `state` holds where
the curriculum stands, so that loops, checkpoints and worker processes know nothing of it, and what
is around it (messages, shadows, vector environments) keeps the same object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.training.curriculum import AdvancedCurriculumLearning, Scenario
from mtquant.agents.training.scenarios import World, stage
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, part
from mtquant.core.training_config import TrainingConfig
from mtquant.data.bars import Bars
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv


class CurriculumEnv(MarketEnv):
    """Accounts that live training episodes in one scenario after the other.

    Rules, features' definitions, the reward and its scale stay those of the real bars.

    Args:
        world: Of the same instruments.
        curriculum: Chooses the difficulty.
        real: Symbol -> bars that the world was built from.
        split: Train, validation and test; scenarios are made of the training rows.
        n_accounts: E.
        unit: As for `MarketEnv`.

    Raises:
        DataError: See `scenarios.scenario_env`.
    """

    def __init__(
        self,
        world: World,
        curriculum: AdvancedCurriculumLearning,
        real: Mapping[str, Bars],
        split: Split,
        n_accounts: int,
        unit: NDArray[np.float64] | None = None,
    ) -> None:
        self.curriculum = curriculum
        self._world, self._real, self._split = world, real, split
        self._count, self._asked_unit = n_accounts, unit
        self._lay_out(curriculum.generate_scenario(curriculum.difficulty))

    def move_on(self, step: int, validation: Mapping[str, float] | None) -> bool:
        """Enters the next scenario behind every validation, and wherever the difficulty moves.

        Args:
            step: Bars lived through.
            validation: ``validation/*`` metrics; None where there was none after this rollout.

        Returns:
            Whether the scenario is another one. Every account then has to begin anew: `reset`.
        """
        curriculum, before = self.curriculum, self.curriculum.difficulty
        difficulty = curriculum.get_difficulty_level(step)
        if validation is not None:
            difficulty = curriculum.update_curriculum(validation)
        elif difficulty == before:
            return False
        self._enter(curriculum.generate_scenario(difficulty))
        return True

    def state(self) -> Arrays:
        """Of accounts and curriculum."""
        numbers = {name: np.array(value) for name, value in self.curriculum.state().items()}
        return {**super().state(), **below("curriculum", numbers)}

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of accounts in scenarios of the same training rows.

        Raises:
            CheckpointError: It is of another shape, or of a run without the curriculum.
        """
        numbers = part("curriculum", state)
        self.curriculum.load_state({name: own.item() for name, own in numbers.items()})
        latest = self.curriculum.latest
        if latest is not None:
            self._enter(latest)
        super().load_state(state)

    def _enter(self, scenario: Scenario) -> None:
        # Whatever is around this batch holds on to these three arrays.
        held = self.observations, self.rewards, self.done
        self._lay_out(scenario)
        self._write_into(*held)

    def _lay_out(self, scenario: Scenario) -> None:
        world, own = self._world, stage(self._world, scenario, self._real, self._split)
        super().__init__(
            own.tape,
            world.rules,
            own.features,
            world.pipeline.panel_names,
            world.reward,
            own.rows,
            self._count,
            own.environment,
            scenario.seeds.child("episodes"),
            self._asked_unit,
        )


def training_env(
    world: World,
    training: TrainingConfig,
    real: Mapping[str, Bars],
    split: Split,
    n_accounts: int,
    seeds: SeedTree,
    unit: NDArray[np.float64] | None = None,
    name: str = "",
    logger: logging.Logger | None = None,
) -> MarketEnv:
    """Accounts that live training episodes, as `training.curriculum_learning` says.

    Args:
        world: Bars, features, rules and reward.
        training: The training section.
        real: Symbol -> bars that the world was built from.
        split: Train, validation and test.
        n_accounts: E.
        seeds: Node of the seed tree, for episodes, costs and scenarios.
        unit: As for `MarketEnv`.
        name: Whose accounts, for the logger.
        logger: Who hears of levels.

    Raises:
        DataError: See `scenarios.scenario_env`.
    """
    if not training.curriculum_learning:
        return world.training_env(n_accounts, seeds)
    node = seeds.child("curriculum")
    curriculum = AdvancedCurriculumLearning(training.curriculum, node, logger, name)
    return CurriculumEnv(world, curriculum, real, split, n_accounts, unit)


def move_on(
    env: object,
    step: int,
    validation: Mapping[str, float] | None,
    restart: Callable[[], object],
) -> dict[str, float]:
    """Lets training accounts go on to the next scenario, between a rollout and the next.

    Args:
        env: As `training_env` gave it.
        step: Bars lived through.
        validation: ``validation/*`` metrics; None where there was none after this rollout.
        restart: Begins all accounts anew, with what is around them; called if the scenario is
            another one.

    Returns:
        The ``curriculum/*`` metrics of the rollout just lived through; none without the curriculum.
    """
    if not isinstance(env, CurriculumEnv):
        return {}
    metrics = env.curriculum.metrics()
    if env.move_on(step, validation):
        restart()
    return metrics
