# SPDX-License-Identifier: Apache-2.0
"""`verify` on what training leaves: all phases pass, and a fault in each part is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.agents.hierarchy import HierarchyPolicy, Memory
from mtquant.agents.training import world
from mtquant.agents.training.replay import BLOCK_ROWS, FILE_NAME, UPDATES, read_record
from mtquant.core.errors import CheckpointError
from mtquant.core.protocols import Observation
from mtquant.data.files import read_parquet, write_parquet
from mtquant.data.folds import FoldPlan, make_folds
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv
from mtquant.workflows.verify import Effort, Record, Subject, verify
from mtquant.workflows.verify.behaviour import check_behaviour
from mtquant.workflows.verify.environment import check_environment
from mtquant.workflows.verify.kept_weights import check_kept_weights
from mtquant.workflows.verify.later_rows import check_later_rows
from mtquant.workflows.verify.paper import check_paper
from mtquant.workflows.verify.repeating import Repeats
from mtquant.workflows.verify.scaler import check_scaler
from mtquant.workflows.verify.seeds import check_seeds
from mtquant.workflows.verify.seen_bars import check_seen_bars
from tests.support.leaks.models import (
    Trained,
    trained_in,
    with_another_scaler,
    with_another_unit,
    with_other_weights,
    with_revised_bars,
)
from tests.support.leaks.plants import EagerEnv, PeekingEnv
from tests.support.markets import (
    DOMAIN_SYMBOLS,
    INSTRUMENTS,
    SHARED_OUT,
    SYMBOLS,
    TINY_STEPS,
    tiny_config,
)

LITTLE = Effort(cuts=2, decisions=2, replayed=80)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_in(tmp_path_factory.mktemp("verify"), (1, 2, 3))


def seeds(subject: Subject, full: bool = False) -> Record:
    return check_seeds(Repeats(subject, lambda text: None), full)


def later(subject: Subject) -> Record:
    return check_later_rows(Repeats(subject, lambda text: None), LITTLE)


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_every_phase_passes(trained: Trained, phase: int) -> None:
    report = verify(trained.subject(trained.folder(phase)), LITTLE)
    verdicts = {record.name: record.verdict for record in report.records}
    assert report.passed, [record for record in report.records if record.verdict == "failed"]
    unchecked = {name for name, verdict in verdicts.items() if verdict == "not checked"}
    assert not unchecked
    assert report.facts["weights"]


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One of the instruments has no bar on every seventh day or so."""
    return trained_in(tmp_path_factory.mktemp("holed"), (1, 2, 3), missing=0.15)


@pytest.mark.parametrize("phase", [1, 3])
def test_specialists_of_several_instruments_pass(domains: Trained, phase: int) -> None:
    report = verify(domains.subject(domains.folder(phase)), LITTLE)
    assert report.passed, [record for record in report.records if record.verdict == "failed"]
    assert not [own.name for own in report.records if own.verdict == "not checked"]


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One trades two instruments, of which the second has holes."""
    root = tmp_path_factory.mktemp("domains")
    return trained_in(root, (1, 2, 3), SHARED_OUT, missing=0.15, symbols=DOMAIN_SYMBOLS)


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_every_phase_passes_on_an_instrument_with_holes(holed: Trained, phase: int) -> None:
    subject = holed.subject(holed.folder(phase))
    assert not subject.market.panel.tradable[subject.test_rows].all()
    for check in (check_behaviour, check_environment):
        record = check(subject, LITTLE)
        assert record.verdict == "passed", record.finding
    record = check_paper(subject, LITTLE)
    assert record.verdict == "passed", record.finding
    assert " 0 fills" not in record.finding


@pytest.mark.parametrize("phase", [2, 3])
@pytest.mark.parametrize("kind", [PeekingEnv, EagerEnv])
def test_leaks_in_the_environment_of_a_hierarchy_are_found(
    holed: Trained, phase: int, kind: type[MarketEnv]
) -> None:
    """The env leaks, not the features: it is what specialists and meta-controller are shown."""
    subject = replace(holed.subject(holed.folder(phase)), environment=kind)
    record = check_environment(subject, LITTLE)
    assert record.verdict == "failed"
    names = {finding.what for finding in record.findings}
    assert ("reward" in names) if kind is EagerEnv else any("log_return_1" in n for n in names)


def test_a_hierarchy_that_forgets_is_found_on_paper(
    holed: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State outside of the memory that is handed over: the second life is another."""
    subject = holed.subject(holed.folder(3))
    act, calls = HierarchyPolicy.act, [0]

    def counting(self: HierarchyPolicy, seen: Observation, state: Memory) -> tuple[Any, Memory]:
        targets, state = act(self, seen, state)
        calls[0] += 1
        return targets * (0.5 if calls[0] > 100 else 1.0), state

    monkeypatch.setattr(HierarchyPolicy, "act", counting)
    record = check_paper(subject, LITTLE)
    assert record.verdict == "failed"
    found = {finding.what for finding in record.findings}
    assert any(what.startswith("target of") for what in found)
    assert any("of outcome" in what for what in found)


