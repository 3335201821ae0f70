# SPDX-License-Identifier: Apache-2.0
"""Tracks, their scores and the statistics over them, on ledgers of which the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.data.folds import Fold, Scheme
from mtquant.data.splits import Part
from mtquant.evaluation.metrics import periods_per_year, sharpe
from mtquant.evaluation.report import Material
from mtquant.evaluation.report.document import Number, Table, Text
from mtquant.evaluation.report.findings import Findings as ReportFindings
from mtquant.evaluation.report.walk import walk_forward
from mtquant.evaluation.significance.seeds import interquartile_mean
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.track_statistics import Findings, findings, own_exceedances
from mtquant.evaluation.tracks import RUINED, FoldScore, Track, WalkForward, returns_of
from mtquant.evaluation.verdict import Grade
from mtquant.evaluation.walk_forward_page import page, sections_of
from mtquant.market.ledger import Ledger
from tests.support.ledgers import daily_stamps, ledger_from_returns

BARS = 600
STAMPS = daily_stamps(BARS)
HALVES = (
    Part(int(STAMPS[0]), int(STAMPS[BARS // 2])),
    Part(int(STAMPS[BARS // 2]), int(STAMPS[-1]) + 1),
)
EARLY = Part(0, int(STAMPS[0]))


def named(name: str, returns: np.ndarray) -> Ledger:
    return replace(ledger_from_returns(returns), name=name)


def noise(seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(mean, 0.01, BARS)


def walk(
    drifts: dict[tuple[int, int], float], scheme: Scheme = "anchored", paths: int = 1
) -> WalkForward:
    """Tracks of given mean return by phase and seed, two folds, two baselines."""
    folds = tuple(Fold(k + 1, (EARLY,), Part(0, 1), (half,), (k,)) for k, half in enumerate(HALVES))
    tracks = tuple(
        Track(phase, seed, path, named(f"phase {phase}, seed {seed}, {path}", returns), {})
        for (phase, seed), drift in drifts.items()
        for path in range(paths)
        for returns in [noise(100 * phase + seed + 10 * path, drift)]
    )
    baselines = (named("cash", np.zeros(BARS)), named("market", noise(1)))
    scores = [FoldScore.of(fold.number, fold.tests[0], track) for track in tracks for fold in folds]
    return WalkForward(scheme, folds, tracks, baselines, tuple(scores))


def judged(found: WalkForward, trials: int = 2) -> Findings:
    return findings(found, Tried(trials, float(trials)), 0)


def test_the_headline_is_the_middle_of_the_last_phase() -> None:
    found = walk({(1, 7): 0.01, (3, 7): 0.002, (3, 8): -0.002, (3, 9): 0.0})
    assert found.phases == (1, 3) and found.seeds == (7, 8, 9)
    assert found.headline.seed == 9
    even = walk({(2, 1): 0.003, (2, 2): 0.001, (2, 3): -0.001, (2, 4): 0.002})
    assert even.headline.seed == 2  # of the two in the middle the lower one


def test_a_fold_score_is_what_happened_in_the_test() -> None:
    found = walk({(1, 7): 0.001})
    track, (first, second) = found.tracks[0], found.scores
    returns = track.ledger.column("simple_return")
    assert first.bars + second.bars == BARS
    grown = (1.0 + first.total_return) * (1.0 + second.total_return)
    assert grown == pytest.approx(track.ledger.equity[-1] / track.ledger.initial_equity, rel=1e-12)
    half = returns[: BARS // 2]
    assert first.sharpe == sharpe(half, periods_per_year(track.ledger.stamps))


def ruined(name: str, seed: int, bars: int, drift: float = 0.003) -> Ledger:
    """Gains on all bars but the last one, which takes everything."""
    ledger = named(name, np.append(noise(seed, drift)[: bars - 1], -0.995))
    ledger.outcomes[-1, oc.STATUS] = oc.STATUS_BANKRUPT
    return ledger


def test_a_ruined_account_is_a_total_loss() -> None:
    """In the test of its ruin it is what it lost, behind it nobody has anything left."""
    short = ruined("ruined", 3, BARS // 4)
    track = Track(1, 7, 0, short, {})
    assert track.ruined_ns == short.stamps[-1] and track.sharpe == RUINED
    first, second = (FoldScore.of(k, half, track) for k, half in enumerate(HALVES, start=1))
    assert first.bars == BARS // 4 and first.ruined and first.sharpe == RUINED
    assert first.total_return == short.equity[-1] / short.initial_equity - 1.0
    assert second.bars == 0 and second.ruined and second.sharpe == RUINED
    assert second.total_return == -1.0 and second.max_drawdown == 1.0
    late = Track(1, 8, 0, ruined("late", 4, 3 * BARS // 4), {})
    alive = FoldScore.of(1, HALVES[0], late)
    assert not alive.ruined and alive.sharpe > 0.0
    assert returns_of([named("whole", noise(4)), short])[BARS // 4 :, 1].tolist() == [0.0] * 450


def with_ruins(count: int) -> WalkForward:
    """Five seeds of a fine strategy of which some were ruined in the first test."""
    whole = walk({(1, seed): 0.002 for seed in range(5)})
    tracks = tuple(
        Track(1, own.seed, 0, ruined(own.name, own.seed, BARS // 4), {}) if k < count else own
        for k, own in enumerate(whole.tracks)
    )
    scores = [FoldScore.of(own.number, own.tests[0], t) for t in tracks for own in whole.folds]
    return replace(whole, tracks=tracks, scores=tuple(scores))


def test_ruined_seeds_count_in_every_mean() -> None:
    one = judged(with_ruins(1)).seeds[0]
    assert (one.ruined, one.tracks, one.lowest) == (1, 5, RUINED)
    # Of ten scores two are left out at either end: one seed's two leave the middle, three do not.
    healthy, most = (
        interquartile_mean(np.array([own.sharpe for own in with_ruins(count).scores]))
        for count in (0, 3)
    )
    assert np.isfinite(one.interquartile_mean) and one.interquartile_mean < healthy
    assert one.interval[0] == RUINED  # drawn twice it does not leave it
    assert most == RUINED
    assert with_ruins(3).headline.ruined_ns is not None
    assert with_ruins(1).headline.ruined_ns is None


def test_the_pages_say_how_many_were_ruined() -> None:
    found = with_ruins(2)
    statistics = judged(found)
    text = page(found, statistics, sections_of(found, statistics))
    assert "2 of 5 seeds of phase 1 were ruined." in text.split("\n\n")[1]
    assert "| ruined |" in text and "| 2 of 5 |" in text
    material = Material(
        title="ruins",
        runs=[found.headline.ledger, *found.baselines],
        walk_forward=found,
        statistics=statistics,
    )
    chapter = walk_forward(ReportFindings.of(material))
    assert chapter is not None
    texts = [block.text for block in chapter.blocks if isinstance(block, Text)]
    assert texts[0].startswith("2 of 5 seeds of phase 1 were ruined.")
    together = next(b for b in chapter.blocks if isinstance(b, Table) and "together" in b.title)
    high = f"{statistics.seeds[0].interval[1]:.2f}"
    assert together.rows[0][1:3] == (f"ruined (ruined to {high})", "2 of 5")
    folds = next(b for b in chapter.blocks if isinstance(b, Table) and "Folds" in b.title)
    living = [own.total_return for own in found.scores if own.fold == 2 and not own.ruined]
    mean = folds.rows[1][3]
    assert isinstance(mean, Number)
    assert mean.value == pytest.approx((sum(living) - 2.0) / 5.0)
    assert with_ruins(0).ruined == ""


def test_a_real_edge_is_found_and_noise_is_not() -> None:
    """A drift of a fifth of the deviation is a Sharpe ratio of 3 a year."""
    good = judged(walk({(1, seed): 0.002 for seed in (7, 8, 9)}))
    assert good.seeds[0].grades == {Grade.EVIDENCE: 3}
    assert good.seeds[0].interval[0] > 0.0
    assert all(own.p_value < 0.05 and len(own.better) == 3 for own in good.against)
    assert set(good.best) & {"market"} == set()
    still = judged(walk({(1, seed): 0.0 for seed in (7, 8, 9)}))
    assert Grade.EVIDENCE not in still.seeds[0].grades
    assert all(own.p_value > 0.05 and own.better == () for own in still.against)


def test_baselines_that_are_one_and_the_same_share_their_fate() -> None:
    found = walk({(1, 7): 0.002, (1, 8): 0.0})
    twin = replace(found.baselines[1], name="twin")
    bent = replace(found, baselines=(*found.baselines, twin))
    best = judged(bent).best
    assert ("twin" in best) == ("market" in best)
    assert "phase 1, seed 7, 0" in best


def test_choosing_among_noise_overfits_and_choosing_a_real_edge_does_not() -> None:
    noisy = judged(walk({(phase, seed): 0.0 for phase in (1, 2) for seed in (7, 8)}))
    clear = judged(walk({(1, 7): 0.003, (1, 8): 0.0, (2, 7): 0.0}))
    assert noisy.overfitting is not None and clear.overfitting is not None
    assert noisy.overfitting.probability > 0.2 > 0.05 > clear.overfitting.probability
    assert judged(walk({(1, 7): 0.0})).overfitting is None


def test_seeds_are_summed_up_by_fold_or_by_path() -> None:
    walked = walk({(1, 7): 0.001, (1, 8): 0.0})
    scores = np.array([score.sharpe for score in walked.scores])
    assert judged(walked).seeds[0].interquartile_mean == interquartile_mean(scores)
    combined = walk({(1, 7): 0.001, (1, 8): 0.0}, "combinatorial", paths=3)
    ratios = np.array([track.sharpe for track in combined.tracks])
    assert judged(combined).seeds[0].interquartile_mean == interquartile_mean(ratios)
    alone = judged(walk({(1, 7): 0.001}))
    assert np.isnan(alone.seeds[0].interval[0])


def test_exceedances_are_those_of_the_ledger_behind_the_warm_up() -> None:
    ledger = walk({(1, 7): 0.0}).tracks[0].ledger
    tests = own_exceedances(ledger)
    assert tests is not None
    assert tests.exceedances == int((ledger.column("tail_loss")[75:] > 0.0).sum())
    assert tests.expected == pytest.approx(0.05 * (BARS - 75))
    assert own_exceedances(named("short", noise(1)[:90])) is None


def test_the_same_seed_gives_the_same_findings() -> None:
    found = walk({(1, 7): 0.001, (1, 8): 0.0})
    assert repr(judged(found)) == repr(judged(found))


def test_the_page_begins_with_the_verdict_and_names_every_track() -> None:
    found = walk({(1, 7): 0.001, (3, 7): 0.002, (3, 8): 0.0})
    statistics = judged(found)
    text = page(found, statistics, sections_of(found, statistics))
    title, verdict = text.split("\n\n")[:2]
    assert title.startswith("# Walk-forward (anchored)")
    headline = statistics.verdicts[found.headline.name]
    assert verdict.startswith(f"- {headline.assessment.sentence}")
    assert f"Judged is {found.headline.name}: in the middle of the 2 tracks" in verdict
    for track in found.tracks:
        assert f"| {track.name} |" in text
    for section in sections_of(found, statistics):
        assert all(len(row) == len(section.headings) for row in section.rows)
    # One number, one interval: table and verdict agree.
    line = next(line for line in headline.lines if line.startswith("Sharpe ratio"))
    interval = line.split("interval ")[1].rstrip(".")
    assert interval in text.split("## Seeds together")[0].split("## Out of sample")[1]
