# SPDX-License-Identifier: Apache-2.0
"""Charts of equity, risk and trading, one small function each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from mtquant.core.outcome import ORIGIN_ORDER, ORIGIN_TEXTS
from mtquant.evaluation.book_risk import BookRisk
from mtquant.evaluation.metrics import drawdowns
from mtquant.evaluation.report.style import (
    GAIN_COLOUR,
    LOSS_COLOUR,
    POLICY_COLOUR,
    STOP_COLOUR,
    TEXT_COLOUR,
    band,
    colour_of,
    dress,
    even,
    faint,
    line,
    span,
    times,
)
from mtquant.evaluation.rolling import Rolling
from mtquant.evaluation.tracks import returns_of
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

MAX_MARKERS = 150  # more of them hide the price
HEAT_COLUMNS = 400
# Shorts warm, longs cool, nothing held as the page itself.
HEAT_SCALE = (
    (0.0, "rgba(208,84,92,1)"),
    (0.5, "rgba(128,134,144,0.06)"),
    (1.0, "rgba(47,127,214,1)"),
)


def equity_chart(runs: Sequence[Ledger], tracks: Sequence[Ledger] = ()) -> go.Figure:
    """Equity of every run, 100 at its start; the policy is drawn thicker and on top.

    Args:
        runs: The policy, then baselines.
        tracks: The policy trained from several seeds; their range lies behind its line.
    """
    figure = go.Figure()
    if len(tracks) > 1:
        paths = 100.0 * np.cumprod(1.0 + returns_of(list(tracks)), axis=0, dtype=np.float64)
        longest = max(tracks, key=len)
        name = f"range of {len(tracks)} tracks"
        low, high = paths.min(axis=1), paths.max(axis=1)
        figure.add_traces(band(longest.stamps, low, high, name, POLICY_COLOUR))
    for n, run in reversed(list(enumerate(runs))):
        relative = 100.0 * run.equity / run.initial_equity
        width = 2.4 if n == 0 else 1.2
        figure.add_trace(line(run.stamps, relative, run.name, color=colour_of(n), width=width))
    figure.update_layout(
        yaxis_title="start = 100", hovermode="x unified", legend_traceorder="reversed"
    )
    return dress(figure, 400)


def drawdown_chart(runs: Sequence[Ledger]) -> go.Figure:
    """Drawdown of the policy, filled, and of the baseline beside it, downwards from the peak."""
    figure = go.Figure()
    for n, run in reversed(list(enumerate(runs))):
        fall = -drawdowns(run.equity, run.initial_equity)
        width = 1.6 if n == 0 else 1.0
        trace = line(run.stamps, fall, run.name, color=colour_of(n), width=width)
        figure.add_trace(
            trace.update(fill="tozeroy", fillcolor=faint(colour_of(0))) if n == 0 else trace
        )
    figure.update_layout(
        yaxis_tickformat=".0%", hovermode="x unified", legend_traceorder="reversed"
    )
    return dress(figure, 260)


def rolling_sharpe_chart(run: Ledger, found: Rolling) -> go.Figure:
    """The moving Sharpe ratio inside its interval."""
    figure = go.Figure(band(run.stamps, found.low, found.high, "95 % interval", POLICY_COLOUR))
    figure.add_trace(line(run.stamps, found.sharpe, "Sharpe ratio", color=POLICY_COLOUR, width=1.8))
    figure.update_layout(yaxis_title="per year", hovermode="x unified")
    figure.update_xaxes(range=span(run))
    return dress(figure, 260)


def rolling_volatility_chart(runs: Sequence[Ledger], found: Sequence[Rolling]) -> go.Figure:
    """The moving volatility of policy and baseline."""
    figure = go.Figure()
    for n, (run, each) in reversed(list(enumerate(zip(runs, found, strict=True)))):
        width = 1.8 if n == 0 else 1.0
        figure.add_trace(
            line(run.stamps, each.volatility, run.name, color=colour_of(n), width=width)
        )
    figure.update_layout(
        yaxis_title="per year",
        yaxis_tickformat=".0%",
        yaxis_rangemode="tozero",
        legend_traceorder="reversed",
        hovermode="x unified",
    )
    figure.update_xaxes(range=span(runs[0]))
    return dress(figure, 240)


def exposures(run: Ledger) -> Float:
    """Exposure per instrument at each close, units of equity, float64 [T, N].

    A bankrupt account holds nothing; its equity may be zero.
    """
    value = np.nan_to_num(run.positions * run.prices * run.rates) * run.multipliers
    return np.divide(value, run.equity[:, None], out=np.zeros_like(value), where=value != 0.0)


def allocation_chart(run: Ledger) -> go.Figure:
    """Instruments against time, coloured by exposure: mean of the bars that share a column."""
    held = exposures(run)
    edges = np.unique(np.linspace(0, len(run), min(len(run), HEAT_COLUMNS) + 1).astype(np.int64))
    starts: NDArray[np.int64] = edges[:-1]
    means = np.add.reduceat(held, starts, axis=0) / np.diff(edges)[:, None]
    reach = float(np.max(np.abs(means), initial=0.0)) or 1.0
    figure = go.Figure(
        go.Heatmap(
            x=times(run.stamps[starts]),
            y=list(run.symbols),
            z=means.T,
            zmin=-reach,
            zmax=reach,
            colorscale=HEAT_SCALE,
            name="exposure",
            hovertemplate="%{y}  %{x}<br>%{z:+.1%} of equity<extra></extra>",
            colorbar={
                "tickformat": "+.0%",
                "thickness": 10,
                "outlinewidth": 0,
                "nticks": 5,
                "tickfont": {"size": 11},
            },
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return dress(figure, 90 + 30 * max(len(run.symbols), 3))


def instrument_chart(run: Ledger, symbol: str) -> go.Figure:
    """Closing price of one instrument with buys, sells and stops on it; below, the units held."""
    n = run.symbols.index(symbol)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05
    )
    price = line(run.stamps, run.prices[:, n], "close", color=TEXT_COLOUR, width=1.1)
    figure.add_trace(price, row=1, col=1)
    for trace in _markers(run, symbol):
        figure.add_trace(trace, row=1, col=1)
    held = line(
        run.stamps, run.positions[:, n], "units held", color=POLICY_COLOUR, width=1, shape="hv"
    )
    held.update(fill="tozeroy", fillcolor=faint(POLICY_COLOUR))
    figure.add_trace(held, row=2, col=1)
    figure.update_yaxes(title_text="units", nticks=4, row=2, col=1)
    figure.update_xaxes(range=span(run))
    return dress(figure, 380)


def value_at_risk_chart(run: Ledger, risk: BookRisk) -> go.Figure:
    """Returns of the bars, the forecast border below them, and what went through it."""
    returns = run.column("simple_return")
    figure = go.Figure(line(run.stamps, returns, "return of the bar", color=TEXT_COLOUR, width=0.8))
    rows = even(len(run))
    figure.add_trace(
        go.Scatter(
            x=times(run.stamps[rows]),
            y=-risk.value_at_risk[rows],
            name="95 % value at risk",
            mode="lines",
            line={"color": STOP_COLOUR, "width": 1.4},
        )
    )
    figure.add_trace(
        go.Scatter(
            x=times(run.stamps[risk.exceeded]),
            y=returns[risk.exceeded],
            name="exceeded",
            mode="markers",
            marker={"symbol": "circle-open", "size": 6, "color": LOSS_COLOUR},
        )
    )
    figure.update_layout(yaxis_tickformat=".1%")
    figure.update_xaxes(range=span(run))
    return dress(figure, 280)


def cost_chart(run: Ledger, parts: Mapping[str, Float]) -> go.Figure:
    """Cumulative costs by kind, account currency.

    Args:
        run: For its stamps and currency.
        parts: Kind -> float64 [T], paid on each bar.
    """
    figure = go.Figure()
    for n, (kind, paid) in enumerate(parts.items()):
        figure.add_trace(line(run.stamps, np.cumsum(paid), kind, color=colour_of(n), width=1.8))
    figure.update_layout(yaxis_title=run.account_currency, hovermode="x unified")
    return dress(figure, 260)


def turnover_chart(run: Ledger) -> tuple[go.Figure, str]:
    """Traded notional over equity, summed by the period that the span allows; its name."""
    lived = run.index[-1] - run.index[0]
    period = (
        "M" if lived > pd.Timedelta(days=180) else "W" if lived > pd.Timedelta(days=40) else "D"
    )
    turnover = pd.Series(
        run.column("turnover"), index=run.index.tz_localize(None).to_period(period)
    )
    summed = turnover.groupby(level=0).sum()
    days = [str(label.start_time.date()) for label in summed.index]
    bars = go.Bar(x=days, y=summed.to_numpy(), name="turnover", marker_color=POLICY_COLOUR)
    figure = go.Figure(bars.update(showlegend=False))
    figure.update_layout(yaxis_title="x equity", bargap=0.15)
    return dress(figure, 220), {"M": "month", "W": "week", "D": "day"}[period]


def gains_chart(stamps: NDArray[np.int64], gains: Mapping[str, Float], unit: str) -> go.Figure:
    """Cumulative gains by name, float64 [T] each."""
    figure = go.Figure()
    for n, (name, earned) in enumerate(gains.items()):
        figure.add_trace(line(stamps, np.cumsum(earned), name, color=colour_of(n), width=1.6))
    figure.update_layout(yaxis_title=unit, hovermode="x unified")
    return dress(figure, 320)


def _markers(run: Ledger, symbol: str) -> list[go.Scatter]:
    """Buy, sell and stop markers; beyond `MAX_MARKERS` fills the largest are kept."""
    fills = run.fills_frame()
    fills = fills[(fills["symbol"] == symbol) & (fills["quantity"] != 0.0)]
    if len(fills) > MAX_MARKERS:
        fills = fills.loc[fills["quantity"].abs().nlargest(MAX_MARKERS).index.sort_values()]
    ordered = fills["origin"] == ORIGIN_TEXTS[ORIGIN_ORDER]
    groups = (
        ("buy", ordered & (fills["quantity"] > 0), "triangle-up", GAIN_COLOUR),
        ("sell", ordered & (fills["quantity"] < 0), "triangle-down", LOSS_COLOUR),
        ("stop or liquidation", ~ordered, "x", STOP_COLOUR),
    )
    return [
        go.Scatter(
            x=times(_nanoseconds(fills.loc[chosen, "stamp"])),
            y=fills.loc[chosen, "price"].to_numpy(),
            customdata=fills.loc[chosen, "quantity"].to_numpy(),
            hovertemplate="%{customdata:,.6g} at %{y:,.6g}",
            name=name,
            mode="markers",
            marker={"symbol": shape, "size": 7, "color": colour, "line": {"width": 0}},
        )
        for name, chosen, shape, colour in groups
        if chosen.any()
    ]


def _nanoseconds(stamps: pd.Series) -> NDArray[np.int64]:
    """UTC stamps as the ledger has them, whatever the resolution of the frame."""
    plain = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    found: NDArray[np.int64] = plain.astype(np.int64)
    return found
