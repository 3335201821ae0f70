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


def stepped_chances(chances: Float, step_percent: int) -> Float:
    """Chances as whole numbers of steps, at least one each, float64 [M, K]: three numbers of many
    sizes that add up to 100 % are sums that a model would have to learn first.

    What lies beyond one step each is shared out by largest remainders (Hamilton's method), so that
    no chance comes to lie above one that was larger. Where steps do not fill 100 %, the likeliest
    has the rest.

    Args:
        chances: float64 [M, K], rows that add up to 1; K steps must be less than 100 %.
        step_percent: Size of a step.
    """
    count, classes = chances.shape
    free = 100 // step_percent - classes
    beyond = np.maximum(chances * (free + classes) - 1.0, 0.0)
    wanted = free * beyond / beyond.sum(axis=1, keepdims=True)
    steps = np.floor(wanted + 1e-9)
    left = (free - steps.sum(axis=1)).astype(np.int64)
    rank = np.argsort(np.argsort(steps - wanted, axis=1, kind="stable"), axis=1, kind="stable")
    steps += 1.0 + (rank < left[:, None])
    percents = step_percent * steps
    percents[np.arange(count), chances.argmax(axis=1)] += 100.0 - percents.sum(axis=1)
    return percents / 100.0
