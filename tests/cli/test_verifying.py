# SPDX-License-Identifier: Apache-2.0
"""`mtquant verify`: the table, the file, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtquant.agents.training.replay import FILE_NAME as REPLAY
from mtquant.cli.main import app
from mtquant.workflows.training import train_phase
from mtquant.workflows.verify.record import FILE_NAME
from tests.support.markets import INSTRUMENTS, TINY_STEPS, tiny_config, write_market


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verifying")
    config = tiny_config(write_market(root / "bars"))
    train_phase(1, config, INSTRUMENTS, root / "phase1", root / "logs", timesteps=TINY_STEPS)
    return root / "phase1"


def test_a_sound_model_exits_with_zero(models: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(models), "--cuts", "2"])
    assert done.exit_code == 0, done.output
    assert "look-ahead: features" in done.output and "0 failed, 0 not checked" in done.output
    stored = json.loads((models / FILE_NAME).read_text())
    assert stored["passed"] is True and len(stored["checks"]) == 19


def test_a_model_that_does_not_repeat_exits_with_one(models: Path) -> None:
    kept = (models / REPLAY).read_text()
    stored = json.loads(kept)
    stored["updates"]["EURUSD"][0] = "0" * 64
    (models / REPLAY).write_text(json.dumps(stored))
    done = CliRunner().invoke(app, ["verify", str(models), "--cuts", "2", "--seed", "4"])
    (models / REPLAY).write_text(kept)
    assert done.exit_code == 1, done.output
    assert "update 1 of EURUSD" in done.output
    assert json.loads((models / FILE_NAME).read_text())["seed"] == 4


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert done.exit_code != 0
