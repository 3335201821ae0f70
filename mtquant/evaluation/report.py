# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page per backtest, and the same verdict and table as Markdown.

    write_report(folder / "report.html", [policy, *baselines], title="Specialists", card=card)

The first ledger is the policy under test; the others are baselines that should have lived under the
same rules. The page needs no network (plotly.js is inside, once), holds no clock, and is written
aside and renamed: equal ledgers give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mtquant.core.errors import RunError
from mtquant.core.records import write_atomically
from mtquant.evaluation import report_charts as charts
from mtquant.evaluation import report_tables as tables_of
from mtquant.evaluation.comparison import Comparison, against_baselines
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.evaluation.trips import round_trips
from mtquant.evaluation.verdict import Grade, Verdict, judge
from mtquant.market.ledger import Ledger

LAST_TRIPS = 200
EXTREME_TRIPS = 5
CHART_CONFIG = {"displayModeBar": False, "responsive": True}


def write_report(
    path: Path,
    runs: Sequence[Ledger],
    *,
    title: str,
    seed: int = 0,
    tried: Tried | None = None,
    figures: Mapping[str, go.Figure] | None = None,
    tables: Mapping[str, str | pd.DataFrame] | None = None,
    card: Mapping[str, Any] | None = None,
    audit: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the report of the first of `runs`, beside the others as baselines.

    Args:
        path: File to write; its folder is made if need be.
        runs: The policy's ledger, then the baselines'.
        title: Heading of the page.
        seed: Seed of the Sharpe intervals.
        tried: What was looked at before the policy was chosen; None if nobody kept a record, which
            weakens the verdict.
        figures: Charts of the vectorbt section by heading.
        tables: Tables of the vectorbt section by heading: a frame, or text that is shown as it is.
        card: The run card, nested as one likes: hashes of config and model, versions, machine.
        audit: What the two judges found, by name, for example the largest relative difference.

    Returns:
        `path`.

    Raises:
        RunError: There is no run, or one without bars.
    """
    summaries = _summaries(runs, seed)
    page = _Page()
    _results(page, runs, summaries)
    _trading(page, runs[0])
    _second_opinion(page, figures or {}, tables or {}, audit)
    _trips(page, runs[0])
    _run_card(page, runs[0], card or {})
    judged, statements = _judged(runs, summaries, seed, tried)
    about = runs[0].notes
    spoken = statements[: len(statements) - len(about)]
    text = page.render(title, _subtitle(runs[0]), judged, spoken, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda aside: aside.write_text(text, encoding="utf-8"))
    return path


def report_markdown(
    runs: Sequence[Ledger], *, title: str, seed: int = 0, tried: Tried | None = None
) -> str:
    """Title, verdict and the few measures that fit into a terminal, as Markdown.

    Raises:
        RunError: There is no run, or one without bars.
    """
    summaries = _summaries(runs, seed)
    _, lines = _judged(runs, summaries, seed, tried)
    table = tables_of.short_table([run.name for run in runs], summaries)
    bullets = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{_subtitle(runs[0])}\n\n{bullets}\n\n{tables_of.markdown_table(table)}\n"


class _Page:
    """Collects sections in order; numbers the charts so that equal input gives equal bytes."""

    def __init__(self) -> None:
        self._sections: list[tuple[str, list[str]]] = []
        self._charts = 0

    def section(self, heading: str) -> None:
        self._sections.append((heading, []))

    def add(self, html: str) -> None:
        self._sections[-1][1].append(html)

    def text(self, sentence: str) -> None:
        self.add(f"<p>{escape(sentence)}</p>")

    def heading(self, text: str) -> None:
        self.add(f"<h3>{escape(text)}</h3>")

    def table(self, frame: pd.DataFrame, kind: str = "") -> None:
        self.add(tables_of.html_table(frame, kind))

    def folded(self, summary: str, html: str) -> None:
        self.add(f"<details><summary>{escape(summary)}</summary>{html}</details>")

    def chart(self, figure: go.Figure) -> None:
        self._charts += 1
        html = figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config=CHART_CONFIG,
            div_id=f"chart-{self._charts}",
            default_height=f"{figure.layout.height}px",
        )
        self.add(f'<div class="chart">{html}</div>')

    def render(
        self,
        title: str,
        subtitle: str,
        verdict: Verdict,
        statements: Sequence[str],
        notes: Sequence[str],
    ) -> str:
        template = Template(
            files("mtquant.evaluation").joinpath("report.html").read_text(encoding="utf-8")
        )
        kind = {Grade.EVIDENCE: " some", Grade.LOSS: " loss"}.get(verdict.assessment.grade, "")
        first, *others = (escape(line) for line in statements)
        about = " · ".join(escape(note) for note in notes)
        box = f'<p class="lead">{first}</p>' + "".join(f"<p>{line}</p>" for line in others)
        box += f'<p class="notes">{about}</p>' if notes else ""
        names = [
            (f"part-{n}", escape(heading)) for n, (heading, _) in enumerate(self._sections, start=1)
        ]
        bodies = ["\n".join(blocks) for _, blocks in self._sections]
        return template.substitute(
            title=escape(title),
            subtitle=escape(subtitle),
            verdict=f'<div class="verdict{kind}">{box}</div>',
            links=" ".join(f'<a href="#{key}">{heading}</a>' for key, heading in names),
            sections="\n".join(
                f'<section id="{key}"><h2>{heading}</h2>\n{body}</section>'
                for (key, heading), body in zip(names, bodies, strict=True)
            ),
            plotly=get_plotlyjs(),
        )


def _summaries(runs: Sequence[Ledger], seed: int) -> list[dict[str, float]]:
    if not runs:
        raise RunError(
            "runs",
            "must hold at least the policy's ledger",
            0,
            "Pass the ledger of the backtest first.",
        )
    return [summarize(run, seed) for run in runs]


def _subtitle(run: Ledger) -> str:
    moment = "next open" if run.fill_at == "open" else f"{run.fill_at} of the same bar (optimistic)"
    first, last = run.index[0].date(), run.index[-1].date()
    return (
        f"{run.name} · {', '.join(run.symbols)} · {first} to {last} · {len(run):,} bars ·"
        f" {run.initial_equity:,.0f} {run.account_currency} · fills at the {moment}"
    )


def _judged(
    runs: Sequence[Ledger],
    summaries: Sequence[dict[str, float]],
    seed: int,
    tried: Tried | None,
) -> tuple[Verdict, list[str]]:
    """The verdict; its sentences, then those on the baselines, then the notes on the data."""
    compared = against_baselines(runs[0], runs[1:], seed)
    judged = judge(runs[0], summaries[0], tried, compared)
    about = len(judged.lines) - len(runs[0].notes)
    comparisons = _comparisons(runs, summaries, compared)
    return judged, [*judged.lines[:about], *comparisons, *judged.lines[about:]]


def _comparisons(
    runs: Sequence[Ledger],
    summaries: Sequence[Mapping[str, float]],
    compared: Comparison | None,
) -> list[str]:
    """Sentences on the baselines: who earned more, and whether the comparison is fair."""
    policy, baselines = runs[0], list(zip(runs[1:], summaries[1:], strict=True))
    if not baselines:
        return ["No baseline was run beside it."]
    best, summary = max(baselines, key=lambda pair: pair[1]["total_return"])
    lines = [f"Best baseline by total return: {best.name}, {summary['total_return']:+.1%}."]
    lines += compared.lines if compared is not None else ()
    for run, _ in baselines:
        if run.world_hash != policy.world_hash:
            lines.append(f"Not comparable: {run.name} lived under other rules.")
        if len(run) != len(policy) or (run.stamps != policy.stamps).any():
            lines.append(f"Not comparable: {run.name} lived through other bars.")
        lines += [f"{run.name}: {note}" for note in run.notes if note not in policy.notes]
    return lines


def _results(page: _Page, runs: Sequence[Ledger], summaries: Sequence[Mapping[str, float]]) -> None:
    names = [run.name for run in runs]
    page.section("Results")
    page.chart(charts.equity_chart(runs))
    page.text(
        "Drag over a chart to look closer, double-click to return; click a name to hide its line."
    )
    page.table(tables_of.short_table(names, summaries), "short")
    page.heading("Drawdown")
    page.chart(charts.drawdown_chart(runs))
    page.heading(f"Monthly returns of {runs[0].name}, %")
    page.add(tables_of.monthly_html(runs[0]))
    page.section("All measures")
    page.table(tables_of.metrics_table(names, summaries), "metrics")
    page.text(
        f"Money in {runs[0].account_currency}; {tables_of.UNDEFINED} means undefined,"
        " for want of trades, losses or bars."
    )
    page.folded(
        "What the numbers mean", tables_of.html_table(tables_of.metric_texts_table(), "words")
    )


def _trading(page: _Page, run: Ledger) -> None:
    page.section("Positions and trades")
    page.heading("Exposure by instrument, share of equity")
    page.chart(charts.exposure_chart(run))
    for symbol in run.symbols:
        page.heading(symbol)
        page.chart(charts.instrument_chart(run, symbol))
    page.section("Costs, limits and refusals")
    page.heading("Cumulative costs")
    page.chart(charts.cost_chart(run))
    page.heading("Turnover")
    page.chart(charts.turnover_chart(run))
    page.heading("Limits")
    if not run.column("binding").any():
        page.text("No limit ever bound: this run says nothing about what they do.")
    page.table(tables_of.limits_table(run))
    page.heading("Refused or shrunk orders")
    refused = tables_of.refusals_table(run)
    if refused.empty:
        page.text("Every order was filled as wanted.")
    else:
        page.table(refused)


def _second_opinion(
    page: _Page,
    figures: Mapping[str, go.Figure],
    tables: Mapping[str, str | pd.DataFrame],
    audit: Mapping[str, Any] | None,
) -> None:
    if figures or tables:
        page.section("vectorbt")
        page.text("The same fills, replayed by vectorbt; its own charts and statistics.")
    for heading, table in tables.items():
        page.heading(heading)
        page.add(
            f"<pre>{escape(table)}</pre>" if isinstance(table, str) else tables_of.html_table(table)
        )
    for heading, figure in figures.items():
        page.heading(heading)
        page.chart(charts.dress(figure))
    page.section("Audit")
    if audit is None:
        page.text("No second judge has looked at this run.")
    else:
        page.table(tables_of.card_table(audit), "words")


def _trips(page: _Page, run: Ledger) -> None:
    page.section("Round trips")
    trips = round_trips(run)
    if trips.empty:
        page.text("No round trip was closed.")
        return
    page.text(
        "From flat to flat, net of fee and slippage, without financing;"
        f" money in {run.account_currency}."
    )
    ranked = trips.sort_values("profit", kind="stable")
    page.heading("Best")
    page.table(tables_of.trips_table(ranked.iloc[::-1].head(EXTREME_TRIPS)))
    page.heading("Worst")
    page.table(tables_of.trips_table(ranked.head(EXTREME_TRIPS)))
    last = trips.tail(LAST_TRIPS)
    page.folded(
        f"The last {len(last)} of {len(trips)}", tables_of.html_table(tables_of.trips_table(last))
    )


def _run_card(page: _Page, run: Ledger, card: Mapping[str, Any]) -> None:
    page.section("Run card")
    hashes = {"rules hash": run.rules_hash, "ledger hash": run.hash()}
    page.table(tables_of.card_table({**hashes, **card}), "words")
