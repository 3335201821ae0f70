# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: all that a run needs to go on as if it had never stopped, to the byte.

A checkpoint is a folder ``step_000000016384`` with ``state.safetensors``, all arrays, and
``manifest.json``, the facts, the sha256 of the arrays and one of its own. It is written aside,
synced to the disk and renamed, so that a kill at any moment leaves the earlier ones and nothing
half written. A damaged one is named and passed over for the newest good one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from mtquant.core.errors import CheckpointError
from mtquant.core.states import Arrays

STATE_NAME, MANIFEST_NAME = "state.safetensors", "manifest.json"
PREFIX = "step_"
# One that is not there yet; one that another takes the place of; one that goes.
WRITING, REPLACED, RETIRED = ".writing", ".replaced_", ".retired"
KEEP = 2
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)


@dataclass(frozen=True)
class Checkpoint:
    """One that was read back.

    Attributes:
        path: Its folder.
        step: Bars lived through.
        arrays: By name.
        facts: What was noted beside them.
    """

    path: Path
    step: int
    arrays: Arrays
    facts: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run; one process at a time writes them.

    Args:
        folder: Made when the first one is saved.
        logger: Who hears of damaged ones.
        best_by: Metrics, numbers under ``facts["metrics"]``, whose best checkpoints are kept beside
            the newest KEEP, and whether larger is better.
        keep_best: How many by each of them.
    """

    def __init__(
        self,
        folder: Path,
        logger: logging.Logger | None = None,
        *,
        best_by: Mapping[str, bool] | None = None,
        keep_best: int = 1,
    ) -> None:
        self.folder, self.best_by, self._keep_best = folder, dict(best_by or {}), keep_best
        self._logger = logger or logging.getLogger(__name__)

    def save(self, step: int, arrays: Arrays, facts: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, and deletes what is neither among the newest nor the best.

        Returns:
            Its folder.

        Raises:
            CheckpointError: The disk is full, or the folder cannot be written; the earlier ones
                are still there.
        """
        aside, place = self.folder / WRITING, self.folder / f"{PREFIX}{step:012d}"
        try:
            shutil.rmtree(aside, ignore_errors=True)  # of a writer that was killed
            aside.mkdir(parents=True)
            content = save_arrays(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            )
            manifest = {"step": step, "sha256": _sum(content), "facts": dict(facts)}
            _write(aside / STATE_NAME, content)
            _write(aside / MANIFEST_NAME, sealed(manifest))
            replaced = self.folder / f"{REPLACED}{place.name}"
            if place.exists():  # a run that goes on from before it comes by here again
                place.rename(replaced)
            aside.rename(place)
            _sync(self.folder)
            shutil.rmtree(replaced, ignore_errors=True)
            self._prune()
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            remedy = "Free space or choose another --output-dir; earlier checkpoints are kept."
            raise CheckpointError(
                str(self.folder), "must have room for a checkpoint", str(error), remedy
            ) from error
        return place

    def newest(self) -> Checkpoint | None:
        """The newest that is whole; None where there is none at all.

        Raises:
            CheckpointError: There are some, and all are damaged.
        """
        return self._first(reversed(self.paths()))

    def best(self, metric: str) -> Checkpoint | None:
        """The best by a metric that is whole, the earlier of equals; None where there is none.

        Raises:
            CheckpointError: The best by this metric are not kept, or all are damaged.
        """
        if metric not in self.best_by:
            kept = ", ".join(self.best_by) or "none"
            remedy = "Name it when the first checkpoint is saved."
            rule = f"must be one whose best checkpoints are kept ({kept})"
            raise CheckpointError("metric", rule, metric, remedy)
        ranked, unreadable = self._ranked(metric)
        return self._first([*unreadable, *ranked])

    def read(self, path: Path) -> Checkpoint:
        """One checkpoint.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        try:
            return _read(path)
        except DAMAGE as error:
            remedy = "Choose another one."
            raise CheckpointError(
                str(path), "must be a whole checkpoint", str(error), remedy
            ) from error

    def paths(self) -> list[Path]:
        """The folders of all checkpoints, oldest first."""
        for replaced in self.folder.glob(f"{REPLACED}*"):
            place = self.folder / replaced.name.removeprefix(REPLACED)
            if not place.exists():  # killed before the new one took its place
                replaced.rename(place)
        return sorted(self.folder.glob(f"{PREFIX}*"))

    def clear(self) -> None:
        """Deletes all checkpoints, of this run or of one before."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _first(self, paths: Iterable[Path]) -> Checkpoint | None:
        damaged = []
        for path in paths:
            try:
                return _read(path)
            except DAMAGE as error:
                damaged.append(path.name)
                self._logger.warning("checkpoint %s is damaged and passed over: %s", path, error)
        if damaged:
            remedy = "Start again with --overwrite."
            rule = "must hold a whole checkpoint"
            raise CheckpointError(str(self.folder), rule, damaged, remedy)
        return None

    def _ranked(self, metric: str) -> tuple[list[Path], list[Path]]:
        """Those that have a number for it, best first; and those whose manifest is damaged."""
        sign = -1.0 if self.best_by[metric] else 1.0
        ranked, unreadable = [], []
        for path in self.paths():
            try:
                facts = _read_manifest(path)["facts"]
            except DAMAGE:
                unreadable.append(path)
                continue
            value = sign * facts.get("metrics", {}).get(metric, math.nan)
            if not math.isnan(value):
                ranked.append((value, path))
        return [path for _, path in sorted(ranked)], unreadable

    def _prune(self) -> None:
        paths = self.paths()
        stay = set(paths[-KEEP:])
        for metric in self.best_by:
            stay.update(self._ranked(metric)[0][: self._keep_best])
        for path in paths:
            if path not in stay:
                self._retire(path)

    def _retire(self, path: Path) -> None:
        """Deletes a checkpoint; renamed first, so that none is ever half there."""
        retired = self.folder / RETIRED
        shutil.rmtree(retired, ignore_errors=True)
        path.rename(retired)
        shutil.rmtree(retired, ignore_errors=True)


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written: with a sha256 of its own, so that damage to it shows too."""
    # As it will be read: JSON knows texts alone as keys, and sorts them otherwise than numbers.
    own = json.loads(json.dumps(dict(manifest)))
    own.pop("seal", None)
    return json.dumps({**own, "seal": _seal(own)}, indent=2).encode()


def _read(place: Path) -> Checkpoint:
    manifest = _read_manifest(place)
    content = (place / STATE_NAME).read_bytes()
    if _sum(content) != manifest["sha256"]:
        raise ValueError(f"{STATE_NAME} is not what the manifest's sha256 says")
    return Checkpoint(place, manifest["step"], load_arrays(content), manifest["facts"])


def _read_manifest(place: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((place / MANIFEST_NAME).read_text(encoding="utf-8"))
    if manifest.pop("seal") != _seal(manifest):
        raise ValueError(f"{MANIFEST_NAME} is not what its own sha256 says")
    return manifest


def _seal(manifest: Mapping[str, Any]) -> str:
    return _sum(json.dumps(manifest, sort_keys=True).encode())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
