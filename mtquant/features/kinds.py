# SPDX-License-Identifier: Apache-2.0
"""The kinds of features, one small float64 kernel each: `kind(state, what it needs) -> value`.

Legend:
    state   float64 [state size], changed in place, zero before the first bar. Prices are positive,
            so 0 means "none yet". A windowed kind reads the length w of its window off its state.
    window  part of a state that holds the newest values, oldest first.

Windows are shifted by one at each bar and summed afresh in order of age. There are no running sums,
so the same window gives the same bytes wherever history began, and the state holds nothing but the
window. The recursive kinds (`rsi`, `atr`, `macd`, `ewma_volatility`) need `catalog.py` to hide
their values until the start of history weighs less than `START_WEIGHT`.

On bars that passed `check_bars` no kind gives NaN or infinity after its warm-up; what a flat window
gives is said at each. Sources are in the catalogue.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel

Vector = NDArray[np.float64]

START_WEIGHT = 1e-9
# Log returns are good to 1e-16: a smaller standard deviation than this is rounding.
ROUNDING = 1e-12
DAY_SECONDS = 86_400.0
FULL_TURN = 2.0 * math.pi


@kernel
def push(window: Vector, value: float) -> None:
    """Drops the oldest value of a window and appends the newest."""
    last = window.size - 1
    for i in range(last):
        window[i] = window[i + 1]
    window[last] = value


@kernel
def highest(window: Vector) -> float:
    """Largest value of a window."""
    best = window[0]
    for i in range(1, window.size):
        if window[i] > best:
            best = window[i]
    return best


@kernel
def lowest(window: Vector) -> float:
    """Smallest value of a window."""
    best = window[0]
    for i in range(1, window.size):
        if window[i] < best:
            best = window[i]
    return best


@kernel
def moments(window: Vector) -> tuple[float, float]:
    """Newest value minus the mean, and the sum of squared deviations from the mean.

    Counted as distances from the newest value, so a flat window gives exactly 0 and 0 at any price
    level. One pass is enough: the newest value is one of the n, so its distance from the mean is at
    most (n - 1) / sqrt(n) standard deviations, and the subtraction below loses a factor n of
    precision at worst.
    """
    newest = window[window.size - 1]
    total = 0.0
    squares = 0.0
    for i in range(window.size):
        distance = newest - window[i]
        total += distance
        squares += distance * distance
    lead = total / window.size
    return lead, squares - total * lead


@kernel
def standard_score(window: Vector) -> float:
    """(newest - mean) / standard deviation (ddof 1); 0 in a flat window."""
    lead, squares = moments(window)
    if squares <= 0.0:
        return 0.0
    return lead / math.sqrt(squares / (window.size - 1))


@kernel
def replace_close(state: Vector, close: float) -> float:
    """Stores `close` in ``state[0]`` and returns the close before it, on the first bar itself."""
    previous = state[0]
    state[0] = close
    return previous if previous > 0.0 else close


@kernel
def log_return(state: Vector, close: float) -> float:
    """log(close / close k bars ago). State: closes [k + 1]."""
    push(state, close)
    return math.log(close / state[0]) if state[0] > 0.0 else math.nan


@kernel
def update_returns(state: Vector, close: float) -> tuple[float, float]:
    """Takes in a close; gives mean and standard deviation (ddof 1) of the last w log returns.

    State: close, returns [w].
    """
    previous = replace_close(state, close)
    returns = state[1:]
    push(returns, math.log(close / previous))
    lead, squares = moments(returns)
    return returns[returns.size - 1] - lead, math.sqrt(max(squares, 0.0) / (returns.size - 1))


@kernel
def volatility(state: Vector, close: float) -> float:
    """Standard deviation (ddof 1) of the last w log returns. State: close, returns [w]."""
    return update_returns(state, close)[1]


@kernel
def momentum(state: Vector, close: float) -> float:
    """Log return over w bars / (their volatility x sqrt(w)); 0 where volatility is 0.

    State: close, returns [w].
    """
    mean, deviation = update_returns(state, close)
    if deviation <= ROUNDING:
        return 0.0
    return mean * math.sqrt(state.size - 1) / deviation


@kernel
def ewma_volatility(state: Vector, halflife: float, close: float) -> float:
    """Root of the exponentially weighted mean of squared log returns, half-life h bars.

    State: close, variance.
    """
    change = math.log(close / replace_close(state, close))
    alpha = 1.0 - 0.5 ** (1.0 / halflife)
    state[1] += alpha * (change * change - state[1])
    return math.sqrt(state[1])


@kernel
def rsi(state: Vector, window: float, close: float) -> float:
    """Wilder's relative strength index as a fraction, 0..1; 0.5 without movement.

    State: close, gain, loss.
    """
    change = close - replace_close(state, close)
    state[1] += (max(change, 0.0) - state[1]) / window
    state[2] += (max(-change, 0.0) - state[2]) / window
    movement = state[1] + state[2]
    # A ratio of two fading averages never forgets. Once both have faded as far as the start of
    # history has to, what is left of them is when history began, not movement.
    if movement <= START_WEIGHT * close:
        return 0.5
    return state[1] / movement


@kernel
def atr(state: Vector, window: float, high: float, low: float, close: float) -> float:
    """Wilder's average true range / close. State: close, average."""
    previous = replace_close(state, close)
    true_range = max(high, previous) - min(low, previous)
    state[1] += (true_range - state[1]) / window
    return state[1] / close


