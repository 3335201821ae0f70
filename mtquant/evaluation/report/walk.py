# SPDX-License-Identifier: Apache-2.0
"""The chapter on a walk-forward evaluation: folds, seeds, and the tests on all of them."""

from __future__ import annotations

import numpy as np

from mtquant.evaluation.report import study_charts
from mtquant.evaluation.report.cells import (
    SHARPE_UNIT,
    UNDEFINED_ESTIMATE,
    percent,
    probability,
    sharpe_of,
)
from mtquant.evaluation.report.document import (
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
from mtquant.evaluation.track_statistics import Findings as Statistics
from mtquant.evaluation.tracks import RUIN_COUNTS, FoldScore, WalkForward
from mtquant.evaluation.walk_forward_page import interval_text, ratio_text


def walk_forward(found: Findings) -> Chapter | None:
    """Every seed, every fold; None where there was no walk-forward evaluation."""
    given, statistics = found.material.walk_forward, found.material.statistics
    if given is None:
        return None
    blocks: list[Block] = [
        *([Text(f"{given.ruined} {RUIN_COUNTS}")] if given.ruined else []),
        Text(
            f"{len(given.folds)} {given.scheme} folds, {len(given.seeds)} training seeds; every "
            "track is one account through the tests of all folds. The page shows the track in the "
            f"middle, {given.headline.name}."
        ),
    ]
    if statistics is not None:
        blocks += _tracks(given, statistics, found)
    blocks.append(_folds(given))
    if statistics is not None:
        blocks += _tests(statistics)
    return Chapter("Walk-forward", tuple(blocks))


def _tracks(given: WalkForward, statistics: Statistics, found: Findings) -> list[Block]:
    """Every track and baseline with its interval, then what the seeds show together."""
    estimates: dict[str, Estimate] = {}
    rows: list[tuple[Cell, ...]] = []
    for track in given.tracks:
        judged = statistics.verdicts[track.name]
        ratio = judged.sharpe
        estimate = Estimate(ratio.ratio, ratio.low, ratio.high, SHARPE_UNIT)
        shown: Cell = estimate
        if track.ruined_ns is None:
            estimates[track.name] = estimate
        else:
            shown = f"ruined on {_day(track.ruined_ns)}"
        gain = percent(track.ledger.equity[-1] / track.ledger.initial_equity - 1.0, signed=True)
        rows.append((track.name, gain, shown, judged.assessment.grade.value))
    for run, summary in zip(found.material.runs[1:], found.summaries[1:], strict=True):
        estimates[run.name] = sharpe_of(summary)
    says = "Sharpe ratio of every track and baseline with its 95 % interval."
    chart = study_charts.intervals_chart(estimates)
    headings = ("track", "total return", "Sharpe (95 % interval)", "verdict")
    return [
        Figure("Every seed", says, chart),
        table_of(headings, rows),
        _seeds(statistics),
        Text(
            "Interquartile mean of the Sharpe ratios by seed and fold; its interval draws seeds "
            "anew within each fold (Agarwal et al. 2021)."
        ),
    ]


def _seeds(statistics: Statistics) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for each in statistics.seeds:
        middle = Estimate(each.interquartile_mean, *each.interval, SHARPE_UNIT)
        grades = ", ".join(f"{grade.value}: {count}" for grade, count in each.grades.items())
        shown: Cell = middle if np.isfinite(each.interval).all() else UNDEFINED_ESTIMATE
        if each.ruined and not np.isfinite([each.interquartile_mean, *each.interval]).all():
            # An end of the interval is a ruin, which is no number.
            shown = f"{ratio_text(each.interquartile_mean)} ({interval_text(each.interval)})"
        rows.append((f"phase {each.phase}", shown, f"{each.ruined} of {each.tracks}", grades))
    headings = ("", "Sharpe over seeds (95 % interval)", "ruined", "verdicts")
    return table_of(headings, rows, "All seeds together")


def _folds(given: WalkForward) -> Table:
    """Returns by fold: the mean over seeds and their range, for each phase."""
    rows: list[tuple[Cell, ...]] = []
    for fold in given.folds:
        own = [score for score in given.scores if score.fold == fold.number]
        cells: list[Cell] = []
        for phase in given.phases:
            cells.append(_over_seeds([each for each in own if each.phase == phase]))
        known = [each.max_drawdown for each in own if each.bars or each.ruined]
        drawdown = max(known, default=float("nan"))
        bars = max((each.bars for each in own), default=0)
        test = " + ".join(
            f"{_day(part.start_ns)} to {_day(part.end_ns - 1)}" for part in fold.tests
        )
        rows.append((str(fold.number), test, str(bars), *cells, percent(drawdown)))
    returns = (f"return, phase {phase}" for phase in given.phases)
    headings = ("fold", "test", "bars", *returns, "deepest fall")
    return table_of(headings, rows, "Folds: mean over seeds, in brackets their range")


def _over_seeds(scores: list[FoldScore]) -> Number:
    values = np.array([score.total_return for score in scores if score.bars or score.ruined])
    if not len(values):
        return percent(float("nan"))
    mean = float(values.mean())
    low, high = (percent(float(end), signed=True) for end in (values.min(), values.max()))
    text = f"{percent(mean, signed=True)} ({low} to {high})" if len(values) > 1 else f"{low}"
    return Number(mean, text, "fraction, mean over seeds")


def _tests(statistics: Statistics) -> list[Block]:
    """Overfitting, superiority and the confidence set."""
    blocks: list[Block] = []
    if statistics.overfitting is not None:
        pbo, luck = statistics.overfitting.probability, statistics.overfitting.by_luck
        blocks.append(
            Text(
                f"Probability of backtest overfitting: {pbo:.0%}. So often was the candidate that "
                "was best in one half of the time at or below the median in the other half; luck "
                f"alone gives {luck:.0%} (PBO by CSCV, Bailey et al. 2015)."
            )
        )
    rows: list[tuple[Cell, ...]] = [
        (each.baseline, probability(each.p_value), ", ".join(each.better) or "none")
        for each in statistics.against
    ]
    if rows:
        headings = ("baseline", "SPA p-value", "better by StepM")
        blocks.append(table_of(headings, rows, "Better than a baseline, at its volatility?"))
        blocks.append(
            Text(
                "SPA: chance of so good a best track if none were better (Hansen 2005). StepM: "
                "tracks that are, with 5 % for naming any that is not (Romano and Wolf 2005)."
            )
        )
    if statistics.best:
        blocks.append(
            Text(
                "May be the best, with 95 % confidence (MCS, Hansen, Lunde and Nason 2011): "
                f"{', '.join(statistics.best)}."
            )
        )
    return blocks


def _day(stamp: int) -> str:
    return str(np.datetime64(stamp, "ns").astype("datetime64[D]"))
