# SPDX-License-Identifier: Apache-2.0
"""Bars with another future: left out, drawn anew, or told in shares that were split since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mtquant.data.bars import PRICE_COLUMNS, Bars, Float

SPLIT = 0.5  # a power of two: features that do not know the price level give the same bytes


def cut(bars: Bars, stamp_ns: int) -> Bars:
    """The bars that had closed by a stamp."""
    return bars.rows(slice(0, int(np.searchsorted(bars.stamps, stamp_ns, side="right"))))


def redrawn(bars: Bars, stamp_ns: int, generator: np.random.Generator) -> Bars:
    """The same stamps, and behind `stamp_ns` other bars: steps and shapes of these bars, drawn
    with replacement, so that no bar says anything of the next (iid bootstrap).

    Args:
        bars: At least two.
        stamp_ns: Bars that closed by then stay as they are; one before the first redraws all but
            the first bar.
        generator: Draws which bar each new one is like.
    """
    first = max(1, int(np.searchsorted(bars.stamps, stamp_ns, side="right")))
    count = len(bars) - first
    if count <= 0:
        return bars
    drawn = generator.integers(1, len(bars), count)
    steps = np.log(bars.close[drawn] / bars.close[drawn - 1])
    closes = bars.close[first - 1] * np.exp(np.cumsum(steps))
    columns = {}
    for name in PRICE_COLUMNS:
        column = getattr(bars, name).copy()
        column[first:] = closes * (column[drawn] / bars.close[drawn])
        columns[name] = column
    # Rounding must not put the extremes inside the bar.
    columns["high"] = np.maximum.reduce([columns[name] for name in PRICE_COLUMNS])
    columns["low"] = np.minimum.reduce([columns[name] for name in PRICE_COLUMNS])
    volume = bars.volume.copy()
    volume[first:] = bars.volume[drawn]
    return _replaced(bars, volume, columns)


def split(bars: Bars) -> Bars:
    """The same bars as a data vendor would show them after a later split, two shares for one."""
    prices = {name: getattr(bars, name) * SPLIT for name in PRICE_COLUMNS}
    return _replaced(bars, bars.volume / SPLIT, prices)


def _replaced(bars: Bars, volume: Float, prices: Mapping[str, Float]) -> Bars:
    return replace(
        bars,
        volume=volume,
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        close=prices["close"],
    )


def without_first(bars: Bars, stamp_ns: int) -> Bars:
    """The bars that closed at a stamp or later."""
    return bars.rows(slice(int(np.searchsorted(bars.stamps, stamp_ns)), None))
