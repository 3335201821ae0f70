# SPDX-License-Identifier: Apache-2.0
"""The trial ledger: what goes in comes out, from several writers, whatever was killed meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.core.config import config_hash, load_config
from mtquant.core.errors import RunError
from mtquant.core.trials import FOLDER_NAME, ROWS_NAME, Series, Trial, TrialLedger

SETTINGS = ("training.gamma=0.9", "training.seed=3")


def series(seed: int = 0, bars: int = 20) -> Series:
    random = np.random.Generator(np.random.PCG64(seed))
    stamps = np.arange(bars, dtype=np.int64) * 86_400_000_000_000
    return Series(stamps, 0.01 * random.standard_normal(bars), 252.0)


def trial(seed: int = 0, metrics: Mapping[str, float] | None = None) -> Trial:
    config = load_config(None, SETTINGS)
    found = {"EURUSD/validation/sharpe": 0.5} if metrics is None else metrics
    return Trial.of(config, "phase1", 1_000, found, {"EURUSD": series(seed)})


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path / "new")
    name = ledger.append(trial())
    (row,) = ledger.rows()
    assert row["id"] == name
    assert row["kind"] == "phase1" and row["state"] == "complete"
    assert row["changed"] == {"training.gamma": 0.9, "training.seed": 3}
    assert row["config_hash"] == config_hash(load_config(None, SETTINGS))
    assert (row["seed"], row["timesteps"]) == (3, 1_000)
    assert row["metrics"] == {"EURUSD/validation/sharpe": 0.5}
    found = ledger.returns(row)["EURUSD"]
    assert found.returns.tobytes() == series().returns.tobytes()
    assert found.stamps.tobytes() == series().stamps.tobytes()
    assert found.bars_per_year == 252.0


def test_the_same_trial_counts_once(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    assert ledger.append(trial(0)) == ledger.append(trial(0)) != ledger.append(trial(1))
    assert len(ledger.rows()) == 2
    assert len((tmp_path / ROWS_NAME).read_bytes().splitlines()) == 3  # rows are only ever added


def test_neighbouring_runs_share_a_ledger(tmp_path: Path) -> None:
    ledgers = [TrialLedger.beside(tmp_path / name) for name in ("phase1", "search")]
    assert ledgers[0] == ledgers[1] == TrialLedger(tmp_path / FOLDER_NAME)


def test_metrics_that_are_not_finite_are_none(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(trial(metrics={"a": float("nan"), "b": float("inf"), "c": 1.0}))
    assert ledger.rows()[0]["metrics"] == {"a": None, "b": None, "c": 1.0}


def _write(folder: Path, first: int, count: int) -> None:
    for seed in range(first, first + count):
        TrialLedger(folder).append(trial(seed))


def test_several_processes_may_append(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, 100 * n, 10)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    ledger = TrialLedger(tmp_path)
    rows = ledger.rows()
    assert len(rows) == 30
    found = {float(ledger.returns(row)["EURUSD"].returns[0]) for row in rows}
    assert found == {float(series(100 * n + k).returns[0]) for n in range(3) for k in range(10)}


def test_a_killed_writer_spoils_no_other_row(tmp_path: Path) -> None:
    ledger, file = TrialLedger(tmp_path), tmp_path / ROWS_NAME
    ledger.append(trial(0))
    file.write_bytes(file.read_bytes() + file.read_bytes()[:40])  # a second row, cut short
    ledger.append(trial(1))
    assert [row["id"] for row in ledger.rows()] == [trial(n).row()["id"] for n in (0, 1)]


def test_lost_returns_are_named(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(trial())
    (row,) = ledger.rows()
    file = tmp_path / "returns" / f"{row['id']}.npz"
    for damage in (lambda: file.write_bytes(b"PK"), file.unlink):
        damage()
        with pytest.raises(RunError, match=rf"{row['id']}.*must hold a trial's returns"):
            ledger.returns(row)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file in the folder's place")
    with pytest.raises(RunError, match="must be a writable folder"):
        TrialLedger(tmp_path / "trials").append(trial())


def test_an_identity_tells_every_difference() -> None:
    rows: list[dict[str, Any]] = [
        trial(0).row(),
        trial(1).row(),
        trial(metrics={"EURUSD/validation/sharpe": 0.6}).row(),
        Trial.of(load_config(None), "phase1", 1_000, {}, {"EURUSD": series()}).row(),
        Trial.of(load_config(None), "search", 1_000, {}, {"EURUSD": series()}).row(),
        Trial.of(load_config(None), "phase1", 1_000, {}, {"GBPUSD": series()}).row(),
        Trial.of(load_config(None), "phase1", 1_000, {}, {"EURUSD": series()}, "pruned").row(),
    ]
    assert len({row["id"] for row in rows}) == len(rows)
