# SPDX-License-Identifier: Apache-2.0
"""Training the first updates again: from the stored seed, on the bars of the run or on others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.agents.training.replay import UPDATES, ReplayRecord, read_record
from mtquant.core.config import Config, config_hash, derived_config
from mtquant.core.errors import CheckpointError
from mtquant.data.bars import Bars
from mtquant.data.files import write_parquet
from mtquant.data.sources import session_of
from mtquant.workflows.training import SOURCES
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Subject

Trainer = Phase1Trainer | Phase2Trainer | Phase3JointTrainer
Watch = Callable[[str], None]
Digests = Mapping[str, list[str]]
"""Name -> sha256 of the weights after each of the first updates."""


class _Enough(Exception):
    """Ends a training whose first updates are known."""


@dataclass(frozen=True)
class Repeat:
    """A run whose beginning can be trained again.

    Attributes:
        subject: What the run left.
        record: What it wrote down.
        source: Folder of the phase before; None in phase 1.
        watch: Told how far it is.
    """

    subject: Subject
    record: ReplayRecord
    source: Path | None
    watch: Watch

    @cached_property
    def again(self) -> Digests:
        """The first updates on the bars of the run."""
        return self._train(self.subject.config)

    def on(self, bars: Sequence[Bars]) -> Digests:
        """The first updates where all files hold other bars, so that a trainer which opens them
        itself finds these too.
        """
        with TemporaryDirectory(prefix="mtquant-verify-") as place:
            config, instruments = self.subject.config, self.subject.instruments
            for own in bars:
                session = session_of(own.symbol, config.data, instruments)
                write_parquet(own, Path(place) / f"{own.symbol}.parquet", session)
            changes = ["data.source=parquet", f"data.folder={place}", "data.files={}"]
            return self._train(derived_config(config, [*changes, "data.stamped=close"]))

    def _train(self, config: Config) -> Digests:
        names = self.record.together
        # The engines of stable-baselines3 train one specialist after the other.
        alone = config.training.engine == "sb3"
        found: dict[str, list[str]] = {}
        with TemporaryDirectory(prefix="mtquant-verify-") as place:
            for own in [(name,) for name in names] if alone else [names]:
                found |= self._train_together(config, Path(place) / own[0], own)
        return found

    def _train_together(
        self, config: Config, place: Path, names: tuple[str, ...]
    ) -> dict[str, list[str]]:
        """The digests of those that are trained side by side."""
        models = place / "models"

        def progress(name: str, step: int, metrics: Mapping[str, float]) -> None:
            del metrics
            self.watch(f"training {name} again, bar {step:,}")
            done = read_record(models).updates
            wanted = {own: min(UPDATES, len(self.record.updates.get(own, ()))) for own in names}
            if all(len(done.get(own, ())) >= wanted[own] for own in names):
                raise _Enough

        trainer = self._trainer(config, models, place / "logs", progress)
        with contextlib.suppress(_Enough):
            if isinstance(trainer, Phase1Trainer) and len(names) == 1:
                trainer.train_specialist(names[0])
            else:
                trainer.train()
        updates = read_record(models).updates
        return {name: updates.get(name, []) for name in names}

    def _trainer(
        self,
        config: Config,
        models: Path,
        logs: Path,
        progress: Callable[[str, int, Mapping[str, float]], None],
    ) -> Trainer:
        arguments = (config, models, logs, self.subject.instruments)
        options: dict[str, Any] = {
            "timesteps": self.record.timesteps,
            "device": self.record.device,
            "progress": progress,
        }
        if self.record.phase == 1:
            return Phase1Trainer(*arguments, **options)
        options[SOURCES[self.record.phase]] = self.source
        if self.record.phase == 2:
            return Phase2Trainer(*arguments, **options)
        return Phase3JointTrainer(*arguments, **options)


class Repeats:
    """The one `Repeat` of a subject, for all checks that ask for it.

    Args:
        subject: What is verified.
        watch: Told how far a training is.
    """

    def __init__(self, subject: Subject, watch: Watch) -> None:
        self._subject, self._watch = subject, watch
        self._found: Repeat | None = None

    def of(self, name: str) -> Repeat | Record:
        """The repeat, or the record of the check `name` that says why there is none."""
        subject = self._subject
        if self._found is not None:
            return self._found
        if subject.trained is None or subject.folder is None:
            why = "a policy without a folder was not trained by mtquant"
            return Record.not_checked(name, why)
        try:
            record = read_record(subject.folder)
            source = _source(subject.folder, record)
        except CheckpointError as error:
            return Record.not_checked(name, str(error), error.remedy)
        hashes = {own.config_hash for own in _manifests(subject)}
        if hashes and hashes != {config_hash(subject.config)}:
            why = "the configuration is not the one of the training"
            return Record.not_checked(name, why, "Use the configuration of the training.")
        for own in record.together:
            if not record.updates.get(own):
                why = f"the training of {own} wrote down no update"
                return Record.not_checked(name, why, "Train again, for at least one update.")
        self._found = Repeat(subject, record, source, self._watch)
        return self._found


def _source(folder: Path, record: ReplayRecord) -> Path | None:
    """Folder of the phase before: where it was, or beside this one.

    Raises:
        CheckpointError: It is in neither place.
    """
    if record.source is None:
        return None
    places = (Path(record.source), folder.parent / f"phase{record.phase - 1}")
    for place in places:
        if place.is_dir():
            return place
    rule = f"must be there to train phase {record.phase} again"
    raise CheckpointError(record.source, rule, "no folder", "Put it beside the model's folder.")


def _manifests(subject: Subject) -> Sequence[Any]:
    specialists = getattr(subject.policy, "specialists", None)
    if specialists is None:
        return [subject.policy.manifest] if hasattr(subject.policy, "manifest") else []
    return [own.manifest for own in specialists.values()]
