# SPDX-License-Identifier: Apache-2.0
"""Facts of bars, for a terminal."""

from __future__ import annotations

import math

import numpy as np

from mtquant.core.lengths import length_text
from mtquant.data.bars import Bars, stamp_text
from mtquant.data.importing.gaps import find_gaps
from mtquant.data.importing.report import gap_lines


def fact_lines(bars: Bars) -> list[str]:
    """Span, prices, moves, volume, gaps and notes of bars."""
    changes = np.diff(np.log(bars.close))
    largest = int(np.abs(changes).argmax())
    yearly = math.sqrt(float(np.mean(changes**2)) * bars.bars_per_year)
    idle = int((bars.volume == 0.0).sum())
    lines = [
        f"{bars.symbol}  {len(bars):,} bars of {length_text(bars.bar_seconds)} in {bars.quote}",
        f"  span      {stamp_text(int(bars.stamps[0]))} to {stamp_text(int(bars.stamps[-1]))},"
        f" {bars.bars_per_year:,.0f} bars a year",
        f"  prices    {bars.low.min():g} to {bars.high.max():g}, last close {bars.close[-1]:g}",
        f"  moves     {100.0 * yearly:.1f} % a year; largest from close to close"
        f" {100.0 * math.expm1(changes[largest]):+.2f} %,"
        f" closed {stamp_text(int(bars.stamps[largest + 1]))}",
        f"  volume    {np.median(bars.volume):g} at the median, {idle:,} bars without",
        *gap_lines(find_gaps(bars.stamps, bars.bar_seconds).summary),
    ]
    return [*lines, *(f"  note      {note}" for note in bars.notes)]
