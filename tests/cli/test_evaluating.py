# SPDX-License-Identifier: Apache-2.0
"""``--mode eval``: tables on the terminal, files beside the models, nothing trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtquant.cli.evaluating import table_of
from mtquant.cli.main import app
from mtquant.evaluation.sections import Section
from mtquant.workflows.evaluating import JSON_NAME, TEXT_NAME
from mtquant.workflows.training import train_phase
from tests.support.markets import INSTRUMENTS, TINY_STEPS, tiny_config, write_market

LITTLE = ["--eval-episodes", "20", "--eval-scenarios", "0"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    config = tiny_config(write_market(root / "bars"))
    train_phase(1, config, INSTRUMENTS, root / "phase1", root / "logs", timesteps=TINY_STEPS)
    return root


def test_all_measures_the_phases_that_are_there(models: Path) -> None:
    done = CliRunner().invoke(
        app, ["train", "all", "--mode", "eval", "--output-dir", str(models), *LITTLE]
    )
    assert done.exit_code == 0, done.output
    assert "Targets of phase 1" in done.output
    assert "Specialists one by one" in done.output
    assert "Robustness" not in done.output
    assert "phase 2 was not trained" in done.output and "phase 3 was not trained" in done.output
    for name in (JSON_NAME, TEXT_NAME):
        assert (models / "phase1" / name).is_file()


def test_a_phase_is_measured_alone(models: Path) -> None:
    before = (models / "phase1" / "card.json").read_bytes()
    done = CliRunner().invoke(
        app, ["train", "phase1", "--mode", "eval", "--output-dir", str(models / "phase1"), *LITTLE]
    )
    assert done.exit_code == 0, done.output
    assert "Targets of phase 1" in done.output
    assert (models / "phase1" / "card.json").read_bytes() == before


def test_a_section_becomes_a_table() -> None:
    section = Section("Title", ("name", "value"), (("a", "1"), ("b", "2")), ("Note.",))
    table = table_of(section)
    assert table.title == "Title" and table.row_count == 2 and table.caption == "Note."
