# SPDX-License-Identifier: Apache-2.0
"""Walk-forward, end to end on tiny markets: units, tracks, files, going on, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mtquant.agents.specialist import bars_digest
from mtquant.core.errors import ConfigError, RunError
from mtquant.core.trials import TrialLedger
from mtquant.data.folds import make_folds
from mtquant.data.sources import load_bars
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.fold_training import DONE_NAME, FoldTrainer, Unit, Watcher
from mtquant.workflows.models import load_trained
from mtquant.workflows.stitching import Leg, Stage, stitch
from mtquant.workflows.walk_forward import Walk, WalkForwardResult, walk_forward
from tests.support.markets import INSTRUMENTS, tiny_config, write_market

STEPS = 512
WALK = Walk(folds=2, seeds=(7, 8), phases=(1,), timesteps=STEPS)


class Log(Watcher):
    """What a watcher was told."""

    def __init__(self) -> None:
        self.units: list[tuple[str, int, int, bool]] = []
        self.phases: list[int] = []
        self.steps: list[int] = []
        self.measured: list[str] = []

    def unit(self, name: str, number: int, total: int, ended: bool) -> None:
        self.units.append((name, number, total, ended))

    def phase(self, phase: int, timesteps: int) -> None:
        self.phases.append(phase)

    def step(self, name: str, steps: int, metrics: Mapping[str, float]) -> None:
        self.steps.append(steps)

    def measuring(self, what: str) -> None:
        self.measured.append(what)


@dataclass(frozen=True)
class Run:
    market: Path
    folder: Path
    result: WalkForwardResult
    log: Log


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("walk")
    market = write_market(root / "bars", bars=800)
    log = Log()
    result = walk_forward(
        tiny_config(market), INSTRUMENTS, WALK, root / "runs" / "walk", watcher=log
    )
    return Run(market, root / "runs" / "walk", result, log)


def test_every_fold_of_every_seed_is_a_committed_unit(run: Run) -> None:
    names = [f"seed {seed}, fold {fold}" for seed in (7, 8) for fold in (1, 2)]
    assert run.log.units == [(name, k, 4, False) for k, name in enumerate(names, start=1)]
    assert run.log.phases == [1] * 4 and max(run.log.steps) == STEPS
    for seed in (7, 8):
        for fold in (1, 2):
            assert (run.folder / f"seed-{seed}" / f"fold-{fold:02d}" / DONE_NAME).is_file()


def test_no_policy_knows_the_bars_it_is_tested_on(run: Run) -> None:
    """Each unit's models are those of bars that end before its test; the digest says so."""
    config = tiny_config(run.market)
    bars = load_bars(config.data, INSTRUMENTS)
    for fold in run.result.found.folds:
        unit = Unit.of(config, fold, 7, run.folder, 1, STEPS)
        trained = load_trained(unit.models(1), unit.config, INSTRUMENTS)
        for symbol, until in trained.known_until_ns.items():
            assert until <= fold.tests[0].start_ns
            assert trained.bars_sha256[symbol] == bars_digest(bars[symbol], until)


def test_a_track_lives_through_every_test_bar_once(run: Run) -> None:
    found = run.result.found
    first, last = found.folds[0].tests[0].start_ns, found.folds[-1].tests[0].end_ns
    market = Market.of(
        tiny_config(run.market),
        INSTRUMENTS,
        tuple(load_bars(tiny_config(run.market).data, INSTRUMENTS).values()),
    )
    stamps = market.panel.stamps
    expected = stamps[(stamps >= first) & (stamps < last)]
    for ledger in (*(track.ledger for track in found.tracks), *found.baselines):
        assert ledger.stamps.tolist() == expected.tolist()
    assert [track.name for track in found.tracks] == ["phase 1, seed 7", "phase 1, seed 8"]
    assert len(found.baselines) == 8


def test_each_fold_is_traded_by_its_own_policy(run: Run) -> None:
    """Up to the second test a track is the backtest of the first fold's policy alone; a policy
    takes over positions and account as they are.
    """
    config = tiny_config(run.market)
    found = run.result.found
    bars = tuple(load_bars(config.data, INSTRUMENTS).values())
    market, trainer = Market.of(config, INSTRUMENTS, bars), FoldTrainer(INSTRUMENTS)
    units = [Unit.of(config, fold, 8, run.folder, 1, STEPS) for fold in found.folds]
    legs = [Leg(trainer.load(unit, 1), unit.fold.tests[0]) for unit in units]
    stage = Stage.build(market, [leg.trained.policy for leg in legs], [leg.test for leg in legs])
    ledger = stitch(stage, legs, "phase 1, seed 8")
    assert ledger.hash() == found.tracks[1].ledger.hash()
    rows = market.panel.rows(legs[0].test)
    alone = trade(legs[0].trained, replace(market, rows=slice(rows.start - 1, rows.stop)))
    assert alone.outcomes.tobytes() == ledger.outcomes[: len(alone)].tobytes()
    assert ledger.column("equity_before")[len(alone)] == alone.equity[-1]


