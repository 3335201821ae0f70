# SPDX-License-Identifier: Apache-2.0
"""Where the close stands: oscillators, bands and channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import highest, lowest, moments
from mtquant.features.kind import (
    START_WEIGHT,
    Kind,
    levels,
    settling_of_span,
    settling_of_wilder,
    span_alpha,
)
from mtquant.features.past import (
    CLOSE,
    CLOSE_MOMENTS,
    HIGH,
    HIGHEST_CLOSE,
    HIGHEST_HIGH,
    LOW,
    LOWEST_CLOSE,
    LOWEST_LOW,
    PRESSURE,
    TRUE_RANGE,
    TYPICAL,
    Numbers,
    Past,
    Triple,
    Vector,
)
from mtquant.features.windows import deviations, place, standard_score, total

(
    RSI,
    STOCHASTIC,
    STOCHASTIC_MEAN,
    RANGE_POSITION,
    ZSCORE,
    BOLLINGER,
    CCI,
    ULTIMATE,
    KELTNER,
) = range(9)


def _keltner(output: int, description: str) -> Kind:
    return Kind(
        KELTNER,
        ("mean_bars", "range_bars"),
        (2, 2),
        (20, 10),
        lambda mean, width: max(settling_of_span(mean), settling_of_wilder(width)),
        description,
        output,
        state_size=2,
        numbers=lambda mean, width: (span_alpha(mean), 1.0 / width),
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "rsi": Kind(
            RSI,
            ("window_bars",),
            (2,),
            (14,),
            settling_of_wilder,
            "relative strength index as a fraction; 0..1 (Wilder 1978)",
            state_size=2,
            numbers=lambda window: (1.0 / window,),
        ),
        "stochastic": levels(
            STOCHASTIC,
            14,
            "%K: place of the close between lowest low and highest high; 0..1 (Lane 1984)",
            minimum=1,
        ),
        "stochastic_d": Kind(
            STOCHASTIC_MEAN,
            ("window_bars", "mean_bars"),
            (1, 2),
            (14, 3),
            lambda window, mean: window + mean - 2,
            "%D: mean of the newest %K; 0..1 (Lane 1984)",
        ),
        "williams": levels(
            STOCHASTIC, 14, "%R as a fraction, %K - 1; -1..0 (Williams 1979)", minimum=1, output=1
        ),
        "range_position": levels(
            RANGE_POSITION,
            20,
            "place of the close in a Donchian channel of closes; 0..1 (after Donchian 1960)",
        ),
        "zscore": levels(ZSCORE, 50, "(close - mean) / standard deviation (ddof 1)"),
        "bollinger": levels(
            BOLLINGER,
            20,
            "place in the Bollinger bands; -1 is the lower, 1 the upper (Bollinger 2001)",
        ),
        "bollinger_width": levels(
            BOLLINGER, 20, "upper - lower Bollinger band, / their middle; >= 0", output=1
        ),
        "cci": levels(CCI, 20, "commodity channel index (Lambert 1980)"),
        "ultimate": Kind(
            ULTIMATE,
            ("short_bars", "middle_bars", "long_bars"),
            (1, 2, 3),
            (7, 14, 28),
            lambda short, middle, long: long,
            "ultimate oscillator as a fraction; 0..1 (Williams 1985)",
            rule=(
                "short_bars below middle_bars below long_bars",
                lambda short, middle, long: short < middle < long,
            ),
        ),
        "keltner": _keltner(
            0, "place in the Keltner channel; -1 is its lower, 1 its upper edge (Raschke)"
        ),
        "keltner_width": _keltner(1, "width of that channel / its middle; >= 0"),
    }
)


@kernel
def rsi(past: Past, t: int, alpha: float, state: Vector) -> float:
    """Wilder's relative strength index as a fraction, 0..1; 0.5 without movement.

    State: gain, loss.
    """
    close, before = past[CLOSE, t], past[CLOSE, t - 1]
    change = close - before if before > 0.0 else 0.0
    state[0] += alpha * (max(change, 0.0) - state[0])
    state[1] += alpha * (max(-change, 0.0) - state[1])
    movement = state[0] + state[1]
    # A ratio of two fading averages never forgets. Once both have faded as far as the start of
    # history has to, what is left of them is when history began, not movement.
    if movement <= START_WEIGHT * close:
        return 0.5
    return state[0] / movement


@kernel
def stochastic(past: Past, t: int, w: int) -> float:
    """%K: place of the close between lowest low and highest high; 0.5 in a flat window."""
    floor = lowest(past, LOW, LOWEST_LOW, t, w)
    ceiling = highest(past, HIGH, HIGHEST_HIGH, t, w)
    return place(past[CLOSE, t], floor, ceiling)


@kernel
def stochastic_d(past: Past, t: int, w: int, mean_bars: int) -> float:
    """Mean of the newest %K."""
    result = 0.0
    for row in range(t - mean_bars + 1, t + 1):
        result += stochastic(past, row, w)
    return result / mean_bars


@kernel
def range_position(past: Past, t: int, w: int) -> float:
    """Place of the close between the lowest and highest close; 0.5 in a flat window."""
    floor = lowest(past, CLOSE, LOWEST_CLOSE, t, w)
    return place(past[CLOSE, t], floor, highest(past, CLOSE, HIGHEST_CLOSE, t, w))


@kernel
def bollinger(past: Past, t: int, w: int) -> tuple[float, float]:
    """(close - mean) / (2 standard deviations, ddof 0) and the bands' width / mean; 0 when flat."""
    mean, squares = moments(past, CLOSE, CLOSE_MOMENTS, t, w)
    if squares <= 0.0:
        return 0.0, 0.0
    deviation = math.sqrt(squares / w)
    return (past[CLOSE, t] - mean) / (2.0 * deviation), 4.0 * deviation / mean