@kernel
def macd(state: Vector, fast: float, slow: float, signal: float, close: float) -> float:
    """(MACD - its signal line) / close, exponential averages by span. State: fast, slow, signal."""
    if state[0] == 0.0:
        # The averages of a price start at the price, not at zero, or their start would weigh a
        # whole price.
        state[0] = close
        state[1] = close
    state[0] += 2.0 / (fast + 1.0) * (close - state[0])
    state[1] += 2.0 / (slow + 1.0) * (close - state[1])
    line = state[0] - state[1]
    state[2] += 2.0 / (signal + 1.0) * (line - state[2])
    return (line - state[2]) / close


@kernel
def bollinger(state: Vector, close: float) -> float:
    """(close - mean) / (2 standard deviations, ddof 0); 0 in a flat window. State: closes [w]."""
    push(state, close)
    lead, squares = moments(state)
    if squares <= 0.0:
        return 0.0
    return lead / (2.0 * math.sqrt(squares / state.size))


@kernel
def zscore(state: Vector, close: float) -> float:
    """(close - mean) / standard deviation (ddof 1); 0 in a flat window. State: closes [w]."""
    push(state, close)
    return standard_score(state)


@kernel
def volume_zscore(state: Vector, volume: float) -> float:
    """(volume - mean) / standard deviation (ddof 1); 0 where all volumes are equal.

    State: volumes [w].
    """
    push(state, volume)
    return standard_score(state)


@kernel
def drawdown(state: Vector, close: float) -> float:
    """Close / highest close of w bars - 1, never above 0. State: closes [w]."""
    push(state, close)
    return close / highest(state) - 1.0


@kernel
def range_position(state: Vector, close: float) -> float:
    """Place of the close between the lowest and highest close of w bars; 0.5 in a flat window.

    State: closes [w].
    """
    push(state, close)
    floor = lowest(state)
    height = highest(state) - floor
    return (close - floor) / height if height > 0.0 else 0.5


@kernel
def stochastic(state: Vector, high: float, low: float, close: float) -> float:
    """%K: place of the close between lowest low and highest high; 0.5 in a flat window.

    State: highs [w], lows [w].
    """
    width = state.size // 2
    push(state[:width], high)
    push(state[width:], low)
    floor = lowest(state[width:])
    height = highest(state[:width]) - floor
    return (close - floor) / height if height > 0.0 else 0.5


@kernel
def williams(state: Vector, high: float, low: float, close: float) -> float:
    """Williams %R as a fraction, -1..0: %K counted from the top; -0.5 in a flat window.

    State: as `stochastic`.
    """
    return stochastic(state, high, low, close) - 1.0


@kernel
def cci(state: Vector, high: float, low: float, close: float) -> float:
    """(typical price - mean) / (0.015 mean absolute deviation); 0 in a flat window.

    State: typical prices [w].
    """
    push(state, (high + low + close) / 3.0)
    lead, _ = moments(state)
    newest = state[state.size - 1]
    total = 0.0
    for i in range(state.size):
        total += abs(lead - (newest - state[i]))
    if total == 0.0:
        return 0.0
    return lead / (0.015 * total / state.size)


@kernel
def day_angle(seconds: float) -> float:
    """Time of day of a stamp as an angle; midnight UTC is 0."""
    return FULL_TURN * (seconds % DAY_SECONDS) / DAY_SECONDS


@kernel
def week_angle(seconds: float) -> float:
    """Day of the week of a stamp as an angle; Monday is 0 (1970 began on a Thursday)."""
    return FULL_TURN * ((math.floor(seconds / DAY_SECONDS) + 3.0) % 7.0) / 7.0


@kernel
def hour_sin(seconds: float) -> float:
    """Sine of the time of day."""
    return math.sin(day_angle(seconds))


@kernel
def hour_cos(seconds: float) -> float:
    """Cosine of the time of day."""
    return math.cos(day_angle(seconds))


@kernel
def weekday_sin(seconds: float) -> float:
    """Sine of the day of the week."""
    return math.sin(week_angle(seconds))


@kernel
def weekday_cos(seconds: float) -> float:
    """Cosine of the day of the week."""
    return math.cos(week_angle(seconds))
