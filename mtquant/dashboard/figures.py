# SPDX-License-Identifier: Apache-2.0
"""Charts of the page, in the colours of the report, on a light and on a dark screen.

They are drawn by Vega (Altair), which a browser loads in a third of the time that Plotly takes. A
chart has no legend of its own: the page writes it, so that it wraps on a phone. All times are UTC,
whatever clock the reader has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mtquant.dashboard.backtests import Beside
from mtquant.dashboard.tables import mode_word
from mtquant.evaluation.report.style import (
    COLOURS,
    FONT,
    GRID_COLOUR,
    LOSS_COLOUR,
    POLICY_COLOUR,
    STOP_COLOUR,
    TEXT_COLOUR,
    colour_of,
)
from mtquant.risk.guard import GUARD_HALTED, GUARD_REDUCING

BAND_COLOURS = {GUARD_REDUCING: STOP_COLOUR, GUARD_HALTED: LOSS_COLOUR}
LEAST_AHEAD = 1e-3  # rounding must not look like a difference
HOVERS = 150  # bars that a pointer can find
FEW_POINTS = 60  # up to here each is marked: a line of one point would not be seen
LONG_NUMBER = 1e7  # from here on whole numbers do not fit beside a chart
LABEL_PIXELS = 58  # the same for charts that lie above each other, so that their times do too
CLOCK = {
    **dict.fromkeys(("hours", "minutes"), "%H:%M"),
    **dict.fromkeys(("date", "day", "week"), "%b %d"),
    **{"seconds": "%H:%M:%S", "month": "%b", "year": "%Y"},
}
Legend = list[tuple[str, str]]


def equity_charts(
    curve: pd.DataFrame, marks: pd.DataFrame, currency: str
) -> tuple[alt.LayerChart, alt.LayerChart]:
    """Equity, and drawdown to lie below it. The guard's changes are marks; behind both lies the
    time in which it let positions only shrink, or nothing trade.
    """
    known = _timed(curve).assign(fall=-curve["drawdown"].to_numpy())
    bands = _bands(curve, marks)
    said = [_tip("equity", ",.2f"), _tip("drawdown", ".2%")]
    shown = ",.0f" if known["equity"].max() < LONG_NUMBER else ".4s"
    line = _line(known, "equity", currency, shown, POLICY_COLOUR, 2.0)
    upper = _layers(bands, line, _hover(known, said), _guard_marks(curve, marks))
    area = alt.Chart(known).mark_area(
        color=LOSS_COLOUR, opacity=0.2, line={"color": LOSS_COLOUR, "strokeWidth": 1.2}
    )
    below = area.encode(x=_x(), y=_y("fall", "drawdown", ".1%", zero=True, ticks=3))
    return _dressed(upper, 270), _dressed(_layers(bands, below, _hover(known, said)), 120)


def allocation_chart(held: pd.DataFrame) -> tuple[alt.LayerChart, Legend]:
    """Exposures stacked, longs upwards and shorts downwards; instruments never held are left
    out.
    """
    own = [symbol for symbol in held.columns if held[symbol].fillna(0.0).any()]
    tones = {symbol: colour_of(n) for n, symbol in enumerate(held.columns) if symbol in own}
    sides = [
        _timed(held[own].fillna(0.0).clip(*limits)).melt(
            ["at", "when"], var_name="symbol", value_name="exposure"
        )
        for limits in ((0.0, None), (None, 0.0))
    ]
    # Longs and shorts are stacked apart: one stack would draw what changes sign across the axis.
    layers = [
        alt.Chart(side)
        .mark_area(opacity=0.75, interpolate="step-after")
        .encode(
            x=_x(),
            y=_y("exposure", "exposure / equity", ".0%", zero=True),
            color=_scale("symbol", tones),
            tooltip=[_tip("when"), _tip("symbol"), _tip("exposure", ".2%")],
        )
        for side in sides
    ]
    return _dressed(_layers(*layers), 300), list(tones.items())


def lines_chart(frame: pd.DataFrame, title: str) -> tuple[alt.LayerChart, Legend]:
    """One line per column over close stamps."""
    tones = {str(name): colour_of(n) for n, name in enumerate(frame.columns)}
    long = _timed(frame).melt(["at", "when"], var_name="name", value_name="value")
    lines = alt.Chart(long).mark_line(strokeWidth=1.6)
    drawn = lines.encode(
        x=_x(),
        y=_y("value", title, "~g"),
        color=_scale("name", tones),
        tooltip=[_tip("when"), _tip("name"), _tip("value", ".5g")],
    )
    return _dressed(_layers(drawn), 280), list(tones.items())


def messages_chart(frame: pd.DataFrame, name: str) -> tuple[alt.LayerChart, Legend]:
    """One figure of all instruments as a map: a row per instrument, from bar to bar. The more
    colour, the further from 0; the largest has all of it. Where nothing was said there is none.
    """
    largest = float(np.nanmax(np.abs(frame.to_numpy()), initial=0.0))
    known = _timed(frame)
    step = known["at"].diff().median() if len(known) > 1 else pd.Timedelta(hours=1)
    known["until"] = known["at"].shift(-1).fillna(known["at"].iloc[-1] + step)
    long = known.melt(["at", "until", "when"], var_name="symbol", value_name="value").dropna()
    signs = {"above 0": POLICY_COLOUR, "below 0": colour_of(1)}
    long["sign"] = np.where(long["value"] < 0.0, "below 0", "above 0")
    long["size"] = np.abs(long["value"]) / (largest or 1.0)
    cells = (
        alt.Chart(long)
        .mark_rect()
        .encode(
            x=_x(),
            x2="until",
            y=alt.Y("symbol:N", sort=list(frame.columns), axis=alt.Axis(title=None)),
            color=_scale("sign", signs),
            opacity=alt.Opacity(
                "size:Q", scale=alt.Scale(domain=[0.0, 1.0], range=[0.0, 1.0]), legend=None
            ),
            tooltip=[
                _tip("when"),
                _tip("symbol"),
                alt.Tooltip("value:Q", title=name, format=".4g"),
            ],
        )
    )
    used = [(f"{sign}, up to {largest:.3g}", tone) for sign, tone in signs.items()]
    below = bool((long["value"] < 0.0).any())
    return _dressed(_layers(cells), 40 + 24 * len(frame.columns)), used if below else used[:1]


def beside_charts(found: Beside) -> tuple[alt.LayerChart, alt.LayerChart, Legend]:
    """Paper and backtest, 100 where they begin together, and to lie below them how far paper is
    ahead. The backtest is drawn broad, so that it shows where paper lies on it.
    """
    known = _timed(found.frame).assign(
        ahead=(found.frame["paper"] / found.frame["backtest"] - 1.0).to_numpy()
    )
    tones = {"paper": POLICY_COLOUR, "backtest": colour_of(1)}
    said = [_tip("paper", ".3f"), _tip("backtest", ".3f"), _tip("ahead", "+.3%")]
    broad = _line(known, "backtest", "start = 100", "~g", tones["backtest"], 5.0, 0.6)
    thin = _line(known, "paper", "start = 100", "~g", tones["paper"], 1.8)
    widest = max(LEAST_AHEAD, 1.1 * float(known["ahead"].abs().max()))
    area = alt.Chart(known).mark_area(
        color=TEXT_COLOUR, opacity=0.3, line={"color": TEXT_COLOUR, "strokeWidth": 1.2}
    )
    below = area.encode(
        x=_x(), y=_y("ahead", "paper ahead", "+.2%", domain=[-widest, widest], ticks=3)
    )
    upper = _dressed(_layers(broad, thin, _hover(known, said)), 270)
    return (
        upper,
        _dressed(_layers(below, _hover(known, said)), 120),
        list(tones.items()),
    )


def curves_chart(series: Mapping[str, pd.Series]) -> tuple[alt.LayerChart, Legend]:
    """A metric's training curves over bars lived through."""
    tones = {name: colour_of(n) for n, name in enumerate(sorted(series))}
    long = pd.concat(
        [
            pd.DataFrame({"bars": own.index, "value": own.to_numpy(), "name": name})
            for name, own in series.items()
        ]
    )
    drawn = (
        alt.Chart(long)
        .mark_line(strokeWidth=1.5, point=len(long) <= FEW_POINTS)
        .encode(
            x=alt.X("bars:Q", title=None, axis=alt.Axis(format="~s", tickCount=5, grid=False)),
            y=_y("value", None, "~g"),
            color=_scale("name", tones),
            tooltip=[_tip("bars", ","), _tip("name"), _tip("value", ".5g")],
        )
    )
    return _dressed(_layers(drawn), 210), list(tones.items())


