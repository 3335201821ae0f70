# SPDX-License-Identifier: Apache-2.0
"""The tables of a report as frames of text, and functions that write a frame down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from mtquant.core.outcome import LIMIT_TEXTS
from mtquant.evaluation.summary import METRIC_TEXTS
from mtquant.market.ledger import Ledger

UNDEFINED = "–"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# A month of this size gets the full colour of the heat map.
FULL_COLOUR_RETURN = 0.06

Format = Callable[[float], str]


def percent(value: float) -> str:
    """0.123 as ``12.3 %``."""
    return f"{value * 100:z,.1f} %"


def ratio(value: float) -> str:
    """Two decimals."""
    return f"{value:z,.2f}"


def count(value: float) -> str:
    """No decimals."""
    return f"{value:z,.0f}"


METRIC_ROWS: tuple[tuple[str, str, Format], ...] = (
    ("Total return", "total_return", percent),
    ("Annual return", "annual_return", percent),
    ("Annual volatility", "annual_volatility", percent),
    ("Sharpe (95 % interval)", "sharpe", ratio),
    ("Sortino", "sortino", ratio),
    ("Calmar", "calmar", ratio),
    ("Omega", "omega", ratio),
    ("Maximum drawdown", "max_drawdown", percent),
    ("Longest drawdown, bars", "longest_drawdown", count),
    ("CDaR, worst 5 %", "conditional_drawdown", percent),
    ("VaR 95 % of a bar", "value_at_risk", percent),
    ("CVaR 95 % of a bar", "conditional_value_at_risk", percent),
    ("Tail ratio", "tail_ratio", ratio),
    ("Skewness", "skewness", ratio),
    ("Kurtosis (normal: 3)", "kurtosis", ratio),
    ("Winning bars", "win_rate_bars", percent),
    ("Winning round trips", "win_rate_trips", percent),
    ("Profit factor", "profit_factor", ratio),
    ("Round trips closed", "round_trips", count),
    ("Fills", "fills", count),
    ("Refusals", "refusals", count),
    ("Turnover per year", "turnover_per_year", ratio),
    ("Mean gross exposure", "mean_gross", percent),
    ("Time in market", "time_in_market", percent),
    ("Fees", "fees", count),
    ("Slippage", "slippage", count),
    ("Financing", "financing", count),
    ("Bars", "bars", count),
)


def metrics_table(names: Sequence[str], summaries: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row per measure, one column per run, as text; a Sharpe ratio only with its interval."""

    def cell(key: str, show: Format, summary: Mapping[str, float]) -> str:
        value = summary[key]
        if np.isnan(value) or (key == "sharpe" and np.isnan(summary["sharpe_low"])):
            return UNDEFINED
        if key == "sharpe":
            low, high = ratio(summary["sharpe_low"]), ratio(summary["sharpe_high"])
            return f"{ratio(value)} ({low} to {high})"
        return show(value)

    rows = [[cell(key, show, summary) for summary in summaries] for _, key, show in METRIC_ROWS]
    return pd.DataFrame(rows, index=[label for label, _, _ in METRIC_ROWS], columns=list(names))


IN_SHORT = {  # what fits into a terminal
    "Total return": "return",
    "Sharpe (95 % interval)": "Sharpe (95 % interval)",
    "Maximum drawdown": "fall",
    "Turnover per year": "turnover",
    "Mean gross exposure": "gross",
}


