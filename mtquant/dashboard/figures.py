# SPDX-License-Identifier: Apache-2.0
"""Charts of the page, in the colours of the report, on a light and on a dark screen.

A chart has no legend of its own: the page writes it from `legend_of`, so that it wraps on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from mtquant.dashboard.backtests import Beside
from mtquant.dashboard.tables import mode_word
from mtquant.evaluation.report.style import (
    GRID_COLOUR,
    LOSS_COLOUR,
    POLICY_COLOUR,
    STOP_COLOUR,
    TEXT_COLOUR,
    colour_of,
    dress,
    faint,
    line,
    times,
)
from mtquant.risk.guard import GUARD_HALTED, GUARD_REDUCING

BAND_COLOURS = {GUARD_REDUCING: STOP_COLOUR, GUARD_HALTED: LOSS_COLOUR}
LEAST_AHEAD = 1e-3  # rounding must not look like a difference
HOVER = {"bgcolor": "#1c2026", "bordercolor": "#2c3138", "font": {"color": "#e6e9ec"}}


def stamps_of(index: pd.Index) -> NDArray[np.int64]:
    """Close stamps as nanoseconds, whatever unit an index counts in."""
    return np.asarray(pd.DatetimeIndex(index).as_unit("ns").asi8)


def equity_figure(curve: pd.DataFrame, marks: pd.DataFrame, currency: str) -> go.Figure:
    """Equity over drawdown; the guard's changes as marks, and behind both the time in which it let
    positions only shrink, or nothing trade.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05)
    stamps = stamps_of(curve.index)
    equity, fall = curve["equity"].to_numpy(), -curve["drawdown"].to_numpy()
    figure.add_trace(line(stamps, equity, "equity", color=POLICY_COLOUR, width=2), 1, 1)
    down = line(stamps, fall, "drawdown", color=LOSS_COLOUR, width=1.2)
    figure.add_trace(down.update(fill="tozeroy", fillcolor=faint(LOSS_COLOUR)), 2, 1)
    _mark_guard(figure, curve, marks)
    figure.update_yaxes(title_text=currency, row=1, col=1, tickformat=",.4~s")
    figure.update_yaxes(title_text="drawdown", row=2, col=1, tickformat=".1%", rangemode="tozero")
    return _finished(figure, 430)


def _mark_guard(figure: go.Figure, curve: pd.DataFrame, marks: pd.DataFrame) -> None:
    if curve.empty or marks.empty:
        return
    ends = [*marks.index[1:], curve.index[-1]]
    for start, end, mode in zip(marks.index, ends, marks["mode"], strict=True):
        if mode in BAND_COLOURS and end > start:
            colour = faint(BAND_COLOURS[mode], 0.14)
            edges = times(stamps_of(pd.DatetimeIndex([start, end]))).tolist()
            for row in (1, 2):
                figure.add_vrect(
                    *edges, fillcolor=colour, line_width=0, layer="below", row=row, col=1
                )
    at = curve["equity"].reindex(marks.index, method="nearest").to_numpy()
    words = [
        f"guard {mode_word(mode)} ({actor})<br>{reasons or 'all clear'}"
        for mode, reasons, actor in zip(marks["mode"], marks["reasons"], marks["actor"])
    ]
    colours = [BAND_COLOURS.get(mode, colour_of(2)) for mode in marks["mode"]]
    look = {"symbol": "diamond", "size": 9, "color": colours}
    figure.add_trace(
        go.Scatter(
            x=times(stamps_of(marks.index)),
            y=at,
            mode="markers",
            marker={**look, "line": {"width": 1, "color": TEXT_COLOUR}},
            hovertext=words,
            hoverinfo="text",
            showlegend=False,
        ),
        1,
        1,
    )


def allocation_figure(held: pd.DataFrame) -> go.Figure:
    """Exposures stacked, longs upwards and shorts downwards; instruments never held are left
    out.
    """
    figure = go.Figure()
    x = times(stamps_of(held.index))
    for n, symbol in enumerate(held.columns):
        own = held[symbol].fillna(0.0).to_numpy()
        for side, part in (("long", own.clip(0.0)), ("short", own.clip(None, 0.0))):
            if part.any():
                figure.add_trace(
                    go.Scatter(
                        x=x,
                        y=part,
                        name=symbol,
                        stackgroup=side,
                        mode="lines",
                        line={"width": 0.6, "color": colour_of(n)},
                        fillcolor=faint(colour_of(n), 0.62),
                        hovertemplate="%{y:.1%}",
                    )
                )
    figure.update_yaxes(title_text="exposure / equity", tickformat=".0%")
    return _finished(figure, 330)


def lines_figure(frame: pd.DataFrame, title: str, height: int = 300) -> go.Figure:
    """One line per column over close stamps."""
    figure = go.Figure()
    for n, name in enumerate(frame.columns):
        values = frame[name].to_numpy()
        stamps = stamps_of(frame.index)
        figure.add_trace(line(stamps, values, str(name), color=colour_of(n), width=1.6))
    figure.update_yaxes(title_text=title)
    return _finished(figure, height)


def beside_figure(found: Beside) -> go.Figure:
    """Paper and backtest, 100 where they begin together, and below them how far paper is ahead. The
    backtest is drawn broad, so that it shows where paper lies on it.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05)
    stamps = stamps_of(found.frame.index)
    for name, colour, width in (
        ("backtest", faint(colour_of(1), 0.6), 5.0),
        ("paper", POLICY_COLOUR, 1.8),
    ):
        values = found.frame[name].to_numpy()
        figure.add_trace(line(stamps, values, name, color=colour, width=width), 1, 1)
    ahead = (found.frame["paper"] / found.frame["backtest"] - 1.0).to_numpy()
    difference = line(stamps, ahead, "paper ahead", color=TEXT_COLOUR, width=1.2)
    figure.add_trace(difference.update(fill="tozeroy", fillcolor=GRID_COLOUR), 2, 1)
    figure.update_yaxes(title_text="start = 100", row=1, col=1)
    widest = max(LEAST_AHEAD, 1.1 * float(np.nanmax(np.abs(ahead))))
    span = [-widest, widest]
    figure.update_yaxes(title_text="paper ahead", tickformat=".2%", range=span, row=2, col=1)
    return _finished(figure, 400)


def curves_figure(series: Mapping[str, pd.Series], height: int = 240) -> go.Figure:
    """A metric's training curves over bars lived through."""
    figure = go.Figure()
    for n, (name, own) in enumerate(sorted(series.items())):
        look = {"color": colour_of(n), "width": 1.4}
        figure.add_trace(go.Scatter(x=own.index, y=own.to_numpy(), name=name, line=look))
    figure.update_traces(mode="lines")
    return _finished(figure, height)


def _finished(figure: go.Figure, height: int) -> go.Figure:
    """In the style of the report; a reader's zoom stays while the page refreshes itself."""
    dressed = dress(figure, height)
    dressed.update_layout(hovermode="x unified", hoverlabel=HOVER, uirevision="kept")
    return dressed