def _layers(*charts: alt.Chart) -> alt.LayerChart:
    """Charts on the same axes, the last on top; one without a row would upset the axes."""
    return alt.LayerChart(layer=[chart for chart in charts if len(chart.data)])


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame by close stamp with the stamp as a column, and once more as text."""
    index = pd.DatetimeIndex(frame.index)
    words = index.strftime("%Y-%m-%d %H:%M")
    return frame.reset_index(drop=True).assign(at=index.tz_localize("UTC"), when=words)


def _bands(curve: pd.DataFrame, marks: pd.DataFrame) -> alt.Chart:
    """The time in which the guard reduced or halted."""
    ends = pd.DatetimeIndex([*marks.index, *curve.index[-1:]]).tz_localize("UTC")
    frame = pd.DataFrame(
        {
            "at": ends[:-1],
            "until": ends[1:],
            "tone": [BAND_COLOURS.get(mode) for mode in marks["mode"]],
        }
    ).dropna()
    encoded = {"x2": "until", "color": alt.Color("tone:N", scale=None)}
    return alt.Chart(frame).mark_rect(opacity=0.16).encode(x=_x(), **encoded)


def _guard_marks(curve: pd.DataFrame, marks: pd.DataFrame) -> alt.Chart:
    """A diamond on the line at each change of the guard, with its reasons."""
    frame = _timed(marks).assign(
        equity=curve["equity"].reindex(marks.index, method="nearest").to_numpy(),
        tone=[BAND_COLOURS.get(mode, colour_of(2)) for mode in marks["mode"]],
        guard=[mode_word(mode) for mode in marks["mode"]],
        reasons=[text or "all clear" for text in marks["reasons"]],
    )
    said = [_tip(name) for name in ("when", "guard", "reasons", "actor")]
    drawn = alt.Chart(frame).mark_point(
        filled=True, shape="diamond", size=90, opacity=1.0, stroke=TEXT_COLOUR
    )
    return drawn.encode(x=_x(), y="equity:Q", color=alt.Color("tone:N", scale=None), tooltip=said)


def _line(
    frame: pd.DataFrame,
    name: str,
    title: str,
    shown: str,
    tone: str,
    width: float,
    opacity: float = 1.0,
) -> alt.Chart:
    drawn = alt.Chart(frame).mark_line(color=tone, strokeWidth=width, opacity=opacity)
    return drawn.encode(x=_x(), y=_y(name, title, shown))


def _hover(frame: pd.DataFrame, said: list[alt.Tooltip]) -> alt.Chart:
    """A rule at a bar near the pointer, and what was there. A rule per bar would take a browser
    longer to draw than everything else.
    """
    kept = np.unique(np.linspace(0, max(0, len(frame) - 1), HOVERS).astype(np.int64))
    few = frame.iloc[kept[: len(frame)]]
    near = alt.selection_point(
        nearest=True, on="pointerover", clear="pointerout", encodings=["x"], empty=False
    )
    shown = alt.condition(near, alt.value(0.6), alt.value(0.0))
    base = alt.Chart(few).encode(x=_x(), tooltip=[_tip("when"), *said])
    rule = base.mark_rule(color=TEXT_COLOUR).encode(opacity=shown)
    return rule.add_params(near)


def _x() -> alt.X:
    axis = alt.Axis(
        title=None, grid=False, tickCount=6, labelOverlap=True, labelFlush=True, format=CLOCK
    )
    return alt.X("at:T", scale=alt.Scale(type="utc"), axis=axis)


def _y(
    name: str,
    title: str | None,
    shown: str,
    zero: bool = False,
    domain: list[float] | None = None,
    ticks: int = 5,
) -> alt.Y:
    axis = alt.Axis(
        title=title,
        format=shown,
        tickCount=ticks,
        minExtent=LABEL_PIXELS,
        maxExtent=LABEL_PIXELS,
    )
    more: dict[str, Any] = {} if domain is None else {"domain": domain}
    return alt.Y(f"{name}:Q", axis=axis, scale=alt.Scale(zero=zero, nice=domain is None, **more))


def _scale(name: str, tones: Mapping[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(tones), range=list(tones.values()) or list(COLOURS))
    return alt.Color(f"{name}:N", scale=scale, legend=None)


def _tip(name: str, shown: str | None = None) -> alt.Tooltip:
    title = "closed (UTC)" if name == "when" else name
    if shown is None:
        return alt.Tooltip(f"{name}:N", title=title)
    return alt.Tooltip(f"{name}:Q", title=title, format=shown)


def _dressed(chart: alt.LayerChart, height: int) -> alt.LayerChart:
    """In the style of the report: no background, thin grey grid, middle tones for text."""
    text = {"labelColor": TEXT_COLOUR, "titleColor": TEXT_COLOUR, "titleFontWeight": "normal"}
    lines = {"gridColor": GRID_COLOUR, "domainColor": GRID_COLOUR, "tickColor": GRID_COLOUR}
    sizes = {"labelFontSize": 11, "titleFontSize": 11}
    dressed: alt.LayerChart = (
        chart.properties(height=height, width="container", background="transparent")
        .configure(font=FONT, padding={"left": 0, "right": 8, "top": 6, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(**text, **lines, **sizes)
    )
    return dressed
