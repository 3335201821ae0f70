# SPDX-License-Identifier: Apache-2.0
"""A search from end to end on a tiny market, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError, RunError
from mtquant.core.trials import TrialLedger
from mtquant.workflows.search import BEST_NAME, KIND, WORK_NAME, SearchResult, Watcher, search
from mtquant.workflows.search_space import Values, parse_dimension
from mtquant.workflows.search_study import ROWS_NAME, Candidate, Plan, Study
from tests.support.markets import INSTRUMENTS, SYMBOLS, TINY_STEPS, tiny_config, write_market

PLAN = Plan(
    "random",
    (
        parse_dimension("training.learning_rate=log:1e-4:1e-2"),
        parse_dimension("training.gamma=[0.9, 0.95]"),
    ),
    candidates=3,
    seeds=2,
)


class Killed(Exception):
    """Somebody pulled the plug."""


class Watching(Watcher):
    """Remembers, and pulls the plug after some runs."""

    def __init__(self, runs: int = 99) -> None:
        self.shares: list[tuple[int, float]] = []
        self.done: list[Candidate] = []
        self._runs = runs

    def running(self, run: int, runs: int, share: float, values: Values) -> None:
        assert runs == 6
        self.shares.append((run, share))
        if run >= self._runs:
            raise Killed

    def finished(self, candidate: Candidate) -> None:
        self.done.append(candidate)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("bars"))


def found(
    market: Path, folder: Path, plan: Plan = PLAN, watcher: Watcher | None = None
) -> SearchResult:
    config, out = tiny_config(market), folder / "search"
    return search(config, INSTRUMENTS, plan, out, timesteps=TINY_STEPS, watcher=watcher)


@pytest.fixture(scope="module")
def watching() -> Watching:
    return Watching()


@pytest.fixture(scope="module")
def result(
    market: Path, tmp_path_factory: pytest.TempPathFactory, watching: Watching
) -> SearchResult:
    return found(market, tmp_path_factory.mktemp("whole"), watcher=watching)


def test_the_best_is_the_best(result: SearchResult, watching: Watching) -> None:
    assert len(result.candidates) == 3
    values = [each.value for each in result.ranked]
    assert values == sorted(values, key=lambda value: -float(value or 0.0))
    assert result.best.number == max(result.ranked, key=lambda each: each.value or 0.0).number
    assert len(watching.done) == 6  # runs
    assert [run for run, share in watching.shares if share == 1.0] == list(range(6))
    assert not (result.config_file.parent / WORK_NAME).exists()


def test_the_best_configuration_is_one_that_loads(result: SearchResult, market: Path) -> None:
    assert result.config_file.name == BEST_NAME
    best = load_config(result.config_file)
    changes = [f"{key}={value}" for key, value in result.best.values.items()]
    steps = f"training.phase_1_timesteps={TINY_STEPS}"
    assert best == tiny_config(market, steps, *changes)


def test_every_run_is_a_trial(result: SearchResult) -> None:
    rows = result.trials.rows()
    assert result.trials == TrialLedger(result.config_file.parents[1] / "trials")
    assert [row["seed"] for row in rows] == [7, 8] * 3
    for row, candidate in zip(rows[::2], result.candidates, strict=True):
        assert row["kind"] == KIND and row["state"] == "complete"
        assert dict(candidate.values).items() <= row["changed"].items()
        series = result.trials.returns(row)
        assert tuple(series) == SYMBOLS
        for symbol, own in series.items():
            # Validation has 110 rows (tests/agents/training/test_phase1_trainer.py), so 109 bars.
            assert len(own.returns) == len(own.stamps) == 109
            deviation = own.returns.std(ddof=1)
            sharpe = 0.0
            if deviation > 0.0:
                sharpe = own.returns.mean() / deviation * np.sqrt(own.bars_per_year)
            assert row["metrics"][f"{symbol}/validation/sharpe"] == pytest.approx(sharpe)
        sharpes = [row["metrics"][f"{symbol}/validation/sharpe"] for symbol in SYMBOLS]
        assert candidate.runs[0].value == pytest.approx(np.mean(sharpes))


def test_a_killed_search_goes_on(result: SearchResult, market: Path, tmp_path: Path) -> None:
    for runs in (1, 4):  # in the middle of the first candidate, and of the third
        with pytest.raises(Killed):
            found(market, tmp_path, watcher=Watching(runs))
    resumed = found(market, tmp_path)
    assert resumed.candidates == result.candidates
    assert resumed.config_file.read_bytes() == result.config_file.read_bytes()
    ids = [[row["id"] for row in each.trials.rows()] for each in (resumed, result)]
    assert ids[0] == ids[1]
    rows = [(each.config_file.parent / ROWS_NAME).read_bytes() for each in (resumed, result)]
    assert rows[0] == rows[1]


def test_candidates_that_break_a_rule_together_are_refused(market: Path, tmp_path: Path) -> None:
    texts = ("training.n_steps=[64, 63]", "training.batch_size=[64, 126]")
    plan = Plan("grid", tuple(parse_dimension(text) for text in texts))
    with pytest.raises(ConfigError, match=r"training\.batch_size must divide"):
        found(market, tmp_path, plan)  # alone, each is tried beforehand
    texts = (
        "training.n_steps=[64, 128]",
        "training.batch_size=[64, 256]",
        "training.n_envs=[2, 4]",
    )
    plan = Plan("grid", tuple(parse_dimension(text) for text in texts))
    result = found(market, tmp_path, plan)
    states = {tuple(each.values.values()): each.state for each in result.candidates}
    assert states.pop((64, 256, 2)) == "refused"  # 128 bars in a rollout
    assert set(states.values()) <= {"complete", "pruned"}
    refused = next(each for each in result.candidates if each.state == "refused")
    assert "must divide n_envs * n_steps" in refused.runs[0].said
    assert len(result.trials.rows()) == 7


def test_a_laggard_is_given_up_and_still_counts(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second candidate is one, after its first of two validations."""
    monkeypatch.setattr(
        Study, "lags", lambda self, curve, seed: len(self.candidates()) == 1 and len(curve) == 1
    )
    plan = Plan("random", PLAN.dimensions, candidates=3)
    result = found(market, tmp_path, plan)
    assert [each.state for each in result.candidates] == ["complete", "pruned", "complete"]
    (run,) = result.candidates[1].runs
    assert [step for step, _ in run.curve] == [TINY_STEPS // 2]
    assert run.value == run.curve[0][1]
    assert [row["state"] for row in result.trials.rows()] == ["complete", "pruned", "complete"]
    assert 1 not in [each.number for each in result.ranked]


def test_a_full_disk_ends_the_search(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: TrialLedger, trial: object) -> str:
        raise RunError("trials", "must have 200 MB of free disk", "0 MB", "Free some disk space.")

    monkeypatch.setattr(TrialLedger, "append", fails)
    with pytest.raises(RunError, match="must have 200 MB"):
        found(market, tmp_path)
    assert not (tmp_path / "search" / ROWS_NAME).exists()
