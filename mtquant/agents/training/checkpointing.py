# SPDX-License-Identifier: Apache-2.0
"""Model checkpoints: versions of models with what they showed on the validation rows.

    system = ModelCheckpointingSystem(Path("models/candidates"))
    system.save_checkpoint({"EURUSD": network}, {"portfolio_sharpe": 0.8}, step=16_384)
    network.load_state_dict(system.get_best_model().models["EURUSD"])

The phases keep their own best model, and resume from checkpoints that hold much more than weights
(`session.py`); both are written by the same store.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from mtquant.core.errors import CheckpointError
from mtquant.core.states import Arrays, below, part
from mtquant.learning.checkpoints import Checkpoint, CheckpointStore

Weights = Mapping[str, torch.Tensor]
Value = TypeVar("Value")
SHARPE = "validation/sharpe"
SAME = {"portfolio_sharpe": SHARPE}  # what spec 003 calls it


@dataclass(frozen=True)
class ModelCheckpoint:
    """Models as they were at one step.

    Attributes:
        path: Folder of the checkpoint.
        step: Training step.
        models: Name -> weights by name, for `load_state_dict`.
        metrics: What they showed.
    """

    path: Path
    step: int
    models: dict[str, dict[str, torch.Tensor]]
    metrics: dict[str, float]


class ModelCheckpointingSystem:
    """Saves models, gives them back, and knows which were best.

    Kept are the newest two and the best `keep_best` by each metric of `best_by`.

    Args:
        folder: Made when the first one is saved.
        best_by: Metrics, and whether larger is better. ``portfolio_sharpe`` is another name of
            ``validation/sharpe``. Measure them on validation rows, never on the test.
        keep_best: How many of the best are kept, by each metric.
        logger: Who hears of damaged checkpoints, which are passed over.
    """

    def __init__(
        self,
        folder: Path,
        best_by: Mapping[str, bool] | None = None,
        keep_best: int = 3,
        logger: logging.Logger | None = None,
    ) -> None:
        named = _named({SHARPE: True} if best_by is None else best_by)
        self._store = CheckpointStore(Path(folder), logger, best_by=named, keep_best=keep_best)

    def save_checkpoint(
        self,
        models: Mapping[str, torch.nn.Module | Weights],
        metrics: Mapping[str, float],
        step: int,
    ) -> Path:
        """Writes models aside and renames them into place, so that a kill leaves nothing half
        written.

        Args:
            models: Name, without a slash, -> a module, or its weights by name.
            metrics: What they showed on the validation rows; those of `best_by` must be there.
            step: Training step; a checkpoint of the same step is replaced.

        Returns:
            Folder of the checkpoint.

        Raises:
            CheckpointError: A metric is missing, a name holds a slash, or the disk is full.
        """
        named = _named({name: float(value) for name, value in metrics.items()})
        missing = [name for name in self._store.best_by if name not in named]
        if missing:
            remedy = "Give it, or leave it out of best_by."
            rule = f"must hold {', '.join(missing)}"
            raise CheckpointError("metrics", rule, sorted(metrics), remedy)
        arrays: Arrays = {}
        for name, model in models.items():
            if "/" in name:
                raise CheckpointError("models", "must have names without /", name, "Rename it.")
            weights = model.state_dict() if isinstance(model, torch.nn.Module) else model
            arrays |= below(
                name, {key: held.detach().cpu().numpy() for key, held in weights.items()}
            )
        return self._store.save(step, arrays, {"metrics": named, "models": list(models)})

    def load_checkpoint(self, checkpoint_path: Path | str) -> ModelCheckpoint:
        """A checkpoint by its folder.

        Raises:
            CheckpointError: It is missing, damaged, or none of models.
        """
        return _models_of(self._store.read(Path(checkpoint_path)))

    def get_best_model(self, metric: str = "portfolio_sharpe") -> ModelCheckpoint:
        """The best by a metric, the earlier of equals; a damaged one is named and passed over.

        Raises:
            CheckpointError: The best by this metric are not kept, none was saved, or all are
                damaged.
        """
        found = self._store.best(SAME.get(metric, metric))
        if found is None:
            where = str(self._store.folder)
            raise CheckpointError(where, "must hold a checkpoint", "none", "Save one first.")
        return _models_of(found)


def _named(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Metrics under the names of `docs/metrics.md`."""
    return {SAME.get(name, name): value for name, value in metrics.items()}


def _models_of(found: Checkpoint) -> ModelCheckpoint:
    names = found.facts.get("models")
    if not isinstance(names, list):
        remedy = "Choose one that ModelCheckpointingSystem has saved."
        raise CheckpointError(str(found.path), "must be one of models", sorted(found.facts), remedy)
    models = {
        name: {key: torch.from_numpy(held) for key, held in part(name, found.arrays).items()}
        for name in names
    }
    return ModelCheckpoint(found.path, found.step, models, found.facts["metrics"])
