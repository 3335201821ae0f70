# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import math
import shutil
from collections import namedtuple

import numpy as np
import pytest

from mtquant.core import runs
from mtquant.core.config import Config, config_hash, load_config
from mtquant.core.errors import RunError
from mtquant.core.runs import (
    CARD_NAME,
    LOG_NAME,
    RunFolder,
    check_writable,
    git_state,
    training_log,
)
from tests.support.permissions import read_only


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", config=Config(), seed=7, command=["mtquant", "demo"])


def test_the_card_tells_what_is_needed_to_run_again(run):
    card = run.card
    assert card["command"] == ["mtquant", "demo"]
    assert card["config_hash"] == config_hash(Config())
    assert Config.model_validate(card["config"]) == load_config(None)
    assert card["versions"]["numpy"] == np.__version__
    assert card["machine"]["cpu_count"] >= 1
    assert card["started"].endswith("+00:00")
    assert card["stages"] == {}


def test_an_earlier_run_is_not_replaced_by_accident(run):
    run.stage("phase1/EURUSD", {"steps": 3})
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    with pytest.raises(RunError, match=r"must not hold an earlier run.*--overwrite"):
        RunFolder.create(run.path, config=Config(), seed=8)
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before
    again = RunFolder.create(run.path, config=Config(), seed=8, overwrite=True)
    assert (again.card["seed"], again.card["stages"]) == (8, {})


def test_stages_are_added_and_replaced(run):
    run.stage("phase1/EURUSD", {"validation/sharpe": np.float64(0.5), "steps": np.int64(3)})
    run.stage("backtest", {"nan": math.nan, "path": run.path, "curve": np.array([1.0, np.inf])})
    run.stage("phase1/EURUSD", {"validation/sharpe": 0.25})
    stages = json.loads((run.path / CARD_NAME).read_text())["stages"]
    assert stages["phase1/EURUSD"] == {"validation/sharpe": 0.25}
    assert stages["backtest"] == {"nan": "nan", "path": str(run.path), "curve": [1.0, "inf"]}
    assert [file.name for file in run.path.iterdir()] == [CARD_NAME]


def test_a_damaged_card_is_named(run):
    (run.path / CARD_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=CARD_NAME):
        run.stage("backtest", {})


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="must be a writable folder"):
        RunFolder.create(tmp_path / "file" / "run", config=Config(), seed=7)


def test_a_full_disk_is_refused_before_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    # One byte less than the 200 MB asked for.
    full = usage(0, 0, 200 * 2**20 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(RunError, match="found '199 MB'"):
        RunFolder.create(tmp_path, config=Config(), seed=7)
    assert list(tmp_path.iterdir()) == []


def test_room_that_a_run_needs_is_asked_for(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 300 * 2**20))
    check_writable(tmp_path, 300 * 2**20)
    with pytest.raises(RunError, match="must have 301 MB of free disk; found '300 MB'"):
        check_writable(tmp_path, 300 * 2**20 + 1)


def test_a_folder_without_write_permission_is_refused(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    with read_only(closed), pytest.raises(RunError, match=r"must be a writable folder.*denied"):
        check_writable(closed)
    with read_only(closed), pytest.raises(RunError, match=r"must be a writable folder.*denied"):
        check_writable(closed / "run")
    check_writable(closed)


def test_git_state_never_fails(monkeypatch, tmp_path):
    state = git_state()
    assert state is None or set(state) == {"commit", "dirty"}
    monkeypatch.setattr(runs, "SOURCE", tmp_path)
    assert git_state() is None
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_the_log_has_utc_stamps_and_each_line_once(tmp_path):
    folder = tmp_path / "phase1"
    for word in ("first", "second"):
        with training_log(folder) as log, training_log(folder) as same:
            assert same is log
            log.info("%s line", word)
    lines = (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["INFO first line", "INFO second line"]
    assert all(line.split(" ")[0].endswith("Z") for line in lines)
    assert log.handlers == []


def test_two_folders_have_two_logs(tmp_path):
    with training_log(tmp_path / "a.b") as one, training_log(tmp_path / "a_b") as two:
        one.info("for one")
        two.info("for two")
    assert "for two" not in (tmp_path / "a.b" / LOG_NAME).read_text(encoding="utf-8")
    assert "for one" not in (tmp_path / "a_b" / LOG_NAME).read_text(encoding="utf-8")


def test_the_log_is_closed_when_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), training_log(tmp_path) as log:
        raise ZeroDivisionError
    assert log.handlers == []
    assert isinstance(log, logging.Logger)
