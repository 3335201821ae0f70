# SPDX-License-Identifier: Apache-2.0
"""Volume, and where in the bar it was traded. Volumes count relative to each other only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.kind import Kind, changes, levels
from mtquant.features.past import (
    CLOSE,
    MONEY_FLOW,
    SIGNED_VOLUME,
    TYPICAL,
    VOLUME,
    VOLUME_MOMENTS,
    Past,
    Triple,
)
from mtquant.features.windows import standard_score, total

(VOLUME_ZSCORE, OBV, MFI, CMF, VWAP) = range(5)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "volume_zscore": levels(VOLUME_ZSCORE, 50, "(volume - mean) / standard deviation (ddof 1)"),
        "obv": changes(
            OBV, 20, "change of the on-balance volume / volume; -1..1 (Granville 1963)", minimum=1
        ),
        "mfi": changes(
            MFI, 14, "money flow index as a fraction; 0..1 (Quong, Soudack 1989)", minimum=1
        ),
        "cmf": levels(CMF, 20, "Chaikin money flow; -1..1 (Chaikin)", minimum=1),
        "vwap": levels(
            VWAP, 14, "(close - volume-weighted average of typical prices) / close", minimum=1
        ),
    }
)


@kernel
def obv(past: Past, t: int, w: int) -> float:
    """Volume of rising bars minus that of falling ones, over all volume; 0 without volume."""
    volume = total(past[VOLUME, t - w + 1 : t + 1])
    return total(past[SIGNED_VOLUME, t - w + 1 : t + 1]) / volume if volume > 0.0 else 0.0


@kernel
def mfi(past: Past, t: int, w: int) -> float:
    """Share of typical price x volume in bars whose typical price rose; 0.5 without any."""
    prices, volumes = past[TYPICAL, t - w : t + 1], past[VOLUME, t - w + 1 : t + 1]
    inflow, outflow = 0.0, 0.0
    for i in range(w):
        flow = prices[i + 1] * volumes[i]
        inflow += flow if prices[i + 1] > prices[i] else 0.0
        outflow += flow if prices[i + 1] < prices[i] else 0.0
    return inflow / (inflow + outflow) if inflow + outflow > 0.0 else 0.5


@kernel
def cmf(past: Past, t: int, w: int) -> float:
    """Sum of ((C - L) - (H - C)) / (H - L) x volume, over all volume; 0 without volume."""
    volume = total(past[VOLUME, t - w + 1 : t + 1])
    return total(past[MONEY_FLOW, t - w + 1 : t + 1]) / volume if volume > 0.0 else 0.0


@kernel
def vwap(past: Past, t: int, w: int) -> float:
    """(close - average of typical prices weighted by volume) / close; 0 without volume."""
    prices, volumes = past[TYPICAL, t - w + 1 : t + 1], past[VOLUME, t - w + 1 : t + 1]
    close = past[CLOSE, t]
    volume, distances = 0.0, 0.0
    for i in range(w):
        distances += (close - prices[i]) * volumes[i]
        volume += volumes[i]
    return distances / (volume * close) if volume > 0.0 else 0.0


@kernel
def update(code: int, past: Past, t: int, w: int) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    a, b, c = math.nan, math.nan, math.nan
    if code == VOLUME_ZSCORE:
        a = standard_score(past, VOLUME, VOLUME_MOMENTS, t, w)
    elif code == OBV:
        a = obv(past, t, w)
    elif code == MFI:
        a = mfi(past, t, w)
    elif code == CMF:
        a = cmf(past, t, w)
    elif code == VWAP:
        a = vwap(past, t, w)
    return a, b, c
