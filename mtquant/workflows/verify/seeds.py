# SPDX-License-Identifier: Apache-2.0
"""Seed replay: the first updates are trained again from the stored seed, and the weights' digests
have to be those that the run wrote down (``replay.json``). With `full`, the whole run is.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.agents.training.replay import NUMERICS, UPDATES, ReplayRecord, read_record
from mtquant.core.config import config_hash
from mtquant.core.errors import CheckpointError, MtquantError
from mtquant.core.runs import CARD_NAME, package_versions
from mtquant.workflows.training import SOURCES, train_phase
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "seed replay"
REMEDY = (
    "The run cannot be repeated from its seed: something draws from elsewhere, or the code, the "
    "bars or the weights were changed since. Train again and compare once more."
)
Trainer = Phase1Trainer | Phase2Trainer | Phase3JointTrainer
Watch = Callable[[str], None]


class _Enough(Exception):
    """Ends a training whose first updates are known."""


def check_seeds(subject: Subject, full: bool, watch: Watch) -> Record:
    """Trains the first updates again, or all of them.

    Args:
        subject: With a folder.
        full: The whole run, which takes as long as it took; weights and ledgers are compared.
        watch: Told how far it is.
    """
    if subject.trained is None or subject.folder is None:
        return Record.not_checked(NAME, "a policy without a folder was not trained by mtquant")
    try:
        record = read_record(subject.folder)
        source = _source(subject.folder, record)
    except CheckpointError as error:
        return Record.not_checked(NAME, str(error), error.remedy)
    why = _differently(subject)
    if why:
        return Record.not_checked(NAME, why, "Use the configuration of the training.")
    try:
        with tempfile.TemporaryDirectory(prefix="mtquant-verify-") as place:
            if full:
                return _whole(subject, record, source, Path(place), watch)
            return _beginning(subject, record, source, Path(place), watch)
    except MtquantError as error:
        finding = Finding(error.field, f"training cannot begin again: {error}")
        return Record.of(NAME, [finding], "", REMEDY)


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


def _differently(subject: Subject) -> str:
    """Why nothing can be compared; empty where it can."""
    hashes = {own.config_hash for own in _manifests(subject)}
    if hashes and hashes != {config_hash(subject.config)}:
        return "the configuration is not the one of the training"
    return ""


def _manifests(subject: Subject) -> Sequence[Any]:
    specialists = getattr(subject.policy, "specialists", None)
    if specialists is None:
        return [subject.policy.manifest] if hasattr(subject.policy, "manifest") else []
    return [own.manifest for own in specialists.values()]


def _beginning(
    subject: Subject, record: ReplayRecord, source: Path | None, place: Path, watch: Watch
) -> Record:
    """The first updates, in a folder that is thrown away."""
    found = _train(subject, record, source, place, watch)
    findings = []
    for name in record.together:
        kept, again = record.updates.get(name, []), found.get(name, [])
        if not kept:
            why = f"the training of {name} wrote down no update"
            return Record.not_checked(NAME, why, "Train again, for at least one update.")
        for k, digest in enumerate(kept):
            now = again[k] if k < len(again) else "nothing"
            if now != digest:
                text = f"weights are {now[:12]} and were {digest[:12]}"
                findings.append(Finding(f"update {k + 1} of {name}", text, size=float(k + 1)))
                break
    looked = (
        f"weights of {', '.join(record.together)} after the first "
        f"{min(len(record.updates[name]) for name in record.together)} updates are those that the "
        "run wrote down"
    )
    return _judged(findings, looked, record)


def _judged(findings: list[Finding], looked: str, record: ReplayRecord) -> Record:
    """Failed only where versions are the same: others round in another way."""
    versions = package_versions()
    other = [name for name in NUMERICS if versions.get(name) != record.numerics.get(name)]
    if findings and other:
        was = ", ".join(f"{name} {record.numerics.get(name)}" for name in other)
        why = f"{findings[0]}, but it was trained with {was}: other versions round in another way"
        return Record.not_checked(NAME, why, "Install those versions and verify again.")
    return Record.of(NAME, findings, looked, REMEDY)


def _train(
    subject: Subject, record: ReplayRecord, source: Path | None, place: Path, watch: Watch
) -> Mapping[str, list[str]]:
    """Name -> digests of the first updates, trained again."""
    if subject.config.training.engine != "sb3":
        return _train_together(subject, record, source, place, watch, record.together)
    # The engines of stable-baselines3 train one specialist after the other.
    found: dict[str, list[str]] = {}
    for name in record.together:
        found |= _train_together(subject, record, source, place / name, watch, (name,))
    return found


def _train_together(
    subject: Subject,
    record: ReplayRecord,
    source: Path | None,
    place: Path,
    watch: Watch,
    names: tuple[str, ...],
) -> dict[str, list[str]]:
    """The same of those that are trained side by side."""
    models = place / "models"

    def progress(name: str, step: int, metrics: Mapping[str, float]) -> None:
        del metrics
        watch(f"training {name} again, bar {step:,}")
        done = read_record(models).updates
        wanted = {own: min(UPDATES, len(record.updates.get(own, ()))) for own in names}
        if all(len(done.get(own, ())) >= wanted[own] for own in names):
            raise _Enough

    trainer = _trainer(subject, record, source, models, place / "logs", progress)
    with contextlib.suppress(_Enough):
        if isinstance(trainer, Phase1Trainer) and len(names) == 1:
            trainer.train_specialist(names[0])
        else:
            trainer.train()
    updates = read_record(models).updates
    return {name: updates.get(name, []) for name in names}


def _trainer(
    subject: Subject,
    record: ReplayRecord,
    source: Path | None,
    models: Path,
    logs: Path,
    progress: Callable[[str, int, Mapping[str, float]], None],
) -> Trainer:
    arguments = (subject.config, models, logs, subject.instruments)
    options: dict[str, Any] = {
        "timesteps": record.timesteps,
        "device": record.device,
        "progress": progress,
    }
    if record.phase == 1:
        return Phase1Trainer(*arguments, **options)
    options[SOURCES[record.phase]] = source
    if record.phase == 2:
        return Phase2Trainer(*arguments, **options)
    return Phase3JointTrainer(*arguments, **options)


def _whole(
    subject: Subject, record: ReplayRecord, source: Path | None, place: Path, watch: Watch
) -> Record:
    """The whole run: weights and validation ledgers."""
    folder = subject.folder or place
    stages = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))["stages"]
    if not stages:
        why = "the run wrote down no result: it did not end"
        return Record.not_checked(NAME, why, "Resume the training, then verify again.")
    result = train_phase(
        record.phase,
        subject.config,
        subject.instruments,
        place / "models",
        place / "logs",
        source=source,
        timesteps=record.timesteps,
        device=record.device,
        progress=lambda name, step, _: watch(f"training {name} again, bar {step:,}"),
    )
    again = json.loads((result.output_dir / CARD_NAME).read_text(encoding="utf-8"))["stages"]
    findings = []
    for stage, kept in stages.items():
        for what in ("weights_sha256", "ledger_sha256"):
            was, now = kept.get(what, "nothing"), again.get(stage, {}).get(what, "nothing")
            if now != was or was == "nothing":
                text = f"is {now[:12]} and was {was[:12]}"
                findings.append(Finding(f"{what} of {stage}", text))
    loaded = set() if subject.trained is None else set(subject.trained.weights.values())
    for stage, kept in stages.items():
        if kept.get("weights_sha256") not in loaded:
            text = "are not the loaded ones: somebody changed one of them"
            findings.append(Finding(f"weights of {stage}", text))
    looked = f"the whole run of {record.timesteps:,} bars gives the same weights and ledgers"
    return _judged(findings, looked, record)
