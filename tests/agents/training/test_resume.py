# SPDX-License-Identifier: Apache-2.0
"""A phase that was interrupted and resumed is the phase that was not, to the byte."""

from __future__ import annotations

import json
import logging
import shutil
from collections import namedtuple
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtquant.agents.hierarchy import FILE_NAME
from mtquant.agents.specialist import MANIFEST_NAME, WEIGHTS_NAME
from mtquant.agents.training.phase import PhaseTrainer
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.agents.training.session import FOLDER
from mtquant.core.errors import CheckpointError, RunError
from mtquant.core.runs import LEAST_FREE_BYTES
from mtquant.learning.checkpoints import MANIFEST_NAME as MANIFEST
from mtquant.learning.checkpoints import STATE_NAME, sealed
from tests.support.markets import (
    DOMAIN_SYMBOLS,
    DOMAINS,
    INSTRUMENTS,
    SHARED_OUT,
    SYMBOLS,
    TINY_STEPS,
    tiny_config,
    write_market,
)
from tests.support.permissions import read_only

KINDS: dict[int, type[PhaseTrainer]] = {1: Phase1Trainer, 2: Phase2Trainer, 3: Phase3JointTrainer}
SOURCES = {2: "specialists_dir", 3: "hierarchy_dir"}
ROLLOUT = 256
# Six rollouts of 256; a checkpoint after every second.
STEPS = TINY_STEPS + 2 * ROLLOUT
# A level lasts three rollouts at most, so that some begin between two checkpoints.
CURRICULUM = (
    "training.curriculum_learning=true",
    "training.curriculum.min_steps_per_level=0",
    f"training.curriculum.max_steps_per_level={3 * ROLLOUT}",
)


# A specialist of two instruments beside one of one, which is padded.
UNEQUAL = (f"data.instruments=[{', '.join(DOMAIN_SYMBOLS)}]", SHARED_OUT)


class Killed(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("bars"), DOMAIN_SYMBOLS)


def trainer(
    phase: int, market: Path, root: Path, before: Path, *overrides: str, **named: Any
) -> Any:
    """A trainer below `root` whose first models lie below `before`."""
    options = {} if phase == 1 else {SOURCES[phase]: before / f"phase{phase - 1}"}
    folders = root / f"phase{phase}", root / "logs" / f"phase{phase}"
    config = tiny_config(market, *overrides)
    return KINDS[phase](config, *folders, INSTRUMENTS, timesteps=STEPS, **options, **named)


def all_phases(market: Path, root: Path, *settings: str) -> Path:
    """All phases without interruption."""
    for phase in KINDS:
        trainer(phase, market, root, root, *settings).train()
    return root


