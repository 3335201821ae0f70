# SPDX-License-Identifier: Apache-2.0
"""The shape and the memory of returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import moments
from mtquant.features.kind import Kind, changes
from mtquant.features.past import LOG_RETURN, RETURN_MOMENTS, Past, Triple
from mtquant.features.windows import ROUNDING, higher_moments, products, total

(SHAPE, AUTOCORRELATION, HURST) = range(3)

# Longest of the scales of `hurst`: 1, 4 and 16 bars.
HURST_BLOCK = 16
MEAN_OF_16 = RETURN_MOMENTS + 6  # and their squared deviations behind it, see `double_moments`


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "skewness": changes(
            SHAPE, 60, "skewness of w log returns, unbiased for normals (G1)", minimum=3
        ),
        "kurtosis": changes(
            SHAPE, 60, "excess kurtosis of w log returns, the same (G2)", minimum=4, output=1
        ),
        "autocorrelation": Kind(
            AUTOCORRELATION,
            ("window_bars", "lag_bars"),
            (4, 1),
            (60, 1),
            lambda window, lag: window,
            "autocorrelation of w log returns at a lag; -1..1",
            rule=("lag_bars at most half of window_bars", lambda window, lag: 2 * lag <= window),
        ),
        "hurst": Kind(
            HURST,
            ("window_bars",),
            (2 * HURST_BLOCK,),
            (128,),
            lambda window: window,
            "Hurst exponent by aggregated variance; 0..1, 0.5 a random walk (Taqqu 1995)",
            rule=(f"window_bars a multiple of {HURST_BLOCK}", lambda w: w % HURST_BLOCK == 0),
        ),
    }
)


@kernel
def shape(past: Past, t: int, w: int) -> tuple[float, float]:
    """Skewness G1 and excess kurtosis G2; 0 where nothing moves.

    G1 = sqrt(w (w - 1)) / (w - 2) m3 / m2^1.5,
    G2 = (w - 1) ((w + 1) (m4 / m2^2 - 3) + 6) / ((w - 2) (w - 3)), with central moments m. Source:
    Joanes and Gill, The Statistician 47 (1998).
    """
    mean, squares = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    variance = squares / w
    if variance <= ROUNDING * ROUNDING:
        return 0.0, 0.0
    cubes, fourths = higher_moments(past[LOG_RETURN, t - w + 1 : t + 1], mean)
    skewness = math.sqrt(w * (w - 1.0)) / (w - 2.0) * (cubes / w)
    excess = fourths / w / (variance * variance) - 3.0
    kurtosis = (w - 1.0) * ((w + 1.0) * excess + 6.0) / ((w - 2.0) * (w - 3.0))
    return skewness / (variance * math.sqrt(variance)), kurtosis


@kernel
def autocorrelation(past: Past, t: int, w: int, lag: int) -> float:
    """Sum of products of deviations `lag` apart / sum of their squares; 0 where nothing moves."""
    mean, squares = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    if squares <= w * ROUNDING * ROUNDING:
        return 0.0
    returns = past[LOG_RETURN, t - w + 1 : t + 1]
    ends = total(returns[:lag]) + total(returns[w - lag :])
    # Means of returns are small beside their deviations, so what they add to the products may be
    # taken off at the end without a loss.
    added = mean * (2.0 * w * mean - ends) - (w - lag) * mean * mean
    value = (products(returns[lag:], returns[: w - lag]) - added) / squares
    return max(min(value, 1.0), -1.0)


@kernel
def hurst(past: Past, t: int, w: int) -> float:
    """Half the least-squares slope of log2(mean square of k-bar returns) on log2 k, within 0..1.

    k = 1, 4, 16, blocks side by side; of three equidistant points the middle one has no weight. 0.5
    where nothing moves. The mean square of 16 counts as at least 1e-12 of the other, or returns
    that cancel would ask for log 0. Source: Taqqu, Teverovsky, Willinger, Fractals 3 (1995),
    "aggregated variance", with means known to be near zero.
    """
    means, squares = past[MEAN_OF_16, t - w + 1 : t + 1], past[MEAN_OF_16 + 1, t - w + 1 : t + 1]
    ones, sixteens = 0.0, 0.0
    for i in range(HURST_BLOCK - 1, w, HURST_BLOCK):
        block = 16.0 * means[i] * means[i]
        ones += squares[i] + block
        sixteens += block
    if ones <= w * ROUNDING * ROUNDING:
        return 0.5
    # A 16-bar return is 16 means, its square 16 times what was summed; there are w / 16 of them.
    slope = math.log(max(256.0 * sixteens, 1e-12 * ones) / ones) / (4.0 * math.log(2.0))
    return min(max(0.5 * slope, 0.0), 1.0)


@kernel
def update(code: int, past: Past, t: int, w: int, lag: int) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    a, b, c = math.nan, math.nan, math.nan
    if code == SHAPE:
        a, b = shape(past, t, w)
    elif code == AUTOCORRELATION:
        a = autocorrelation(past, t, w, lag)
    elif code == HURST:
        a = hurst(past, t, w)
    return a, b, c
