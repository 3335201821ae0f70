# SPDX-License-Identifier: Apache-2.0
"""How much prices move: estimators of volatility, ranges, and the probability of a wild regime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from mtquant.core.compiled import kernel
from mtquant.features.doubling import highest, lowest, moments
from mtquant.features.kind import (
    Kind,
    changes,
    halflife_alpha,
    levels,
    settling_bars,
    settling_of_wilder,
)
from mtquant.features.past import (
    BODY,
    BODY_MOMENTS,
    CLOSE,
    GARMAN_KLASS,
    HIGH,
    HIGHEST_HIGH,
    LOG_RANGE_SQUARED,
    LOG_RETURN,
    LOW,
    LOWEST_LOW,
    OVERNIGHT,
    OVERNIGHT_MOMENTS,
    RETURN_MOMENTS,
    ROGERS_SATCHELL,
    TRUE_RANGE,
    Numbers,
    Past,
    Triple,
    Vector,
)
from mtquant.features.windows import total

(
    CLOSE_TO_CLOSE,
    DOWNSIDE,
    EWMA,
    PARKINSON,
    GARMAN,
    ROGERS,
    YANG_ZHANG,
    ATR,
    DONCHIAN_WIDTH,
    REGIME,
) = range(10)

# The regimes' standard deviations, in units of the slow average's: calm and wild.
CALM = 0.7
WILD = 1.6
WILD_DEPTH = 0.5 * (1.0 / (CALM * CALM) - 1.0 / (WILD * WILD))
WILD_PRIOR = math.log(CALM / WILD)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "volatility": changes(
            CLOSE_TO_CLOSE, 20, "standard deviation (ddof 1) of w log returns, per bar; >= 0"
        ),
        "downside_volatility": changes(
            DOWNSIDE,
            20,
            "root mean square of the w log returns, gains counted as 0; >= 0 (Sortino 1994)",
        ),
        "ewma_volatility": Kind(
            EWMA,
            ("halflife_bars",),
            (1,),
            (20,),
            lambda halflife: settling_bars(halflife_alpha(halflife)),
            "root of the EWMA of squared log returns, per bar; >= 0 (RiskMetrics 1996)",
            state_size=1,
            numbers=lambda halflife: (halflife_alpha(halflife),),
        ),
        "parkinson": levels(
            PARKINSON, 20, "volatility per bar from highs and lows; >= 0 (Parkinson 1980)"
        ),
        "garman_klass": levels(
            GARMAN, 20, "volatility per bar from all four prices; >= 0 (Garman, Klass 1980)"
        ),
        "rogers_satchell": levels(
            ROGERS, 20, "the same without assuming zero drift; >= 0 (Rogers, Satchell 1991)"
        ),
        "yang_zhang": changes(
            YANG_ZHANG, 20, "the same with the gaps between bars; >= 0 (Yang, Zhang 2000)"
        ),
        "atr": Kind(
            ATR,
            ("window_bars",),
            (2,),
            (14,),
            settling_of_wilder,
            "average true range / close; >= 0 (Wilder 1978)",
            state_size=1,
            numbers=lambda window: (1.0 / window,),
        ),
        "donchian_width": levels(
            DONCHIAN_WIDTH, 20, "(highest high - lowest low) / close; >= 0 (Donchian 1960)"
        ),
        "regime": Kind(
            REGIME,
            ("halflife_bars", "stay_bars"),
            (1, 3),
            (60, 20),
            # The filter begins to settle once the slow average has. Its memory of where it began
            # shrinks by 1 - 2 / stay a bar (Birkhoff's contraction of the transition matrix).
            lambda halflife, stay: (
                settling_bars(halflife_alpha(halflife)) + settling_bars(2.0 / stay)
            ),
            "probability of the wild of two volatility regimes; 0..1 (Hamilton 1989)",
            state_size=2,
            numbers=lambda halflife, stay: (halflife_alpha(halflife), 1.0 / stay),
        ),
    }
)


@kernel
def close_to_close(past: Past, t: int, w: int) -> float:
    """Standard deviation (ddof 1) of the newest w log returns."""
    _, squares = moments(past, LOG_RETURN, RETURN_MOMENTS, t, w)
    return math.sqrt(squares / (w - 1))


@kernel
def downside(past: Past, t: int, w: int) -> float:
    """Root of the mean of min(log return, 0)^2."""
    returns = past[LOG_RETURN, t - w + 1 : t + 1]
    squares, others = 0.0, 0.0
    paired = w - w % 2
    for i in range(0, paired, 2):
        loss, other = min(returns[i], 0.0), min(returns[i + 1], 0.0)
        squares += loss * loss
        others += other * other
    if paired < w:
        loss = min(returns[paired], 0.0)
        squares += loss * loss
    return math.sqrt((squares + others) / w)


@kernel
def ewma(past: Past, t: int, alpha: float, state: Vector) -> float:
    """Root of the exponentially weighted mean of squared log returns. State: variance."""
    change = past[LOG_RETURN, t]
    state[0] += alpha * (change * change - state[0])
    return math.sqrt(state[0])


@kernel
def parkinson(past: Past, t: int, w: int) -> float:
    """Root of the mean of log(high / low)^2 / (4 log 2)."""
    return math.sqrt(total(past[LOG_RANGE_SQUARED, t - w + 1 : t + 1]) / (4.0 * math.log(2.0) * w))


@kernel
def garman_klass(past: Past, t: int, w: int) -> float:
    """Root of the mean of log(high / low)^2 / 2 - (2 log 2 - 1) log(close / open)^2."""
    return math.sqrt(max(total(past[GARMAN_KLASS, t - w + 1 : t + 1]), 0.0) / w)


@kernel
def rogers_satchell(past: Past, t: int, w: int) -> float:
    """Root of the mean of log(H / C) log(H / O) + log(L / C) log(L / O)."""
    return math.sqrt(max(total(past[ROGERS_SATCHELL, t - w + 1 : t + 1]), 0.0) / w)


@kernel
def yang_zhang(past: Past, t: int, w: int) -> float:
    """Root of V(gaps) + k V(open to close) + (1 - k) V(Rogers, Satchell), V(.) with ddof 1.

    k = 0.34 / (1.34 + (w + 1) / (w - 1)) makes its variance smallest (equation 9 of the paper).
    """
    share = 0.34 / (1.34 + (w + 1.0) / (w - 1.0))
    _, gaps = moments(past, OVERNIGHT, OVERNIGHT_MOMENTS, t, w)
    _, bodies = moments(past, BODY, BODY_MOMENTS, t, w)
    within = total(past[ROGERS_SATCHELL, t - w + 1 : t + 1]) / w
    return math.sqrt(max((gaps + share * bodies) / (w - 1) + (1.0 - share) * within, 0.0))


@kernel
def atr(past: Past, t: int, alpha: float, state: Vector) -> float:
    """Wilder's average true range / close. State: average."""
    state[0] += alpha * (past[TRUE_RANGE, t] - state[0])
    return state[0] / past[CLOSE, t]