def short_table(names: Sequence[str], summaries: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row per run, a few measures of `metrics_table`."""
    return metrics_table(names, summaries).loc[list(IN_SHORT)].T.rename(columns=IN_SHORT)


def metric_texts_table() -> pd.DataFrame:
    """Label and meaning of every row of `metrics_table`."""
    return pd.DataFrame(
        [METRIC_TEXTS[key] for _, key, _ in METRIC_ROWS],
        index=[label for label, _, _ in METRIC_ROWS],
        columns=["meaning"],
    )


def limits_table(ledger: Ledger) -> pd.DataFrame:
    """Share of bars on which each limit bound in the plan."""
    mask = ledger.column("binding").astype(np.int64)
    rates = [percent(float(np.mean((mask & bit) != 0))) for bit in LIMIT_TEXTS]
    return pd.DataFrame(rates, index=list(LIMIT_TEXTS.values()), columns=["share of bars"])


def refusals_table(ledger: Ledger) -> pd.DataFrame:
    """Number of refused or shrunk orders by reason; no rows if every order was filled as wanted."""
    frame = ledger.fills_frame()
    short = frame[(frame["quantity"] == 0.0) | (frame["quantity"] != frame["wanted"])]
    counts = short["reason"].value_counts()
    return pd.DataFrame([count(n) for n in counts], index=list(counts.index), columns=["orders"])


def trips_table(trips: pd.DataFrame) -> pd.DataFrame:
    """Round trips as text, one row each, indexed by the stamp of closing."""
    shown = pd.DataFrame(
        {
            "symbol": trips["symbol"],
            "side": trips["side"],
            "opened": [_minute(stamp) for stamp in trips["opened"]],
            "bars": [count(n) for n in trips["bars"]],
            "quantity": [f"{n:,.6g}" for n in trips["quantity"]],
            "entry": [f"{n:,.6g}" for n in trips["entry"]],
            "exit": [f"{n:,.6g}" for n in trips["exit"]],
            "fees": [f"{n:,.2f}" for n in trips["fees"]],
            "profit": [f"{n:+,.2f}" for n in trips["profit"]],
            "return": [f"{n * 100:+.2f} %" for n in trips["return"]],
        }
    )
    shown.index = pd.Index([_minute(stamp) for stamp in trips["closed"]], name="closed")
    return shown


def card_table(card: Mapping[str, Any]) -> pd.DataFrame:
    """A nested run card, one row per leaf, keys joined by dots."""

    def leaves(prefix: str, value: Any) -> list[tuple[str, str]]:
        if isinstance(value, Mapping):
            return [
                leaf
                for key, inner in value.items()
                for leaf in leaves(f"{prefix}.{key}" if prefix else str(key), inner)
            ]
        if isinstance(value, list | tuple):
            return [(prefix, ", ".join(str(item) for item in value))]
        return [(prefix, str(value))]

    rows = leaves("", card)
    return pd.DataFrame(
        [value for _, value in rows], index=[key for key, _ in rows], columns=["value"]
    )


def monthly_returns(ledger: Ledger) -> pd.DataFrame:
    """Returns by year (rows) and month (1 to 12, then ``"year"``), fractions; NaN without bars."""
    equity = pd.Series(ledger.equity, index=ledger.index.tz_localize(None).to_period("M"))
    last = equity.groupby(level=0).last()
    months = last / last.shift(1, fill_value=ledger.initial_equity) - 1.0
    periods = pd.PeriodIndex(months.index)
    table = pd.DataFrame({"year": periods.year, "month": periods.month, "value": months.to_numpy()})
    wide = table.pivot(index="year", columns="month", values="value").reindex(columns=range(1, 13))
    wide["year"] = (1.0 + wide).prod(axis=1) - 1.0
    return wide


def monthly_html(ledger: Ledger) -> str:
    """The monthly returns as a heat map: green cells are gains, red ones losses."""
    rows = []
    for year, values in monthly_returns(ledger).iterrows():
        cells = "".join(_heat_cell(float(value)) for value in values)
        rows.append(f'<tr><th scope="row">{year}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("", *MONTHS, "Year"))
    return _boxed("heat", heads, "".join(rows))


def html_table(frame: pd.DataFrame, kind: str = "") -> str:
    """A frame as a table in a box that scrolls sideways on a narrow screen; all text is escaped.

    Args:
        frame: Values are shown with ``str``; the index is the row header.
        kind: ``"words"`` for cells of words, which are aligned to the left and wrap;
            ``"metrics"`` for a first column in bold.
    """
    heads = "".join(
        f'<th scope="col">{escape(str(name))}</th>'
        for name in (frame.index.name or "", *frame.columns)
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(str(label))}</th>'
        + "".join(f"<td>{escape(str(v))}</td>" for v in values)
        + "</tr>"
        for label, values in zip(frame.index, frame.to_numpy(dtype=object), strict=True)
    )
    return _boxed(kind, heads, rows)


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table; a bar in the text is escaped."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    rule = "|---|" + "---:|" * frame.shape[1]
    body = [
        line((label, *values))
        for label, values in zip(frame.index, frame.to_numpy(dtype=object), strict=True)
    ]
    return "\n".join([line(("", *frame.columns)), rule, *body])


def _boxed(kind: str, heads: str, rows: str) -> str:
    table = f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="wide"><table class="{kind}">{table}</table></div>'


def _heat_cell(value: float) -> str:
    if np.isnan(value):
        return "<td></td>"
    strength = min(abs(value) / FULL_COLOUR_RETURN, 1.0)
    colour = "var(--gain-rgb)" if value >= 0 else "var(--loss-rgb)"
    return f'<td style="background:rgb({colour} / {0.6 * strength:.2f})">{value * 100:z.1f}</td>'


def _minute(stamp: pd.Timestamp) -> str:
    return stamp.strftime("%Y-%m-%d %H:%M")
