# SPDX-License-Identifier: Apache-2.0
"""Seed replay: the first updates are trained again from the stored seed, and the weights' digests
have to be those that the run wrote down (``replay.json``). With `full`, the whole run is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mtquant.agents.training.replay import NUMERICS, ReplayRecord
from mtquant.core.errors import MtquantError
from mtquant.core.runs import RunFolder, package_versions
from mtquant.workflows.training import train_phase
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.repeating import Repeat, Repeats

NAME = "seed replay"
REMEDY = (
    "The run cannot be repeated from its seed: something draws from elsewhere, or the code, the "
    "bars or the weights were changed since. Train again and compare once more."
)


def check_seeds(repeats: Repeats, full: bool) -> Record:
    """Trains the first updates again, or all of them.

    Args:
        repeats: Of a subject with a folder.
        full: The whole run, which takes as long as it took; weights and ledgers are compared.
    """
    repeat = repeats.of(NAME)
    if isinstance(repeat, Record):
        return repeat
    try:
        return _whole(repeat) if full else _beginning(repeat)
    except MtquantError as error:
        finding = Finding(error.field, f"training cannot begin again: {error}")
        return Record.of(NAME, [finding], "", REMEDY)


def _beginning(repeat: Repeat) -> Record:
    """The first updates, in a folder that is thrown away."""
    findings, record = [], repeat.record
    for name in record.together:
        again = repeat.again.get(name, [])
        for k, digest in enumerate(record.updates[name]):
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


def _whole(repeat: Repeat) -> Record:
    """The whole run: weights and validation ledgers."""
    subject, record = repeat.subject, repeat.record
    stages = {} if subject.folder is None else RunFolder(subject.folder).card["stages"]
    if not stages:
        why = "the run wrote down no result: it did not end"
        return Record.not_checked(NAME, why, "Resume the training, then verify again.")
    with tempfile.TemporaryDirectory(prefix="mtquant-verify-") as place:
        result = train_phase(
            record.phase,
            subject.config,
            subject.instruments,
            Path(place) / "models",
            Path(place) / "logs",
            source=repeat.source,
            timesteps=record.timesteps,
            device=record.device,
            progress=lambda name, step, _: repeat.watch(f"training {name} again, bar {step:,}"),
        )
        again = RunFolder(result.output_dir).card["stages"]
    findings = []
    for stage, kept in stages.items():
        for what in ("weights_sha256", "ledger_sha256"):
            was, now = kept.get(what, "nothing"), again.get(stage, {}).get(what, "nothing")
            if now != was or was == "nothing":
                text = f"is {now[:12]} and was {was[:12]}"
                findings.append(Finding(f"{what} of {stage}", text))
    looked = f"the whole run of {record.timesteps:,} bars gives the same weights and ledgers"
    return _judged(findings, looked, record)
