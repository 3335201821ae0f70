# SPDX-License-Identifier: Apache-2.0
"""Search for a configuration of phase 1 on the validation rows.

    plan = Plan("random", (parse_dimension("training.learning_rate=log:1e-4:1e-2"),), candidates=20)
    result = search(load_config(None), load_instruments(), plan, Path("models/checkpoints/search"))
    result.best.values, result.config_file

A candidate is trained as phase 1 trains, and judged by the kept checkpoints of its specialists
(best Sharpe ratio, whatever the metric) on the validation rows; the test rows are not touched.
Every run, those given up too, is added to the trial ledger (`core/trials.py`) beside the output
folder: the best of many looks good by luck alone, and what is said about it later has to know of
how many.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml

from mtquant.agents.training.job import SCORE, Best
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.core.config import Config, config_hash, derived_config
from mtquant.core.errors import ConfigError, DataError, FeatureError, RewardError, RulesError
from mtquant.core.records import write_atomically
from mtquant.core.trials import State, TrialLedger
from mtquant.data.instruments import Instrument
from mtquant.workflows.search_space import Values, candidate_config, check_space
from mtquant.workflows.search_study import Candidate, Plan, Run, Study
from mtquant.workflows.training import replay, trial_of

BEST_NAME = "best.yaml"
WORK_NAME = ".unfinished_run"  # removed whole: a name that nobody else uses
KIND = "search/phase1"
# What a candidate's values can be at fault for; a full disk, say, is not among it.
REFUSALS = (ConfigError, DataError, FeatureError, RewardError, RulesError)


class Watcher:
    """Who watches a search; this one looks away."""

    def running(self, run: int, runs: int, share: float, values: Values) -> None:
        """Run number `run` of at most `runs` has come this share of its way."""

    def finished(self, candidate: Candidate) -> None:
        """One more of its runs is done."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        plan: What was asked for.
        ranked: The candidates that came to their end, the best first.
        candidates: All of them, by number.
        config_file: The best one's configuration, for ``--config``.
        trials: The trial ledger, which holds more than this search.
    """

    plan: Plan
    ranked: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    config_file: Path
    trials: TrialLedger

    @property
    def best(self) -> Candidate:
        """The first of `ranked`."""
        return self.ranked[0]


def search(
    config: Config,
    instruments: Mapping[str, Instrument],
    plan: Plan,
    output: Path,
    *,
    timesteps: int | None = None,
    device: str | None = None,
    watcher: Watcher | None = None,
) -> SearchResult:
    """Tries the candidates of a plan; one that was killed goes on where it was.

    Args:
        config: What candidates are variations of.
        instruments: Configured instruments.
        plan: What to try.
        output: Receives ``search.json``, ``runs.jsonl`` and ``best.yaml``.
        timesteps: Bars per specialist and run; the config's when None.
        device: As for `PhaseTrainer`.
        watcher: Who watches.

    Raises:
        ConfigError: The plan cannot be carried out, or all candidates were refused.
        RunError: `output` holds another search, or cannot be written.
    """
    if timesteps is not None:  # part of what is searched for, and of what best.yaml says
        config = derived_config(config, [f"training.phase_1_timesteps={timesteps}"])
    plan.check()
    check_space(config, plan.dimensions, plan.method == "grid")
    plan.size()  # a search without an end is refused here, before any work
    study = Study(output, plan, config_hash(config), config.training.seed)
    trials = TrialLedger.beside(output)
    watcher = watcher or Watcher()
    runner = _Runner(config, instruments, study, trials, device, watcher)
    while (following := study.next_run()) is not None:
        study.add(runner.run(*following))
        watcher.finished(study.candidates()[-1])
    return _result(config, study, trials)


def _result(config: Config, study: Study, trials: TrialLedger) -> SearchResult:
    candidates, ranked = tuple(study.candidates()), tuple(study.ranked())
    if not ranked:
        said = next((each.runs[-1].said for each in candidates if each.runs[-1].said), "")
        remedy = f"The first was refused so: {said}" if said else "Search with --no-prune."
        found = [each.state for each in candidates]
        raise ConfigError("candidates", "must come to their end, one at least", found, remedy)
    file = study.folder / BEST_NAME
    best = candidate_config(config, ranked[0].values)
    head = (
        f"# Candidate {ranked[0].number} of {len(candidates)}: {study.plan.metric} "
        f"{ranked[0].value:.4f} on the validation rows, mean over {study.plan.seeds} seeds.\n"
        "# Chosen on these rows, so no evidence: the test period decides (mtquant backtest).\n"
    )
    text = head + yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False)
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return SearchResult(study.plan, ranked, candidates, file, trials)


class _GivenUp(Exception):
    """Ends a training that lags behind."""


@dataclass(frozen=True)
class _Runner:
    """Trains candidates and adds them to the trial ledger."""

    config: Config
    instruments: Mapping[str, Instrument]
    study: Study
    trials: TrialLedger
    device: str | None
    watcher: Watcher

    def run(self, number: int, seed: int, values: Values) -> Run:
        """One candidate from one seed."""
        work = self.study.folder / WORK_NAME
        shutil.rmtree(work, ignore_errors=True)  # what a killed run left
        try:
            trainer = self._trainer(work, seed, values)
            follower = _Follower(trainer, self.study.plan.metric)
            trainer.progress = self._listener(follower, number, seed, values)
            return self._trained(trainer, follower, number, seed, values)
        except REFUSALS as error:
            return Run(number, seed, "refused", values, said=str(error))
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _trainer(self, work: Path, seed: int, values: Values) -> Phase1Trainer:
        config = candidate_config(self.config, values)
        config = derived_config(config, [f"training.seed={config.training.seed + seed}"])
        folders = work / "models", work / "logs"
        return Phase1Trainer(config, *folders, self.instruments, device=self.device)

    def _listener(
        self, follower: _Follower, number: int, seed: int, values: Values
    ) -> Callable[[str, int, Mapping[str, float]], None]:
        plan = self.study.plan
        place, runs = number * plan.seeds + seed, plan.size() * plan.seeds

        def hear(name: str, step: int, metrics: Mapping[str, float]) -> None:
            validated = follower.hear(name, step, metrics)
            self.watcher.running(place, runs, follower.share(), values)
            # At the end there is nothing left to save.
            if validated and follower.share() < 1.0 and self.study.lags(follower.curve, seed):
                raise _GivenUp

        return hear

    def _trained(
        self, trainer: Phase1Trainer, follower: _Follower, number: int, seed: int, values: Values
    ) -> Run:
        state: State = "complete"
        try:
            trainer.train()
        except _GivenUp:
            state = "pruned"
        results = {symbol: best.metrics for symbol, best in follower.best.items()}
        replays = replay(trainer, results)
        self.trials.append(trial_of(trainer, KIND, results, replays, state))
        value = fmean(own[follower.metric] for own in results.values())
        return Run(number, seed, state, values, value, tuple(follower.curve))


class _Follower:
    """Hears of one training.

    Attributes:
        best: Specialist -> the validation of its kept checkpoint.
        curve: The mean over specialists at each step that all were validated at. The library engine
            trains them one after the other, so there it grows with the last one.
    """

    def __init__(self, trainer: Phase1Trainer, metric: str) -> None:
        self.metric = f"validation/{metric}"
        self.best: dict[str, Best] = {}
        self.curve: list[tuple[int, float]] = []
        self._timesteps, self._steps = trainer.timesteps, dict.fromkeys(trainer.worlds, 0)
        self._found: dict[int, dict[str, float]] = {}

    def hear(self, name: str, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether the curve has grown."""
        self._steps[name] = step
        if SCORE not in metrics:
            return False
        self.best.setdefault(name, Best()).beaten_by(metrics, step)
        found = self._found.setdefault(step, {})
        found[name] = metrics[self.metric]
        if len(found) < len(self._steps):
            return False
        self.curve.append((step, fmean(found.values())))
        return True

    def share(self) -> float:
        """Of the bars to be lived through, at most 1."""
        return fmean(min(1.0, step / self._timesteps) for step in self._steps.values())