@pytest.fixture(scope="module")
def whole(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return all_phases(market, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def schooled(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the curriculum."""
    return all_phases(market, tmp_path_factory.mktemp("schooled"), *CURRICULUM)


@pytest.fixture(scope="module")
def unequal(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With specialists of unequally many instruments."""
    return all_phases(market, tmp_path_factory.mktemp("unequal"), *UNEQUAL)


def interrupted(
    phase: int, market: Path, root: Path, before: Path, after: int, *overrides: str
) -> None:
    """A phase that dies when it reports its rollout number `after`."""

    def progress(name: str, step: int, metrics: Mapping[str, float]) -> None:
        if step == after * ROLLOUT and name != SYMBOLS[1]:
            raise Killed

    with pytest.raises(Killed):
        trainer(phase, market, root, before, *overrides, progress=progress).train()


def models(root: Path, phase: int, owners: Sequence[str] = SYMBOLS) -> dict[str, bytes]:
    names = (
        [f"{owner}/{name}" for owner in owners for name in (WEIGHTS_NAME, MANIFEST_NAME)]
        if phase == 1
        else [FILE_NAME]
    )
    return {name: (root / f"phase{phase}" / name).read_bytes() for name in names}


def curves(root: Path, phase: int) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Folder -> tag -> points."""
    found = {}
    for folder in sorted(
        {file.parent for file in (root / "logs" / f"phase{phase}").rglob("*tfev*")}
    ):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        found[folder.name] = {
            tag: [(point.step, point.value) for point in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if tag != "time/fps"
        }
    return found


@pytest.mark.parametrize("phase", KINDS)
@pytest.mark.parametrize("after", [1, 3, 6])
def test_resumed_is_uninterrupted(
    phase: int, after: int, market: Path, whole: Path, tmp_path: Path
) -> None:
    """Killed before the first checkpoint, behind it, and behind the last one."""
    interrupted(phase, market, tmp_path, whole, after)
    resumed = trainer(phase, market, tmp_path, whole, resume=True).train()
    assert models(tmp_path, phase) == models(whole, phase)
    # What is written before the kill and again after it stands there once, and is the same.
    assert curves(tmp_path, phase) == curves(whole, phase)
    assert resumed


@pytest.mark.parametrize("phase", KINDS)
@pytest.mark.parametrize("after", [3, 5])
def test_resumed_is_uninterrupted_with_the_curriculum(
    phase: int, after: int, market: Path, schooled: Path, tmp_path: Path
) -> None:
    """Killed in scenarios that began behind the latest checkpoint, and with it."""
    interrupted(phase, market, tmp_path, schooled, after, *CURRICULUM)
    trainer(phase, market, tmp_path, schooled, *CURRICULUM, resume=True).train()
    assert models(tmp_path, phase) == models(schooled, phase)
    found = curves(tmp_path, phase)
    assert found == curves(schooled, phase)
    levels = [
        [value for _, value in own["curriculum/difficulty"]]
        for own in found.values()
        if "curriculum/difficulty" in own
    ]
    assert len(levels) == (len(SYMBOLS) if phase == 1 else 1)
    assert all(len(set(own)) > 1 for own in levels)


@pytest.mark.parametrize("phase", KINDS)
def test_resumed_is_uninterrupted_with_unequal_specialists(
    phase: int, market: Path, unequal: Path, tmp_path: Path
) -> None:
    interrupted(phase, market, tmp_path, unequal, 3, *UNEQUAL)
    trainer(phase, market, tmp_path, unequal, *UNEQUAL, resume=True).train()
    assert models(tmp_path, phase, tuple(DOMAINS)) == models(unequal, phase, tuple(DOMAINS))
    assert curves(tmp_path, phase) == curves(unequal, phase)


def test_other_specialists_are_refused(market: Path, unequal: Path, tmp_path: Path) -> None:
    interrupted(1, market, tmp_path, unequal, 3, *UNEQUAL)
    others = (*UNEQUAL, "training.specialists={a: [EURUSD], b: [GBPUSD, XAUUSD]}")
    with pytest.raises(CheckpointError, match=r"checkpoint's bars, config_hash, domains must be"):
        trainer(1, market, tmp_path, unequal, *others, resume=True).train()


def test_a_damaged_checkpoint_is_passed_over(
    market: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(1, market, tmp_path, whole, 5)
    newest = sorted((tmp_path / "phase1" / FOLDER).iterdir())[-1]
    content = bytearray((newest / STATE_NAME).read_bytes())
    content[-1] ^= 1
    (newest / STATE_NAME).write_bytes(content)
    with caplog.at_level("INFO"):
        trainer(1, market, tmp_path, whole, resume=True).train()
    assert f"{newest.name} is damaged" in caplog.text
    assert f"resumed at step {2 * ROLLOUT}" in caplog.text
    assert models(tmp_path, 1) == models(whole, 1)


def test_another_configuration_is_refused(market: Path, whole: Path, tmp_path: Path) -> None:
    interrupted(1, market, tmp_path, whole, 3)
    with pytest.raises(CheckpointError, match=r"checkpoint's config_hash must be"):
        trainer(1, market, tmp_path, whole, "training.gamma=0.9", resume=True).train()


def predictions(folder: Path, chance: float, days: int) -> tuple[str, str]:
    """A table that says the same of every instrument every day; the settings that name it."""
    known_at = pd.date_range("2000-01-01", periods=days, freq="D", tz="UTC")
    rows = [(symbol, moment, chance, 0.5, "", "") for symbol in SYMBOLS for moment in known_at]
    names = ["symbol", "known_at", "chance_up", "confidence", "says", "template_hash"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "signals.parquet")
    catalog = "features.catalog=[log_return_1, predicted_up]"
    return catalog, f"features.signals={folder / 'signals.parquet'}"


def test_other_predictions_are_refused(market: Path, tmp_path: Path) -> None:
    told = predictions(tmp_path, 0.6, 9_000)
    for phase in KINDS:
        if phase > 1:  # the table has changed since the phase before
            with pytest.raises(CheckpointError, match=r"predictions of .* must be those of phase"):
                predictions(tmp_path, 0.4, 9_000)
                trainer(phase, market, tmp_path, tmp_path, *told).train()
        predictions(tmp_path, 0.6, 9_000)
        interrupted(phase, market, tmp_path, tmp_path, 3, *told)
        predictions(tmp_path, 0.4, 9_000)
        with pytest.raises(
            CheckpointError, match=r"(checkpoint's signals|predictions of .*) must be"
        ):
            trainer(phase, market, tmp_path, tmp_path, *told, resume=True).train()
        predictions(tmp_path, 0.6, 12_000)  # only continued
        trainer(phase, market, tmp_path, tmp_path, *told, resume=True).train()


def test_other_numerics_are_refused_unless_allowed(
    market: Path, whole: Path, tmp_path: Path
) -> None:
    interrupted(1, market, tmp_path, whole, 3)
    (checkpoint,) = (tmp_path / "phase1" / FOLDER).iterdir()
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    manifest["facts"]["numerics"]["torch"] = "1.0"
    (checkpoint / MANIFEST).write_bytes(sealed(manifest))
    with pytest.raises(CheckpointError, match=r"checkpoint's torch must be.*different-numerics"):
        trainer(1, market, tmp_path, whole, resume=True).train()
    trainer(1, market, tmp_path, whole, resume=True, different_numerics=True).train()
    assert models(tmp_path, 1) == models(whole, 1)


@pytest.mark.parametrize("phase", KINDS)
def test_a_disk_without_room_for_checkpoints_is_refused_before_training(
    phase: int, market: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for a run, but not for its checkpoints."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, LEAST_FREE_BYTES + 1))

    def progress(name: str, step: int, metrics: Mapping[str, float]) -> None:
        raise AssertionError("it trained")

    with pytest.raises(RunError, match=r"phase./checkpoints must have 20. MB of free disk"):
        trainer(phase, market, tmp_path, whole, progress=progress).train()


@pytest.mark.parametrize("phase", KINDS)
@pytest.mark.parametrize("closed", ["models", "logs"])
def test_a_closed_folder_is_refused_before_training(
    phase: int, closed: str, market: Path, whole: Path, tmp_path: Path
) -> None:
    config, named = tiny_config(market), {}
    if phase > 1:
        named[SOURCES[phase]] = whole / f"phase{phase - 1}"
    for name in ("models", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    with read_only(tmp_path / closed), pytest.raises(RunError, match=f"{closed}.* must be a writ"):
        KINDS[phase](config, tmp_path / "models", tmp_path / "logs", INSTRUMENTS, **named)


def test_without_resume_a_run_begins_anew(market: Path, whole: Path, tmp_path: Path) -> None:
    interrupted(1, market, tmp_path, whole, 3)
    trainer(1, market, tmp_path, whole).train()
    assert models(tmp_path, 1) == models(whole, 1)


@pytest.fixture(scope="module")
def shared_out(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phase 1 in two processes, without interruption."""
    root = tmp_path_factory.mktemp("shared_out")
    trainer(1, market, root, root, "training.workers=2").train()
    return root


def interrupted_in_two(market: Path, root: Path, *overrides: str) -> None:
    """Phase 1 in two processes that dies behind its third rollout."""

    def progress(name: str, step: int, metrics: Mapping[str, float]) -> None:
        if step == 3 * ROLLOUT:
            raise Killed

    with pytest.raises(Killed):
        trainer(1, market, root, root, *overrides, progress=progress).train()


def test_resumed_in_two_processes(market: Path, shared_out: Path, tmp_path: Path) -> None:
    two = "training.workers=2"
    interrupted_in_two(market, tmp_path, two)
    trainer(1, market, tmp_path, tmp_path, two, resume=True).train()
    assert models(tmp_path, 1) == models(shared_out, 1)
    assert curves(tmp_path, 1) == curves(shared_out, 1)


def test_the_curriculum_in_two_processes(
    market: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Resumed it is uninterrupted, and whoever logs hears of its levels."""
    both = (*CURRICULUM, "training.workers=2")
    with caplog.at_level(logging.INFO, "mtquant"):
        trainer(1, market, tmp_path / "whole", tmp_path, *both).train()
    for symbol in SYMBOLS:
        assert any(symbol in text and "difficulty" in text for text in caplog.messages)
    interrupted_in_two(market, tmp_path / "cut", *both)
    trainer(1, market, tmp_path / "cut", tmp_path, *both, resume=True).train()
    assert models(tmp_path / "cut", 1) == models(tmp_path / "whole", 1)
    found = curves(tmp_path / "cut", 1)
    assert found == curves(tmp_path / "whole", 1)
    assert all("curriculum/difficulty" in tags for tags in found.values())


def test_another_number_of_processes(
    market: Path, whole: Path, shared_out: Path, tmp_path: Path
) -> None:
    """Refused, since the last bits differ; where that is allowed the run goes on all the same."""
    interrupted(1, market, tmp_path, whole, 3)
    with pytest.raises(CheckpointError, match=r"checkpoint's workers must be.*different-numerics"):
        trainer(1, market, tmp_path, whole, "training.workers=2", resume=True).train()
    own = trainer(
        1, market, tmp_path, whole, "training.workers=2", resume=True, different_numerics=True
    ).train()
    for symbol in SYMBOLS:
        one, two, mixed = (
            load_file(folder / "phase1" / symbol / WEIGHTS_NAME)
            for folder in (whole, shared_out, tmp_path)
        )
        for name, weights in one.items():
            torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(mixed[name], weights, rtol=1e-3, atol=1e-4)
    assert set(own) == set(SYMBOLS)
