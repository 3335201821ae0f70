# SPDX-License-Identifier: Apache-2.0
"""The charts of a report, one small function each; readable on a light and on a dark page.

A chart has no background of its own and mid-grey text and grid, so the page decides the colours
behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from mtquant.core.outcome import ORIGIN_ORDER, ORIGIN_TEXTS
from mtquant.evaluation.metrics import drawdowns
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

# Middle tones: each keeps a contrast of at least 2.5 to white and to the dark page.
COLOURS = (
    "#3f83d8",
    "#e0792f",
    "#2f9e6b",
    "#c2579a",
    "#8f74d6",
    "#b8901f",
    "#2fa3ad",
    "#d0545c",
    "#8c8273",
)
POLICY_COLOUR = COLOURS[0]
BUY_COLOUR, SELL_COLOUR, STOP_COLOUR = "#2f9e6b", "#d0545c", "#b8901f"
TEXT_COLOUR, GRID_COLOUR = "#858b94", "rgba(128,134,144,0.22)"
MAX_POINTS = 3000
MAX_MARKERS = 1500


def dress(figure: go.Figure, height: int | None = None) -> go.Figure:
    """A copy of a figure in the style of the report, our own or one that a caller hands in."""
    dressed = go.Figure(data=figure.data, layout=figure.layout)
    height = height or (int(figure.layout.height) if figure.layout.height else 360)
    dressed.update_layout(
        width=None,
        autosize=True,
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={
            "color": TEXT_COLOUR,
            "size": 12,
            "family": "system-ui, -apple-system, 'Segoe UI', sans-serif",
        },
        margin={
            "l": 8,
            "r": 8,
            "t": 40 if figure.layout.title.text or figure.layout.annotations else 12,
            "b": 8,
        },
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.12,
            "yanchor": "top",
            "bgcolor": "rgba(0,0,0,0)",
        },
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    axis = {
        "gridcolor": GRID_COLOUR,
        "zerolinecolor": GRID_COLOUR,
        "linecolor": GRID_COLOUR,
        "automargin": True,
    }
    dressed.update_xaxes(**axis)
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


def equity_chart(runs: Sequence[Ledger]) -> go.Figure:
    """Equity of every run, 100 at its start; the policy under test is drawn thicker and on top."""
    figure = go.Figure()
    for n, run in reversed(list(enumerate(runs))):
        line = {"color": _colour(n), "width": 2.4 if n == 0 else 1.2}
        figure.add_trace(_line(run, 100.0 * run.equity / run.initial_equity, run.name, line))
    figure.update_layout(legend_traceorder="reversed", yaxis_title="start = 100")
    return dress(figure, 420)


def drawdown_chart(runs: Sequence[Ledger]) -> go.Figure:
    """Drawdown of every run, downwards in percent of the peak; the policy's is filled."""
    figure = go.Figure()
    for n, run in reversed(list(enumerate(runs))):
        line = {"color": _colour(n), "width": 1.6 if n == 0 else 1.0}
        trace = _line(run, -drawdowns(run.equity, run.initial_equity), run.name, line)
        figure.add_trace(
            trace.update(fill="tozeroy", fillcolor=_faint(_colour(0))) if n == 0 else trace
        )
    figure.update_layout(legend_traceorder="reversed", yaxis_tickformat=".0%")
    return dress(figure, 280)


def exposure_chart(run: Ledger) -> go.Figure:
    """Exposure per instrument at each close, longs stacked upwards, shorts downwards."""
    value = np.nan_to_num(run.positions * run.prices * run.rates) * run.multipliers
    # A bankrupt account holds nothing; its equity may be zero.
    exposure = np.divide(value, run.equity[:, None], out=np.zeros_like(value), where=value != 0.0)
    # Stacked areas need one time axis for all, so bars are picked evenly.
    rows = np.linspace(0, len(run) - 1, min(len(run), MAX_POINTS)).astype(np.int64)
    figure = go.Figure()
    for n, symbol in enumerate(run.symbols):
        shown = True
        for group, part in (
            ("long", np.maximum(exposure[rows, n], 0.0)),
            ("short", np.minimum(exposure[rows, n], 0.0)),
        ):
            if not part.any() and not (group == "short" and shown):
                continue
            figure.add_trace(
                go.Scatter(
                    x=_times(run, rows),
                    y=part,
                    name=symbol,
                    legendgroup=symbol,
                    showlegend=shown,
                    stackgroup=group,
                    mode="lines",
                    line={"width": 0, "shape": "hv", "color": _colour(n)},
                    fillcolor=_faint(_colour(n), 0.65),
                )
            )
            shown = False
    figure.update_layout(yaxis_tickformat=".0%")
    return dress(figure, 320)


