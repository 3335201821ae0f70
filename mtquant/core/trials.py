# SPDX-License-Identifier: Apache-2.0
"""The trial ledger: every configuration that was ever looked at on the validation rows.

    trials = TrialLedger.beside(Path("models/checkpoints/phase1"))
    trials.append(Trial.of(config, "phase1", metrics, series))
    returns = trials.returns(trials.rows()[0])

The best of many trials looks good by luck alone. How much, the deflated Sharpe ratio tells (Bailey
and Lopez de Prado 2014, "The Deflated Sharpe Ratio", eq. 2): it needs how many trials there were,
and how much their returns go together (the effective number of trials), so both are kept here.

A ledger is a folder:

    trials.jsonl        one row per trial; rows are only ever added
    returns/<id>.npz    its returns on the validation rows

Several processes may append at a time. The returns are written before the row that names them, so a
killed run leaves at most a file that no row names. A trial is identified by what it was and what
came out: one that is run again, as a resumed search may do, counts once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import Config, changed_keys, config_hash
from mtquant.core.errors import RunError
from mtquant.core.records import append_row, read_rows, write_atomically
from mtquant.core.runs import check_writable

FOLDER_NAME = "trials"
ROWS_NAME = "trials.jsonl"
RETURNS_NAME = "returns"
ID_LETTERS = 32  # 128 bits of a sha256
State = Literal["complete", "pruned"]


@dataclass(frozen=True)
class Series:
    """What one policy earned on its validation rows.

    Attributes:
        stamps: int64 [T], UTC close stamps of the bars, nanoseconds.
        returns: float64 [T], simple returns per bar, net of all costs.
        bars_per_year: Bars in a year.
    """

    stamps: NDArray[np.int64]
    returns: NDArray[np.float64]
    bars_per_year: float


@dataclass(frozen=True)
class Trial:
    """One configuration, trained from one seed, on the validation rows.

    Attributes:
        kind: What was trained: ``"phase1"``, ``"search/phase1"``, ...
        config_hash: sha256 of the configuration.
        changed: Its keys that differ from the defaults, and their values.
        seed: Root of the seed tree.
        timesteps: Bars lived through in training.
        metrics: Name -> value; by policy where there are several (``"EURUSD/validation/sharpe"``).
        series: Policy -> what it earned.
        state: ``"pruned"`` if it was given up before its end.
    """

    kind: str
    config_hash: str
    changed: Mapping[str, Any]
    seed: int
    timesteps: int
    metrics: Mapping[str, float]
    series: Mapping[str, Series] = field(repr=False)
    state: State = "complete"

    @classmethod
    def of(
        cls,
        config: Config,
        kind: str,
        timesteps: int,
        metrics: Mapping[str, float],
        series: Mapping[str, Series],
        state: State = "complete",
    ) -> Self:
        """The trial of a configuration."""
        seed, changed = config.training.seed, changed_keys(config)
        hashed = config_hash(config)
        return cls(kind, hashed, changed, seed, timesteps, metrics, series, state)

    def row(self) -> dict[str, Any]:
        """What its line says, but for the time; metrics that are not finite are None."""
        facts = {
            "kind": self.kind,
            "state": self.state,
            "config_hash": self.config_hash,
            "changed": dict(self.changed),
            "seed": self.seed,
            "timesteps": self.timesteps,
            "metrics": {
                name: float(value) if np.isfinite(value) else None
                for name, value in self.metrics.items()
            },
            "bars_per_year": {name: own.bars_per_year for name, own in self.series.items()},
        }
        return {"id": self._identity(facts), **facts}

    def _identity(self, facts: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name, own in sorted(self.series.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(own.stamps).tobytes())
            digest.update(np.ascontiguousarray(own.returns).tobytes())
        return digest.hexdigest()[:ID_LETTERS]


@dataclass(frozen=True)
class TrialLedger:
    """A folder of trials.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def beside(cls, output_dir: Path) -> Self:
        """The ledger that runs with neighbouring output folders share: what is chosen among them
        is chosen among all their trials.
        """
        return cls(output_dir.parent / FOLDER_NAME)

    def append(self, trial: Trial) -> str:
        """Adds a trial and returns its id.

        Raises:
            RunError: The folder cannot be written.
        """
        row = trial.row()
        folder = self.path / RETURNS_NAME
        check_writable(folder)
        arrays: dict[str, Any] = {}
        for name, own in trial.series.items():
            arrays[f"{name}/stamps"], arrays[f"{name}/returns"] = own.stamps, own.returns
        write_atomically(folder / f"{row['id']}.npz", lambda path: np.savez(path, **arrays))
        when = datetime.now(UTC).isoformat(timespec="seconds")
        append_row(self.path / ROWS_NAME, {**row, "time": when})
        return str(row["id"])

    def rows(self) -> list[dict[str, Any]]:
        """All trials, each once, in the order of their first append."""
        rows: dict[str, dict[str, Any]] = {}
        for row in read_rows(self.path / ROWS_NAME):
            rows.setdefault(str(row.get("id")), row)
        return list(rows.values())

    def returns(self, row: Mapping[str, Any]) -> dict[str, Series]:
        """What the policies of one of `rows` earned.

        Raises:
            RunError: Its file is missing or damaged.
        """
        file = self.path / RETURNS_NAME / f"{row['id']}.npz"
        try:
            with np.load(file, allow_pickle=False) as held:
                return {
                    name: Series(held[f"{name}/stamps"], held[f"{name}/returns"], float(per_year))
                    for name, per_year in row["bars_per_year"].items()
                }
        except (OSError, ValueError, KeyError, EOFError) as error:
            remedy = "Restore it from a backup; without it, that trial cannot be counted."
            raise RunError(str(file), "must hold a trial's returns", str(error), remedy) from error
