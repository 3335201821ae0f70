# SPDX-License-Identifier: Apache-2.0
"""A phase 1 run from configuration to checked specialists: train, replay, stamp with hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.agents.specialist import load_specialist
from mtquant.agents.training.phase import Progress
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config
from mtquant.core.runs import RunFolder, training_log
from mtquant.data.instruments import Instrument


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
    weights say whether two runs are the same, byte for byte.
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
        for symbol, world in trainer.worlds.items():
            ledger_hash = _replay(output_dir / symbol, world)
            weights.update(results[symbol]["weights_sha256"].encode())
            ledgers.update(ledger_hash.encode())
            run.stage(f"phase1/{symbol}", {**results[symbol], "ledger_sha256": ledger_hash})
        logger.info("weights %s ledgers %s", weights.hexdigest(), ledgers.hexdigest())
    return Phase1Result(results, weights.hexdigest(), ledgers.hexdigest(), output_dir)


def _replay(folder: Path, world: SpecialistWorld) -> str:
    """Trades the validation rows with the kept specialist; saves the ledger, returns its hash."""
    specialist = load_specialist(folder)
    ledger = run_backtest(
        specialist,
        world.tape,
        world.rules,
        world.features,
        world.rows["validation"],
        world.reward,
    )
    ledger.save(folder / "validation_ledger")
    return ledger.hash()