@kernel
def cci(past: Past, t: int, w: int) -> float:
    """(typical price - mean) / (0.015 mean absolute deviation); 0 in a flat window."""
    prices = past[TYPICAL, t - w + 1 : t + 1]
    last = prices[w - 1]
    lead, _ = deviations(prices)
    distance, other = 0.0, 0.0
    for i in range(0, w - w % 2, 2):
        distance += abs(lead - (last - prices[i]))
        other += abs(lead - (last - prices[i + 1]))
    if w % 2 == 1:
        distance += abs(lead)
    if distance + other == 0.0:
        return 0.0
    return lead / (0.015 * (distance + other) / w)


@kernel
def pressure(past: Past, first: int, last: int) -> tuple[float, float]:
    """Sums of buying pressure, close - true low, and of true range over rows first..last - 1."""
    return total(past[PRESSURE, first:last]), total(past[TRUE_RANGE, first:last])


@kernel
def ultimate(past: Past, t: int, short: int, middle: int, long: int) -> float:
    """Buying pressure / true range over three windows, weighted 4, 2 and 1.

    0.5 in place of a window without movement.
    """
    new_bought, new_range = pressure(past, t - short + 1, t + 1)
    mid_bought, mid_range = pressure(past, t - middle + 1, t - short + 1)
    old_bought, old_range = pressure(past, t - long + 1, t - middle + 1)
    mid_bought, mid_range = mid_bought + new_bought, mid_range + new_range
    old_bought, old_range = old_bought + mid_bought, old_range + mid_range
    value = 4.0 * (new_bought / new_range if new_range > 0.0 else 0.5)
    value += 2.0 * (mid_bought / mid_range if mid_range > 0.0 else 0.5)
    return (value + (old_bought / old_range if old_range > 0.0 else 0.5)) / 7.0


@kernel
def keltner(
    past: Past, t: int, mean_alpha: float, range_alpha: float, state: Vector
) -> tuple[float, float]:
    """(close - middle) / (2 average true ranges), and 4 of those / the middle.

    The place is 0 where the range has faded, as in `rsi`. State: mean of closes, true range.
    """
    close = past[CLOSE, t]
    if state[0] == 0.0:
        state[0] = close  # the average of a price starts at the price, or its start would weigh one
    state[0] += mean_alpha * (close - state[0])
    state[1] += range_alpha * (past[TRUE_RANGE, t] - state[1])
    position = (close - state[0]) / (2.0 * state[1]) if state[1] > START_WEIGHT * close else 0.0
    return position, 4.0 * state[1] / state[0]


@kernel
def update(code: int, numbers: Numbers, past: Past, t: int, state: Vector) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    w = int(numbers[0])
    a, b, c = math.nan, math.nan, math.nan
    if code == RSI:
        a = rsi(past, t, numbers[0], state)
    elif code == STOCHASTIC:
        a = stochastic(past, t, w)
        b = a - 1.0
    elif code == STOCHASTIC_MEAN:
        a = stochastic_d(past, t, w, int(numbers[1]))
    elif code == RANGE_POSITION:
        a = range_position(past, t, w)
    elif code == ZSCORE:
        a = standard_score(past, CLOSE, CLOSE_MOMENTS, t, w)
    elif code == BOLLINGER:
        a, b = bollinger(past, t, w)
    elif code == CCI:
        a = cci(past, t, w)
    elif code == ULTIMATE:
        a = ultimate(past, t, w, int(numbers[1]), int(numbers[2]))
    elif code == KELTNER:
        a, b = keltner(past, t, numbers[0], numbers[1], state)
    return a, b, c
