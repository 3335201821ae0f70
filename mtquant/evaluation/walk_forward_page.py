# SPDX-License-Identifier: Apache-2.0
"""A walk-forward as tables of text, for the terminal and `evaluation.md`; the verdict on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mtquant.data.bars import stamp_text
from mtquant.data.folds import Fold
from mtquant.data.splits import Part
from mtquant.evaluation.sections import UNDEFINED, Section, between, document, number, percent
from mtquant.evaluation.track_statistics import Findings
from mtquant.evaluation.tracks import RUIN_COUNTS, RUINED, WalkForward

MEASURES = ("annual return", "Sharpe", "95 % interval", "max drawdown", "turnover", "gross")


def opening(found: WalkForward, statistics: Findings) -> list[str]:
    """The verdict on the headline track, and who that is."""
    headline = found.headline
    tracks = len(found.of_phase(headline.phase))
    first, *others = statistics.verdicts[headline.name].lines
    about = f"Judged is {headline.name}: in the middle of the {tracks} tracks of its phase."
    if found.ruined:
        others.insert(0, f"{found.ruined} {RUIN_COUNTS}")
    return [first, about if tracks > 1 else f"Judged is {headline.name}, the only one.", *others]


def page(found: WalkForward, statistics: Findings, sections: Sequence[Section]) -> str:
    """The Markdown page."""
    title, _, rest = document(_title(found), sections).partition("\n\n")
    lines = "\n".join(f"- {line}" for line in opening(found, statistics))
    return f"{title}\n\n{lines}\n\n{rest}"


def sections_of(found: WalkForward, statistics: Findings) -> list[Section]:
    """Tracks, seeds, folds, baselines and value at risk."""
    return [
        _tracks(found, statistics),
        _seeds(found, statistics),
        _folds(found),
        _baselines(found, statistics),
        _exceedances(statistics),
    ]


def _title(found: WalkForward) -> str:
    ledger = found.headline.ledger
    first, last = (ledger.index[k].date() for k in (0, -1))
    return f"Walk-forward ({found.scheme}), {', '.join(ledger.symbols)}, {first} to {last}"


def _measures(own: Mapping[str, float], ruined: bool = False) -> tuple[str, ...]:
    ratio = number(own["sharpe"]) if np.isfinite(own["sharpe_low"]) else UNDEFINED
    interval = between((own["sharpe_low"], own["sharpe_high"]), number)
    return (
        percent(own["annual_return"]),
        "ruined" if ruined else ratio,
        UNDEFINED if ruined else interval,
        percent(own["max_drawdown"]),
        f"{own['turnover_per_year']:,.1f}",
        number(own["mean_gross"]),
    )


def _tracks(found: WalkForward, statistics: Findings) -> Section:
    rows = tuple(
        (
            track.name,
            *_measures(statistics.measures[track.name], track.ruined_ns is not None),
            statistics.verdicts[track.name].assessment.grade,
        )
        for track in found.tracks
    )
    note = "Test bars of all folds, one account each; returns a year, after all costs."
    return Section("Out of sample, each seed", ("track", *MEASURES, "verdict"), rows, (note,))


def _seeds(found: WalkForward, statistics: Findings) -> Section:
    names = ("phase", "IQM of Sharpe", "95 % interval", "worst track", "best track")
    rows = tuple(
        (
            str(own.phase),
            ratio_text(own.interquartile_mean),
            interval_text(own.interval),
            ratio_text(own.lowest),
            ratio_text(own.highest),
            f"{own.ruined} of {own.tracks}",
            ", ".join(f"{count} x {grade}" for grade, count in own.grades.items()),
        )
        for own in statistics.seeds
    )
    unit = "path" if found.scheme == "combinatorial" else "fold"
    notes = [f"Interquartile mean of the Sharpe ratios by seed and {unit}; seeds are drawn anew."]
    over = statistics.overfitting
    if over is not None:
        notes.append(
            f"Probability of backtest overfitting over {len(found.phases) * len(found.seeds)}"
            f" candidates (phase and seed): {percent(over.probability, 0)}, and luck alone"
            f" gives {percent(over.by_luck, 0)}; the best of one half"
            f" lost in the other in {percent(over.loss_probability, 0)} of the halvings."
        )
    headings = (*names, "ruined", "verdicts")
    return Section("Seeds together", headings, rows, tuple(notes))


def ratio_text(value: float) -> str:
    """A Sharpe ratio, or that an account was ruined."""
    return "ruined" if value == RUINED else number(value)


def interval_text(interval: tuple[float, float]) -> str:
    """An interval of Sharpe ratios, an end of which may be a ruin."""
    if RUINED in interval:
        return " to ".join(map(ratio_text, interval))
    return between(interval, number)


def _folds(found: WalkForward) -> Section:
    headings = ("fold", "training", "chosen on", "test", *(f"phase {p}" for p in found.phases))
    rows = []
    for fold in found.folds:
        cells = [_scores(found, fold, phase) for phase in found.phases]
        train = ", ".join(_dates(part) for part in fold.train)
        tests = ", ".join(_dates(part) for part in fold.tests)
        rows.append((str(fold.number), train, _dates(fold.validation), tests, *cells))
    note = "Sharpe ratio of the test, median over the seeds (lowest to highest)."
    return Section("Folds", headings, tuple(rows), (note,))


def _scores(found: WalkForward, fold: Fold, phase: int) -> str:
    own = [s.sharpe for s in found.scores if (s.fold, s.phase) == (fold.number, phase)]
    if not own:
        return UNDEFINED
    return f"{ratio_text(float(np.median(own)))} ({ratio_text(min(own))} to {ratio_text(max(own))})"


def _dates(part: Part) -> str:
    return f"{stamp_text(part.start_ns)[:10]} to {stamp_text(part.end_ns)[:10]}"


def _baselines(found: WalkForward, statistics: Findings) -> Section:
    rows = tuple(
        (
            ledger.name,
            *_measures(statistics.measures[ledger.name]),
            number(own.p_value, 3),
            "; ".join(own.better) or "none",
        )
        for ledger, own in zip(found.baselines, statistics.against, strict=True)
    )
    notes = [
        "SPA: p-value that no track is better, at the baseline's volatility (Hansen 2005); named"
        " are the tracks that are, by StepM (Romano and Wolf 2005)."
    ]
    if statistics.best:
        notes.append(f"May be the best by 95 % confidence (MCS): {'; '.join(statistics.best)}.")
    headings = ("baseline", *MEASURES, "SPA p", "better than it")
    return Section("Baselines under the same rules and costs", headings, rows, tuple(notes))


def _exceedances(statistics: Findings) -> Section:
    headings = ("track", "exceedances", "promised", "Kupiec p", "Christoffersen p", "both p")
    rows = tuple(
        (
            name,
            str(own.exceedances),
            f"{own.expected:.1f}",
            number(own.frequency_p, 3),
            number(own.independence_p, 3),
            number(own.both_p, 3),
        )
        for name, own in statistics.exceedances.items()
    )
    note = (
        "Losses beyond 1.645 EWMA deviations of the account's own returns, known before the bar;"
        " a p-value below 0.05 speaks against that value at risk."
    )
    return Section("Value at risk, 95 %", headings, rows, (note,))
