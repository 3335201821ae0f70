# SPDX-License-Identifier: Apache-2.0
"""A phase 1 run: report card, log, replays and hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtquant.core.config import config_hash
from mtquant.core.errors import CheckpointError, DataError, RunError
from mtquant.core.runs import CARD_NAME, LOG_NAME
from mtquant.market.ledger import Ledger
from mtquant.workflows.training import PhaseResult, train_phase
from tests.support.markets import INSTRUMENTS, SYMBOLS, TINY_STEPS, tiny_config, write_market


@dataclass(frozen=True)
class Run:
    market: Path
    folder: Path
    result: PhaseResult


def train(market: Path, folder: Path, *overrides: str) -> PhaseResult:
    config = tiny_config(market, *overrides)
    models, logs = folder / "models", folder / "logs"
    return train_phase(
        1, config, INSTRUMENTS, models, logs, timesteps=TINY_STEPS, command=["mtquant", "train"]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    market = write_market(folder / "bars")
    return Run(market, folder, train(market, folder))


def test_the_card_holds_every_stage(run: Run) -> None:
    card = json.loads((run.folder / "models" / CARD_NAME).read_text())
    config = tiny_config(run.market)
    assert card["config_hash"] == config_hash(config)
    assert card["seed"] == config.training.seed
    assert card["command"] == ["mtquant", "train"]
    assert list(card["stages"]) == [f"phase1/{symbol}" for symbol in SYMBOLS]
    for symbol in SYMBOLS:
        stage = card["stages"][f"phase1/{symbol}"]
        ledger = Ledger.load(run.folder / "models" / symbol / "validation_ledger")
        assert stage["ledger_sha256"] == ledger.hash()
        assert stage["weights_sha256"] == run.result.results[symbol]["weights_sha256"]
        assert stage["timesteps"] == TINY_STEPS
        assert ledger.name == f"specialist {symbol}"


def test_the_hashes_are_over_all_specialists(run: Run) -> None:
    weights, ledgers = hashlib.sha256(), hashlib.sha256()
    for symbol in SYMBOLS:
        weights.update(run.result.results[symbol]["weights_sha256"].encode())
        ledger = Ledger.load(run.folder / "models" / symbol / "validation_ledger")
        ledgers.update(ledger.hash().encode())
    assert run.result.weights_hash == weights.hexdigest()
    assert run.result.ledger_hash == ledgers.hexdigest()
    assert run.result.output_dir == run.folder / "models"


def test_the_log_tells_of_every_specialist(run: Run) -> None:
    lines = (run.folder / "logs" / LOG_NAME).read_text().splitlines()
    assert "phase 1 begins: EURUSD, GBPUSD" in lines[0]
    for symbol, line in zip(SYMBOLS, lines[1:3], strict=True):
        assert f"specialist {symbol}: {TINY_STEPS} steps, best at" in line
    assert run.result.weights_hash in lines[3]
    assert run.result.ledger_hash in lines[3]
    assert len(lines) == 4


def test_the_same_seed_gives_the_same_hashes(run: Run, tmp_path: Path) -> None:
    repeated = train(run.market, tmp_path)
    assert repeated.weights_hash == run.result.weights_hash
    assert repeated.ledger_hash == run.result.ledger_hash


def test_a_specialist_does_not_depend_on_its_neighbours(run: Run, tmp_path: Path) -> None:
    alone = train(run.market, tmp_path, "data.instruments=[GBPUSD]")
    own, both = alone.results["GBPUSD"], run.result.results["GBPUSD"]
    # Matrix libraries sum in another order when more networks are stacked: the last bits differ.
    assert own["best_step"] == both["best_step"]
    for name in ("validation/sharpe", "validation/drawdown", "validation/turnover"):
        assert own[name] == pytest.approx(both[name], rel=1e-2)


def test_what_stands_in_the_way_is_said_before_training(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the folder's place")
    with pytest.raises(RunError, match="models must be a writable folder"):
        train(run.market, tmp_path)
    with pytest.raises(DataError, match=r"EURUSD\.parquet: content must be a readable parquet"):
        train(tmp_path / "nowhere", tmp_path / "other")


def test_a_ledger_that_was_changed_is_refused(run: Run, tmp_path: Path) -> None:
    stored = run.folder / "models" / "EURUSD" / "validation_ledger"
    for name in ("ledger.json", "ledger.npz"):
        (tmp_path / name).write_bytes((stored / name).read_bytes())
    header = json.loads((tmp_path / "ledger.json").read_text())
    header["initial_equity"] += 1.0
    (tmp_path / "ledger.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match="must match its sha256"):
        Ledger.load(tmp_path)
