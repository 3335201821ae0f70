# SPDX-License-Identifier: Apache-2.0
"""Does what was best in one half of the time stay good in the other?

Source: Bailey, Borwein, Lopez de Prado and Zhu, "The probability of backtest overfitting", Journal
of Computational Finance 20 (2015): combinatorially symmetric cross-validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError

Float = NDArray[np.float64]

PARTS = 16  # the paper's S: 12,870 ways to halve the time
CHUNK = 1024  # halvings at a time, which bounds memory


@dataclass(frozen=True)
class Overfitting:
    """What choosing the best of several strategies was worth.

    Attributes:
        probability: Share of halvings in which the best of one half was at or below the median of
            the other half. Near 0.5 for pure luck, near 0 for a real edge.
        loss_probability: Share of halvings in which it lost in the other half.
        logits: float64 [C], the paper's lambda of every halving; below 0 is below the median.
    """

    probability: float
    loss_probability: float
    logits: Float


def backtest_overfitting(returns: Float, parts: int = PARTS) -> Overfitting:
    """Probability that choosing by the past chooses what is below the median afterwards, PBO.

    The time is cut into `parts` stretches of equal length (bars left over at the start are not
    used). Each half of the stretches in turn is the past, the others are what came after; the
    strategy of the largest Sharpe ratio in the past is ranked by its ratio afterwards.

    Args:
        returns: float64 [T, N], simple returns of N strategies on the same bars, finite.
        parts: Stretches, even.

    Returns:
        The result. A ratio without variance counts as 0; ties share their mean rank.

    Raises:
        DataError: Fewer than 2 strategies or 2 bars a stretch, an odd number of stretches, or a
            return that is not finite.
    """
    bars, count = returns.shape
    if parts < 2 or parts % 2:
        raise DataError("parts", "must be even and at least 2", parts, "The paper takes 16.")
    if count < 2 or bars < 2 * parts or not np.isfinite(returns).all():
        rule = f"must be finite, with 2 strategies and {2 * parts} bars or more"
        raise DataError("returns", rule, returns.shape, "Give more, or fewer parts.")
    length = bars // parts
    half = length * parts // 2
    used = returns[bars - length * parts :].reshape(parts, length, count)
    sums, squares = used.sum(axis=1), (used**2).sum(axis=1)
    logits, losses = [], []
    for past in _halvings(parts):
        chosen = np.argmax(_ratios(past @ sums, past @ squares, half), axis=1)
        after = 1.0 - past
        ratios = _ratios(after @ sums, after @ squares, half)
        own = ratios[np.arange(len(past)), chosen][:, None]
        rank = (ratios < own).sum(axis=1) + ((ratios == own).sum(axis=1) + 1) / 2.0
        share = rank / (count + 1)
        logits.append(np.log(share / (1.0 - share)))
        losses.append(own[:, 0] < 0.0)
    every = np.concatenate(logits)
    return Overfitting(float(np.mean(every <= 0.0)), float(np.mean(np.concatenate(losses))), every)


def _halvings(parts: int) -> Iterator[Float]:
    """All ways to mark half of the stretches with 1, float64 [at most CHUNK, parts] at a time."""
    chosen = np.array(list(combinations(range(parts), parts // 2)))
    for first in range(0, len(chosen), CHUNK):
        rows = chosen[first : first + CHUNK]
        marks = np.zeros((len(rows), parts))
        np.put_along_axis(marks, rows, 1.0, axis=1)
        yield marks


def _ratios(sums: Float, squares: Float, bars: int) -> Float:
    """Sharpe ratio per bar from sums of returns and of their squares; 0 without variance."""
    variance = (squares - sums**2 / bars) / (bars - 1)
    known = variance > 1e-18 * squares
    ratios: Float = np.where(known, sums / bars, 0.0) / np.sqrt(np.where(known, variance, 1.0))
    return ratios
