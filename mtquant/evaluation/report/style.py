# SPDX-License-Identifier: Apache-2.0
"""How every chart of a report looks; readable on a light and on a dark page.

A chart has no background of its own, no legend and no title: the page writes those, in its own
colours, which follow the reader's. Lines have middle tones that keep their contrast on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

# Each keeps a contrast of at least 3 to white and to the dark page; neighbours in the list differ
# for the colour-blind too (after Okabe and Ito 2008, darkened or lightened to the middle).
COLOURS = (
    "#2f7fd6",
    "#d9731a",
    "#1f9a74",
    "#c2579a",
    "#a8811a",
    "#8a6fd1",
    "#2b97a8",
    "#d0545c",
    "#7f8791",
)
POLICY_COLOUR = COLOURS[0]
GAIN_COLOUR, LOSS_COLOUR, STOP_COLOUR = "#1f9a74", "#d0545c", "#a8811a"
TEXT_COLOUR, GRID_COLOUR = "#808792", "rgba(128,134,144,0.24)"
MAX_POINTS = 1600
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def dress(figure: go.Figure, height: int | None = None) -> go.Figure:
    """A copy of a figure in the style of the report, our own or one that a caller hands in."""
    dressed = go.Figure(data=figure.data, layout=figure.layout)
    height = height or (int(figure.layout.height) if figure.layout.height else 340)
    dressed.update_layout(
        template="none",
        width=None,
        autosize=True,
        height=height,
        title=None,
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": TEXT_COLOUR, "size": 12, "family": FONT},
        margin={"l": 4, "r": 10, "t": 10, "b": 4},
        hoverlabel={"font": {"family": FONT, "size": 12}},
    )
    axis = {
        "gridcolor": GRID_COLOUR,
        "zerolinecolor": GRID_COLOUR,
        "linecolor": GRID_COLOUR,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12}},
    }
    dressed.update_xaxes(**axis, nticks=7, tickangle=0)
    dressed.update_yaxes(**axis)
    return dressed


def thin(values: Float, limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Indices of at most `limit` points that keep the look of a line: lows and highs of stretches.

    Args:
        values: float64 [T], NaN allowed.
        limit: Points kept, at least 4.

    Returns:
        int64, ascending, first and last bar included; all of them if T <= `limit`.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), (limit - 2) // 2 + 1).astype(np.int64)
    low, high = (
        np.where(np.isnan(values), np.inf, values),
        np.where(np.isnan(values), -np.inf, values),
    )
    kept = {0, len(values) - 1}
    for start, stop in pairwise(edges):
        kept.add(int(start + np.argmin(low[start:stop])))
        kept.add(int(start + np.argmax(high[start:stop])))
    return np.array(sorted(kept), dtype=np.int64)


def even(count: int, limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Evenly picked rows, first and last included: where several series share one axis."""
    return np.linspace(0, count - 1, min(count, limit)).astype(np.int64)


def line(stamps: NDArray[np.int64], values: Float, name: str, **look: object) -> go.Scatter:
    """A thinned line over close stamps."""
    rows = thin(values)
    return go.Scatter(
        x=times(stamps[rows]), y=values[rows], name=name, mode="lines", line=dict(look)
    )


def band(
    stamps: NDArray[np.int64], low: Float, high: Float, name: str, colour: str
) -> list[go.Scatter]:
    """The area between two series, as an invisible lower line and a filled upper one."""
    rows = even(len(stamps))
    rows = rows[np.isfinite(low[rows] + high[rows])]
    shared = {"x": times(stamps[rows]), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        go.Scatter(y=low[rows], showlegend=False, legendgroup=name, name=f"{name}, low", **shared),
        go.Scatter(
            y=high[rows],
            name=name,
            legendgroup=name,
            fill="tonexty",
            fillcolor=faint(colour),
            **shared,
        ),
    ]


def times(stamps: NDArray[np.int64]) -> NDArray[np.str_]:
    """Text to the minute: no reader's time zone can move it, and it is short."""
    found = np.datetime_as_string(stamps.astype("datetime64[ns]"), unit="m")
    return np.asarray(found)


def span(run: Ledger) -> list[str]:
    """First and last stamp of a run, as the range of an axis: markers would widen it a little,
    differently on each chart.
    """
    return [str(text) for text in times(run.stamps[[0, -1]])]


def colour_of(n: int) -> str:
    """The colour of the n-th series; 0 is the policy."""
    return COLOURS[n % len(COLOURS)]


def faint(colour: str, opacity: float = 0.2) -> str:
    """A colour that lets the page through."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def legend_of(figure: go.Figure) -> list[tuple[str, str]]:
    """Names and colours of a figure's series, in drawing order, each name once."""
    found: dict[str, str] = {}
    for trace in figure.data:
        name = None if trace.type == "heatmap" else trace.name
        if name and trace.showlegend is not False and name not in found:
            found[str(name)] = _colour(trace)
    named = list(found.items())
    # What is drawn last lies on top and is named first, where a figure says so.
    return named[::-1] if figure.layout.legend.traceorder == "reversed" else named


def _colour(trace: go.Figure) -> str:
    """The colour that stands for a series: of its line, its markers or its filling."""
    places: Sequence[tuple[str, ...]] = (("line", "color"), ("marker", "color"), ("fillcolor",))
    for path in places:
        value = trace
        for part in path:
            value = getattr(value, part, None) if value is not None else None
        if isinstance(value, str):
            return value
    return TEXT_COLOUR
