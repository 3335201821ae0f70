# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: one page that needs no network, its tables as Markdown, and JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtquant.core import outcome as oc
from mtquant.core.errors import RunError
from mtquant.core.records import write_atomically
from mtquant.evaluation.sections import Section, between, document, number, percent
from mtquant.llm.evaluation.evaluate import FEWEST_BET_DAYS, MODEL, TRUTH, Evaluation, Forecast

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCORES = ("accuracy", "roc_auc", "log_loss", "brier", "ece", "reward", "parse_rate")
MORE = ("reliability", "resolution", "uncertainty", "mean_confidence", "hit_rate_sure")
REASONS = ("data_usage", "coherence")
BETS = (
    "bets",
    "roi",
    "flat_roi",
    "closing_line_value",
    "bet_hit_rate",
    "bankroll_return",
    "bankroll_sharpe",
    "max_drawdown",
)
FORECASTER, RIVAL = "Forecaster", "Rival"  # they head the tables of numbers
READABLE = 0.97  # share of answers that can be read; as the gate's default
BETS_NOTE = (
    "In brackets 95 %, from resampled days; – where bets fell on fewer than"
    f" {FEWEST_BET_DAYS} days. A return whose interval holds 0 is no evidence of a gain."
)
WORTH = ("fill_accuracy", "daily_bps", "fill_sharpe")
PERCENT = {
    "accuracy",
    "parse_rate",
    "hit_rate_sure",
    "mean_confidence",
    "roi",
    "flat_roi",
    "bet_hit_rate",
    "bankroll_return",
    "max_drawdown",
    "closing_line_value",
    "fill_accuracy",
    "data_usage",
    "coherence",
}
TEXTS = {
    "accuracy": "share of right predictions; what does not parse is wrong",
    "roc_auc": "chance that what happened had the larger chance; 0.5 knows nothing",
    "log_loss": "mean -log of the chance given to what happened, nats",
    "brier": "mean squared error of the chance",
    "ece": "calibration error: mean distance between what was said and what happened",
    "stage1_reward": "what answers earn on average: forecast, figures, reasoning, growth of bets",
    "stage2_reward": "the same, and what their forecast is worth beyond the base rate",
    "parse_rate": "share of answers that can be read",
    "reliability": "Brier loss from saying what does not happen as often; 0 is calibrated",
    "resolution": "Brier loss saved by telling outcomes apart",
    "uncertainty": "Brier loss of the base rate",
    "mean_confidence": "mean chance given to what was said",
    "hit_rate_sure": "accuracy of the quarter of answers that are surest",
    TRUTH: "correlation of the chance given to what was said with its true one",
    "data_usage": "share of right figures quoted, of the two that are wanted",
    "coherence": "whether the reasoning backs what was said and does not contradict itself",
    "bets": "stakes placed",
    "roi": "profit over money staked, fractional Kelly on one bankroll",
    "flat_roi": "the same with one unit on each bet",
    "closing_line_value": "mean of odds taken x closing chance - 1",
    "bet_hit_rate": "share of bets that won",
    "bankroll_return": "what the bankroll grew by",
    "bankroll_sharpe": "its Sharpe ratio a year",
    "max_drawdown": "its deepest fall from a height",
    "fill_accuracy": "share of right predictions of the return from open to open",
    "daily_bps": "mean return a day of holding 2p - 1 from open to open, hundredths of a percent",
    "fill_sharpe": "Sharpe ratio a year of the same, before costs, with its 95 %",
}


def write_evaluation(
    evaluation: Evaluation, folder: Path, card: Mapping[str, Any] | None = None
) -> Path:
    """Writes ``report.html``, ``report.md`` and ``evaluation.json``, each atomically.

    Args:
        evaluation: What to report.
        folder: Where to; it is made.
        card: Facts about the run (model, steps, seeds) that stand at its end.

    Returns:
        The page.

    Raises:
        RunError: The folder cannot be written.
    """
    texts = {
        "report.md": evaluation_markdown(evaluation, card),
        "evaluation.json": json.dumps(evaluation_record(evaluation, card), indent=1) + "\n",
        "report.html": _page(evaluation, card),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, partial(_write, text))
    except OSError as error:
        remedy = "Choose a folder that can be written, or free some disk space."
        raise RunError(str(folder), "must be writable", error.strerror, remedy) from error
    return folder / "report.html"


