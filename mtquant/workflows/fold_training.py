# SPDX-License-Identifier: Apache-2.0
"""One fold from one seed: all phases trained in a row, committed as a whole.

A unit that ended holds ``done.json``, written last; it is never trained again. One that was killed
goes on where it was: phases that ended are passed over, the one that did not resumes from its
newest checkpoint, to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtquant.core.config import Config, config_hash, derived_config
from mtquant.core.errors import CheckpointError, RunError
from mtquant.core.records import write_atomically
from mtquant.data.bars import Bars
from mtquant.data.folds import Fold
from mtquant.data.instruments import Instrument
from mtquant.workflows.models import Trained, load_trained
from mtquant.workflows.phases import phase_ended
from mtquant.workflows.training import train_phase

DONE_NAME = "done.json"


class Watcher:
    """Whoever follows a walk-forward; every method may be left as it is."""

    def unit(self, name: str, number: int, total: int, ended: bool) -> None:
        """A fold of a seed begins, or was trained before (`ended`)."""

    def phase(self, phase: int, timesteps: int) -> None:
        """A phase of it begins."""

    def step(self, name: str, steps: int, metrics: Mapping[str, float]) -> None:
        """A network has lived through so many bars of the phase."""

    def measuring(self, what: str) -> None:
        """What is being worked out after the training."""


@dataclass(frozen=True)
class Unit:
    """A fold and a seed.

    Attributes:
        fold: The split.
        seed: Root of the seed tree.
        config: With both written into it.
        folder: Receives models, curves and ``done.json``.
        last_phase: Phases 1 to this one are trained.
        timesteps: Of every phase; the config's when None.
    """

    fold: Fold
    seed: int
    config: Config
    folder: Path
    last_phase: int
    timesteps: int | None = None

    @classmethod
    def of(
        cls, base: Config, fold: Fold, seed: int, root: Path, last_phase: int, steps: int | None
    ) -> Unit:
        """A unit below `root`."""
        periods = fold.periods().model_dump_json()
        config = derived_config(base, [f"training.seed={seed}", f"data.periods={periods}"])
        folder = root / f"seed-{seed}" / f"fold-{fold.number:02d}"
        return cls(fold, seed, config, folder, last_phase, steps)

    @property
    def name(self) -> str:
        """For progress."""
        return f"seed {self.seed}, fold {self.fold.number}"

    def models(self, phase: int) -> Path:
        """Folder of a phase's models."""
        return self.folder / f"phase{phase}"

    def ended(self) -> bool:
        """Whether it was committed.

        Raises:
            RunError: Under another configuration.
        """
        if not (self.folder / DONE_NAME).exists():
            return False
        found = self._done()["config_hash"]
        if found != config_hash(self.config):
            rule = "must have been trained under this configuration"
            raise RunError(str(self.folder), rule, found, "Choose another --output-dir.")
        return True

    def committed(self) -> dict[str, dict[str, str]]:
        """Phase -> network -> sha256 of the weights that the unit was committed with.

        Raises:
            RunError: It cannot be read.
        """
        found: dict[str, dict[str, str]] = self._done()["weights"]
        return found

    def _done(self) -> dict[str, Any]:
        file = self.folder / DONE_NAME
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return {name: found[name] for name in ("config_hash", "weights")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Delete it: the fold is then checked and committed again."
            raise RunError(str(file), "must say how the fold ended", str(error), remedy) from error


@dataclass(frozen=True)
class FoldTrainer:
    """Trains units.

    Attributes:
        instruments: Configured instruments.
        device: The config's when None.
        command: What was typed, for the cards.
        watcher: Who follows.
    """

    instruments: Mapping[str, Instrument]
    device: str | None = None
    command: Sequence[str] = ()
    watcher: Watcher = field(default_factory=Watcher)

    def train(self, unit: Unit) -> None:
        """Trains what of a unit is not trained yet, and commits it."""
        hashes: dict[str, Any] = {}
        for phase in range(1, unit.last_phase + 1):
            if not phase_ended(unit.models(phase), phase, unit.config):
                self._train(unit, phase)
            hashes[f"phase{phase}"] = dict(self.load(unit, phase).weights)
        facts = {"config_hash": config_hash(unit.config), "weights": hashes}
        text = json.dumps(facts, indent=2) + "\n"
        write_atomically(
            unit.folder / DONE_NAME, lambda path: path.write_text(text, encoding="utf-8")
        )

    def load(self, unit: Unit, phase: int) -> Trained:
        """What a unit trained in a phase."""
        return load_trained(unit.models(phase), unit.config, self.instruments)

    def _train(self, unit: Unit, phase: int) -> None:
        steps = unit.timesteps or getattr(unit.config.training, f"phase_{phase}_timesteps")
        self.watcher.phase(phase, steps)
        train_phase(
            phase,
            unit.config,
            self.instruments,
            unit.models(phase),
            unit.folder / "logs" / f"phase{phase}",
            timesteps=steps,
            device=self.device,
            command=self.command,
            resume=True,  # from nothing where there is nothing
            progress=self.watcher.step,
        )


def check_policy(trained: Trained, unit: Unit, phase: int, bars: Sequence[Bars]) -> None:
    """Refuses a policy that is not the one that was committed, or was trained on other bars or
    under other rules, or knows the bars that it is to be tested on.

    Raises:
        CheckpointError: Which of them.
    """
    committed = unit.committed().get(f"phase{phase}")
    if dict(trained.weights) != committed:
        raise CheckpointError(
            f"weights of {unit.models(phase)}",
            "must be those that the fold was committed with",
            dict(trained.weights),
            "Put them back, or delete the fold's folder and train it again.",
        )
    if trained.warnings:
        raise CheckpointError(
            str(unit.models(phase)),
            "must have been trained under the rules and features it is tested under",
            "; ".join(trained.warnings),
            "Give the instruments that the run began with, or another --output-dir.",
        )
    for own in bars:
        trained.check_bars(own, unit.models(phase))
        begin = min(test.start_ns for test in unit.fold.tests)
        known = (*unit.fold.train, unit.fold.validation)
        later = all(part.end_ns <= begin for part in known)
        if later and trained.known_until_ns[own.symbol] > begin:
            raise CheckpointError(
                f"test of {unit.name}",
                f"must lie behind the bars that {own.symbol} was trained and chosen on",
                trained.known_until_ns[own.symbol],
                "Delete the fold's folder and train it again.",
            )
