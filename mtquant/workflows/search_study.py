# SPDX-License-Identifier: Apache-2.0
"""A search's memory: what was asked for, what was run, and what to try next.

A search folder holds ``search.json``, what was asked for, and ``runs.jsonl``, one row per finished
run of a candidate from one seed. Nothing else is remembered: candidate n follows from the seed, n
and the rows of the candidates before it, so a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Literal

from mtquant.core.errors import ConfigError, RunError
from mtquant.core.records import append_row, read_rows, write_atomically
from mtquant.core.runs import check_writable
from mtquant.core.seeding import SeedTree
from mtquant.workflows.search_space import (
    Choices,
    Dimension,
    grid_points,
    grid_size,
    random_point,
)

PLAN_NAME = "search.json"
ROWS_NAME = "runs.jsonl"
METRICS: Mapping[str, float] = MappingProxyType(
    {"sharpe": 1.0, "win_rate": 1.0, "drawdown": -1.0, "turnover": -1.0}
)
"""``validation/*`` metric -> 1 if more is better, -1 if less is."""
LEAST_TO_COMPARE = 4  # runs that got as far, before one is given up for being worse than them
Method = Literal["grid", "random", "tpe"]
METHODS: tuple[Method, ...] = ("grid", "random", "tpe")
State = Literal["complete", "pruned", "refused"]
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Plan:
    """What is searched for.

    Attributes:
        method: ``"grid"``, ``"random"``, or ``"tpe"``: Optuna's tree-structured Parzen estimator
            (Bergstra et al. 2011).
        dimensions: What is varied.
        candidates: How many are tried; None for all of a grid.
        seeds: Runs per candidate, from the seeds ``training.seed``, + 1, ...
        metric: One of `METRICS`, a mean over specialists and seeds.
        prune: Whether runs that lag behind are given up.
    """

    method: Method
    dimensions: tuple[Dimension, ...]
    candidates: int | None = None
    seeds: int = 1
    metric: str = "sharpe"
    prune: bool = True

    def size(self) -> int:
        """How many candidates there are.

        Raises:
            ConfigError: Nobody said.
        """
        whole = grid_size(self.dimensions) if self.method == "grid" else None
        if whole is None and self.candidates is None:
            remedy = "Example: --candidates 30."
            rule = f"must be given for a {self.method} search"
            raise ConfigError("--candidates", rule, None, remedy)
        return min(size for size in (whole, self.candidates) if size is not None)

    def check(self) -> None:
        """Checks method and metric.

        Raises:
            ConfigError: One of them is unknown, or Optuna is wanted and missing.
        """
        for flag, found, known in (
            ("--method", self.method, METHODS),
            ("--metric", self.metric, tuple(METRICS)),
        ):
            if found not in known:
                raise ConfigError(flag, f"must be one of {', '.join(known)}", found, "Choose one.")
        if self.method == "tpe":
            _optuna()

    def text(self, config_hash: str) -> dict[str, Any]:
        """What makes two searches the same; more candidates only make one longer."""
        return {
            "method": self.method,
            "dimensions": [asdict(each) for each in self.dimensions],
            "seeds": self.seeds,
            "metric": self.metric,
            "prune": self.prune,
            "config_hash": config_hash,
        }


@dataclass(frozen=True)
class Run:
    """A candidate's run from one seed.

    Attributes:
        candidate: Its number.
        seed: Which of the plan's seeds, from 0.
        state: ``"refused"``: its values break a rule together; ``"pruned"``: given up.
        values: Config key -> value.
        value: The metric, mean over specialists; of a pruned run the best before it ended; None if
            refused.
        curve: The metric at each validation: bars lived through, value.
        said: Why it was refused.
    """

    candidate: int
    seed: int
    state: State
    values: Mapping[str, Any]
    value: float | None = None
    curve: Curve = ()
    said: str = ""


@dataclass(frozen=True)
class Candidate:
    """All runs of one candidate.

    Attributes:
        number: From 0, in the order of proposal.
        values: Config key -> value.
        state: As of its last run.
        value: Mean over the runs' values; None if refused.
        runs: The runs.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    value: float | None
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Candidate:
        """Of its runs, in order."""
        known = [run.value for run in runs if run.value is not None]
        last = runs[-1]
        value = sum(known) / len(known) if known and last.state != "refused" else None
        return cls(last.candidate, last.values, last.state, value, tuple(runs))


class Study:
    """A search folder.

    Args:
        folder: Made if need be.
        plan: What is searched for.
        config_hash: Of the configuration that candidates are variations of.
        root: Root of the seed tree.

    Raises:
        RunError: The folder holds another search, or cannot be written.
    """

    def __init__(self, folder: Path, plan: Plan, config_hash: str, root: int) -> None:
        check_writable(folder)
        self.folder, self.plan = folder, plan
        self._seeds = SeedTree(root).child("search", plan.method)
        self._begin(plan.text(config_hash))
        stored = read_rows(folder / ROWS_NAME)
        runs = {(run.candidate, run.seed): run for run in map(_run_of, stored)}
        self.runs = [runs[place] for place in sorted(runs)]

    def candidates(self) -> list[Candidate]:
        """All that were begun, by number."""
        grouped = itertools.groupby(self.runs, key=lambda run: run.candidate)
        return [Candidate.of(list(runs)) for _, runs in grouped]

    def ranked(self) -> list[Candidate]:
        """Those that came to their end, the best first; the earlier of two equals."""
        sign = METRICS[self.plan.metric]
        whole = [
            each
            for each in self.candidates()
            if each.state == "complete" and len(each.runs) == self.plan.seeds
        ]
        return sorted(whole, key=lambda each: (-sign * float(each.value or 0.0), each.number))

    def add(self, run: Run) -> None:
        """Remembers a run."""
        append_row(self.folder / ROWS_NAME, asdict(run))
        self.runs.append(run)

    def next_run(self) -> tuple[int, int, dict[str, Any]] | None:
        """Number, seed and values of what is to run next; None at the end."""
        found = self.candidates()
        number, seed = len(found), 0
        if found and found[-1].state == "complete" and len(found[-1].runs) < self.plan.seeds:
            return found[-1].number, len(found[-1].runs), dict(found[-1].values)
        if number >= self.plan.size():
            return None
        return number, seed, self._propose(number, found)

    def lags(self, curve: Curve, seed: int) -> bool:
        """Whether a run's best value so far lies below the median of what others from the same
        seed had reached by then (the median rule of Golovin et al. 2017, "Google Vizier", 3.2.1).
        """
        if not self.plan.prune or not curve:
            return False
        sign, step = METRICS[self.plan.metric], curve[-1][0]
        others = [
            _best_until(run.curve, step, sign)
            for run in self.runs
            if run.seed == seed and run.curve and run.curve[0][0] <= step <= run.curve[-1][0]
        ]
        if len(others) < LEAST_TO_COMPARE:
            return False
        return _best_until(curve, step, sign) < median(others)

    def _propose(self, number: int, past: Sequence[Candidate]) -> dict[str, Any]:
        plan, node = self.plan, self._seeds.child(number)
        if plan.method == "grid":
            return next(itertools.islice(grid_points(plan.dimensions), number, None))
        if plan.method == "random":
            return random_point(plan.dimensions, node.generator())
        return _propose_by_tpe(plan, past, node.integer())

    def _begin(self, asked: Mapping[str, Any]) -> None:
        file = self.folder / PLAN_NAME
        asked = json.loads(json.dumps(asked))
        if not file.exists():
            text = json.dumps(asked, indent=2) + "\n"
            write_atomically(file, lambda path: path.write_text(text))
            return
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            remedy = "Choose another --output-dir."
            raise RunError(str(file), "must hold a search", str(error), remedy) from error
        for name, value in asked.items():
            if found.get(name) != value:
                raise RunError(
                    f"{name} of {file}",
                    f"must be that of the search that goes on here: {found.get(name)!r}",
                    value,
                    "Ask for the same again, or choose another --output-dir.",
                )


def _run_of(row: Mapping[str, Any]) -> Run:
    curve = tuple((int(step), float(value)) for step, value in row["curve"])
    return Run(**{**row, "curve": curve})


def _best_until(curve: Curve, step: int, sign: float) -> float:
    """The best value up to a step; larger is better."""
    return max(sign * value for at, value in curve if at <= step)


def _optuna() -> Any:
    """Optuna, with its own log kept quiet.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        remedy = "Install it (pip install 'mtquant[scale]'), or use --method random."
        raise ConfigError("--method tpe", "needs Optuna", "no optuna", remedy) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _propose_by_tpe(plan: Plan, past: Sequence[Candidate], seed: int) -> dict[str, Any]:
    """What Optuna proposes after the candidates of the past.

    The study is made anew each time and the sampler seeded each time, so that a proposal depends on
    nothing but its arguments.
    """
    optuna = _optuna()
    space = {each.key: _distribution(each) for each in plan.dimensions}
    sampler = optuna.samplers.TPESampler(seed=seed)
    direction = "maximize" if METRICS[plan.metric] > 0.0 else "minimize"
    study = optuna.create_study(sampler=sampler, direction=direction)
    states = optuna.trial.TrialState
    named = {"complete": states.COMPLETE, "pruned": states.PRUNED, "refused": states.FAIL}
    for each in past:
        study.add_trial(
            optuna.trial.create_trial(
                state=named[each.state],
                value=each.value if each.state == "complete" else None,
                params={key: _told(space[key], own) for key, own in each.values.items()},
                distributions=space,
                intermediate_values=dict(each.runs[0].curve),
            )
        )
    asked = study.ask(space)
    categorical = optuna.distributions.CategoricalDistribution
    return {
        key: json.loads(value) if isinstance(space[key], categorical) else value
        for key, value in asked.params.items()
    }


def _distribution(dimension: Dimension) -> Any:
    """Optuna's; choices travel as JSON, since it wants plain values."""
    distributions = _optuna().distributions
    if isinstance(dimension, Choices):
        return distributions.CategoricalDistribution(
            [json.dumps(value) for value in dimension.values]
        )
    if dimension.scale == "int":
        return distributions.IntDistribution(int(dimension.low), int(dimension.high))
    log = dimension.scale == "log"
    return distributions.FloatDistribution(dimension.low, dimension.high, log=log)


def _told(distribution: Any, value: Any) -> Any:
    """A value as its distribution knows it."""
    return json.dumps(value) if hasattr(distribution, "choices") else value