def test_training_writes_down_its_first_updates(trained: Trained) -> None:
    first = read_record(trained.folder(1))
    assert first.together == SYMBOLS and first.timesteps == TINY_STEPS and first.source is None
    assert set(first.updates) == set(SYMBOLS)
    digests = [digest for own in first.updates.values() for digest in own]
    assert len(digests) == len(set(digests)) == UPDATES * len(SYMBOLS)
    third = read_record(trained.folder(3))
    assert third.source == str(trained.folder(2)) and len(third.updates["meta-controller"]) == 2


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_another_beginning_fails_the_replay(trained: Trained, phase: int, tmp_path: Path) -> None:
    folder = trained.copy(phase, tmp_path)
    record = read_record(folder)
    name = record.together[-1]
    stored = json.loads((folder / FILE_NAME).read_text())
    stored["updates"][name][1] = "0" * 64
    (folder / FILE_NAME).write_text(json.dumps(stored))
    found = seeds(trained.subject(folder))
    assert found.verdict == "failed"
    assert found.findings[0].what == f"update 2 of {name}"


def test_another_version_is_no_failure(trained: Trained, tmp_path: Path) -> None:
    folder = trained.copy(1, tmp_path)
    stored = json.loads((folder / FILE_NAME).read_text())
    stored["updates"]["EURUSD"][0] = "0" * 64
    stored["numerics"]["torch"] = "0.0.1"
    (folder / FILE_NAME).write_text(json.dumps(stored))
    found = seeds(trained.subject(folder))
    assert found.verdict == "not checked" and "torch 0.0.1" in found.finding


def test_what_cannot_be_repeated_is_not_checked(trained: Trained, tmp_path: Path) -> None:
    folder = trained.copy(2, tmp_path)
    stored = json.loads((folder / FILE_NAME).read_text())
    stored["source"] = str(tmp_path / "nowhere")
    (folder / FILE_NAME).write_text(json.dumps(stored))
    assert seeds(trained.subject(folder)).verdict == "not checked"
    (folder / FILE_NAME).unlink()
    found = seeds(trained.subject(folder))
    assert found.verdict == "not checked" and "Train again" in found.finding
    with pytest.raises(CheckpointError, match="must hold what its training wrote down"):
        read_record(folder)
    other = replace(trained, config=tiny_config(trained.market, "training.seed=9"))
    found = seeds(other.subject(trained.folder(1)))
    assert found.verdict == "not checked" and "configuration" in found.finding


def test_the_whole_run_is_repeated(trained: Trained, tmp_path: Path) -> None:
    folder = trained.copy(1, tmp_path)
    assert seeds(trained.subject(folder), full=True).verdict == "passed"
    card = json.loads((folder / "card.json").read_text())
    card["stages"]["phase1/GBPUSD"]["weights_sha256"] = "0" * 64
    (folder / "card.json").write_text(json.dumps(card))
    found = seeds(trained.subject(folder), full=True)
    assert found.findings[0].what == "weights_sha256 of phase1/GBPUSD"


def test_exchanged_weights_are_found(trained: Trained, tmp_path: Path) -> None:
    """Weights and manifest of another network fit each other; the card knows better."""
    folder = trained.copy(1, tmp_path)
    found = check_kept_weights(with_other_weights(trained, folder))
    assert [finding.what for finding in found.findings] == [f"weights of phase1/{SYMBOLS[0]}"]
    # A hierarchy of another phase is a whole one, and not the one that this run kept.
    folder = trained.copy(2, tmp_path)
    for name in ("hierarchy.json", "hierarchy.safetensors"):
        shutil.copy(trained.folder(3) / name, folder / name)
    assert check_kept_weights(trained.subject(folder)).verdict == "failed"


def test_a_run_without_results_vouches_for_no_weights(trained: Trained, tmp_path: Path) -> None:
    folder = trained.copy(1, tmp_path)
    card = json.loads((folder / "card.json").read_text())
    card["stages"] = {}
    (folder / "card.json").write_text(json.dumps(card))
    assert check_kept_weights(trained.subject(folder)).verdict == "not checked"
    (folder / "card.json").unlink()
    assert check_kept_weights(trained.subject(folder)).verdict == "not checked"


