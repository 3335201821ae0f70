# SPDX-License-Identifier: Apache-2.0
"""Trends: averages against each other, directional movement, and the age of extremes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import highest, lowest
from mtquant.features.kind import (
    START_WEIGHT,
    Kind,
    changes,
    settling_of_span,
    settling_of_wilder,
    span_alpha,
)
from mtquant.features.past import (
    CLOSE,
    HIGH,
    HIGHEST_HIGH,
    LOW,
    LOWEST_LOW,
    MOVEMENT,
    TRUE_RANGE,
    Numbers,
    Past,
    Triple,
    Vector,
)
from mtquant.features.windows import total

(
    MACD,
    TRIX,
    DIRECTIONAL,
    AROON,
    VORTEX,
    ICHIMOKU,
    ICHIMOKU_CLOUD,
) = range(7)


def _directional(output: int, averages: int, description: str) -> Kind:
    return Kind(
        DIRECTIONAL,
        ("window_bars",),
        (2,),
        (14,),
        lambda window: averages * settling_of_wilder(window),
        description,
        output,
        state_size=4,
        numbers=lambda window: (1.0 / window,),
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "macd": Kind(
            MACD,
            ("fast_bars", "slow_bars", "signal_bars"),
            (2, 3, 2),
            (12, 26, 9),
            # The signal line starts to settle once the slow average has.
            lambda fast, slow, signal: settling_of_span(slow) + settling_of_span(signal),
            "MACD histogram / close (Appel 2005)",
            state_size=3,
            numbers=lambda *spans: tuple(span_alpha(span) for span in spans),
            rule=("fast_bars below slow_bars", lambda fast, slow, signal: fast < slow),
        ),
        "trix": Kind(
            TRIX,
            ("span_bars",),
            (2,),
            (15,),
            lambda span: 3 * settling_of_span(span),  # three averages settle one after the other
            "change of a triple exponential average / its value (Hutson 1983)",
            state_size=3,
            numbers=lambda span: (span_alpha(span),),
        ),
        "plus_di": _directional(1, 1, "+DI, upward movement / true range; 0..1 (Wilder 1978)"),
        "minus_di": _directional(2, 1, "-DI, downward movement / true range; 0..1"),
        "adx": _directional(0, 2, "average directional index as a fraction; 0..1 (Wilder 1978)"),
        "aroon_up": changes(
            AROON,
            25,
            "1 - age of the highest high / w; 0..1 (Chande 1995)",
            minimum=1,
            output=1,
        ),
        "aroon_down": changes(
            AROON, 25, "1 - age of the lowest low / w; 0..1", minimum=1, output=2
        ),
        "aroon": changes(AROON, 25, "aroon_up - aroon_down; -1..1", minimum=1),
        "vortex": changes(
            VORTEX, 14, "+VI - -VI, vortex movement / true range (Botes, Siepman 2010)"
        ),
        "ichimoku": Kind(
            ICHIMOKU,
            ("conversion_bars", "base_bars"),
            (1, 2),
            (9, 26),
            lambda conversion, base: base - 1,
            "(conversion line - base line) / close (Hosoda 1969)",
            rule=("conversion_bars below base_bars", lambda conversion, base: conversion < base),
        ),
        "ichimoku_cloud": Kind(
            ICHIMOKU_CLOUD,
            ("conversion_bars", "base_bars", "span_bars"),
            (1, 2, 3),
            (9, 26, 52),
            lambda conversion, base, span: base + span - 1,
            "(close - middle of the cloud drawn base_bars ago) / close (Hosoda 1969)",
            rule=(
                "conversion_bars below base_bars below span_bars",
                lambda conversion, base, span: conversion < base < span,
            ),
        ),
    }
)


@kernel
def macd(past: Past, t: int, fast: float, slow: float, signal: float, state: Vector) -> float:
    """(MACD - its signal line) / close, exponential averages. State: fast, slow, signal."""
    close = past[CLOSE, t]
    if state[0] == 0.0:
        # The averages of a price start at the price, not at zero, or their start would weigh a
        # whole price.
        state[0] = close
        state[1] = close
    state[0] += fast * (close - state[0])
    state[1] += slow * (close - state[1])
    line = state[0] - state[1]
    state[2] += signal * (line - state[2])
    return (line - state[2]) / close


@kernel
def trix(past: Past, t: int, alpha: float, state: Vector) -> float:
    """Change of the exponential average of the average of the average, / its value before.

    State: the three averages.
    """
    close = past[CLOSE, t]
    if state[0] == 0.0:
        state[0], state[1], state[2] = close, close, close
    state[0] += alpha * (close - state[0])
    state[1] += alpha * (state[0] - state[1])
    step = alpha * (state[1] - state[2])
    value = step / state[2]
    state[2] += step
    return value


@kernel
def directional(past: Past, t: int, alpha: float, state: Vector) -> Triple:
    """ADX, +DI and -DI; an index counts as 0 where what it divides by has faded, as in `rsi`.

    State: upward movement, downward movement, true range, ADX.
    """
    up, down = 0.0, 0.0
    if past[CLOSE, t - 1] > 0.0:
        up = past[HIGH, t] - past[HIGH, t - 1]
        down = past[LOW, t - 1] - past[LOW, t]
    state[0] += alpha * ((up if up > down and up > 0.0 else 0.0) - state[0])
    state[1] += alpha * ((down if down > up and down > 0.0 else 0.0) - state[1])
    state[2] += alpha * (past[TRUE_RANGE, t] - state[2])
    faded = START_WEIGHT * past[CLOSE, t]
    plus = state[0] / state[2] if state[2] > faded else 0.0
    minus = state[1] / state[2] if state[2] > faded else 0.0
    movement = state[0] + state[1]
    index = abs(state[0] - state[1]) / movement if movement > faded else 0.0
    state[3] += alpha * (index - state[3])
    return state[3], plus, minus


@kernel
def aroon(past: Past, t: int, w: int) -> Triple:
    """Up - down; up = 1 - age of the highest high of w + 1 bars / w; down, the same of the low.

    Of equals the newest counts.
    """
    top = highest(past, HIGH, HIGHEST_HIGH, t, w + 1)
    bottom = lowest(past, LOW, LOWEST_LOW, t, w + 1)
    high_age, low_age = 0, 0
    while past[HIGH, t - high_age] < top:
        high_age += 1
    while past[LOW, t - low_age] > bottom:
        low_age += 1
    up, down = 1.0 - high_age / w, 1.0 - low_age / w
    return up - down, up, down


@kernel
def vortex(past: Past, t: int, w: int) -> float:
    """(sum |high - low before| - sum |low - high before|) / sum true range; 0 without range."""
    ranges = total(past[TRUE_RANGE, t - w + 1 : t + 1])
    return total(past[MOVEMENT, t - w + 1 : t + 1]) / ranges if ranges > 0.0 else 0.0


@kernel
def middle(past: Past, t: int, w: int) -> float:
    """Middle between highest high and lowest low of w bars."""
    return 0.5 * (highest(past, HIGH, HIGHEST_HIGH, t, w) + lowest(past, LOW, LOWEST_LOW, t, w))


@kernel
def ichimoku(past: Past, t: int, conversion: int, base: int) -> float:
    """(conversion line - base line) / close."""
    return (middle(past, t, conversion) - middle(past, t, base)) / past[CLOSE, t]


@kernel
def ichimoku_cloud(past: Past, t: int, conversion: int, base: int, span: int) -> float:
    """(close - middle of the spans that stood `base` bars ago and are drawn here) / close."""
    drawn = t - base
    first = 0.5 * (middle(past, drawn, conversion) + middle(past, drawn, base))
    cloud = 0.5 * (first + middle(past, drawn, span))
    return (past[CLOSE, t] - cloud) / past[CLOSE, t]


@kernel
def update(code: int, numbers: Numbers, past: Past, t: int, state: Vector) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    w = int(numbers[0])
    a, b, c = math.nan, math.nan, math.nan
    if code == MACD:
        a = macd(past, t, numbers[0], numbers[1], numbers[2], state)
    elif code == TRIX:
        a = trix(past, t, numbers[0], state)
    elif code == DIRECTIONAL:
        a, b, c = directional(past, t, numbers[0], state)
    elif code == AROON:
        a, b, c = aroon(past, t, w)
    elif code == VORTEX:
        a = vortex(past, t, w)
    elif code == ICHIMOKU:
        a = ichimoku(past, t, w, int(numbers[1]))
    elif code == ICHIMOKU_CLOUD:
        a = ichimoku_cloud(past, t, w, int(numbers[1]), int(numbers[2]))
    return a, b, c
