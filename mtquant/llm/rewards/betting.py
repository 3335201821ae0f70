# SPDX-License-Identifier: Apache-2.0
"""The reward of spec 000: l1 (1 - log loss) + l2 growth at the offered odds, and a sound reasoning.

    reward = BettingReward("odds_winner", config, betting)
    scores = reward(prompts, completions, columns)  # columns: label, odds_k, result_k

The document's ROI is linear in the stake and largest for everything on any edge; the log growth of
a fractional-Kelly stake is largest for honest chances (`rewards.scoring.prediction_reward`). The
document says nothing of reasoning: its two parts are those of spec 002 and can be weighted 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.rewards.reasoning import read_bet
from mtquant.llm.rewards.stakes import bet_columns, kelly_stakes, settled
from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks import answers
from mtquant.llm.tasks.config import BettingConfig, TaskName, TaskRewardConfig
from mtquant.llm.tasks.task import Columns, Scores, Stage
from mtquant.rewards.scoring import log_loss, prediction_reward

Float = NDArray[np.float64]

PARSERS = {
    "odds_winner": answers.parse_winner,
    "odds_spread": answers.parse_spread,
    "odds_total": answers.parse_total,
    "odds_1x2": answers.parse_1x2,
}
# Stated chances are whole percent: 0 % is rounded from up to half a percent.
LEAST_STATED = 0.005


@dataclass(frozen=True)
class BettingReward:
    """Scores the answers of an odds task.

    Attributes:
        task: Name of the task.
        config: Weights.
        betting: How chances become stakes.
        base: Shares of the classes in the training part.
        stage: ``"stage2"`` adds ``skew_weight`` x (log loss of the base rate - log loss).
        wealth: Terms on the staked wealth, or None.
    """

    task: TaskName
    config: TaskRewardConfig
    betting: BettingConfig
    base: tuple[float, ...]
    stage: Stage = "stage1"
    wealth: WealthTerms | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a call must be given."""
        bets = [f"{name}_{k}" for name in ("odds", "result") for k in range(len(self.base))]
        return ("label", *bets, *(self.wealth.needs if self.wealth else ()))

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the parts."""
        config = self.config
        found = {
            "score": config.score_weight,
            "growth": config.growth_weight,
            "data_usage": config.data_usage_weight,
            "coherence": config.coherence_weight,
        }
        found |= {"skew": config.skew_weight} if self.stage == "stage2" else {}
        return found | ({"wealth": 1.0} if self.wealth else {})

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns
    ) -> Scores:
        """Scores M completions; parts score, growth, data_usage, coherence and, in their cases,
        skew and wealth.
        """
        count, classes, config = len(completions), len(self.base), self.config
        parsed, chances = np.zeros(count, dtype=np.bool_), np.full((count, classes), 1.0 / classes)
        usage, coherence = np.zeros(count), np.zeros(count)
        parse = PARSERS[self.task]
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            answer = parse(prompt, completion)
            if answer is None:
                continue
            reading = read_bet(prompt, answer, config.max_reasoning_characters)
            parsed[row], chances[row] = True, answer.chances
            usage[row], coherence[row] = reading.data_usage, reading.coherence
        stated = stated_chances(chances)
        labels = np.asarray(columns["label"], dtype=np.int64)
        odds, results = bet_columns(columns, classes)
        stakes = kelly_stakes(chances, odds, self.betting) * parsed[:, None]
        growth = settled(stakes, odds, results, self.betting)[1]
        parts = self._parts(stated, labels, growth, parsed)
        parts["data_usage"] = config.data_usage_weight * usage
        parts["coherence"] = config.coherence_weight * coherence
        if self.wealth is not None:
            parts["wealth"] = self.wealth.of_stakes(stakes, odds, results, parsed, columns)
        total: Float = np.sum(list(parts.values()), axis=0)
        return Scores(total, parts, parsed)

    def _parts(
        self, stated: Float, labels: NDArray[np.int64], growth: Float, parsed: NDArray[np.bool_]
    ) -> dict[str, Float]:
        """Score and growth, and the skew in stage II; the worst there is where nothing parsed."""
        config, worst = self.config, -np.log(LEAST_STATED / (1.0 + LEAST_STATED * len(self.base)))
        none = np.zeros(len(labels))
        score = prediction_reward(stated, labels, none, config.score_weight, 0.0)
        least_score = config.score_weight * (1.0 - worst)
        largest = min(1.0, self.betting.max_stake_frac * len(self.base))
        least_growth = config.growth_weight * float(np.log1p(-min(largest, 0.999)))
        parts = {
            "score": np.where(parsed, score, least_score),
            "growth": np.where(parsed, config.growth_weight * growth, least_growth),
        }
        if self.stage == "stage2":
            base = log_loss(np.tile(self.base, (len(labels), 1)), labels)
            gain = np.where(parsed, base - log_loss(stated, labels), base - worst)
            parts["skew"] = config.skew_weight * gain
        return parts


def stated_chances(chances: Float) -> Float:
    """Chances [M, K] with half a percent where they were rounded to nothing, adding up to 1."""
    kept = np.maximum(chances, LEAST_STATED)
    return kept / kept.sum(axis=1, keepdims=True)
