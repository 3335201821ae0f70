# SPDX-License-Identifier: Apache-2.0
"""The chapters that come first: what was earned, what was suffered, and every measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from mtquant.evaluation.falls import Fall, falls
from mtquant.evaluation.metrics import periods_per_year
from mtquant.evaluation.relative import alpha, beta
from mtquant.evaluation.report import charts
from mtquant.evaluation.report.cells import (
    UNDEFINED_ESTIMATE,
    count,
    money,
    percent,
    ratio,
    sharpe_of,
)
from mtquant.evaluation.report.document import (
    UNDEFINED,
    Block,
    Cell,
    Chapter,
    Estimate,
    Figure,
    Number,
    Table,
    Text,
    table_of,
)
from mtquant.evaluation.report.findings import Findings
from mtquant.evaluation.rolling import rolling
from mtquant.evaluation.significance.bootstrap import sharpe_estimate
from mtquant.evaluation.summary import METRIC_TEXTS
from mtquant.market.ledger import Ledger

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FULL_COLOUR_RETURN = 0.06  # a month of this size gets the full colour of the heat map
WORST_FALLS = 5
SHARPE = "Sharpe (95 % interval)"

Format = Callable[[float], Number]


def _of(unit: str) -> Format:
    return lambda value: count(value, unit)


METRIC_ROWS: tuple[tuple[str, str, Format], ...] = (
    ("Total return", "total_return", percent),
    ("Annual return", "annual_return", percent),
    ("Annual volatility", "annual_volatility", percent),
    (SHARPE, "sharpe", ratio),
    ("Sortino, per year", "sortino", ratio),
    ("Calmar", "calmar", ratio),
    ("Omega", "omega", ratio),
    ("Maximum drawdown", "max_drawdown", percent),
    ("Longest drawdown, bars", "longest_drawdown", _of("bars")),
    ("CDaR, worst 5 %", "conditional_drawdown", percent),
    ("VaR 95 % of a bar", "value_at_risk", lambda value: percent(value, 2)),
    ("CVaR 95 % of a bar", "conditional_value_at_risk", lambda value: percent(value, 2)),
    ("Tail ratio", "tail_ratio", ratio),
    ("Skewness", "skewness", ratio),
    ("Kurtosis (normal: 3)", "kurtosis", ratio),
    ("Winning bars", "win_rate_bars", percent),
    ("Winning round trips", "win_rate_trips", percent),
    ("Profit factor of trips", "profit_factor", ratio),
    ("Round trips closed", "round_trips", count),
    ("Fills", "fills", count),
    ("Refusals", "refusals", count),
    ("Turnover per year, x equity", "turnover_per_year", ratio),
    ("Mean gross exposure", "mean_gross", percent),
    ("Mean net exposure", "mean_net", percent),
    ("Time in market", "time_in_market", percent),
    ("Bars", "bars", _of("bars")),
    ("Bars per year", "periods_per_year", _of("bars per year")),
)
MONEY_ROWS = (("Fees", "fees"), ("Slippage", "slippage"), ("Financing", "financing"))


def key_figures(found: Findings) -> tuple[tuple[str, Cell], ...]:
    """The tiles at the head of the page."""
    summary = found.summaries[0]
    return (
        ("Total return", percent(summary["total_return"], signed=True)),
        ("Annual return", percent(summary["annual_return"], signed=True)),
        ("Sharpe, 95 % interval", sharpe_of(summary)),
        ("Maximum drawdown", percent(summary["max_drawdown"])),
        ("Annual volatility", percent(summary["annual_volatility"])),
        (
            "Turnover per year",
            Number(
                summary["turnover_per_year"],
                f"{summary['turnover_per_year']:.1f} x",
                "x equity",
            ),
        ),
    )


def results(found: Findings) -> Chapter:
    """Equity and the short table."""
    runs, walk = found.material.runs, found.material.walk_forward
    tracks = [] if walk is None else [each.ledger for each in walk.of_phase(walk.headline.phase)]
    says = f"Equity of {runs[0].name} and {len(runs) - 1} baselines, each 100 at its start."
    note = "Drag over a chart to look closer, double-click to return; a name hides its line."
    chart = charts.equity_chart(runs, tracks)
    return Chapter("Results", (Figure("Equity", says, chart, note), short_table(found)))


def short_table(found: Findings) -> Table:
    """One row per run, the few measures that fit into a terminal."""
    rows: list[tuple[Cell, ...]] = [
        (
            run.name,
            percent(summary["total_return"]),
            sharpe_of(summary),
            percent(summary["max_drawdown"]),
            ratio(summary["turnover_per_year"], "x equity per year"),
            percent(summary["mean_gross"]),
        )
        for run, summary in zip(found.material.runs, found.summaries, strict=True)
    ]
    headings = ("", "return", SHARPE, "fall", "turnover/year", "gross")
    return table_of(headings, rows, lead=True)


def drawdowns_and_rolling(found: Findings) -> Chapter:
    """Drawdown, its worst stretches, moving ratio and volatility, monthly returns."""
    run = found.policy
    shown = [run] if found.rival is None else [run, found.rival]
    named = " and ".join(each.name for each in shown)
    blocks: list[Block] = [
        Figure(
            "Drawdown", f"Distance below the last peak of {named}.", charts.drawdown_chart(shown)
        )
    ]
    if worst := falls(run.equity, run.initial_equity)[:WORST_FALLS]:
        blocks.append(_falls_table(run, worst))
    blocks += _moving(shown)
    blocks.append(monthly_table(run))
    return Chapter("Risk over time", tuple(blocks))


def _moving(shown: list[Ledger]) -> list[Block]:
    """Moving Sharpe ratio and volatility; a sentence where there are too few bars."""
    run = shown[0]
    moved = [rolling(each.column("simple_return"), periods_per_year(each.stamps)) for each in shown]
    window = moved[0].window
    if len(run) < 2 * window:
        return [Text(f"Too few bars for moving windows of {window}.")]
    note = (
        f"Windows of {window:,} bars; the interval is that of independent returns (Lo 2002) and "
        "overlapping windows are no independent evidence."
    )
    blocks: list[Block] = []
    if np.isfinite(moved[0].sharpe).any():
        says = f"Sharpe ratio per year of {run.name} over a moving window, with 95 % interval."
        blocks.append(
            Figure("Rolling Sharpe ratio", says, charts.rolling_sharpe_chart(run, moved[0]), note)
        )
    says = f"Volatility per year over moving windows of {window:,} bars."
    chart = charts.rolling_volatility_chart(shown, moved)
    return [*blocks, Figure("Rolling volatility", says, chart)]


def _falls_table(run: Ledger, worst: list[Fall]) -> Table:
    def day(row: int) -> str:
        return str(run.index[row].date()) if row >= 0 else "start"

    rows = [
        (
            str(n),
            percent(fall.depth),
            day(fall.peak),
            day(fall.trough),
            UNDEFINED if fall.recovered is None else day(fall.recovered),
            count(fall.bars, "bars"),
        )
        for n, fall in enumerate(worst, start=1)
    ]
    headings = ("", "depth", "peak", "trough", "recovered", "bars below")
    return table_of(headings, rows, f"Deepest drawdowns of {run.name}")


def measures(found: Findings) -> Chapter:
    """Every measure of every run, and what each one means."""
    names = [run.name for run in found.material.runs]
    rows: list[tuple[Cell, ...]] = [
        (label, *(_metric(key, show, summary) for summary in found.summaries))
        for label, key, show in METRIC_ROWS
    ]
    rows += _relative_rows(found)
    currency = found.policy.account_currency
    rows += [
        (f"{label}, {currency}", *(money(summary[key], currency) for summary in found.summaries))
        for label, key in MONEY_ROWS
    ]
    per_year = found.summaries[0]["periods_per_year"]
    calendar = (
        f"Yearly figures use {per_year:,.1f} bars a year, counted from the bars' own stamps; the "
        f"risk-free rate is 0. {UNDEFINED} means undefined, for want of trades, losses or bars."
        if np.isfinite(per_year)
        else f"Too few bars for yearly figures: {UNDEFINED} means undefined."
    )
    texts = [(label, METRIC_TEXTS[key]) for label, key, _ in METRIC_ROWS]
    meanings = table_of(
        ("measure", "meaning"), texts, "What the numbers mean", words=True, folded=True
    )
    return Chapter("All measures", (table_of(("", *names), rows), Text(calendar), meanings))


def _metric(key: str, show: Format, summary: Mapping[str, float]) -> Cell:
    return sharpe_of(summary) if key == "sharpe" else show(summary[key])


def _relative_rows(found: Findings) -> list[tuple[Cell, ...]]:
    """Beta, alpha and information ratio of every run to the best baseline."""
    rival = found.rival
    if rival is None:
        return []
    theirs, per_year = rival.column("simple_return"), periods_per_year(rival.stamps)
    table: list[list[Cell]] = [
        [f"Beta to {rival.name}"],
        [f"Alpha to {rival.name}, per year"],
        ["Information ratio (95 % interval)"],
    ]
    for run in found.material.runs:
        mine = run.column("simple_return")
        alike = run is not rival and np.array_equal(run.stamps, rival.stamps)
        gap = sharpe_estimate(mine - theirs, per_year, found.material.seed) if alike else None
        table[0].append(ratio(beta(mine, theirs)) if alike else UNDEFINED)
        table[1].append(percent(alpha(mine, theirs, per_year)) if alike else UNDEFINED)
        table[2].append(
            UNDEFINED_ESTIMATE
            if gap is None
            else Estimate(gap.ratio, gap.low, gap.high, UNDEFINED_ESTIMATE.unit)
        )
    return [tuple(row) for row in table]


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


def monthly_table(ledger: Ledger) -> Table:
    """The monthly returns as a heat map: gains in one colour, losses in another."""
    rows: list[tuple[Cell, ...]] = [
        (str(year), *(_bare_percent(float(value)) for value in values))
        for year, values in monthly_returns(ledger).iterrows()
    ]
    title = f"Monthly returns of {ledger.name}, %"
    return table_of(("", *MONTHS, "Year"), rows, title, heat=FULL_COLOUR_RETURN)


def _bare_percent(value: float) -> Number:
    return Number(value, f"{value * 100:z.1f}", "fraction")
