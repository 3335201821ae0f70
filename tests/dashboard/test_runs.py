# SPDX-License-Identifier: Apache-2.0
"""Run folders: found, told, and their curves."""

from __future__ import annotations

import os

import pytest

from mtquant.core.config import load_config
from mtquant.core.errors import RunError
from mtquant.core.runs import RunFolder
from mtquant.core.telemetry import Telemetry
from mtquant.dashboard import runs

CONFIG = load_config(None)


@pytest.fixture
def root(tmp_path):
    """A run with two specialists' curves, and an older one without."""
    run = RunFolder.create(tmp_path / "phase1", config=CONFIG, seed=7, command=["mtquant", "train"])
    run.stage("phase1/A", {"sharpe": 0.5, "weights": "0f", "chosen": True})
    run.stage("phase1/B", {"sharpe": -1, "bars": 9})
    for n, name in enumerate("AB"):
        with Telemetry(tmp_path / "logs" / "phase1" / name) as board:
            for step in range(3):
                board.scalars({"train/loss": step + n}, step)
    RunFolder.create(tmp_path / "old", config=CONFIG, seed=1)
    os.utime(tmp_path / "old" / "card.json", (1, 1))
    return tmp_path


def test_runs_are_found_the_newest_first(root):
    RunFolder.create(root / ".hidden", config=CONFIG, seed=0)
    deep = root.joinpath(*"abcdef")
    RunFolder.create(deep, config=CONFIG, seed=0)
    found = runs.find_runs([root, root / "gone"])
    assert list(found.values()) == [root / "phase1", root / "old"]


def test_a_card_in_words(root):
    facts = runs.card_facts(root / "phase1")
    assert (facts["command"], facts["seed"]) == ("mtquant train", "7")
    metrics = runs.stage_metrics(root / "phase1")
    assert metrics["phase1/A"].dropna().to_dict() == {"sharpe": 0.5}
    assert metrics["phase1/B"].dropna().to_dict() == {"sharpe": -1.0, "bars": 9.0}
    assert runs.stage_metrics(root / "old").empty
    with pytest.raises(RunError, match=r"card\.json"):
        runs.card_facts(root)


def test_curves_by_metric_and_specialist(root):
    logs = runs.log_folder(root / "phase1")
    found = runs.curves(logs)
    assert {name: own.to_dict() for name, own in found["train/loss"].items()} == {
        "A": {0: 0.0, 1: 1.0, 2: 2.0},
        "B": {0: 1.0, 1: 2.0, 2: 3.0},
    }
    assert runs.curves(root / "old") == {}


def test_a_curve_that_grows_has_another_fingerprint(root):
    logs = runs.log_folder(root / "phase1")
    before = runs.fingerprint(logs)
    assert runs.fingerprint(logs) == before
    with Telemetry(logs / "A") as board:
        board.scalar("train/loss", 9.0, 9)
    assert runs.fingerprint(logs) != before


def test_logs_are_where_the_card_says(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    RunFolder.create(tmp_path / "run", config=CONFIG, seed=0, logs=elsewhere)
    assert runs.log_folder(tmp_path / "run") == elsewhere
    elsewhere.rmdir()
    assert runs.log_folder(tmp_path / "run") == tmp_path / "run"
