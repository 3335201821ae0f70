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
from scipy.stats import rankdata

from mtquant.core.errors import DataError

Float = NDArray[np.float64]

PARTS = 16  # the paper's S: 12,870 ways to halve the time
DIGITS = 12  # of ratios per bar: what lies behind is rounding
NO_VARIANCE = 1e-12  # of the mean square: a constant return leaves as much by rounding
CHUNK = 1024  # halvings at a time, which bounds memory


@dataclass(frozen=True)
class Overfitting:
    """What choosing the best of several strategies was worth.

    Attributes:
        probability: Share of halvings in which the best of one half was at or below the median of
            the other half. Near `by_luck` for pure luck, near 0 for a real edge.
        by_luck: What it is where all ranks are equally likely: 1/2, and (N + 1) / 2 N for an odd
            number of strategies, one of which is the median itself.
        loss_probability: Share of halvings in which it lost in the other half.
        logits: float64 [C], the paper's lambda of every halving; below 0 is below the median.
            Where several were the best of the past alike, their mean.
    """

    probability: float
    by_luck: float
    loss_probability: float
    logits: Float


def backtest_overfitting(returns: Float, parts: int = PARTS) -> Overfitting:
    """Probability that choosing by the past chooses what is below the median afterwards, PBO.

    The time is cut into `parts` stretches of equal length (bars left over at the start are not
    used). Each half of the stretches in turn is the past, the others are what came after; the
    strategy of the largest Sharpe ratio in the past is ranked by its ratio afterwards. Where some
    share the largest ratio, each of them is chosen with the same weight, so that the order in which
    strategies are given says nothing.

    Args:
        returns: float64 [T, N], simple returns of N strategies on the same bars, finite.
        parts: Stretches, even.

    Returns:
        The result. A ratio without variance counts as 0; ratios per bar within 1e-12 of each other
        are ties, and ties share their mean rank.

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
    below, losses, logits = list[Float](), list[Float](), list[Float]()
    for past in _halvings(parts):
        before = _ratios(past @ sums, past @ squares, half)
        best = before == before.max(axis=1, keepdims=True)
        weights = best / best.sum(axis=1, keepdims=True)
        after = 1.0 - past
        ratios = _ratios(after @ sums, after @ squares, half)
        share = rankdata(ratios, axis=1) / (count + 1)
        lambdas = np.log(share / (1.0 - share))
        # The middle of ranks is 1/2 to the bit, and its logit 0.
        below.append((weights * (lambdas <= 0.0)).sum(axis=1))
        losses.append((weights * (ratios < 0.0)).sum(axis=1))
        logits.append((weights * lambdas).sum(axis=1))
    probability, lost = (float(np.concatenate(own).mean()) for own in (below, losses))
    by_luck = (count + 1) // 2 / count
    return Overfitting(probability, by_luck, lost, np.concatenate(logits))


def _halvings(parts: int) -> Iterator[Float]:
    """All ways to mark half of the stretches with 1, float64 [at most CHUNK, parts] at a time."""
    chosen = np.array(list(combinations(range(parts), parts // 2)))
    for first in range(0, len(chosen), CHUNK):
        rows = chosen[first : first + CHUNK]
        marks = np.zeros((len(rows), parts))
        np.put_along_axis(marks, rows, 1.0, axis=1)
        yield marks


def _ratios(sums: Float, squares: Float, bars: int) -> Float:
    """Sharpe ratio per bar from sums of returns and of their squares; 0 without variance. Rounded,
    so that strategies which differ in their size alone are ties.
    """
    variance = (squares - sums**2 / bars) / (bars - 1)
    known = variance > NO_VARIANCE * squares / bars
    ratios = np.where(known, sums / bars, 0.0) / np.sqrt(np.where(known, variance, 1.0))
    rounded: Float = ratios.round(DIGITS)
    return rounded
