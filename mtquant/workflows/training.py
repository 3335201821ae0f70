# SPDX-License-Identifier: Apache-2.0
"""A phase 1 run from configuration to checked specialists: train, replay, stamp with hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.agents.specialist import load_specialist
from mtquant.agents.training.phase import Progress
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config
from mtquant.core.runs import RunFolder, training_log
from mtquant.core.trials import Series, State, Trial, TrialLedger
from mtquant.data.instruments import Instrument
from mtquant.market.ledger import Ledger


@dataclass(frozen=True)
class Phase1Result:
    """What a phase 1 run leaves behind.

    Attributes:
        results: For each instrument what `Phase1Trainer.train_specialist` returned.
        weights_hash: sha256 over all specialists' weights.
        ledger_hash: sha256 over their ledgers on the validation rows.
        output_dir: Folder of the specialists and the report card.
    """

    results: Mapping[str, Mapping[str, Any]]
    weights_hash: str
    ledger_hash: str
    output_dir: Path


def train_phase1(
    config: Config,
    instruments: Mapping[str, Instrument],
    output_dir: Path,
    log_dir: Path,
    *,
    timesteps: int | None = None,
    device: str | None = None,
    command: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Phase1Result:
    """Trains every configured specialist and replays it over the validation rows.

    The replay goes through the backtest's driver with the ledger on: its hash and that of the
    weights say whether two runs are the same, byte for byte. What it shows is added to the trial
    ledger beside `output_dir`.
    """
    with training_log(log_dir) as logger:
        # The trainer first: it checks bars, rules, features and device before anything is written.
        trainer = Phase1Trainer(
            config,
            output_dir,
            log_dir,
            instruments,
            timesteps=timesteps,
            device=device,
            logger=logger,
            progress=progress,
        )
        run = RunFolder.create(
            output_dir,
            config=config,
            seed=config.training.seed,
            command=command,
            overwrite=overwrite,
        )
        logger.info("phase 1 begins: %s", ", ".join(trainer.worlds))
        results: dict[str, dict[str, Any]] = trainer.train()
        weights, ledgers = hashlib.sha256(), hashlib.sha256()
        replays = replay_specialists(trainer, trainer.worlds)
        for symbol, ledger in replays.items():
            weights.update(results[symbol]["weights_sha256"].encode())
            ledgers.update(ledger.hash().encode())
            ledger.save(output_dir / symbol / "validation_ledger")
            run.stage(f"phase1/{symbol}", {**results[symbol], "ledger_sha256": ledger.hash()})
        TrialLedger.beside(output_dir).append(phase1_trial(trainer, "phase1", results, replays))
        logger.info("weights %s ledgers %s", weights.hexdigest(), ledgers.hexdigest())
    return Phase1Result(results, weights.hexdigest(), ledgers.hexdigest(), output_dir)


def replay_specialists(trainer: Phase1Trainer, symbols: Iterable[str]) -> dict[str, Ledger]:
    """Trades the validation rows with kept specialists; by symbol the ledger."""
    ledgers = {}
    for symbol in symbols:
        world = trainer.worlds[symbol]
        ledgers[symbol] = run_backtest(
            load_specialist(trainer.output_dir / symbol),
            world.tape,
            world.rules,
            world.features,
            world.rows["validation"],
            world.reward,
        )
    return ledgers


def phase1_trial(
    trainer: Phase1Trainer,
    kind: str,
    results: Mapping[str, Mapping[str, Any]],
    replays: Mapping[str, Ledger],
    state: State = "complete",
) -> Trial:
    """What a phase 1 run showed on the validation rows, for the trial ledger.

    Args:
        trainer: Of the run.
        kind: `Trial.kind`.
        results: Symbol -> validation metrics of the kept checkpoint, among others.
        replays: Symbol -> ledger on the validation rows.
        state: `Trial.state`.
    """
    metrics = {
        f"{symbol}/{name}": float(value)
        for symbol, own in results.items()
        for name, value in own.items()
        if name.startswith("validation/")
    }
    series = {
        symbol: Series(
            ledger.stamps,
            ledger.column("simple_return"),
            trainer.worlds[symbol].tape.bars_per_year,
        )
        for symbol, ledger in replays.items()
    }
    return Trial.of(trainer.config, kind, trainer.timesteps, metrics, series, state)
