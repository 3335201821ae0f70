# SPDX-License-Identifier: Apache-2.0
"""The curriculum: how hard the market of training is, and when it becomes harder or easier.

    curriculum = AdvancedCurriculumLearning(config.training.curriculum, seeds)
    scenario = curriculum.generate_scenario(curriculum.get_difficulty_level(training_step))
    ...                                             # train in it (`scenarios.py`), validate
    curriculum.update_curriculum(validation_metrics)

Validation is always on the real validation rows at the true costs, so levels are compared on one
scale. A level is left after `patience` validations in a row above one threshold, or below a lower
one: Schmitt's trigger, so that noise between the two does nothing. Source of the idea: Bengio et
al. 2009, "Curriculum learning"; moving by measured success follows the automatic domain
randomisation of OpenAI et al. 2019, "Solving Rubik's cube with a robot hand", section 5.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from mtquant.core.config import EnvironmentConfig
from mtquant.core.curriculum_config import FROM_EASY_TO_HARD, CurriculumConfig
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.synthetic import Dials


@dataclass(frozen=True)
class Scenario:
    """A market to train in, as numbers alone: the same numbers and training bars give the same
    bytes.

    Attributes:
        difficulty: From 0 to 1.
        dials: How hard the bars are. Volatility counts multiples of each instrument's own;
            correlation is replaced by that of the training bars.
        mean_block_bars: Mean length of the blocks, real and made up.
        seeds: Node of the seed tree that the bars are drawn from.
    """

    difficulty: float
    dials: Dials
    mean_block_bars: float
    seeds: SeedTree

    def environment(self, environment: EnvironmentConfig) -> EnvironmentConfig:
        """The environment with this scenario's costs and episode length."""
        return self.dials.environment(environment)


@dataclass
class _Progress:
    """Where the curriculum stands.

    Attributes:
        step: Latest training step known, bars.
        level: From 0 to `levels` - 1.
        level_step: Training step at which the level began.
        passed, failed: Validations in a row.
        promotions, demotions: Since the start.
        scenarios: Number generated.
        difficulty: Of the latest scenario.
    """

    step: int = 0
    level: int = 0
    level_step: int = 0
    passed: int = 0
    failed: int = 0
    promotions: int = 0
    demotions: int = 0
    scenarios: int = 0
    difficulty: float = 0.0