def instrument_chart(run: Ledger, symbol: str) -> go.Figure:
    """Closing price of one instrument with buys, sells and stops on it; below, the units held."""
    n = run.symbols.index(symbol)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.04
    )
    figure.add_trace(
        _line(run, run.prices[:, n], "price", {"color": TEXT_COLOUR, "width": 1.1}), row=1, col=1
    )
    for trace in _markers(run, symbol):
        figure.add_trace(trace, row=1, col=1)
    held = _line(
        run, run.positions[:, n], "units held", {"color": POLICY_COLOUR, "width": 1, "shape": "hv"}
    )
    figure.add_trace(
        held.update(fill="tozeroy", fillcolor=_faint(POLICY_COLOUR), showlegend=False), row=2, col=1
    )
    figure.update_yaxes(title_text="units", row=2, col=1)
    # Markers would widen the axis by a little, differently on each chart.
    figure.update_xaxes(range=list(_times(run, np.array([0, len(run) - 1]))))
    return dress(figure, 420)


def cost_chart(run: Ledger) -> go.Figure:
    """Cumulative fee, slippage and financing in the account currency."""
    figure = go.Figure()
    for n, kind in enumerate(("fee", "slippage", "financing")):
        paid = np.cumsum(run.column(kind))
        figure.add_trace(_line(run, paid, kind, {"color": _colour(n), "width": 1.8}))
    figure.update_layout(yaxis_title=run.account_currency)
    return dress(figure, 280)


def turnover_chart(run: Ledger) -> go.Figure:
    """Traded notional over equity, summed by day, week or month as the span allows."""
    span = run.index[-1] - run.index[0]
    period = "M" if span > pd.Timedelta(days=180) else "W" if span > pd.Timedelta(days=40) else "D"
    turnover = pd.Series(
        run.column("turnover"), index=run.index.tz_localize(None).to_period(period)
    )
    summed = turnover.groupby(level=0).sum()
    days = [str(label.start_time.date()) for label in summed.index]
    figure = go.Figure(go.Bar(x=days, y=summed.to_numpy(), marker_color=POLICY_COLOUR))
    per = {"M": "month", "W": "week", "D": "day"}[period]
    figure.update_layout(yaxis_title=f"x equity per {per}", showlegend=False, bargap=0.15)
    return dress(figure, 240)


def _markers(run: Ledger, symbol: str) -> list[go.Scatter]:
    """Buy, sell and stop markers; beyond `MAX_MARKERS` fills the largest are kept."""
    fills = run.fills_frame()
    fills = fills[(fills["symbol"] == symbol) & (fills["quantity"] != 0.0)]
    if len(fills) > MAX_MARKERS:
        fills = fills.loc[fills["quantity"].abs().nlargest(MAX_MARKERS).index.sort_values()]
    ordered = fills["origin"] == ORIGIN_TEXTS[ORIGIN_ORDER]
    groups = (
        ("buy", ordered & (fills["quantity"] > 0), "triangle-up", BUY_COLOUR),
        ("sell", ordered & (fills["quantity"] < 0), "triangle-down", SELL_COLOUR),
        ("stop or liquidation", ~ordered, "x", STOP_COLOUR),
    )
    return [
        go.Scatter(
            x=np.datetime_as_string(
                fills.loc[chosen, "stamp"].dt.tz_localize(None).to_numpy(), unit="m"
            ),
            y=fills.loc[chosen, "price"].to_numpy(),
            customdata=fills.loc[chosen, "quantity"].to_numpy(),
            hovertemplate="%{customdata:,.6g} at %{y:,.6g}",
            name=name,
            mode="markers",
            marker={"symbol": shape, "size": 8, "color": colour, "line": {"width": 0}},
        )
        for name, chosen, shape, colour in groups
        if chosen.any()
    ]


def _line(run: Ledger, values: Float, name: str, line: dict[str, object]) -> go.Scatter:
    rows = thin(values)
    return go.Scatter(x=_times(run, rows), y=values[rows], name=name, mode="lines", line=line)


def _times(run: Ledger, rows: NDArray[np.int64]) -> NDArray[np.str_]:
    # Text to the minute: no viewer's time zone can move it, and it is short.
    return np.datetime_as_string(run.stamps[rows].astype("datetime64[ns]"), unit="m")


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _faint(colour: str, opacity: float = 0.2) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
