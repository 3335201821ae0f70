# SPDX-License-Identifier: Apache-2.0
"""Three phases in a row: which of them a resumed pipeline passes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mtquant.cli import pipeline as module
from mtquant.cli.pipeline import Pipeline
from mtquant.core.config import Config, load_config
from mtquant.core.errors import RunError
from mtquant.core.runs import RunFolder
from mtquant.workflows.phases import PHASES

TWO = ("data.instruments=[SP500, NASDAQ]",)


def begun(folder: Path, config: Config) -> RunFolder:
    return RunFolder.create(folder, config=config, seed=0, command=["mtquant"])


def ended(root: Path, config: Config, phases: tuple[int, ...] = PHASES) -> None:
    """Leaves what phases leave that ended."""
    for number in phases:
        folder = RunFolder.create(
            root / f"phase{number}", config=config, seed=0, command=["mtquant"]
        )
        names = config.data.instruments if number == 1 else ("hierarchy",)
        for name in names:
            folder.stage(f"phase{number}/{name}", {"steps": 1})


def resumed(root: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The phases that a resumed pipeline trains."""
    trained: list[int] = []
    monkeypatch.setattr(module, "run_phase", lambda number, *rest: trained.append(number))
    pipeline = Pipeline(config, {}, root, root / "logs", {}, None)
    pipeline.train(Console(quiet=True), resume=True)
    return trained


def test_phases_that_ended_are_passed_over(tmp_path: Path, monkeypatch: Any) -> None:
    config = load_config(None, TWO)
    ended(tmp_path, config, (1, 2))
    assert resumed(tmp_path, config, monkeypatch) == [3]


def test_one_that_lacks_a_specialist_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    config = load_config(None, TWO)
    folder = begun(tmp_path / "phase1", config)
    folder.stage("phase1/SP500", {"steps": 1})
    assert resumed(tmp_path, config, monkeypatch) == [1, 2, 3]


@pytest.mark.parametrize("key", ["training.workers=2", "training.torch_threads=2"])
def test_how_the_numbers_were_computed_is_no_other_run(
    key: str, tmp_path: Path, monkeypatch: Any
) -> None:
    ended(tmp_path, load_config(None, (*TWO, key)))
    assert resumed(tmp_path, load_config(None, TWO), monkeypatch) == []


def test_another_configuration_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    ended(tmp_path, load_config(None, TWO))
    with pytest.raises(RunError, match=r"phase1 must have been trained under this configuration"):
        resumed(tmp_path, load_config(None, (*TWO, "training.seed=1")), monkeypatch)