class AdvancedCurriculumLearning:
    """Chooses the difficulty of training and the scenarios that have it.

    Args:
        config: Levels, thresholds and dials.
        seeds: Node of the seed tree; scenario n is drawn from its child n.
        logger: Who hears of levels.
        name: Whose they are, for the logger.
    """

    def __init__(
        self,
        config: CurriculumConfig,
        seeds: SeedTree,
        logger: logging.Logger | None = None,
        name: str = "",
    ) -> None:
        self.config, self._name = config, name or "training"
        self._seeds = seeds
        self._logger = logger or logging.getLogger(__name__)
        self._progress = _Progress()

    @property
    def difficulty(self) -> float:
        """Of the level now, from 0 to 1."""
        return self._progress.level / (self.config.levels - 1)

    @property
    def latest(self) -> Scenario | None:
        """The scenario that was generated last, so that a resumed run goes on in it."""
        number = self._progress.scenarios
        return self._scenario(number - 1, self._progress.difficulty) if number else None

    def get_difficulty_level(self, training_step: int) -> float:
        """Notes how far training is and returns the difficulty there, from 0 to 1.

        A level that has lasted `max_steps_per_level` is left upwards. A step before one that is
        known already changes nothing.

        Args:
            training_step: Bars lived through.
        """
        now, longest = self._progress, self.config.max_steps_per_level
        now.step = max(now.step, training_step)
        if longest is not None and now.step - now.level_step >= longest:
            self._move(1)
        return self.difficulty

    def generate_scenario(self, difficulty_level: float) -> Scenario:
        """The next scenario of a difficulty; each call gives another one.

        Raises:
            DataError: The difficulty is outside [0, 1].
        """
        scenario = self._scenario(self._progress.scenarios, difficulty_level)
        self._progress.scenarios += 1
        self._progress.difficulty = scenario.difficulty
        return scenario

    def update_curriculum(self, performance_metrics: Mapping[str, float]) -> float:
        """Takes a validation into account and returns the difficulty after it.

        A value that is not a number neither passes nor fails.

        Args:
            performance_metrics: Metrics of `docs/metrics.md` that hold `config.metric`.

        Raises:
            DataError: The metric is missing.
        """
        now, config = self._progress, self.config
        if config.metric not in performance_metrics:
            raise DataError(
                "performance_metrics",
                f"must hold {config.metric}, which training.curriculum.metric names",
                sorted(performance_metrics),
                "Give it, or name another metric.",
            )
        score = performance_metrics[config.metric]
        now.passed = now.passed + 1 if score >= config.promote_above else 0
        now.failed = now.failed + 1 if score < config.demote_below else 0
        if now.step - now.level_step >= config.min_steps_per_level:
            if now.passed >= config.patience:
                self._move(1)
            elif now.failed >= config.patience:
                self._move(-1)
        return self.difficulty

    def metrics(self) -> dict[str, float]:
        """The ``curriculum/*`` metrics of `docs/metrics.md`."""
        dials = self._dials(self.difficulty)
        return {
            "curriculum/difficulty": self.difficulty,
            "curriculum/promotions": float(self._progress.promotions),
            "curriculum/demotions": float(self._progress.demotions),
            "curriculum/synthetic_share": dials.synthetic_share,
            "curriculum/volatility_factor": dials.volatility,
            "curriculum/cost_factor": dials.cost_factor,
            "curriculum/episode_factor": dials.episode_factor,
        }

    def state(self) -> dict[str, float]:
        """Everything that a checkpoint has to keep: plain numbers."""
        return asdict(self._progress)

    def load_state(self, state: Mapping[str, float]) -> None:
        """Goes on from an earlier `state`.

        Raises:
            CheckpointError: It is none, or names a level that the configuration does not have.
        """
        names = [field.name for field in fields(_Progress)]
        if sorted(state) != sorted(names):
            remedy = "Resume with the version of mtquant that wrote it."
            rule = f"must hold {', '.join(names)}"
            raise CheckpointError("curriculum state", rule, sorted(state), remedy)
        if not 0 <= state["level"] < self.config.levels:
            raise CheckpointError(
                "curriculum state",
                f"must name one of training.curriculum.levels = {self.config.levels} levels",
                state["level"],
                "Resume with the configuration of the run.",
            )
        counts = {name: int(state[name]) for name in names if name != "difficulty"}
        self._progress = _Progress(**counts, difficulty=float(state["difficulty"]))

    def _move(self, by: int) -> None:
        """Changes the level, where there is one above or below."""
        now = self._progress
        level = min(max(now.level + by, 0), self.config.levels - 1)
        if level == now.level:
            return
        now.promotions += by > 0
        now.demotions += by < 0
        now.level, now.level_step, now.passed, now.failed = level, now.step, 0, 0
        self._logger.info(
            "%s: difficulty %.2f from step %d on", self._name, self.difficulty, now.step
        )

    def _scenario(self, number: int, difficulty: float) -> Scenario:
        if not 0.0 <= difficulty <= 1.0:
            remedy = "0 is the easiest, 1 the hardest."
            raise DataError("difficulty_level", "must lie between 0 and 1", difficulty, remedy)
        dials, length = self._dials(difficulty), self.config.mean_block_bars
        return Scenario(float(difficulty), dials, length, self._seeds.child(number))

    def _dials(self, difficulty: float) -> Dials:
        """Each dial on its straight line."""
        at = {}
        for name in FROM_EASY_TO_HARD:
            easy, hard = getattr(self.config, name)
            at[name] = (1.0 - difficulty) * easy + difficulty * hard
        return Dials(volatility=at.pop("volatility_factor"), **at)