def evaluation_markdown(evaluation: Evaluation, card: Mapping[str, Any] | None = None) -> str:
    """The tables as Markdown."""
    title = f"{_title(evaluation)}\n\n{skill_sentence(evaluation)}"
    return document(title, _sections(evaluation, card))


def evaluation_record(
    evaluation: Evaluation, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Every number as plain values for JSON; null where one is not defined."""
    return {
        "task": evaluation.task,
        "template_hash": evaluation.template_hash,
        "stage": evaluation.stage,
        "count": evaluation.count,
        "forecasts": {
            forecast.name: {
                "scores": {name: _plain(value) for name, value in forecast.scores.items()},
                "intervals": {
                    name: [_plain(end) for end in ends] for name, ends in forecast.intervals.items()
                },
                "reliability": _reliability_record(forecast),
            }
            for forecast in evaluation.forecasts
        },
        "log_loss_gains": {
            name: {"mean": _plain(gain), "interval": [_plain(end) for end in ends]}
            for name, (gain, ends) in evaluation.gains.items()
        },
        "notes": list(evaluation.notes),
        "card": dict(card or {}),
    }


def _sections(evaluation: Evaluation, card: Mapping[str, Any] | None) -> list[Section]:
    more = (*MORE, TRUTH) if np.isfinite(evaluation.model.scores[TRUTH]) else MORE
    sections = [
        _table(evaluation, "Scores", SCORES, evaluation.notes),
        _gains(evaluation),
        _table(evaluation, "Calibration and resolution", more),
        _table(evaluation, "Reasoning", REASONS, ("Shares of what could be earned.",)),
    ]
    if any(forecast.betting for forecast in evaluation.forecasts):
        sections.append(_table(evaluation, "Betting backtest", BETS, (BETS_NOTE,)))
    if "fill_sharpe" in evaluation.model.scores:
        sections.append(_table(evaluation, "Worth on fills", WORTH))
    used = {name for section in sections for name in section.headings}
    words = tuple((_words(name), text) for name, text in TEXTS.items() if _words(name) in used)
    sections.append(Section("What the words mean", ("Score", "Meaning"), words))
    if card:
        rows = tuple((str(name), str(value)) for name, value in card.items())
        sections.append(Section("Run", ("Fact", "Value"), rows))
    return sections


def _table(
    evaluation: Evaluation, title: str, names: tuple[str, ...], notes: tuple[str, ...] = ()
) -> Section:
    """One row per forecaster; an interval stands behind a score that has one."""
    rows = tuple(
        (forecast.name, *(_cell(forecast, name) for name in names))
        for forecast in evaluation.forecasts
    )
    # Rewards of two stages are different sums, and reports of both lie in one run.
    reward = f"{evaluation.stage}_reward"
    headings = (_words(reward if name == "reward" else name) for name in names)
    return Section(title, (FORECASTER, *headings), rows, notes)


def _words(name: str) -> str:
    """A score's name for people, as `mtquant llm` prints it; evaluation.json keeps the other."""
    return name.replace("_", " ")


def _cell(forecast: Forecast, name: str) -> str:
    value = forecast.scores.get(name, float("nan"))
    text = _text(name, value)
    if name in forecast.intervals and np.isfinite(value):
        text += f" ({between(forecast.intervals[name], lambda end: _text(name, end))})"
    return text


def _text(name: str, value: float) -> str:
    if name == "bets":
        return number(value, 0)
    return percent(value) if name in PERCENT else number(value, 3)


def _gains(evaluation: Evaluation) -> Section:
    rows = tuple(
        (name, number(gain, 4), between(ends, lambda end: number(end, 4)))
        for name, (gain, ends) in evaluation.gains.items()
    )
    note = (
        "Nats per answer that can be read; rivals on the same ones. An interval above 0 is evidence"
        " of skill beyond that rival."
    )
    return Section("Log loss below the rivals'", (RIVAL, "gain", "95 %"), rows, (note,))


def skill_sentence(evaluation: Evaluation) -> str:
    """One sentence that a reader in a hurry may rely on."""
    if "base rate" not in evaluation.gains:
        return "No answer parses: there is nothing to judge."
    beaten = [name for name, (_, ends) in evaluation.gains.items() if ends[0] > 0.0]
    better = [name for name, (_, ends) in evaluation.gains.items() if ends[1] < 0.0]
    worse = f" It is above that of {', '.join(better)}, with the same confidence." if better else ""
    found = f"The log loss is below that of {', '.join(beaten)}, with 95 % confidence each."
    if "base rate" not in beaten:
        found = (
            "No evidence of skill: the log loss is not below the base rate's with 95 % confidence."
        )
    rate = evaluation.model.scores["parse_rate"]
    if rate >= READABLE:
        return found + worse
    return (
        f"Only {percent(rate)} of the answers can be read: a forecaster that leaves the others out"
        f" is of no use, whatever is found of those that it gives. Of these alone: {found}{worse}"
    )


def _page(evaluation: Evaluation, card: Mapping[str, Any] | None) -> str:
    charts = [_reliability_chart(evaluation)]
    if any(forecast.betting for forecast in evaluation.forecasts):
        charts.append(_bankroll_chart(evaluation))
    plots = "".join(
        chart.to_html(full_html=False, include_plotlyjs="inline" if first == 0 else False)
        for first, chart in enumerate(charts)
    )
    tables = "".join(_html_section(section) for section in _sections(evaluation, card))
    shown = "".join(f"<pre>{html.escape(text)}</pre>" for text in evaluation.completions)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(_title(evaluation))}</title><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(_title(evaluation))}</h1>"
        f"<p><strong>{html.escape(skill_sentence(evaluation))}</strong></p>{plots}{tables}"
        f"<h2>Some answers</h2>{shown}</body></html>\n"
    )


STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:1400px;margin:2em auto;padding:0 1em;"
    "color:#1b1f24}table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{padding:.3em .7em;border-bottom:1px solid #d8dee4;text-align:right;white-space:nowrap}"
    # Who a row is about stays in sight while a wide table is moved under a narrow screen.
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}"
    ".text th,.text td{text-align:left}"
    ".text td:last-child{white-space:normal;overflow-wrap:anywhere}"
    "pre{background:#f6f8fa;padding:1em;overflow-x:auto;white-space:pre-wrap}.own{font-weight:600}"
)


def _html_section(section: Section) -> str:
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in section.headings)
    rows = "".join(
        f"<tr{' class=own' if row[0] == MODEL and section.headings[0] == FORECASTER else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in section.rows
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in section.notes)
    kind = "" if section.headings[0] in (FORECASTER, RIVAL) else " class=text"
    table = f"<table{kind}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<h2>{html.escape(section.title)}</h2>{table}{notes}"


# Beside the chart it would leave a telephone nothing of it.
LEGEND_BELOW = {
    "legend": {"orientation": "h", "y": -0.25},
    "margin": {"l": 50, "r": 10},
}


def _reliability_chart(evaluation: Evaluation) -> go.Figure:
    """What was said against what happened; markers grow with the number of answers."""
    import plotly.graph_objects as go

    figure = go.Figure(layout={"title": "Reliability", "height": 460, **LEGEND_BELOW})
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line_dash="dot")
    for forecast in evaluation.forecasts:
        table = forecast.calibration
        if table is None:
            continue
        filled = table.counts > 0
        sizes = 6.0 + 24.0 * np.sqrt(table.counts[filled] / table.counts.sum())
        figure.add_scatter(
            x=table.said[filled],
            y=table.happened[filled],
            mode="markers+lines",
            name=forecast.name,
            marker={"size": sizes},
            visible=True if forecast is evaluation.model else "legendonly",
        )
    figure.update_xaxes(title="said", range=[0, 1])
    figure.update_yaxes(title="happened", range=[0, 1])
    return figure


def _bankroll_chart(evaluation: Evaluation) -> go.Figure:
    """The bankrolls over time, on a logarithmic scale."""
    import plotly.graph_objects as go

    figure = go.Figure(layout={"title": "Bankroll", "height": 460, **LEGEND_BELOW})
    for forecast in evaluation.forecasts:
        if forecast.betting is not None:
            days = forecast.betting.stamps.astype("datetime64[ns]")
            equity = forecast.betting.outcomes[:, oc.EQUITY]
            figure.add_scatter(x=days, y=equity, mode="lines", name=forecast.name)
    figure.update_yaxes(type="log")
    return figure


def _title(evaluation: Evaluation) -> str:
    return f"{evaluation.task}: {evaluation.count} answers"


def _reliability_record(forecast: Forecast) -> dict[str, list[float | None]] | None:
    if forecast.calibration is None:
        return None
    table = forecast.calibration
    return {
        "said": [_plain(value) for value in table.said],
        "happened": [_plain(value) for value in table.happened],
        "count": [int(value) for value in table.counts],
    }


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
