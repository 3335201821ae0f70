# SPDX-License-Identifier: Apache-2.0
"""The past that features are computed from: bars and what many kinds derive from them, by column.

``past`` is float64 [columns, rows], oldest row first; a column is contiguous, so a window is a
plain slice of it. It holds the newest bars, as many as the longest window needs and some more; when
it is full, the newest move to the front. Rows that were never filled are zeros: prices are
positive, so a close of 0 means "none yet". The batch goes through it in blocks that fit into a
processor's cache, the stream row by row; windows look the same in both, hence the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.features.doubling import LEVELS, double_extremes, double_moments

Vector = NDArray[np.float64]
Past = NDArray[np.float64]
# What a kernel gives: up to three values; what a kind makes of its parameters.
Triple = tuple[float, float, float]
Numbers = tuple[float, float, float, float]

# What a bar brings: prices, volume, close stamp in whole seconds since 1970 UTC.
OPEN, HIGH, LOW, CLOSE, VOLUME, SECONDS = range(6)
# Seconds until the instrument's session closes; filled in where a feature asks for it.
SESSION_LEFT = 6
# These columns are given, and then one for each peer; all others are derived.
BAR_COLUMNS = 7
# What `derive` adds, each once for all kinds that need it.
(
    LOG_RETURN,  # log(close / close before)
    OVERNIGHT,  # log(open / close before)
    BODY,  # log(close / open)
    LOG_RANGE_SQUARED,  # log(high / low)^2
    GARMAN_KLASS,  # variance of this bar alone by their estimator
    ROGERS_SATCHELL,  # the same by theirs
    TRUE_RANGE,  # max(high, close before) - min(low, close before)
    PRESSURE,  # close - min(low, close before)
    MOVEMENT,  # |high - low before| - |low - high before|
    TYPICAL,  # (high + low + close) / 3
    SIGNED_VOLUME,  # volume, negative where the close fell, 0 where it stood still
    MONEY_FLOW,  # ((close - low) - (high - close)) / (high - low) x volume
) = range(7, 19)
# Extremes and moments over 2, 4, 8, 16 and 32 bars, see `doubling`.
HIGHEST_HIGH = 19
LOWEST_LOW = HIGHEST_HIGH + LEVELS
HIGHEST_CLOSE = LOWEST_LOW + LEVELS
LOWEST_CLOSE = HIGHEST_CLOSE + LEVELS
CLOSE_MOMENTS = LOWEST_CLOSE + LEVELS
RETURN_MOMENTS = CLOSE_MOMENTS + 2 * LEVELS
VOLUME_MOMENTS = RETURN_MOMENTS + 2 * LEVELS
OVERNIGHT_MOMENTS = VOLUME_MOMENTS + 2 * LEVELS
BODY_MOMENTS = OVERNIGHT_MOMENTS + 2 * LEVELS
# For each instrument that features compare with: its last known close, the log return of that
# between two rows, and the moments of the returns; NaN before its first bar.
PEERS = BODY_MOMENTS + 2 * LEVELS
PEER_COLUMNS = 2 + 2 * LEVELS
PEER_RETURN, PEER_MOMENTS = 1, 2  # behind its close


# Rows that one kernel runs over before the next has its turn: few enough that what it reads and
# writes stays in a core's second cache.
BLOCK_ROWS = 512


def empty_past(rows: int, peers: int) -> Past:
    """A past before history that keeps at least `rows` rows; what is derived by doubling needs 32.

    The first free row is the one behind those to keep.
    """
    keep = max(rows, 1 << LEVELS)
    return np.zeros((PEERS + PEER_COLUMNS * peers, keep + BLOCK_ROWS))


@kernel
def forget(past: Past) -> int:
    """Moves the rows to keep to the front; returns how many they are."""
    keep = past.shape[1] - BLOCK_ROWS
    for column in range(past.shape[0]):
        for row in range(keep):
            past[column, row] = past[column, row + BLOCK_ROWS]
    return keep


@kernel
def take_in(past: Past, fill: int, bars: Past, first: int, count: int) -> None:
    """Writes bars first..first + count - 1 into the rows from `fill` on and derives the rest."""
    for column in range(bars.shape[0]):
        target = column if column < BAR_COLUMNS else PEERS + PEER_COLUMNS * (column - BAR_COLUMNS)
        for i in range(count):
            past[target, fill + i] = bars[column, first + i]
    derive(past, fill, fill + count)


@kernel
def derive(past: Past, first: int, last: int) -> None:
    """Fills the derived columns of rows first..last - 1; the row before is complete or empty."""
    for t in range(first, last):
        derive_logarithms(past, t)
        derive_ranges(past, t)
    double_extremes(past, HIGH, HIGHEST_HIGH, LOW, LOWEST_LOW, first, last)
    double_extremes(past, CLOSE, HIGHEST_CLOSE, CLOSE, LOWEST_CLOSE, first, last)
    double_moments(past, CLOSE, CLOSE_MOMENTS, first, last)
    double_moments(past, OVERNIGHT, OVERNIGHT_MOMENTS, first, last)
    double_moments(past, BODY, BODY_MOMENTS, first, last)
    double_moments(past, LOG_RETURN, RETURN_MOMENTS, first, last)
    double_moments(past, VOLUME, VOLUME_MOMENTS, first, last)
    for peer in range(PEERS, past.shape[0], PEER_COLUMNS):
        for t in range(first, last):
            before, now = past[peer, t - 1], past[peer, t]
            past[peer + PEER_RETURN, t] = math.log(now / before) if before > 0.0 else math.nan
        double_moments(past, peer + PEER_RETURN, peer + PEER_MOMENTS, first, last)


@kernel
def derive_logarithms(past: Past, t: int) -> None:
    """Log returns and variances of one bar; nothing moved before the first.

    Sources: Garman and Klass, Journal of Business 53 (1980); Rogers and Satchell, Annals of Applied
    Probability 1 (1991).
    """
    open_, close, before = past[OPEN, t], past[CLOSE, t], past[CLOSE, t - 1]
    known = before > 0.0
    up, down = math.log(past[HIGH, t] / open_), math.log(past[LOW, t] / open_)
    body = math.log(close / open_)
    squared = (up - down) * (up - down)
    past[LOG_RETURN, t] = math.log(close / before) if known else 0.0
    # A difference of logarithms costs less than another one, and is 0 where the open is the close
    # before: both have the same argument then.
    past[OVERNIGHT, t] = past[LOG_RETURN, t] - body if known else 0.0
    past[BODY, t] = body
    past[LOG_RANGE_SQUARED, t] = squared
    past[GARMAN_KLASS, t] = 0.5 * squared - (2.0 * math.log(2.0) - 1.0) * body * body
    past[ROGERS_SATCHELL, t] = up * (up - body) + down * (down - body)


@kernel
def derive_ranges(past: Past, t: int) -> None:
    """Ranges, movements and volume flows of one bar; nothing moved before the first.

    Sources: true range, Wilder (1978); buying pressure, Williams (1985); vortex movement, Botes and
    Siepman (2010); money flow multiplier, Chaikin.
    """
    high, low, close, volume = past[HIGH, t], past[LOW, t], past[CLOSE, t], past[VOLUME, t]
    known = past[CLOSE, t - 1] > 0.0
    before = past[CLOSE, t - 1] if known else close
    floor = min(low, before)
    past[TRUE_RANGE, t] = max(high, before) - floor
    past[PRESSURE, t] = close - floor
    movement = abs(high - past[LOW, t - 1]) - abs(low - past[HIGH, t - 1])
    past[MOVEMENT, t] = movement if known else 0.0
    past[TYPICAL, t] = (high + low + close) / 3.0
    rising = volume if close > before else 0.0
    past[SIGNED_VOLUME, t] = rising - (volume if close < before else 0.0)
    width = high - low
    position = ((close - low) - (high - close)) / width if width > 0.0 else 0.0
    past[MONEY_FLOW, t] = position * volume
