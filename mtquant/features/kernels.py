# SPDX-License-Identifier: Apache-2.0
"""All features of one bar, and of many: the switch over kernels and the loop around it.

`update_feature` is one kernel's update by one bar. `run` is the loop over it: the batch runs it
over all bars, the stream over the newest one, so training, backtest and paper see the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.features.kinds import (
    calendar,
    cross,
    oscillators,
    returns,
    statistics,
    trends,
    volatility,
    volume,
)
from mtquant.features.past import Numbers, Past, Triple, Vector, forget, take_in

FAMILIES = (returns, volatility, oscillators, trends, volume, statistics, cross, calendar)
RETURNS, VOLATILITY, OSCILLATORS, TRENDS, VOLUME, STATISTICS, CROSS, CALENDAR = range(8)

# Columns of a program, one row per kernel to run: family and code; first number of its state and
# how many there are (0: windowed); column of the peer's closes; for each of its three values the
# column of the result (-1: not wanted) and the rows without a value.
FAMILY, CODE, STATE, STATE_SIZE, PEER, PLACE, WARMUP = 0, 1, 2, 3, 4, 5, 8
PROGRAM_COLUMNS = 11
VALUES = 3
MOST_NUMBERS = 4


@kernel
def update_feature(
    family: int, code: int, numbers: Numbers, peer: int, past: Past, t: int, state: Vector
) -> Triple:
    """Takes row t into one kernel's own state and returns its values; NaN for an unknown one."""
    window = int(numbers[0])
    values = (math.nan, math.nan, math.nan)
    if family == RETURNS:
        values = returns.update(code, past, t, window)
    elif family == VOLATILITY:
        values = volatility.update(code, numbers, past, t, state)
    elif family == OSCILLATORS:
        values = oscillators.update(code, numbers, past, t, state)
    elif family == TRENDS:
        values = trends.update(code, numbers, past, t, state)
    elif family == VOLUME:
        values = volume.update(code, past, t, window)
    elif family == STATISTICS:
        values = statistics.update(code, past, t, window, int(numbers[1]))
    elif family == CROSS:
        values = cross.update(code, past, t, window, peer)
    elif family == CALENDAR:
        values = calendar.update(code, past, t, window)
    return values


@kernel
def run(
    program: NDArray[np.int64],
    numbers: Vector,
    states: Vector,
    past: Past,
    fill: int,
    bars: Past,
    seen: int,
    out: NDArray[np.float32],
) -> int:
    """Takes in bars; all features of each.

    Args:
        program: int64 [K, PROGRAM_COLUMNS], K kernels.
        numbers: float64 [K, MOST_NUMBERS], what the kinds make of their parameters.
        states: float64, the states of all recursive kernels, changed in place.
        past: float64 [columns, keep + BLOCK_ROWS], changed in place.
        fill: Rows of the past in use, at least keep.
        bars: float64 [columns, n], see `past.BAR_COLUMNS`.
        seen: Bars of history before these.
        out: float32 [n, F], written; NaN while a feature warms up.

    Returns:
        Rows of the past in use afterwards.
    """
    done = 0
    while done < bars.shape[1]:
        if fill == past.shape[1]:
            fill = forget(past)
        count = min(past.shape[1] - fill, bars.shape[1] - done)
        take_in(past, fill, bars, done, count)
        for k in range(program.shape[0]):
            family, code, peer = program[k, FAMILY], program[k, CODE], program[k, PEER]
            given = (numbers[k, 0], numbers[k, 1], numbers[k, 2], numbers[k, 3])
            state, windowed = states[program[k, STATE] :], program[k, STATE_SIZE] == 0
            place_a, place_b = program[k, PLACE], program[k, PLACE + 1]
            place_c = program[k, PLACE + 2]
            # A windowed kernel reads as far back as its warm-up, the same for all of its values;
            # before, there is nothing to read.
            known_a, known_b = program[k, WARMUP] - seen, program[k, WARMUP + 1] - seen
            known_c = program[k, WARMUP + 2] - seen
            for i in range(count):
                a, b, c = math.nan, math.nan, math.nan
                if i >= known_a or not windowed:
                    a, b, c = update_feature(family, code, given, peer, past, fill + i, state)
                row = done + i
                if place_a >= 0:
                    out[row, place_a] = a if i >= known_a else math.nan
                if place_b >= 0:
                    out[row, place_b] = b if i >= known_b else math.nan
                if place_c >= 0:
                    out[row, place_c] = c if i >= known_c else math.nan
        fill += count
        seen += count
        done += count
    return fill
