# SPDX-License-Identifier: Apache-2.0
"""What reference answers say and how sure they are: the warm start that training begins from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.config import AnswerConfig

Float = NDArray[np.float64]

RANDOM_PERCENT = (50.0, 95.0)
LEAST_PERCENT = 50.0  # less would speak against its own prediction
MOST_PERCENT = 99.0


def reference_says(
    config: AnswerConfig, chances: Float, labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The class each reference answer predicts, int64 [M].

    Args:
        config: How references are written.
        chances: float64 [M, K], the best known forecast.
        labels: int [M], what happened.
    """
    likely: NDArray[np.int64] = chances.argmax(axis=1)
    return labels.astype(np.int64) if config.prediction == "outcome" else likely


def reference_percents(
    config: AnswerConfig, chances: Float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The confidence of each reference answer, whole percent, int64 [M].

    An informative one is how sure the forecast is of its favourite, plus noise, whichever side the
    answer takes: an answer that imitates the rarer outcome would otherwise have to say that it
    does not believe itself.

    Args:
        config: How references are written.
        chances: float64 [M, K], the best known forecast.
        generator: Source of the noise.
    """
    if config.confidence == "random":
        percents = generator.uniform(*RANDOM_PERCENT, size=len(chances))
    else:
        noise = config.noise_percent * generator.standard_normal(len(chances))
        percents = 100.0 * chances.max(axis=1) + noise
    stepped = config.step_percent * np.round(percents / config.step_percent)
    return np.clip(stepped, LEAST_PERCENT, MOST_PERCENT).astype(np.int64)
