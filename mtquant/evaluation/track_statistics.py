# SPDX-License-Identifier: Apache-2.0
"""What the tracks of a walk-forward allow one to say, all seeds and baselines together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.evaluation.comparison import against_baselines
from mtquant.evaluation.significance.bootstrap import MIN_BARS, Interval
from mtquant.evaluation.significance.exceedances import Coverage, coverage
from mtquant.evaluation.significance.overfitting import (
    PARTS,
    Overfitting,
    backtest_overfitting,
)
from mtquant.evaluation.significance.seeds import interquartile_mean, seeds_interval
from mtquant.evaluation.significance.superiority import (
    confidence_set,
    superior_ability,
    superior_strategies,
)
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.evaluation.tracks import Track, WalkForward, returns_of
from mtquant.evaluation.verdict import Grade, Verdict, judge
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]
UNKNOWN: Interval = (float("nan"), float("nan"))
VAR_CONFIDENCE = 0.95
VAR_WARMUP_BARS = 75  # by then 99 % of an EWMA of decay 0.94 are what was lived through


@dataclass(frozen=True)
class SeedsFound:
    """What the seeds of one phase show together.

    Attributes:
        phase: 1, 2 or 3.
        interquartile_mean: Of the Sharpe ratios by seed and fold (by seed and path where folds are
            combined), per year.
        interval: Its 95 % interval; NaN for one seed.
        lowest, highest: Sharpe ratio of the worst and the best track.
        ruined, tracks: How many went bankrupt, and of how many; their Sharpe ratios, alone and in
            the mean, are minus infinity.
        grades: How many tracks the verdict calls what.
    """

    phase: int
    interquartile_mean: float
    interval: Interval
    lowest: float
    highest: float
    ruined: int
    tracks: int
    grades: Mapping[Grade, int]


@dataclass(frozen=True)
class AgainstBaseline:
    """All tracks beside one baseline, at its volatility.

    Attributes:
        baseline: Its name.
        p_value: Hansen's SPA: that none of the tracks is better.
        better: Tracks that are, by StepM with 5 % for any wrong one.
    """

    baseline: str
    p_value: float
    better: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """The statistics of a walk-forward.

    Attributes:
        measures: Name of track or baseline -> `summarize` of its ledger.
        verdicts: Track name -> verdict.
        seeds: By phase.
        overfitting: Of choosing among all tracks by their past; None for one track or too few bars.
        against: By baseline.
        best: Names of the tracks and baselines that may be the best by 95 % confidence (MCS), all
            at one volatility; empty where the bars are too few.
        exceedances: Track name -> tests of its own value at risk (below).
    """

    measures: Mapping[str, dict[str, float]]
    verdicts: Mapping[str, Verdict]
    seeds: tuple[SeedsFound, ...]
    overfitting: Overfitting | None
    against: tuple[AgainstBaseline, ...]
    best: tuple[str, ...]
    exceedances: Mapping[str, Coverage]


def findings(found: WalkForward, tried: Tried | None, seed: int) -> Findings:
    """Works everything out.

    Args:
        found: What was tested.
        tried: Everything that was looked at, these tracks among it.
        seed: Of every draw.
    """
    ledgers = [*(track.ledger for track in found.tracks), *found.baselines]
    measures = {ledger.name: summarize(ledger, seed) for ledger in ledgers}
    verdicts = {
        track.name: judge(
            track.ledger,
            measures[track.name],
            tried,
            against_baselines(track.ledger, found.baselines, seed),
            found.reservations,
        )
        for track in found.tracks
    }
    draws = SeedTree(seed).child("evaluation", "walk_forward")
    return Findings(
        measures,
        verdicts,
        tuple(_seeds(found, phase, verdicts, draws) for phase in found.phases),
        _overfitting(found),
        tuple(_against(found, baseline, draws) for baseline in found.baselines),
        _best(found, draws),
        {
            track.name: tests
            for track in found.tracks
            if (tests := own_exceedances(track.ledger)) is not None
        },
    )


def own_exceedances(ledger: Ledger) -> Coverage | None:
    """Kupiec's and Christoffersen's tests of the account's own value at risk.

    It is 1.645 EWMA deviations (RiskMetrics) of the account's returns, known before the bar: the
    line that the ledger's tail loss is measured from. None for fewer than 20 bars behind the first
    75, in which the deviation finds its level.
    """
    exceeded = ledger.column("tail_loss")[VAR_WARMUP_BARS:] > 0.0
    return coverage(exceeded, VAR_CONFIDENCE) if len(exceeded) >= MIN_BARS else None


def _seeds(
    found: WalkForward, phase: int, verdicts: Mapping[str, Verdict], draws: SeedTree
) -> SeedsFound:
    tracks = found.of_phase(phase)
    scores = _scores(found, phase)
    interval = UNKNOWN
    if len(scores) > 1:
        interval = seeds_interval(scores, draws.child("seeds", phase).generator())
    ratios = [track.sharpe for track in tracks]
    grades = [verdicts[track.name].assessment.grade for track in tracks]
    counts = {grade: grades.count(grade) for grade in Grade if grade in grades}
    mean = interquartile_mean(scores)
    ruined = sum(track.ruined_ns is not None for track in tracks)
    ends = min(ratios), max(ratios)
    return SeedsFound(phase, mean, interval, *ends, ruined, len(tracks), counts)


def _scores(found: WalkForward, phase: int) -> Float:
    """Sharpe ratios, float64 [seeds, folds], or [seeds, paths] of the combinatorial scheme."""
    tracks = found.of_phase(phase)
    seeds = sorted({track.seed for track in tracks})
    if found.scheme == "combinatorial":
        rows = [[track.sharpe for track in tracks if track.seed == seed] for seed in seeds]
    else:
        rows = [
            [own.sharpe for own in found.scores if (own.phase, own.seed) == (phase, seed)]
            for seed in seeds
        ]
    return np.array(rows)


def _overfitting(found: WalkForward) -> Overfitting | None:
    """Each pair of phase and seed is a candidate; its paths are averaged."""
    returns = _candidates(found)
    if returns.shape[1] < 2 or len(returns) < 2 * PARTS:
        return None
    return backtest_overfitting(returns)


def _candidates(found: WalkForward) -> Float:
    every = returns_of([track.ledger for track in found.tracks])
    pairs = [(track.phase, track.seed) for track in found.tracks]
    own = sorted(set(pairs))
    return np.column_stack(
        [every[:, [k for k, pair in enumerate(pairs) if pair == one]].mean(axis=1) for one in own]
    )


def _against(found: WalkForward, baseline: Ledger, draws: SeedTree) -> AgainstBaseline:
    tracks = _moving(found.tracks)
    returns = returns_of([baseline, *(track.ledger for track in tracks)])
    if not tracks or len(returns) < MIN_BARS:
        return AgainstBaseline(baseline.name, float("nan"), ())
    benchmark = returns[:, 0]
    scaled = _at_volatility(returns[:, 1:], float(benchmark.std()))
    node = draws.child("superiority", baseline.name)
    p_value = superior_ability(benchmark, scaled, node.child("spa").generator()).consistent
    better = superior_strategies(benchmark, scaled, node.child("stepm").generator())
    return AgainstBaseline(baseline.name, p_value, tuple(tracks[k].name for k in better))


def _best(found: WalkForward, draws: SeedTree) -> tuple[str, ...]:
    runs = {track.name: track.ledger for track in found.tracks}
    runs |= {ledger.name: ledger for ledger in found.baselines}
    returns = returns_of(list(runs.values()))
    moving = np.flatnonzero(returns.std(axis=0) > 0.0)
    if len(moving) < 2 or len(returns) < MIN_BARS:
        return ()
    names = [list(runs)[k] for k in moving]
    scaled = returns[:, moving] / returns[:, moving].std(axis=0)
    # Under tight caps some baselines are one and the same: between equals nothing can be tested.
    _, first, which = np.unique(scaled.round(9), axis=1, return_index=True, return_inverse=True)
    if len(first) < 2:
        return tuple(names)
    kept = confidence_set(scaled[:, first], draws.child("mcs").generator())
    return tuple(name for name, k in zip(names, which.reshape(-1), strict=True) if k in kept)


def _moving(tracks: tuple[Track, ...]) -> list[Track]:
    """Those whose equity ever moved."""
    return [track for track in tracks if track.ledger.column("simple_return").std() > 0.0]


def _at_volatility(returns: Float, volatility: float) -> Float:
    """Columns scaled to one volatility; left alone where it is 0, as that of cash."""
    return returns * (volatility / returns.std(axis=0)) if volatility > 0.0 else returns
