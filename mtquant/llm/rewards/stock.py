# SPDX-License-Identifier: Apache-2.0
"""The reward of spec 002: accuracy 0.6, data usage 0.2, coherence 0.2; stage II adds the skew.

    reward = DirectionReward(config, base_chance=0.53, stage="stage1")
    scores = reward(prompts, completions, {"label": labels})

Accuracy is a proper score of the stated confidence (`mtquant.rewards.scoring`), so no answer earns
more than what the model believes. A coin flip in perfect form earns 0.85 of 1: compare with the
base-rate answer and not with 0. What does not parse earns the minimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.rewards.reasoning import read_direction
from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks.answers import parse_direction
from mtquant.llm.tasks.config import TaskRewardConfig
from mtquant.llm.tasks.task import Columns, Scores, Stage
from mtquant.rewards.scoring import brier_loss, direction_reward, log_loss

Float = NDArray[np.float64]

# "100%" is rounded from half a percent less: with it the log score of a certain mistake is finite.
LEAST_STATED = 0.005


@dataclass(frozen=True)
class DirectionReward:
    """Scores UP or DOWN.

    Attributes:
        config: Weights.
        base_chance: Share of rises in the training part: what an answer that knows nothing says.
        stage: ``"stage2"`` adds ``skew_weight`` x (Brier loss of the base rate - Brier loss), 0 for
            the base-rate answer, negative for 50 % where markets rise more often than not.
        wealth: Terms on the staked wealth, or None.
    """

    config: TaskRewardConfig
    base_chance: float
    stage: Stage
    wealth: WealthTerms | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a call must be given."""
        return ("label", *(self.wealth.needs if self.wealth else ()))

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the parts."""
        config = self.config
        found = {
            "accuracy": config.accuracy_weight,
            "data_usage": config.data_usage_weight,
            "coherence": config.coherence_weight,
        }
        found |= {"skew": config.skew_weight} if self.stage == "stage2" else {}
        return found | ({"wealth": 1.0} if self.wealth else {})

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns
    ) -> Scores:
        """Scores M completions; parts accuracy, data_usage, coherence and, in their cases, skew
        and wealth.
        """
        count = len(completions)
        parsed, rises = np.zeros(count, dtype=np.bool_), np.full(count, 0.5)
        usage, coherence = np.zeros(count), np.zeros(count)
        longest = self.config.max_reasoning_characters
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            answer = parse_direction(prompt, completion)
            if answer is None:
                continue
            reading = read_direction(prompt, answer, longest)
            parsed[row], rises[row] = True, answer.chances[1]
            usage[row], coherence[row] = reading.data_usage, reading.coherence
        labels = np.asarray(columns["label"], dtype=np.int64)
        config = self.config
        parts = {
            "accuracy": np.where(parsed, self._accuracy(rises, labels), 0.0),
            "data_usage": config.data_usage_weight * usage,
            "coherence": config.coherence_weight * coherence,
        }
        if self.stage == "stage2":
            base = brier_loss(np.full(count, self.base_chance), labels)
            gain = np.where(parsed, base - brier_loss(rises, labels), -1.0)
            parts["skew"] = config.skew_weight * gain
        if self.wealth is not None:
            parts["wealth"] = self.wealth.of_positions(rises, parsed, columns)
        total: Float = np.sum(list(parts.values()), axis=0)
        return Scores(total, parts, parsed)

    def _accuracy(self, rises: Float, labels: NDArray[np.int64]) -> Float:
        """0 for a certain mistake, the weight for certainty that came true."""
        weight = self.config.accuracy_weight
        if self.config.score == "brier":
            return direction_reward(rises, labels, weight)
        stated = np.clip(rises, LEAST_STATED, 1.0 - LEAST_STATED)
        return weight * (1.0 - log_loss(stated, labels) / -np.log(LEAST_STATED))
