# SPDX-License-Identifier: Apache-2.0
"""Limits on exposures: the nearest allowed book, and which limits bound.

A limit set is convex and holds 0, so the Euclidean projection exists and never asks for more risk
than was wanted. Exposures are in units of equity (0.1 = ten per cent, long). Nothing here knows
about orders or prices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.outcome import LIMIT_GROSS, LIMIT_NAME

Float = NDArray[np.float64]


@kernel
def _soft_gross(wanted: Float, caps: Float, threshold: float) -> float:
    """Gross exposure of min(cap, max(|w| - threshold, 0)), which falls as the threshold rises."""
    total = 0.0
    for n in range(wanted.shape[0]):
        total += min(caps[n], max(abs(wanted[n]) - threshold, 0.0))
    return total


@kernel
def _gross_threshold(wanted: Float, caps: Float, gross_cap: float) -> float:
    """Threshold at which `_soft_gross` equals the cap: exact, since it is linear between its 2 N
    break points.
    """
    low, gross_low = 0.0, _soft_gross(wanted, caps, 0.0)
    high, gross_high = np.inf, 0.0
    for n in range(wanted.shape[0]):
        size = abs(wanted[n])
        for point in (size, size - caps[n]):
            if point <= low or point >= high:
                continue
            gross = _soft_gross(wanted, caps, point)
            if gross >= gross_cap:
                low, gross_low = point, gross
            else:
                high, gross_high = point, gross
    return low + (gross_low - gross_cap) / (gross_low - gross_high) * (high - low)


@kernel
def limit_gross(
    wanted: Float, allowed: Float, caps: Float, gross: float, gross_cap: float, project: bool
) -> None:
    """Brings exposures that hold their name caps, but not the gross cap, under both.

    Args:
        wanted: Exposures asked for, float64 [N], finite.
        allowed: `wanted` clipped to the name caps, float64 [N]; receives the result.
        caps: Largest |exposure| per name, float64 [N].
        gross: sum |allowed|, above `gross_cap`.
        gross_cap: Largest sum of |exposure|.
        project: True for the Euclidean projection of `wanted` onto both limits (Duchi et al. 2008,
            "Efficient projections onto the l1-ball", with box constraints), False to shrink the
            clipped exposures in proportion.
    """
    threshold = _gross_threshold(wanted, caps, gross_cap) if project else 0.0
    for n in range(wanted.shape[0]):
        if project:
            size = min(caps[n], max(abs(wanted[n]) - threshold, 0.0))
            allowed[n] = size if wanted[n] >= 0.0 else -size
        else:
            allowed[n] *= gross_cap / gross


@kernel
def limit_exposures(
    wanted: Float, allowed: Float, caps: Float, gross_cap: float, project: bool
) -> int:
    """Writes the exposures that the limits allow and returns which limits were broken.

    Returns:
        Bit mask: LIMIT_NAME if any |wanted| was above its cap, LIMIT_GROSS if the clipped exposures
        were above the gross cap. Arguments as in `limit_gross`.
    """
    binding = 0
    gross = 0.0
    for n in range(wanted.shape[0]):
        cap = caps[n]
        if abs(wanted[n]) > cap:
            binding = LIMIT_NAME
        allowed[n] = min(max(wanted[n], -cap), cap)
        gross += abs(allowed[n])
    if gross > gross_cap:
        binding |= LIMIT_GROSS
        limit_gross(wanted, allowed, caps, gross, gross_cap, project)
    return binding
