# SPDX-License-Identifier: Apache-2.0
"""The `training.curriculum` section: how hard training is, and when it becomes harder."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mtquant.core.checked import Section, did_you_mean
from mtquant.core.errors import ConfigError
from mtquant.core.telemetry import METRICS

MEASURED = "validation/"
Share = Annotated[float, Field(ge=0.0, le=1.0)]
FROM_EASY_TO_HARD = (
    "volatility_factor",
    "jumps_a_year",
    "switches_a_year",
    "breakdown",
    "cost_factor",
    "episode_factor",
    "synthetic_share",
)


class CurriculumConfig(Section):
    """Levels of difficulty, what each dial is at the easiest and the hardest, and when to move.

    Every dial is `[at difficulty 0, at difficulty 1]` with a straight line between; equal numbers
    leave it alone.

    Attributes:
        levels: Number of difficulties, equally spaced from 0 to 1.
        metric: Which validation metric decides; larger is better.
        promote_above: At least this value passes.
        demote_below: Less than this value fails; between the two nothing moves.
        patience: Validations in a row that must pass, or fail.
        min_steps_per_level: Bars that have to be lived through before a level may be left.
        max_steps_per_level: Bars after which the next level begins whatever validation says; null
            for never.
        volatility_factor: Volatility of made-up calm bars, in units of the instrument's own over
            the training rows.
        jumps_a_year: Expected number of jumps in made-up bars, per instrument.
        switches_a_year: Expected number of changes between calm and stress in made-up bars.
        breakdown: How far correlation goes towards 0.95 in stress.
        cost_factor: Multiplies ``environment.cost_draw_range``.
        episode_factor: Multiplies ``environment.episode_length``.
        synthetic_share: Share of made-up bars; the others are blocks of training rows.
        mean_block_bars: Mean length of the blocks, real and made up.
    """

    levels: Annotated[int, Field(ge=2)] = 5
    metric: str = "validation/sharpe"
    promote_above: float = 0.5
    demote_below: float = -0.5
    patience: PositiveInt = 2
    min_steps_per_level: NonNegativeInt = 20_000
    max_steps_per_level: PositiveInt | None = 100_000
    volatility_factor: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.5)
    jumps_a_year: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 24.0)
    switches_a_year: tuple[NonNegativeFloat, NonNegativeFloat] = (1.0, 12.0)
    breakdown: tuple[Share, Share] = (0.0, 1.0)
    cost_factor: tuple[PositiveFloat, PositiveFloat] = (0.5, 1.0)
    episode_factor: tuple[PositiveFloat, PositiveFloat] = (0.25, 1.0)
    synthetic_share: tuple[Share, Share] = (0.0, 0.5)
    mean_block_bars: Annotated[float, Field(ge=1.0)] = 100.0

    @model_validator(mode="after")
    def _harder_is_not_easier(self) -> Self:
        for name in FROM_EASY_TO_HARD:
            easy, hard = getattr(self, name)
            if easy > hard:
                raise ConfigError(
                    f"training.curriculum.{name}",
                    "must be [at difficulty 0, at difficulty 1] and not fall",
                    [easy, hard],
                    f"Write [{hard}, {easy}].",
                )
        return self

    @model_validator(mode="after")
    def _validation_measures_the_metric(self) -> Self:
        measured = [name for name in METRICS if name.startswith(MEASURED)]
        if self.metric not in measured:
            raise ConfigError(
                "training.curriculum.metric",
                f"must be one of {', '.join(measured)}",
                self.metric,
                did_you_mean(self.metric, measured),
            )
        return self

    @model_validator(mode="after")
    def _thresholds_leave_room(self) -> Self:
        if self.demote_below >= self.promote_above:
            raise ConfigError(
                "training.curriculum.demote_below",
                "must be less than training.curriculum.promote_above",
                [self.demote_below, self.promote_above],
                "Leave room between them, or levels go up and down on noise alone.",
            )
        longest = self.max_steps_per_level
        if longest is not None and longest < self.min_steps_per_level:
            raise ConfigError(
                "training.curriculum.max_steps_per_level",
                "must not be less than training.curriculum.min_steps_per_level",
                [self.min_steps_per_level, longest],
                "Raise it, or set it to null.",
            )
        return self
