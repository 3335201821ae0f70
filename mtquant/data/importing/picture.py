# SPDX-License-Identifier: Apache-2.0
"""A picture of bars: prices, what was found and repaired, volume, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtquant.core.lengths import length_text
from mtquant.core.records import write_atomically
from mtquant.data.bars import Bars, Float, Stamps, stamp_text
from mtquant.data.importing.gaps import find_gaps
from mtquant.data.importing.reader import Mark

BINS = 1_200
TOGETHER = 6  # columns of prices to one of volume, else weekends make a comb of it
INK, BAND, MISSING = "#1f3a5f", "#9db8d9", "#c0392b"
COLOURS = ("#d35400", "#8e44ad", "#16a085", "#b7950b", "#2c3e50", "#e84393", "#6ab04c")


def draw_bars(bars: Bars, path: Path, marks: Sequence[Mark] = ()) -> None:
    """Writes a PNG of bars, atomically.

    Long histories are drawn in some thousand columns: the band reaches from the lowest low to the
    highest high of a column, the line joins its last closes, so that no spike is lost.

    Args:
        bars: The bars.
        path: Where to; its folder is made.
        marks: What an import found.
    """
    figure = Figure(figsize=(12.0, 7.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    price, volume, missing = figure.subplots(3, 1, sharex=True, height_ratios=(5, 1.2, 1))
    marks = [mark for mark in marks if len(mark.stamps)]
    ends = np.concatenate([bars.stamps[[0, -1]], *(mark.stamps for mark in marks)])
    edges = np.linspace(ends.min(), ends.max() + 1, BINS + 1)
    _draw_prices(price, bars, edges)
    _draw_marks(price, bars, marks)
    _draw_volume(volume, bars, edges[::TOGETHER])
    _draw_missing(missing, bars, edges)
    locator = AutoDateLocator()
    missing.xaxis.set_major_locator(locator)
    missing.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    missing.set_xlim(_dates(edges[:1])[0], _dates(edges[-1:])[0])
    for axes in (price, volume, missing):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    span = f"{stamp_text(int(bars.stamps[0]))} to {stamp_text(int(bars.stamps[-1]))}"
    title = f"{bars.symbol}: {len(bars):,} bars of {length_text(bars.bar_seconds)}, {span}"
    price.set_title(title, loc="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda aside: figure.savefig(aside, metadata={"Software": None}))


def _draw_prices(axes: Axes, bars: Bars, edges: Float) -> None:
    column = _column(bars.stamps, edges)
    low, high = np.full(BINS, np.inf), np.full(BINS, -np.inf)
    np.minimum.at(low, column, bars.low)
    np.maximum.at(high, column, bars.high)
    close = np.full(BINS, np.nan)
    close[column] = bars.close  # the last of a column stays
    there = np.isfinite(low)
    dates = _dates(edges[:-1])[there]
    axes.fill_between(dates, low[there], high[there], color=BAND, linewidth=0, label="low to high")
    axes.plot(dates, close[there], color=INK, linewidth=0.9, label="close")
    axes.set_ylabel(bars.quote)


def _draw_volume(axes: Axes, bars: Bars, edges: Float) -> None:
    column = np.minimum(np.searchsorted(edges, bars.stamps, side="right") - 1, len(edges) - 2)
    total = np.bincount(column, weights=bars.volume, minlength=len(edges) - 1)
    axes.stairs(total, _dates(edges), fill=True, color=BAND)
    axes.set_ylabel("volume")


def _draw_marks(axes: Axes, bars: Bars, marks: Sequence[Mark]) -> None:
    """A row of ticks per kind, along the foot of the picture."""
    low, high = float(bars.low.min()), float(bars.high.max())
    step = (high - low) * 0.04 or high * 0.01
    for place, mark in enumerate(marks):
        foot = np.full(len(mark.stamps), low - (place + 1) * step)
        axes.scatter(
            _dates(mark.stamps),
            foot,
            marker="|",
            s=45,
            linewidths=1.1,
            color=COLOURS[place % len(COLOURS)],
            label=f"{mark.kind.replace('_', ' ')}: {len(mark.stamps):,}",
        )
    axes.legend(loc="best", fontsize=8, frameon=False, ncols=2 if len(marks) > 4 else 1)


def _draw_missing(axes: Axes, bars: Bars, edges: Float) -> None:
    gaps = find_gaps(bars.stamps, bars.bar_seconds)
    summary = gaps.summary
    weights = gaps.missing if summary.known_week else np.ones(len(gaps.after))
    total = np.bincount(_column(bars.stamps[gaps.after], edges), weights=weights, minlength=BINS)
    # Columns are narrower than a pixel may be: stems are seen, fillings are not.
    found = np.flatnonzero(total)
    axes.vlines(_dates(edges[found]), 0.0, total[found], color=MISSING, linewidth=1.3)
    axes.set_ylim(0.0, max(1.0, float(total.max(initial=0.0)) * 1.1))
    axes.set_ylabel("bars")
    text = f"{summary.missing_bars:,} bars in {summary.count:,} gaps, by the file's own week"
    if not summary.known_week:
        text = f"{summary.count:,} steps longer than a bar; too short to know its week"
    axes.set_title(f"missing: {text}", loc="left", fontsize=8, color=MISSING)


def _column(stamps: Stamps, edges: Float) -> NDArray[np.int64]:
    place = np.searchsorted(edges, stamps, side="right") - 1
    return np.clip(place, 0, BINS - 1).astype(np.int64)


def _dates(stamps: NDArray[np.generic]) -> NDArray[np.datetime64]:
    return stamps.astype(np.int64).astype("datetime64[ns]")
