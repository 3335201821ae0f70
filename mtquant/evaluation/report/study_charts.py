# SPDX-License-Identifier: Apache-2.0
"""Charts of what lies beside one run: other costs, other seeds, made-up markets, the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from mtquant.evaluation.report.cells import Estimate
from mtquant.evaluation.report.material import CostCurve
from mtquant.evaluation.report.style import (
    LOSS_COLOUR,
    POLICY_COLOUR,
    TEXT_COLOUR,
    dress,
    faint,
    thin,
)

Curve = tuple[Sequence[int], Sequence[float]]


def cost_curve_chart(curve: CostCurve) -> go.Figure:
    """Annual return by cost, with the break-even point."""
    figure = go.Figure(
        go.Scatter(
            x=[point.scale for point in curve.points],
            y=[point.annual_return for point in curve.points],
            name="annual return",
            mode="lines+markers",
            line={"color": POLICY_COLOUR, "width": 2},
        )
    )
    if np.isfinite(curve.break_even):
        figure.add_trace(
            go.Scatter(
                x=[curve.break_even],
                y=[0.0],
                name="break-even",
                mode="markers",
                marker={"symbol": "diamond", "size": 10, "color": LOSS_COLOUR},
            )
        )
    figure.update_layout(
        xaxis_title="times the configured costs",
        yaxis_title="per year",
        yaxis_tickformat=".1%",
        hovermode="x unified",
    )
    return dress(figure, 260)


def intervals_chart(named: Mapping[str, Estimate]) -> go.Figure:
    """Estimates with their intervals, one row each, zero marked."""
    known = {name: each for name, each in named.items() if np.isfinite(each.low)}
    values = np.array([each.value for each in known.values()])
    low = np.array([each.low for each in known.values()])
    high = np.array([each.high for each in known.values()])
    figure = go.Figure(
        go.Scatter(
            x=values,
            y=list(known),
            mode="markers",
            name="Sharpe ratio, 95 % interval",
            marker={"size": 8, "color": POLICY_COLOUR},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": high - values,
                "arrayminus": values - low,
                "color": TEXT_COLOUR,
                "thickness": 1.4,
                "width": 4,
            },
        )
    )
    figure.add_vline(x=0.0, line={"color": LOSS_COLOUR, "width": 1, "dash": "dot"})
    figure.update_layout(xaxis_title="per year")
    figure.update_yaxes(autorange="reversed")
    return dress(figure, 80 + 26 * max(len(known), 3))


def learning_chart(curves: Mapping[str, Curve], colours: Mapping[str, str]) -> go.Figure:
    """One metric of several networks against bars lived through."""
    figure = go.Figure()
    for name, (steps, values) in curves.items():
        shown = np.asarray(values, dtype=np.float64)
        rows = thin(shown, 400)
        figure.add_trace(
            go.Scatter(
                x=np.asarray(steps)[rows],
                y=shown[rows],
                name=name,
                mode="lines+markers" if len(rows) < 12 else "lines",
                line={"color": colours[name], "width": 1.5},
            )
        )
    figure.update_layout(xaxis_title="bars lived through", hovermode="x")
    return dress(figure, 230)


def banded_learning_chart(
    curves: Mapping[str, Curve], colours: Mapping[str, str], reach: float
) -> go.Figure:
    """A validation Sharpe ratio with the band that so short a period leaves around it."""
    figure = go.Figure()
    for name, (steps, values) in curves.items():
        shown, bars = np.asarray(values, dtype=np.float64), list(steps)
        around = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name}
        figure.add_trace(
            go.Scatter(x=bars, y=shown - reach, showlegend=False, name=f"{name}, low", **around)
        )
        figure.add_trace(
            go.Scatter(
                x=bars,
                y=shown + reach,
                showlegend=False,
                name=f"{name}, high",
                fill="tonexty",
                fillcolor=faint(colours[name], 0.10),
                **around,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=bars,
                y=shown,
                name=name,
                legendgroup=name,
                mode="lines+markers",
                line={"color": colours[name], "width": 1.6},
            )
        )
    figure.update_layout(xaxis_title="bars lived through", yaxis_title="per year")
    return dress(figure, 280)
