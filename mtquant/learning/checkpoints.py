# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: all that a run needs to go on as if it had never stopped, to the byte.

A checkpoint is a folder ``step_000000016384`` with ``state.safetensors``, all arrays, and
``manifest.json``, the facts and the sha256 of the arrays. It is written aside, synced to the disk
and renamed, so that a kill at any moment leaves the earlier ones and nothing half written. A
damaged one is named and passed over for the newest good one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
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
PREFIX, ASIDE = "step_", ".writing_"
KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """One that was read back.

    Attributes:
        step: Bars lived through.
        arrays: By name.
        facts: What was noted beside them.
    """

    step: int
    arrays: Arrays
    facts: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: Made when the first one is saved.
        logger: Who hears of damaged ones.
    """

    def __init__(self, folder: Path, logger: logging.Logger | None = None) -> None:
        self.folder = folder
        self._logger = logger or logging.getLogger(__name__)

    def save(self, step: int, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Writes a checkpoint and deletes all but the newest KEEP.

        Raises:
            CheckpointError: The disk is full, or the folder cannot be written; the earlier ones
                are still there.
        """
        aside = self.folder / f"{ASIDE}{os.getpid()}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            content = save_arrays(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            )
            digest = hashlib.sha256(content).hexdigest()
            manifest = {"step": step, "sha256": digest, "facts": dict(facts)}
            _write(aside / STATE_NAME, content)
            _write(aside / MANIFEST_NAME, json.dumps(manifest, indent=2).encode())
            place = self.folder / f"{PREFIX}{step:012d}"
            if place.exists():  # a run that goes on from before it comes by here again
                shutil.rmtree(place)
            aside.rename(place)
            _sync(self.folder)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            remedy = "Free space or choose another --output-dir; earlier checkpoints are kept."
            raise CheckpointError(
                str(self.folder), "must have room for a checkpoint", str(error), remedy
            ) from error
        for old in self._places()[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The newest that is whole; None where there is none at all.

        Raises:
            CheckpointError: There are some, and all are damaged.
        """
        places = self._places()
        for place in reversed(places):
            try:
                return _read(place)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                self._logger.warning("checkpoint %s is damaged and passed over: %s", place, error)
        if places:
            names = [place.name for place in places]
            remedy = "Start again with --overwrite."
            raise CheckpointError(str(self.folder), "must hold a whole checkpoint", names, remedy)
        return None

    def clear(self) -> None:
        """Deletes all checkpoints, of this run or of one before."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _places(self) -> list[Path]:
        return sorted(self.folder.glob(f"{PREFIX}*"))


def _read(place: Path) -> Checkpoint:
    manifest = json.loads((place / MANIFEST_NAME).read_text(encoding="utf-8"))
    content = (place / STATE_NAME).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ValueError(f"{STATE_NAME} is not what the manifest's sha256 says")
    return Checkpoint(manifest["step"], load_arrays(content), manifest["facts"])


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
