# SPDX-License-Identifier: Apache-2.0
"""Walk-forward evaluation: retrained fold by fold, judged on bars that no policy had met.

    found = walk_forward(config, instruments, Walk(folds=4, seeds=(7, 8, 9)), Path("models/walk"))
    found.headline.assessment.sentence

The folder is a run that can be killed at any time: the same call goes on with it. What it leaves:

    plan.json              what is to be done; another plan is refused
    seed-7/fold-01/        models and curves of a unit, done.json once it is committed
    tracks/, baselines/    ledgers of the stitched accounts
    evaluation.json, .md   everything that was found
    report.html            the headline track
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.backtest.vectorbt_audit import audit
from mtquant.backtest.vectorbt_views import vectorbt_figures, vectorbt_tables
from mtquant.core.config import Config, config_hash
from mtquant.core.errors import ConfigError, RunError
from mtquant.core.records import write_atomically
from mtquant.core.runs import RunFolder, check_writable, package_versions, plain
from mtquant.core.trials import Series, Trial, TrialLedger
from mtquant.data.folds import Fold, FoldPlan, Scheme, make_folds, paths_of
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars
from mtquant.evaluation.report import Material, write_report
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.track_statistics import Findings, findings
from mtquant.evaluation.tracks import FoldScore, Track, WalkForward
from mtquant.evaluation.verdict import Verdict
from mtquant.evaluation.walk_forward_page import page, sections_of
from mtquant.learning.threads import use_threads
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.workflows.backtesting import Market, baseline_ledgers
from mtquant.workflows.cost_sensitivity import CostCurve, cost_curve, cost_section
from mtquant.workflows.fold_training import FoldTrainer, Unit, Watcher, check_policy
from mtquant.workflows.models import Trained
from mtquant.workflows.phases import PHASES
from mtquant.workflows.stitching import Leg, Stage, stitch
from mtquant.workflows.walk_forward_record import record_of

PLAN_NAME, JSON_NAME, TEXT_NAME = "plan.json", "evaluation.json", "evaluation.md"
REPORT_NAME = "report.html"


@dataclass(frozen=True)
class Walk:
    """What a walk-forward evaluation is to do.

    Attributes:
        scheme: How the history is cut (`data/folds.py`).
        folds: Tests; groups of the combinatorial scheme.
        test_groups: Groups that are a test at a time, of that scheme.
        first_test_frac: Share of the common span before the first test, of the others.
        seeds: Each trains every fold.
        phases: Which are tested; all up to the last of them are trained.
        timesteps: Of every phase; the config's when None.
    """

    scheme: Scheme = "anchored"
    folds: int = 4
    test_groups: int = 2
    first_test_frac: float = 0.5
    seeds: tuple[int, ...] = (7, 8, 9)
    phases: tuple[int, ...] = PHASES
    timesteps: int | None = None

    def fold_plan(self, config: Config) -> FoldPlan:
        """How to cut; validation, purge and embargo as in the configuration."""
        data = config.data
        return FoldPlan(
            self.scheme,
            self.folds,
            self.test_groups,
            self.first_test_frac,
            data.validation_frac / (data.train_frac + data.validation_frac),
            data.purge_bars + data.embargo_bars,
        )


@dataclass(frozen=True)
class WalkForwardResult:
    """What an evaluation found.

    Attributes:
        found: Folds, tracks, baselines and scores.
        findings: What they allow one to say.
        costs: The headline track under scaled costs.
        tried: Everything that was looked at, from the trial ledger beside the folder.
        report, json, text: Files.
    """

    found: WalkForward
    findings: Findings
    costs: CostCurve
    tried: Tried | None
    report: Path
    json: Path
    text: Path

    @property
    def headline(self) -> Verdict:
        """Of the track that stands for the evaluation."""
        return self.findings.verdicts[self.found.headline.name]


def walk_forward(
    config: Config,
    instruments: Mapping[str, Instrument],
    walk: Walk,
    output: Path,
    *,
    device: str | None = None,
    command: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> WalkForwardResult:
    """Trains every fold from every seed, stitches the tests and judges them.

    Args:
        config: Bars, rules, reward and training; its split is replaced fold by fold.
        instruments: Configured instruments.
        walk: What to do.
        output: The run's folder; one that was killed is gone on with.
        device: The config's when None.
        command: What was typed, for the cards.
        watcher: Who follows.

    Raises:
        ConfigError: The walk cannot be done under this configuration.
        DataError: The bars do not allow so many folds.
        RunError: The folder holds another plan, or cannot be written.
    """
    _check(config, walk)
    use_threads(config.training.torch_threads)
    bars = load_bars(config.data, instruments)
    stamps = {symbol: own.stamps for symbol, own in bars.items()}
    folds = make_folds(stamps, walk.fold_plan(config), config.data.bar_seconds)
    check_writable(output)
    rules = Rules.from_config(config.environment, instruments, tuple(bars))
    _claim(output, config, walk, folds, rules, command)
    trainer = FoldTrainer(instruments, device, command, watcher or Watcher())
    units = [
        Unit.of(config, fold, seed, output, max(walk.phases), walk.timesteps)
        for seed in walk.seeds
        for fold in folds
    ]
    for number, unit in enumerate(units, start=1):
        ended = unit.ended()
        trainer.watcher.unit(unit.name, number, len(units), ended)
        if not ended:
            trainer.train(unit)
    market = Market.of(config, instruments, tuple(bars.values()))
    return _Work(walk, output, folds, units, trainer, market).measure()


def _check(config: Config, walk: Walk) -> None:
    checks = (
        ("seeds", bool(walk.seeds) and len(set(walk.seeds)) == len(walk.seeds), "Give each once."),
        ("phases", bool(walk.phases) and set(walk.phases) <= set(PHASES), "Take 1, 2 and 3."),
    )
    for field, holds, remedy in checks:
        if not holds:
            rule = "must be a few, each once and known"
            raise ConfigError(field, rule, getattr(walk, field), remedy)
    if config.data.periods is not None:
        rule = "must be null: the folds are its periods"
        raise ConfigError("data.periods", rule, "dates", "Leave it out.")
    if walk.scheme == "combinatorial" and config.training.curriculum_learning:
        raise ConfigError(
            "training.curriculum_learning",
            "must be false for combinatorial folds, whose training bars have holes",
            True,
            "Use --scheme anchored or rolling, or leave the curriculum out.",
        )


def _claim(
    output: Path,
    config: Config,
    walk: Walk,
    folds: Sequence[Fold],
    rules: Rules,
    command: Sequence[str],
) -> None:
    """Writes the plan, or finds the same one there.

    Raises:
        RunError: The folder holds another plan.
    """
    plan = {
        "config_hash": config_hash(config),
        "rules_hash": rules.hash(),  # what trading costs is the instruments', not the config's
        "scheme": walk.scheme,
        "seeds": list(walk.seeds),
        "phases": list(walk.phases),
        "timesteps": walk.timesteps,
        "folds": [fold.periods().model_dump(mode="json") for fold in folds],
        "groups": [list(fold.groups) for fold in folds],
    }
    file = output / PLAN_NAME
    if file.exists():
        held = json.loads(file.read_text(encoding="utf-8"))
        differ = [name for name in plan if plan[name] != held.get(name)]
        if differ:
            raise RunError(
                f"{', '.join(differ)} of {output}",
                "must be those that the run there began with",
                {name: held.get(name) for name in differ},
                "Give the same flags, bars and instruments, or another --output-dir.",
            )
        return
    RunFolder.create(
        output, config=config, seed=config.training.seed, command=command, overwrite=True
    )
    text = json.dumps(plan, indent=2) + "\n"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


@dataclass(frozen=True)
class _Work:
    """What is done once all units are trained."""

    walk: Walk
    output: Path
    folds: list[Fold]
    units: list[Unit]
    trainer: FoldTrainer
    market: Market

    def measure(self) -> WalkForwardResult:
        policies = self._policies()
        tests = [test for fold in self.folds for test in fold.tests]
        stage = Stage.build(self.market, [own.policy for own in policies.values()], tests)
        legs, tracks = self._tracks(stage, policies)
        found = self._found(stage, tracks)
        self.trainer.watcher.measuring("costs")
        headline = found.headline
        route = legs[headline.name]
        seed = self.market.config.training.seed
        costs = cost_curve(lambda scale: stitch(stage, route, headline.name, scale), seed)
        tried = self._tried(found)
        self.trainer.watcher.measuring("significance")
        statistics = findings(found, tried, seed)
        return self._written(stage, found, statistics, costs, tried)

    def _policies(self) -> dict[tuple[int, int, int], Trained]:
        """Phase, seed and fold index -> policy."""
        policies = {}
        for phase in self.walk.phases:
            for k, unit in enumerate(self.units):
                trained = self.trainer.load(unit, phase)
                check_policy(trained, unit, phase, self.market.bars)
                policies[phase, unit.seed, k % len(self.folds)] = trained
        return policies

    def _tracks(
        self, stage: Stage, policies: Mapping[tuple[int, int, int], Trained]
    ) -> tuple[dict[str, list[Leg]], list[Track]]:
        routes, tracks = {}, []
        for phase in self.walk.phases:
            for seed in self.walk.seeds:
                for number, path in enumerate(paths_of(self.folds)):
                    legs = [
                        Leg(policies[phase, seed, index], self.folds[index].tests[k])
                        for index, k in path
                    ]
                    weights = {
                        self.folds[i].number: policies[phase, seed, i].weights for i, _ in path
                    }
                    track = self._track(stage, legs, (phase, seed, number), weights)
                    routes[track.name] = legs
                    tracks.append(track)
        return routes, tracks

    def _track(
        self,
        stage: Stage,
        legs: Sequence[Leg],
        key: tuple[int, int, int],
        weights: Mapping[int, Mapping[str, str]],
    ) -> Track:
        phase, seed, path = key
        way = f", path {path + 1}" if self.walk.scheme == "combinatorial" else ""
        name = f"phase {phase}, seed {seed}{way}"
        self.trainer.watcher.measuring(name)
        ledger = stitch(stage, legs, name)
        ledger.save(self.output / "tracks" / name.replace(", ", "_").replace(" ", "-"))
        return Track(phase, seed, path, ledger, weights)

    def _found(self, stage: Stage, tracks: Sequence[Track]) -> WalkForward:
        bare = WalkForward(self.walk.scheme, tuple(self.folds), tuple(tracks), (), ())
        self.trainer.watcher.measuring("baselines")
        others = baseline_ledgers(stage.market, bare.headline.ledger)
        for ledger in others:
            ledger.save(self.output / "baselines" / ledger.name.replace(" ", "_"))
        scores = []
        for track in tracks:
            for index, k in paths_of(self.folds)[track.path]:
                fold = self.folds[index]
                scores.append(FoldScore.of(fold.number, fold.tests[k], track))
        return WalkForward(
            self.walk.scheme, tuple(self.folds), tuple(tracks), tuple(others), tuple(scores)
        )

    def _tried(self, found: WalkForward) -> Tried | None:
        """Puts the tracks on record beside the run, and reads everything that is there."""
        ledger = TrialLedger.beside(self.output)
        configs = {unit.seed: unit.config for unit in self.units}
        for phase in found.phases:
            for seed in found.seeds:
                tracks = [track for track in found.of_phase(phase) if track.seed == seed]
                series = {
                    track.name: Series(
                        track.ledger.stamps,
                        track.ledger.column("simple_return"),
                        self.market.tape.bars_per_year,
                    )
                    for track in tracks
                }
                metrics = {f"{track.name}/test/sharpe": track.sharpe for track in tracks}
                config = configs[seed]
                steps = self.walk.timesteps or getattr(config.training, f"phase_{phase}_timesteps")
                ledger.append(Trial.of(config, f"evaluate/phase{phase}", steps, metrics, series))
        return Tried.of(ledger)

    def _written(
        self,
        stage: Stage,
        found: WalkForward,
        statistics: Findings,
        costs: CostCurve,
        tried: Tried | None,
    ) -> WalkForwardResult:
        self.trainer.watcher.measuring("report")
        record = {**self._head(stage), **record_of(found, statistics, costs, tried)}
        text = json.dumps(plain(record), indent=2, allow_nan=False) + "\n"
        told = page(found, statistics, [*sections_of(found, statistics), cost_section(costs)])
        files = (self.output / REPORT_NAME, self.output / JSON_NAME, self.output / TEXT_NAME)
        self._report(stage, found, statistics, costs, tried, record)
        write_atomically(files[1], lambda path: path.write_text(text, encoding="utf-8"))
        write_atomically(files[2], lambda path: path.write_text(told, encoding="utf-8"))
        return WalkForwardResult(found, statistics, costs, tried, *files)

    def _report(
        self,
        stage: Stage,
        found: WalkForward,
        statistics: Findings,
        costs: CostCurve,
        tried: Tried | None,
        record: Mapping[str, Any],
    ) -> None:
        ledger: Ledger = found.headline.ledger
        replayed = audit(ledger, stage.market.rules)
        years = stage.market.tape.bars_per_year
        shown = ("config_hash", "scheme", "seeds", "phases", "timesteps", "folds")
        material = Material(
            title=f"Walk-forward, {found.scheme}: {ledger.name}, the middle of its seeds",
            runs=[ledger, *found.baselines],
            seed=self.market.config.training.seed,
            tried=tried,
            costs=costs,
            walk_forward=found,
            statistics=statistics,
            figures=vectorbt_figures(replayed, ledger, years),
            tables=vectorbt_tables(replayed, ledger, years),
            card={**{name: record[name] for name in shown}, "versions": package_versions()},
            audit={
                "largest relative difference to vectorbt": replayed.largest_relative_difference,
                "bars replayed": replayed.bars,
                "fills replayed": replayed.fills,
            },
        )
        write_report(self.output, material)

    def _head(self, stage: Stage) -> dict[str, Any]:
        """What the numbers are of."""
        config = self.market.config
        return {
            "config_hash": config_hash(config),
            "rules_hash": stage.market.rules.hash(),
            "instruments": list(config.data.instruments),
            "source": config.data.source,
            "bar": config.data.bar,
            "fill_at": config.environment.fill_at,
            "seeds": list(self.walk.seeds),
            "phases": list(self.walk.phases),
            "timesteps": self.walk.timesteps,
        }
