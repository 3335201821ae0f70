# SPDX-License-Identifier: Apache-2.0
"""Long-only weights from a covariance: least variance, and equal shares of risk.

Both are found one weight at a time, each set to its optimum given the others, until none moves. The
problems are convex, so where this stops is the solution; skfolio's solvers agree (tests).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

TOLERANCE = 1e-10  # largest relative move of a weight in a last round
ROUNDS = 10_000


def minimum_variance_weights(covariance: Float) -> Float:
    """Weights of at least 0 and of sum 1 with the least variance (Markowitz 1952).

    Solved as ``min x'Sx / 2 - sum x`` over x >= 0, whose solution is a multiple of the weights.

    Args:
        covariance: float64 [N, N], positive definite but for instruments without variance.

    Returns:
        float64 [N]; 0 for an instrument without variance, and all 0 if none has any.
    """
    return _by_coordinates(covariance, lambda variance, pull: max(0.0, (1.0 - pull) / variance))


def risk_parity_weights(covariance: Float) -> Float:
    """Weights above 0 and of sum 1 of which each contributes the same to the variance.

    Solved as ``min x'Sx / 2 - sum log x``, whose solution is a multiple of the weights: Spinu 2013,
    "An algorithm for computing risk parity weights", by the steps of Griveau-Billion, Richard and
    Roncalli 2013, "A fast algorithm for computing high-dimensional risk parity portfolios".

    Args, Returns: As for `minimum_variance_weights`.
    """
    return _by_coordinates(
        covariance,
        lambda variance, pull: (np.sqrt(pull * pull + 4.0 * variance) - pull) / (2.0 * variance),
    )


def _by_coordinates(covariance: Float, best: Callable[[float, float], float]) -> Float:
    """Cyclic coordinate descent; `best` gives a weight from its variance and the others' pull."""
    weights = np.zeros(len(covariance))
    deviation = np.sqrt(np.diag(covariance))
    known = np.flatnonzero(deviation > 0.0)
    if not len(known):
        return weights
    unit = float(np.mean(deviation[known]))  # weights near 1, whatever the size of the returns
    matrix = covariance[np.ix_(known, known)] / unit**2
    found = unit / deviation[known]
    for _ in range(ROUNDS):
        before = found.copy()
        for i in range(len(found)):
            pull = float(matrix[i] @ found - matrix[i, i] * found[i])
            found[i] = best(float(matrix[i, i]), pull)
        if np.max(np.abs(found - before)) <= TOLERANCE * np.max(found):
            break
    weights[known] = found / found.sum()
    return weights