def test_the_files_hold_what_was_found(run: Run) -> None:
    record = json.loads(run.result.json.read_text())
    assert record["verdict"]["sentence"] == run.result.headline.assessment.sentence
    assert [track["name"] for track in record["tracks"]] == [
        t.name for t in run.result.found.tracks
    ]
    assert len(record["fold_scores"]) == 4 and record["timesteps"] == STEPS
    assert record["costs"]["points"][2]["scale"] == 1.0
    assert run.result.text.read_text().startswith("# Walk-forward (anchored), EURUSD, GBPUSD")
    assert "<html" in run.result.report.read_text()
    for track in run.result.found.tracks:
        folder = run.folder / "tracks" / track.name.replace(", ", "_").replace(" ", "-")
        assert Ledger.load(folder).hash() == track.ledger.hash()
        assert (folder / "decisions.parquet").is_file()


def test_the_costs_of_the_headline_are_scaled(run: Run) -> None:
    points = run.result.costs.points
    ledger = run.result.found.headline.ledger
    assert points[0].cost_per_year == 0.0
    paid = float(ledger.column("cost").mean())
    assert points[2].cost_per_year == pytest.approx(paid * _per_year(ledger), rel=1e-12)


def _per_year(ledger: Ledger) -> float:
    from mtquant.evaluation.metrics import periods_per_year

    return periods_per_year(ledger.stamps)


def test_tracks_are_on_record_as_trials(run: Run) -> None:
    ledger = TrialLedger.beside(run.folder)
    rows = ledger.rows()
    assert [row["kind"] for row in rows] == ["evaluate/phase1"] * 2
    assert {row["seed"] for row in rows} == {7, 8}
    assert run.result.tried is not None and run.result.tried.trials == 2


def test_the_same_call_goes_on_and_finds_the_same(run: Run) -> None:
    before = {path: path.read_bytes() for path in _products(run.folder)}
    (run.folder / "seed-8" / "fold-02" / DONE_NAME).unlink()  # as if killed before its commit
    log = Log()
    walk_forward(tiny_config(run.market), INSTRUMENTS, WALK, run.folder, watcher=log)
    assert [unit[3] for unit in log.units] == [True, True, True, False]
    assert log.phases == []  # the phase had ended: only the commit was missing
    assert {path: path.read_bytes() for path in _products(run.folder)} == before


def _products(folder: Path) -> list[Path]:
    kinds = ("evaluation.json", "evaluation.md", "report.html", "ledger.npz", "*.safetensors")
    return sorted(path for kind in kinds for path in folder.rglob(kind))


def test_another_plan_is_refused(run: Run) -> None:
    for changed in (replace(WALK, seeds=(7,)), replace(WALK, folds=3)):
        with pytest.raises(RunError, match=r"seeds|folds"):
            walk_forward(tiny_config(run.market), INSTRUMENTS, changed, run.folder)
    with pytest.raises(RunError, match=r"config_hash"):
        config = tiny_config(run.market, "environment.stop_loss_pct=0.05")
        walk_forward(config, INSTRUMENTS, WALK, run.folder)


@pytest.mark.parametrize(
    ("walk", "overrides", "field"),
    [
        (replace(WALK, seeds=()), (), "seeds"),
        (replace(WALK, seeds=(7, 7)), (), "seeds"),
        (replace(WALK, phases=(4,)), (), "phases"),
        (
            replace(WALK, scheme="combinatorial", folds=4),
            ("training.curriculum_learning=true",),
            "curriculum",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, walk: Walk, overrides: tuple[str, ...], field: str
) -> None:
    with pytest.raises(ConfigError, match=field):
        walk_forward(tiny_config(run.market, *overrides), INSTRUMENTS, walk, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_combinatorial_folds_train_around_their_tests(run: Run, tmp_path: Path) -> None:
    """4 groups, 1 tested at a time: training lies on both sides of a test in the middle, and one
    path leads through the whole history behind the warm-up.
    """
    walk = Walk("combinatorial", 4, 1, 0.5, (7,), (1,), 256)
    config = tiny_config(run.market, "environment.episode_length=20")
    result = walk_forward(config, INSTRUMENTS, walk, tmp_path / "cpcv")
    found = result.found
    stamps = {s: b.stamps for s, b in load_bars(config.data, INSTRUMENTS).items()}
    folds = make_folds(stamps, walk.fold_plan(config), config.data.bar_seconds)
    assert len(folds) == 4 and len(found.tracks) == 1
    middle = folds[1]
    assert len(middle.train) == 2
    assert middle.train[0].end_ns <= middle.tests[0].start_ns < middle.train[1].start_ns
    ledger = found.tracks[0].ledger
    assert np.diff(ledger.rows).tolist() == [1] * (len(ledger) - 1)
    assert found.tracks[0].name == "phase 1, seed 7, path 1"
    assert {score.fold for score in found.scores} == {1, 2, 3, 4}
