# SPDX-License-Identifier: Apache-2.0
"""A phase of training from configuration to checked models: train, replay, stamp with hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.agents.hierarchy import load_hierarchy
from mtquant.agents.specialist import load_specialist
from mtquant.agents.training.hierarchical import HierarchicalTrainer
from mtquant.agents.training.phase import PhaseTrainer, Progress
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.agents.training.portfolio import PortfolioWorld
from mtquant.agents.training.session import FOLDER
from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config
from mtquant.core.runs import RunFolder, training_log
from mtquant.core.trials import Series, State, Trial, TrialLedger
from mtquant.data.instruments import Instrument
from mtquant.learning.checkpoints import CheckpointStore
from mtquant.market.ledger import Ledger

TRAINERS: Mapping[int, type[PhaseTrainer]] = {
    1: Phase1Trainer,
    2: Phase2Trainer,
    3: Phase3JointTrainer,
}
SOURCES = {2: "specialists_dir", 3: "hierarchy_dir"}
HIERARCHY = "hierarchy"


@dataclass(frozen=True)
class PhaseResult:
    """What a phase leaves behind.

    Attributes:
        phase: 1, 2 or 3.
        results: For each specialist, or for the hierarchy, what training returned.
        weights_hash: sha256 over all kept weights.
        ledger_hash: sha256 over the ledgers on the validation rows.
        output_dir: Folder of the models and the report card.
    """

    phase: int
    results: Mapping[str, Mapping[str, Any]]
    weights_hash: str
    ledger_hash: str
    output_dir: Path


def train_phase(
    phase: int,
    config: Config,
    instruments: Mapping[str, Instrument],
    output_dir: Path,
    log_dir: Path,
    *,
    source: Path | None = None,
    timesteps: int | None = None,
    device: str | None = None,
    command: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    different_numerics: bool = False,
    progress: Progress | None = None,
) -> PhaseResult:
    """Trains one phase and replays what it kept over the validation rows.

    The replay goes through the backtest's driver with the ledger on: its hash and that of the
    weights say whether two runs are the same, byte for byte. What it shows is added to the trial
    ledger beside `output_dir`.

    Args:
        phase: 1, 2 or 3.
        config, instruments, output_dir, log_dir, timesteps, device, progress: As `PhaseTrainer`.
        source: Folder of the phase before; beside `output_dir` when None.
        command: What was typed, for the card.
        overwrite: Replace an earlier run in `output_dir`.
        resume: Go on with the run in `output_dir` from its newest checkpoint.
        different_numerics: Also where versions, threads or device differ.
    """
    options: dict[str, Any] = {} if phase == 1 else {SOURCES[phase]: source}
    with training_log(log_dir) as logger:
        # The trainer first: it checks bars, rules, models and device before anything is written.
        trainer = TRAINERS[phase](
            config,
            output_dir,
            log_dir,
            instruments,
            timesteps=timesteps,
            device=device,
            logger=logger,
            progress=progress,
            resume=resume,
            different_numerics=different_numerics,
            **options,
        )
        run = RunFolder.create(
            output_dir,
            config=config,
            seed=config.training.seed,
            command=command,
            overwrite=overwrite or resume,
            logs=log_dir,
        )
        logger.info("phase %d begins: %s", phase, ", ".join(trainer.bars))
        results = _train(trainer)
        weights, ledgers = hashlib.sha256(), hashlib.sha256()
        replays = replay(trainer, results)
        for name, ledger in replays.items():
            found = results[name]
            ledger.save(output_dir / ("" if name == HIERARCHY else name) / "validation_ledger")
            weights.update(found["weights_sha256"].encode())
            ledgers.update(ledger.hash().encode())
            run.stage(f"phase{phase}/{name}", {**found, "ledger_sha256": ledger.hash()})
        TrialLedger.beside(output_dir).append(trial_of(trainer, f"phase{phase}", results, replays))
        CheckpointStore(output_dir / FOLDER, logger).clear()  # all is kept: nothing to resume
        logger.info("weights %s ledgers %s", weights.hexdigest(), ledgers.hexdigest())
    return PhaseResult(phase, results, weights.hexdigest(), ledgers.hexdigest(), output_dir)


def _train(trainer: PhaseTrainer) -> dict[str, dict[str, Any]]:
    """What was trained -> what training returned."""
    if isinstance(trainer, Phase1Trainer):
        return trainer.train()
    if isinstance(trainer, Phase2Trainer | Phase3JointTrainer):
        return {HIERARCHY: trainer.train()}
    raise TypeError(f"no phase is trained by {type(trainer).__name__}")


def replay(trainer: PhaseTrainer, names: Iterable[str]) -> dict[str, Ledger]:
    """What was kept under these names, traded over the validation rows."""
    ledgers = {}
    for name in names:
        world = _world(trainer, name)
        ledgers[name] = run_backtest(
            load_specialist(trainer.output_dir / name)
            if isinstance(world, SpecialistWorld)
            else load_hierarchy(trainer.output_dir, world.rules, trainer.device),
            world.tape,
            world.rules,
            world.features,
            world.rows["validation"],
            world.reward,
        )
    return ledgers


def _world(trainer: PhaseTrainer, name: str) -> SpecialistWorld | PortfolioWorld:
    """What was trained under this name."""
    if isinstance(trainer, Phase1Trainer):
        return trainer.worlds[name]
    if isinstance(trainer, HierarchicalTrainer):
        return trainer.world
    raise TypeError(f"no phase is trained by {type(trainer).__name__}")


def trial_of(
    trainer: PhaseTrainer,
    kind: str,
    results: Mapping[str, Mapping[str, Any]],
    replays: Mapping[str, Ledger],
    state: State = "complete",
) -> Trial:
    """What a run showed on the validation rows, for the trial ledger.

    Args:
        trainer: Of the run.
        kind: `Trial.kind`.
        results: Name -> validation metrics of what was kept, among others.
        replays: Name -> its ledger on the validation rows.
        state: `Trial.state`.
    """
    metrics = {
        f"{name}/{metric}": float(value)
        for name, own in results.items()
        for metric, value in own.items()
        if metric.startswith("validation/")
    }
    series = {
        name: Series(
            ledger.stamps, ledger.column("simple_return"), _world(trainer, name).tape.bars_per_year
        )
        for name, ledger in replays.items()
    }
    return Trial.of(trainer.config, kind, trainer.timesteps, metrics, series, state)
