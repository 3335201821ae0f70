# SPDX-License-Identifier: Apache-2.0
"""A search's memory: it goes on as if it had not been killed, gives up laggards, ranks the rest."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mtquant.core.errors import ConfigError, RunError
from mtquant.workflows.search_space import parse_dimension
from mtquant.workflows.search_study import ROWS_NAME, Candidate, Curve, Method, Plan, Run, Study

DIMENSIONS = (
    parse_dimension("training.learning_rate=log:1e-4:1e-2:3"),
    parse_dimension("training.gamma=[0.9, 0.95, 0.99]"),
    parse_dimension("training.hidden_units=[[32, 32], [64]]"),
    parse_dimension("training.n_epochs=int:2:4"),
)
METHODS = ("grid", "random", "tpe")


def plan(method: Method = "random", candidates: int | None = 6, **changes: object) -> Plan:
    return Plan(method, DIMENSIONS, candidates, **changes)  # type: ignore[arg-type]


def study(folder: Path, asked: Plan | None = None, root: int = 7) -> Study:
    return Study(folder, asked or plan(), "0" * 64, root)


def worth(values: dict[str, object]) -> float:
    """Best at a rate of 1e-3 and a discount of 0.95."""
    rate, gamma = values["training.learning_rate"], values["training.gamma"]
    assert isinstance(rate, float) and isinstance(gamma, float)
    return -abs(math.log10(rate) + 3.0) - 10.0 * abs(gamma - 0.95)


def live(found: Study, runs: int | None = None) -> list[Run]:
    """Runs a study to its end, or for some runs."""
    while (following := found.next_run()) is not None and (runs is None or runs > 0):
        number, seed, values = following
        value = worth(values)
        found.add(Run(number, seed, "complete", values, value, ((100, value - 1.0), (200, value))))
        runs = None if runs is None else runs - 1
    return found.runs


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path, method: Method) -> None:
    asked = plan(method, 14, seeds=2)
    whole = live(study(tmp_path / "whole", asked))
    assert [(run.candidate, run.seed) for run in whole] == [
        (n, s) for n in range(14) for s in (0, 1)
    ]
    for runs in (5, 20):  # in the middle of a candidate, and between two
        live(study(tmp_path / "killed", asked), runs)
    file = tmp_path / "killed" / ROWS_NAME
    file.write_bytes(file.read_bytes() + b'{"candidate": 12, "se')  # killed in mid-row
    assert live(study(tmp_path / "killed", asked)) == whole
    assert study(tmp_path / "killed", asked).next_run() is None


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_proposes_others(tmp_path: Path, method: Method) -> None:
    first, second = (live(study(tmp_path / str(root), plan(method), root)) for root in (1, 2))
    same = [run.values for run in first] == [run.values for run in second]
    assert same == (method == "grid")


def test_a_grid_ends_by_itself(tmp_path: Path) -> None:
    assert plan("grid", None).size() == 3 * 3 * 2 * 3
    assert plan("grid", 4).size() == 4
    with pytest.raises(ConfigError, match=r"--candidates must be given for a random search"):
        plan("random", None).size()


def test_more_candidates_make_it_longer(tmp_path: Path) -> None:
    short = live(study(tmp_path, plan(candidates=3)))
    assert live(study(tmp_path, plan(candidates=5)))[:3] == short


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (plan("tpe"), "method"),
        (plan(metric="drawdown"), "metric"),
        (plan(seeds=2), "seeds"),
        (Plan("random", DIMENSIONS[:1], 6), "dimensions"),
    ],
)
def test_another_search_in_its_folder_is_refused(tmp_path: Path, other: Plan, said: str) -> None:
    study(tmp_path)
    with pytest.raises(RunError, match=rf"{said} of .*search\.json must be that of the search"):
        study(tmp_path, other)
    with pytest.raises(RunError, match="config_hash of"):
        Study(tmp_path, plan(), "1" * 64, 7)


def test_tpe_learns_where_to_look(tmp_path: Path) -> None:
    """Of 40 candidates the later half is better than the earlier, and than 40 drawn at random."""
    found = {}
    for method in ("tpe", "random"):
        runs = live(study(tmp_path / method, plan(method, 40)))  # type: ignore[arg-type]
        found[method] = [float(run.value or 0.0) for run in runs]
    early, late = found["tpe"][:20], found["tpe"][20:]
    assert sum(late) > sum(early)
    assert sum(late) > sum(found["random"][20:])


def test_the_best_come_first(tmp_path: Path) -> None:
    for metric, best in (("sharpe", 1.0), ("drawdown", -2.0)):
        found = study(tmp_path / metric, plan(metric=metric))
        for number, value in enumerate((0.5, 1.0, -2.0, 1.0)):
            found.add(Run(number, 0, "complete", {}, value))
        found.add(Run(4, 0, "pruned", {}, 99.0))
        found.add(Run(5, 0, "refused", {}, said="why"))
        ranked = found.ranked()
        assert len(ranked) == 4 and ranked[0].value == best
        if metric == "sharpe":
            assert [each.number for each in ranked] == [1, 3, 0, 2]  # the earlier of two equals


def test_a_candidate_is_the_mean_of_its_seeds(tmp_path: Path) -> None:
    runs = [Run(3, seed, "complete", {"a.b": 1}, value) for seed, value in enumerate((1.0, 2.0))]
    assert Candidate.of(runs).value == 1.5
    found = study(tmp_path, plan(seeds=2))
    for run in runs[:1]:
        found.add(Run(0, run.seed, run.state, run.values, run.value))
    assert found.ranked() == []  # its second seed is missing
    assert found.next_run() == (0, 1, {"a.b": 1})
    found.add(Run(0, 1, "pruned", {"a.b": 1}, 0.0))
    assert (found.next_run() or (None,))[0] == 1
    assert found.ranked() == []


def lags(folder: Path, others: Sequence[Curve], own: Curve, **changes: object) -> bool:
    found = study(folder, plan(**changes))  # type: ignore[arg-type]
    for number, curve in enumerate(others):
        found.add(Run(number, 0, "complete", {}, 0.0, curve))
    return found.lags(own, 0)


def curve(*values: float) -> Curve:
    return tuple((100 * n, value) for n, value in enumerate(values, start=1))


def test_a_laggard_is_given_up(tmp_path: Path) -> None:
    others = [curve(0.1, 0.2), curve(0.2, 0.3), curve(0.3, 0.1), curve(0.4, 0.5)]
    # At 100 the others' median is 0.25; at 200 the best so far are 0.2, 0.3, 0.3, 0.5: 0.3.
    cases = (
        (curve(0.2), True),
        (curve(0.25), False),
        (curve(0.0, 0.29), True),
        (curve(0.3, -9.0), False),  # what counts is the best so far
        (curve(0.0, 0.0, 0.0), False),  # nobody else came so far
        ((), False),
    )
    for n, (own, expected) in enumerate(cases):
        assert lags(tmp_path / str(n), others, own) is expected
    assert not lags(tmp_path / "few", others[:3], curve(-9.0))
    late = [((150, 1.0), (300, 1.0))] * 9  # validated less often: at 100 they had said nothing
    assert not lags(tmp_path / "late", late, curve(-9.0))
    assert not lags(tmp_path / "late2", [*late, *others[:3]], curve(-9.0))
    assert not lags(tmp_path / "off", others, curve(-9.0), prune=False)
    # Less is better: 0.4 and 0.3 are the worse half.
    assert lags(tmp_path / "less", others, curve(0.35), metric="drawdown")
    assert not lags(tmp_path / "less2", others, curve(0.15), metric="drawdown")


def test_what_is_unknown_or_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--method must be one of grid, random, tpe"):
        plan("bayes").check()  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--metric must be one of sharpe"):
        plan(metric="profit").check()
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"needs Optuna.*mtquant\[scale\].*--method random"):
        plan("tpe").check()
    plan("random").check()
