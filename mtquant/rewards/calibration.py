# SPDX-License-Identifier: Apache-2.0
"""Calibration: whether what was said with a chance of p happens p of the time.

    table = reliability(chances, outcomes)
    table.error, table.brier  # expected calibration error; mean Brier loss
    table.reliability - table.resolution + table.uncertainty + table.within  # the same Brier loss

Chances are float64 [n] of outcome 1, outcomes 0 or 1, as in `scoring.py`. An empty bin holds NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import RewardError
from mtquant.rewards.scoring import brier_loss

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability table of B bins and what follows from it.

    Attributes:
        edges: float64 [B + 1], the bins' borders; the last bin holds its upper border.
        counts: int64 [B], predictions in each bin.
        said: float64 [B], mean chance in the bin.
        happened: float64 [B], share of outcomes 1 in the bin.
        error: Expected calibration error, the mean |said - happened| over predictions (Naeini,
            Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian
            binning").
        brier: Mean Brier loss.
        reliability: Mean (said - happened)^2; 0 is calibrated.
        resolution: Mean (happened - base rate)^2; larger tells outcomes apart better.
        uncertainty: Base rate x (1 - base rate), the loss of always saying the base rate.
        within: What bins leave out, the variance of chances inside them less twice their
            covariance with outcomes (Stephenson, Coelho & Jolliffe 2008, "Two extra components in
            the Brier score decomposition"). Brier = reliability - resolution + uncertainty +
            within; without it, Murphy's decomposition (1973, "A new vector partition of the
            probability score") holds only for chances that are equal inside a bin.
    """

    edges: Float
    counts: NDArray[np.int64]
    said: Float
    happened: Float
    error: float
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def reliability(
    chances: Float, outcomes: NDArray[np.int64], bins: int = 10, equal_counts: bool = False
) -> Reliability:
    """The reliability table of predictions.

    Args:
        chances: float64 [n], n >= 1.
        outcomes: int [n], 0 or 1.
        bins: B.
        equal_counts: Bins of about equally many predictions in place of equally wide ones; equal
            chances stay together, so there may be fewer bins.

    Raises:
        RewardError: No prediction, no bin, or what `brier_loss` refuses.
    """
    losses = brier_loss(chances, outcomes)
    chances, outcomes = np.asarray(chances, dtype=np.float64), np.asarray(outcomes)
    if chances.ndim != 1 or len(chances) == 0 or bins < 1:
        remedy = "Give at least one chance of outcome 1, and one bin."
        raise RewardError("chances", "must be [n] in bins", (chances.shape, bins), remedy)
    edges = np.linspace(0.0, 1.0, bins + 1)
    if equal_counts:
        inner = np.quantile(chances, edges[1:-1])
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    index = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(index, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):
        said = np.bincount(index, chances, len(counts)) / counts
        happened = np.bincount(index, outcomes, len(counts)) / counts
    filled, shares = counts > 0, counts[counts > 0] / len(chances)
    gap, base = (said - happened)[filled], float(np.mean(outcomes))
    apart = chances - said[index]
    return Reliability(
        edges=edges,
        counts=counts,
        said=said,
        happened=happened,
        error=float(shares @ np.abs(gap)),
        brier=float(losses.mean()),
        reliability=float(shares @ gap**2),
        resolution=float(shares @ (happened[filled] - base) ** 2),
        uncertainty=base * (1.0 - base),
        within=float(np.mean(apart * (apart - 2.0 * (outcomes - happened[index])))),
    )
