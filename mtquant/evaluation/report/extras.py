# SPDX-License-Identifier: Apache-2.0
"""Chapters that a report has where somebody handed in their material: made-up markets, training,
vectorbt, further tables; and the run card, which it always has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mtquant.core.telemetry import METRICS
from mtquant.evaluation.report import study_charts
from mtquant.evaluation.report.cells import percent
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
from mtquant.evaluation.report.material import Learning
from mtquant.evaluation.report.style import colour_of, dress
from mtquant.evaluation.rolling import Z95
from mtquant.evaluation.sections import Section

VALIDATION_SHARPE = "validation/sharpe"
SHOWN_CURVES = (  # what one looks at first; docs/metrics.md tells about all of them
    "rollout/ep_rew_mean",
    "validation/drawdown",
    "validation/turnover",
    "train/explained_variance",
    "train/approx_kl",
    "train/std",
    "meta/risk_budget",
    "meta/specialists_used",
    "coordination/cosine",
    "coordination/conflict_rate",
    "curriculum/difficulty",
)
SCENARIO_MEASURES = (  # measure, heading, shown in percent, larger is worse
    ("drawdown", "max drawdown", True, True),
    ("win_rate", "trips won", True, False),
    ("var", "bars within VaR limit", True, False),
    ("correlation", "bars within correlation limit", True, False),
)


def stress(found: Findings) -> Chapter | None:
    """A row per made-up market: the mean over its seeds, and the worst one."""
    given = found.material.stress
    if given is None or not given.measured:
        return None
    some = next(iter(given.measured.values()))
    shown = [each for each in SCENARIO_MEASURES if each[0] in some]
    rows: list[tuple[Cell, ...]] = []
    for scenario, measured in given.measured.items():
        cells = [_mean_and_worst(measured[key], worse) for key, _, _, worse in shown]
        ruins = measured.get("ruined", ())
        lost = f"{sum(ruins):.0f} of {len(ruins)}" if len(ruins) else UNDEFINED
        spread = _spread(measured.get("sharpe", ()))
        rows.append((scenario.replace("_", " "), spread, *cells, lost))
    seeds = max(len(values) for values in some.values())
    headings = ("scenario", "Sharpe, mean (seeds)", *(name for _, name, _, _ in shown), "ruined")
    note = (
        f"{seeds} seeds of {given.bars:,} bars each, as volatile and correlated as the training "
        "rows: the mean, in brackets the range of the Sharpe ratio over seeds and elsewhere the "
        "worst seed. Sharpe ratios above 0 are luck where nothing can be foreseen; look at falls "
        "and limits. Where a seed was ruined there is no mean of the ratios."
    )
    return Chapter("Stress scenarios", (table_of(headings, rows), Text(note)))


def _spread(values: Sequence[float]) -> Estimate:
    """Mean and range over seeds; one seed alone has no range and is not shown, and the mean with a
    ruined one is no number.
    """
    known = np.array([value for value in values if not np.isnan(value)])
    if len(known) < 2 or np.isinf(known).any():
        return Estimate(np.nan, np.nan, np.nan, "per year, range over seeds")
    low, high = float(known.min()), float(known.max())
    return Estimate(float(known.mean()), low, high, "per year, range over seeds")


def _mean_and_worst(values: Sequence[float], larger_is_worse: bool) -> Number:
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return percent(float("nan"))
    mean, worst = float(known.mean()), float(known.max() if larger_is_worse else known.min())
    return Number(mean, f"{percent(mean)} ({percent(worst)})", "fraction, mean over seeds")


def learning(found: Findings) -> Chapter | None:
    """How the networks learned: a chart per metric, all networks of a kind in it."""
    given = [each for each in found.material.learning if each.curves]
    if not given:
        return None
    colours = {each.name: colour_of(n) for n, each in enumerate(given)}
    blocks: list[Block] = [*_validation(given, colours)]
    for metric in SHOWN_CURVES:
        curves = {each.name: each.curves[metric] for each in given if metric in each.curves}
        curves = {name: pair for name, pair in curves.items() if len(pair[0]) > 1}
        if not curves:
            continue
        title = METRICS[metric][0].upper() + METRICS[metric][1:]
        chart = study_charts.learning_chart(curves, colours)
        says = f"{title}, of {', '.join(curves)}."
        blocks.append(Figure(title, says, chart, metric, small=True))
    return Chapter("Learning curves", tuple(blocks)) if blocks else None


def _validation(given: Sequence[Learning], colours: Mapping[str, str]) -> list[Block]:
    """Sharpe ratio on the validation rows, inside the band that their length leaves."""
    curves = {
        each.name: each.curves[VALIDATION_SHARPE]
        for each in given
        if VALIDATION_SHARPE in each.curves and np.isfinite(each.validation_years)
    }
    if not curves:
        return []
    years = min(each.validation_years for each in given if each.name in curves)
    reach = Z95 / float(np.sqrt(years))
    note = (
        f"On {years:.1f} years a ratio is known to within ±{reach:.1f} with 95 % confidence "
        "(the shaded band). Checkpoints are chosen on these rows, so this is no evidence."
    )
    chart = study_charts.banded_learning_chart(curves, colours, reach)
    return [Figure("Sharpe ratio on the validation rows", note, chart, note)]


def second_opinion(found: Findings) -> Chapter | None:
    """What vectorbt says about the same fills; None if nothing of it was handed in."""
    figures, tables = found.material.figures, found.material.tables
    if not figures and not tables:
        return None
    blocks: list[Block] = [Text("The same fills, replayed by vectorbt; its charts and statistics.")]
    blocks += [_given_table(heading, table) for heading, table in tables.items()]
    for heading, figure in figures.items():
        blocks.append(Figure(heading, f"{heading}, drawn by vectorbt.", dress(figure)))
    return Chapter("vectorbt", tuple(blocks))


def _given_table(heading: str, table: str | pd.DataFrame) -> Block:
    if isinstance(table, str):
        return Text(table, verbatim=True)
    headings = (str(table.index.name or ""), *(str(name) for name in table.columns))
    rows = [
        (str(label), *(str(value) for value in values))
        for label, values in zip(table.index, table.to_numpy(dtype=object), strict=True)
    ]
    return table_of(headings, rows, f"vectorbt: {heading}", folded=True)


def further(section: Section) -> Chapter:
    """A section of text as a chapter."""
    table = Table(section.headings, section.rows)
    blocks: list[Block] = [table] if section.rows else []
    return Chapter(section.title, (*blocks, *(Text(note) for note in section.notes)))


def run_card(found: Findings) -> Chapter:
    """What is needed to know the result again: hashes, judge, configuration, versions, machine."""
    run, audit = found.policy, found.material.audit
    hashes = {"rules hash": run.rules_hash, "ledger hash": run.hash()}
    card = dict(found.material.card)
    config = card.pop("config", None)
    blocks: list[Block] = [card_table({**hashes, **card}, "")]
    if audit is None:
        blocks.append(Text("No second judge has looked at this run."))
    else:
        blocks.append(card_table(audit, "Audit"))
    if config is not None:
        blocks.append(card_table(config, "Configuration", folded=True))
    return Chapter("Run card", tuple(blocks))


def card_table(card: Mapping[str, Any], title: str, folded: bool = False) -> Table:
    """A nested run card, one row per leaf, keys joined by dots."""
    return table_of(("", "value"), _leaves("", card), title, words=True, folded=folded)


def _leaves(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            leaf
            for key, inner in value.items()
            for leaf in _leaves(f"{prefix}.{key}" if prefix else str(key), inner)
        ]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(str(item) for item in value) or "none")]
    return [(prefix, f"{value:.3g}" if isinstance(value, float) else str(value))]