@kernel
def donchian_width(past: Past, t: int, w: int) -> float:
    """(highest high - lowest low) / close."""
    ceiling = highest(past, HIGH, HIGHEST_HIGH, t, w)
    floor = lowest(past, LOW, LOWEST_LOW, t, w)
    return (ceiling - floor) / past[CLOSE, t]


@kernel
def regime(past: Past, t: int, alpha: float, leave: float, state: Vector) -> float:
    """Filtered probability of the wild regime. State: slow variance, probability.

    Log returns are normal with `CALM` or `WILD` times the standard deviation of a slow exponential
    average, of bars before this one; a regime is left with probability `leave` per bar. Where
    nothing moves, not even the average, the bar counts as calm. Source: Hamilton, Econometrica 57
    (1989), equations 4.5 to 4.8.
    """
    change = past[LOG_RETURN, t]
    squared = change * change
    deviations = squared / state[0] if squared > 0.0 else 0.0
    wild = state[1] + leave * (1.0 - 2.0 * state[1])
    # Odds of wild to calm, before and after this bar; likelihood ratio of two normals. Capped far
    # beyond certainty, or an infinite ratio would meet odds of 0.
    evidence = min(WILD_PRIOR + WILD_DEPTH * deviations, 100.0)
    odds = wild / (1.0 - wild) * math.exp(evidence)
    state[0] += alpha * (squared - state[0])
    state[1] = odds / (1.0 + odds)
    return state[1]


@kernel
def update(code: int, numbers: Numbers, past: Past, t: int, state: Vector) -> Triple:
    """Values of a kernel of this family in row t; NaN where it has fewer, or for an unknown one."""
    w = int(numbers[0])
    a, b, c = math.nan, math.nan, math.nan
    if code == CLOSE_TO_CLOSE:
        a = close_to_close(past, t, w)
    elif code == DOWNSIDE:
        a = downside(past, t, w)
    elif code == EWMA:
        a = ewma(past, t, numbers[0], state)
    elif code == PARKINSON:
        a = parkinson(past, t, w)
    elif code == GARMAN:
        a = garman_klass(past, t, w)
    elif code == ROGERS:
        a = rogers_satchell(past, t, w)
    elif code == YANG_ZHANG:
        a = yang_zhang(past, t, w)
    elif code == ATR:
        a = atr(past, t, numbers[0], state)
    elif code == DONCHIAN_WIDTH:
        a = donchian_width(past, t, w)
    elif code == REGIME:
        a = regime(past, t, numbers[0], numbers[1], state)
    return a, b, c
