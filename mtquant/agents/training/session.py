# SPDX-License-Identifier: Apache-2.0
"""Exact resume: a phase that was killed goes on from its newest checkpoint, to the byte.

A checkpoint holds weights, moments, environments, generators and the best validations. What it was
made under is noted beside it: another configuration, other bars, predictions or first models are
refused, and so are other versions, threads or devices, whose last bits differ, unless that is
allowed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mtquant.agents.training.job import Best
from mtquant.core.errors import CheckpointError
from mtquant.core.runs import LEAST_FREE_BYTES, check_writable, package_versions
from mtquant.core.states import Arrays
from mtquant.core.telemetry import Telemetry
from mtquant.learning.checkpoints import KEEP, CheckpointStore

FOLDER = "checkpoints"
REMEDY = "Resume with the --config, --set, bars and predictions that it began with."
NUMERICS = ("torch", "numpy", "numba", "mtquant")


class Resumable(Protocol):
    """A training loop."""

    @property
    def steps(self) -> int:
        """Bars lived through."""
        ...

    def state(self) -> Arrays:
        """Everything that goes on."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Goes on from an earlier `state`."""


class Session:
    """The checkpoints of one phase.

    Args:
        output_dir: Of the phase; checkpoints lie below it.
        identity: What a checkpoint must have been made under: configuration, bars, predictions,
            first models.
        device: Where the networks run.
        logger: Who hears of damaged checkpoints and of resuming.
        threads: Of torch.
        workers: Processes that the networks are split over.
        different_numerics: Allow other versions, threads and devices.
    """

    def __init__(
        self,
        output_dir: Path,
        identity: Mapping[str, Any],
        device: str,
        logger: logging.Logger,
        *,
        threads: int,
        workers: int = 1,
        different_numerics: bool = False,
    ) -> None:
        self._store = CheckpointStore(output_dir / FOLDER, logger)
        self._logger, self._lenient = logger, different_numerics
        versions = package_versions()
        self._facts = {
            "identity": dict(identity),
            "numerics": {
                "device": device,
                "torch_threads": threads,
                "workers": workers,
                **{name: versions.get(name) for name in NUMERICS},
            },
        }

    def begin(self, loop: Resumable, best: Mapping[str, Best], *, resume: bool) -> int | None:
        """Puts a loop where the newest checkpoint was written; deletes them all if not to resume.

        Returns:
            The step it goes on from: 0 where there is no checkpoint to resume; None if not to.

        Raises:
            CheckpointError: It was made under something else, or all are damaged.
            RunError: Checkpoints cannot be written, or have no room on the disk.
        """
        self._require_room(loop)
        if not resume:
            self._store.clear()
            return None
        found = self._store.newest()
        if found is None:
            self._logger.info("nothing to resume: the phase begins")
            return 0
        self._require("identity", found.facts, REMEDY)
        if not self._lenient:
            remedy = "Use the same machine set-up, or --allow-different-numerics."
            self._require("numerics", found.facts, remedy)
        loop.load_state(found.arrays)
        for name, own in best.items():
            own.load_state(found.facts["best"][name])
        self._logger.info("resumed at step %d", found.step)
        return found.step

    def save(self, loop: Resumable, best: Mapping[str, Best], boards: Iterable[Telemetry]) -> None:
        """Writes a checkpoint, once the curves up to here are on the disk."""
        for board in boards:
            board.flush()
        facts = {**self._facts, "best": {name: own.state() for name, own in best.items()}}
        self._store.save(loop.steps, loop.state(), facts)

    def _require_room(self, loop: Resumable) -> None:
        """Refuses a disk that checkpoints would fill, before any training."""
        size = sum(array.nbytes for array in loop.state().values())
        # Those that are kept, and the one being written.
        check_writable(self._store.folder, LEAST_FREE_BYTES + (KEEP + 1) * size)

    def _require(self, what: str, facts: Mapping[str, Any], remedy: str) -> None:
        expected, found = self._facts[what], facts.get(what)
        if found != expected:
            names = sorted(set(expected) | set(found or {}))
            differ = [name for name in names if expected.get(name) != (found or {}).get(name)]
            raise CheckpointError(
                f"checkpoint's {', '.join(differ)}",
                f"must be {[expected.get(name) for name in differ]} to be resumed",
                [(found or {}).get(name) for name in differ],
                remedy,
            )


def weights_digest(parameters: torch.Tensor) -> str:
    """sha256 of weights."""
    return hashlib.sha256(np.ascontiguousarray(parameters.cpu().numpy()).tobytes()).hexdigest()
