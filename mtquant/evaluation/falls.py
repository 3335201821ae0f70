# SPDX-License-Identifier: Apache-2.0
"""The stretches that an account spent below a peak, deepest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import drawdowns

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Fall:
    """One stretch below a peak; rows of the equity curve.

    Attributes:
        peak: Last bar at the peak, -1 for the money put in.
        trough: Bar of the largest drawdown.
        recovered: First bar back at the peak; None if that has not happened.
        bars: Bars below the peak, up to the end where it has not recovered.
        depth: Largest drawdown, a fraction of the peak.
    """

    peak: int
    trough: int
    recovered: int | None
    bars: int
    depth: float


def falls(equity: Float, initial_equity: float) -> list[Fall]:
    """Every stretch below a peak, deepest first; their bars are disjoint.

    Args:
        equity: float64 [T], at each close; finite.
        initial_equity: Before the first bar.
    """
    below = drawdowns(equity, initial_equity)
    edges = np.diff(np.concatenate([[False], below > 0.0, [False]]).astype(np.int8))
    found = []
    for first, after in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        trough = int(first + np.argmax(below[first:after]))
        back = int(after) if after < len(equity) else None
        depth = float(below[trough])
        found.append(Fall(int(first) - 1, trough, back, int(after - first), depth))
    return sorted(found, key=lambda fall: -fall.depth)