def test_a_trainer_that_reads_test_rows_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Episodes are drawn from all rows: the replay repeats that, and later bars show it."""

    def greedy(rows: slice, panel: Panel, split: Split) -> tuple[slice, ...]:
        return (slice(rows.start, panel.rows(split.test).stop),)

    monkeypatch.setattr(world, "without_holes", greedy)
    found = trained_in(tmp_path, (1,))
    subject = found.subject(found.folder(1))
    assert seeds(subject).verdict == "passed"
    record = later(subject)
    assert record.verdict == "failed"
    assert {finding.what for finding in record.findings} == {
        f"update 1 of {symbol}" for symbol in SYMBOLS
    }


def test_a_test_between_training_rows_is_honest(trained: Trained, tmp_path: Path) -> None:
    """A combinatorial fold: training lies on both sides of its test, and chooses before it."""
    plan = FoldPlan("combinatorial", 5, 1, 0.5, 0.25, 5)
    stamps = {s: own.stamps for s, own in load_bars(trained.config.data, INSTRUMENTS).items()}
    fold = make_folds(stamps, plan, trained.config.data.bar_seconds)[2]
    periods = f"data.periods={fold.periods().model_dump_json()}"
    held = trained_in(tmp_path, (1, 2), periods, "environment.episode_length=20")
    for phase in (1, 2):
        report = verify(held.subject(held.folder(phase)), LITTLE)
        assert report.passed, [record for record in report.records if record.verdict == "failed"]
        (record,) = (one for one in report.records if one.name == "training: later bars")
        assert record.verdict == "not checked" and "behind the test" in record.finding
    # Tested on what it was trained on, it is found all the same.
    whole = trained.subject(trained.folder(1))
    split = replace(held.subject(held.folder(1)).split, test=whole.split.train)
    found = check_seen_bars(replace(held.subject(held.folder(1)), split=split))
    assert {finding.what for finding in found.findings} == {"test part"}


def test_the_library_engine_is_replayed(tmp_path: Path) -> None:
    found = trained_in(tmp_path, (1,), "training.engine=sb3")
    assert seeds(found.subject(found.folder(1))).verdict == "passed"
    record = read_record(found.folder(1))
    assert {len(own) for own in record.updates.values()} == {UPDATES}


def test_a_scaler_of_test_rows_is_found(trained: Trained, tmp_path: Path) -> None:
    found = check_scaler(with_another_scaler(trained, trained.copy(1, tmp_path)))
    assert found.verdict == "failed"
    assert found.findings[0].symbol == SYMBOLS[0] and found.findings[0].size > 0.0
    assert {finding.symbol for finding in found.findings} == {SYMBOLS[0]}


def test_a_reward_unit_of_all_rows_is_found(trained: Trained, tmp_path: Path) -> None:
    found = check_scaler(with_another_unit(trained, trained.copy(1, tmp_path)))
    assert [finding.what for finding in found.findings] == ["unit of the reward"]
    assert found.findings[0].size == pytest.approx(0.01)


def test_revised_bars_are_found_in_their_block(trained: Trained, tmp_path: Path) -> None:
    found = check_seen_bars(with_revised_bars(trained, trained.folder(1), tmp_path / "bars"))
    assert found.verdict == "failed" and len(found.findings) == 1
    assert found.findings[0].symbol == SYMBOLS[1] and found.findings[0].row == BLOCK_ROWS
    # Without what training wrote down, the digest of the manifest still tells.
    folder = trained.copy(1, tmp_path)
    (folder / FILE_NAME).unlink()
    found = check_seen_bars(with_revised_bars(trained, folder, tmp_path / "again"))
    assert found.findings[0].row == -1


def test_bars_that_go_on_are_the_same_bars(trained: Trained, tmp_path: Path) -> None:
    for symbol in SYMBOLS:
        own = read_parquet(trained.market / f"{symbol}.parquet")
        until = np.searchsorted(own.stamps, own.stamps[-1])
        write_parquet(own.rows(slice(0, int(until))), tmp_path / f"{symbol}.parquet")
    other = replace(trained, config=tiny_config(tmp_path))
    assert check_seen_bars(other.subject(trained.folder(1))).verdict == "passed"


def test_a_test_part_that_was_seen_is_found(trained: Trained) -> None:
    other = replace(trained, config=tiny_config(trained.market, "data.train_frac=0.4"))
    found = check_seen_bars(other.subject(trained.folder(1)))
    assert {finding.what for finding in found.findings} == {"test part"}
