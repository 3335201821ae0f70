# SPDX-License-Identifier: Apache-2.0
"""All features of one bar, and of many: the switch over kinds and the loops around it.

`update_feature` is the switch over the kernels of `kinds.py`, `stream_row` runs it for all features
of one bar, and `batch` is literally the loop over `stream_row`; training, backtest and paper
therefore see the same bytes.

Legend:
    bar     open, high, low, close, volume, close stamp in whole seconds since 1970 UTC.
    params  the numbers in a feature's name, zero padded to three.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.features import kinds

Vector = NDArray[np.float64]
Triple = tuple[float, float, float]
Bar = tuple[float, float, float, float, float, float]

(
    LOG_RETURN,
    VOLATILITY,
    EWMA_VOLATILITY,
    RSI,
    MACD,
    BOLLINGER,
    ATR,
    STOCHASTIC,
    ZSCORE,
    DRAWDOWN,
    RANGE_POSITION,
    MOMENTUM,
    WILLIAMS,
    CCI,
    VOLUME_ZSCORE,
    HOUR_SIN,
    HOUR_COS,
    WEEKDAY_SIN,
    WEEKDAY_COS,
) = range(19)


@kernel
def update_feature(code: int, params: Triple, state: Vector, bar: Bar) -> float:
    """Takes one bar into one feature's own state and returns its value; NaN for an unknown code."""
    _, high, low, close, volume, seconds = bar
    value = math.nan
    if code == LOG_RETURN:
        value = kinds.log_return(state, close)
    elif code == VOLATILITY:
        value = kinds.volatility(state, close)
    elif code == EWMA_VOLATILITY:
        value = kinds.ewma_volatility(state, params[0], close)
    elif code == RSI:
        value = kinds.rsi(state, params[0], close)
    elif code == MACD:
        value = kinds.macd(state, params[0], params[1], params[2], close)
    elif code == BOLLINGER:
        value = kinds.bollinger(state, close)
    elif code == ATR:
        value = kinds.atr(state, params[0], high, low, close)
    elif code == STOCHASTIC:
        value = kinds.stochastic(state, high, low, close)
    elif code == ZSCORE:
        value = kinds.zscore(state, close)
    elif code == DRAWDOWN:
        value = kinds.drawdown(state, close)
    elif code == RANGE_POSITION:
        value = kinds.range_position(state, close)
    elif code == MOMENTUM:
        value = kinds.momentum(state, close)
    elif code == WILLIAMS:
        value = kinds.williams(state, high, low, close)
    elif code == CCI:
        value = kinds.cci(state, high, low, close)
    elif code == VOLUME_ZSCORE:
        value = kinds.volume_zscore(state, volume)
    elif code == HOUR_SIN:
        value = kinds.hour_sin(seconds)
    elif code == HOUR_COS:
        value = kinds.hour_cos(seconds)
    elif code == WEEKDAY_SIN:
        value = kinds.weekday_sin(seconds)
    elif code == WEEKDAY_COS:
        value = kinds.weekday_cos(seconds)
    return value


@kernel
def stream_row(
    codes: NDArray[np.int64],
    params: Vector,
    offsets: NDArray[np.int64],
    states: Vector,
    bar: Vector,
    out: NDArray[np.float32],
) -> None:
    """All features of one bar.

    Args:
        codes: int64 [F], kind of each feature.
        params: float64 [F, 3].
        offsets: int64 [F + 1]; feature f owns ``states[offsets[f] : offsets[f + 1]]``: first the
            number of rows still to hide, which starts at the feature's warm-up, then its kind's own
            state.
        states: float64 [offsets[F]], changed in place.
        bar: float64 [6].
        out: float32 [F], written; NaN while a feature warms up.
    """
    # Tuples, because numba counts references to every view of an array, which costs more than most
    # features do.
    current = (bar[0], bar[1], bar[2], bar[3], bar[4], bar[5])
    for f in range(codes.size):
        numbers = (params[f, 0], params[f, 1], params[f, 2])
        first = offsets[f]
        value = update_feature(codes[f], numbers, states[first + 1 : offsets[f + 1]], current)
        if states[first] > 0.0:
            states[first] -= 1.0
            value = math.nan
        out[f] = value


@kernel
def batch(
    codes: NDArray[np.int64],
    params: Vector,
    offsets: NDArray[np.int64],
    states: Vector,
    bars: Vector,
    out: NDArray[np.float32],
) -> None:
    """`stream_row` over bars float64 [T, 6] into out float32 [T, F]; changes `states` in place."""
    for t in range(bars.shape[0]):
        stream_row(codes, params, offsets, states, bars[t], out[t])
