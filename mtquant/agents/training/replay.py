# SPDX-License-Identifier: Apache-2.0
"""What a run writes down so that somebody can repeat its beginning: ``replay.json``.

It lies beside the models and holds the digests of the bars, block by block, and of the weights
after the first updates. `mtquant verify` trains these updates again from the stored seed and
compares; where bars were revised since, it can say in which rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.agents.stack import Weights
from mtquant.core.errors import CheckpointError
from mtquant.core.records import write_atomically
from mtquant.core.runs import package_versions
from mtquant.data.bars import Bars

FILE_NAME = "replay.json"
UPDATES = 2  # the first says that the beginning is the same, the second that learning is
BLOCK_ROWS = 256
NUMERICS = ("torch", "numpy", "numba", "stable-baselines3", "mtquant")


@dataclass
class ReplayRecord:
    """What was written down.

    Attributes:
        phase: 1, 2 or 3.
        timesteps: Bars to live through that were asked for; learning rates depend on them.
        device: Where the networks ran.
        together: Names of the networks that were trained side by side.
        source: Folder of the phase before; None in phase 1.
        numerics: Package -> version.
        bars: Symbol -> sha256 of every block of `BLOCK_ROWS` bars it was trained and chosen on.
        updates: Name -> sha256 of the weights after each of the first updates.
    """

    phase: int
    timesteps: int
    device: str
    together: tuple[str, ...]
    source: str | None
    numerics: Mapping[str, str | None]
    bars: Mapping[str, list[str]]
    updates: dict[str, list[str]] = field(default_factory=dict)


class Recorder:
    """Writes the record of a run as it begins.

    Args:
        folder: Of the phase.
        record: Without updates.
        begun: Step that the run goes on from; None or 0 for a new one, which replaces the record.
    """

    def __init__(self, folder: Path, record: ReplayRecord, begun: int | None = None) -> None:
        self._folder, self.record = folder, record
        # A run that goes on keeps what its beginning wrote, and its later updates are not the
        # first ones.
        self._open = not begun
        if self._open:
            self._write()

    @property
    def wants(self) -> bool:
        """Whether another update is to be written down."""
        names, updates = self.record.together, self.record.updates
        return self._open and any(len(updates.get(name, ())) < UPDATES for name in names)

    def add(self, digests: Mapping[str, str]) -> None:
        """Writes down the weights after an update, name -> sha256; beyond `UPDATES` nothing."""
        if not self.wants:
            return
        for name, digest in digests.items():
            own = self.record.updates.setdefault(name, [])
            if len(own) < UPDATES:
                own.append(digest)
        self._write()

    def _write(self) -> None:
        text = json.dumps(asdict(self.record), indent=2) + "\n"
        write_atomically(self._folder / FILE_NAME, lambda path: path.write_text(text))


def replay_record(
    phase: int,
    timesteps: int,
    device: str,
    together: tuple[str, ...],
    bars: Mapping[str, Bars],
    until_ns: int,
    source: Path | None = None,
) -> ReplayRecord:
    """A record without updates; see `ReplayRecord`. `until_ns` ends the rows it was chosen on."""
    versions = package_versions()
    return ReplayRecord(
        phase,
        timesteps,
        device,
        together,
        None if source is None else str(source),
        {name: versions.get(name) for name in NUMERICS},
        {symbol: block_digests(own, until_ns) for symbol, own in bars.items()},
    )


def read_record(folder: Path) -> ReplayRecord:
    """The record of a folder.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    try:
        stored: dict[str, Any] = json.loads((folder / FILE_NAME).read_text())
        stored["together"] = tuple(stored["together"])
        return ReplayRecord(**stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        rule = "must hold what its training wrote down"
        remedy = "Train again: models of earlier versions have no such record."
        raise CheckpointError(str(folder / FILE_NAME), rule, str(error), remedy) from error


def block_digests(bars: Bars, until_ns: int) -> list[str]:
    """sha256 of every whole block of `BLOCK_ROWS` bars that closed before `until_ns`, and of the
    rest.
    """
    rows = int(np.searchsorted(bars.stamps, until_ns))
    columns = (bars.stamps, bars.open, bars.high, bars.low, bars.close, bars.volume)
    found = []
    for start in range(0, rows, BLOCK_ROWS):
        digest = hashlib.sha256()
        for column in columns:
            digest.update(column[start : min(start + BLOCK_ROWS, rows)].tobytes())
        found.append(digest.hexdigest())
    return found


def tensors_digest(weights: Weights) -> str:
    """sha256 of weights by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
