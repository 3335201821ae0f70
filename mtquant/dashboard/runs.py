# SPDX-License-Identifier: Apache-2.0
"""Run folders: which there are, what their report cards say, and their training curves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mtquant.core.runs import CARD_NAME, RunFolder
from mtquant.core.telemetry import EVENT_FILES, read_scalars

DEPTH = 4  # folders below the one that was named
Curves = dict[str, dict[str, pd.Series]]
"""Metric -> who (a specialist, or "run") -> its values by step."""


def find_runs(roots: Sequence[Path]) -> dict[str, Path]:
    """Folders with a report card below some roots, the newest first, by what to call them."""
    found = [folder for root in roots for folder in folders(root) if (folder / CARD_NAME).exists()]
    found.sort(key=lambda folder: (folder / CARD_NAME).stat().st_mtime, reverse=True)
    return {str(folder): folder for folder in found}


def folders(root: Path) -> Iterator[Path]:
    """A folder and those below it, at most `DEPTH` deep; those that begin with a dot are passed
    over, and so are those that may not be read.
    """
    for name, below, _ in os.walk(root):
        folder = Path(name)
        yield folder
        deep = len(folder.relative_to(root).parts) >= DEPTH
        below[:] = [] if deep else sorted(own for own in below if not own.startswith("."))


def card_facts(folder: Path) -> dict[str, str]:
    """What a report card says about a run, in words.

    Raises:
        RunError: There is no card, or it is damaged.
    """
    card = RunFolder(folder).card
    git = card.get("git") or {}
    changed = " with changes" if git.get("dirty") else ""
    return {
        "command": " ".join(map(str, card.get("command", []))),
        "started": str(card.get("started", "")),
        "seed": str(card.get("seed", "")),
        "configuration": str(card.get("config_hash", ""))[:12],
        "commit": f"{str(git['commit'])[:12]}{changed}" if git.get("commit") else "",
    }


def stage_metrics(folder: Path) -> pd.DataFrame:
    """Metrics of a run's stages: a row per metric, a column per stage; texts are left out.

    Raises:
        RunError: There is no card, or it is damaged.
    """
    stages: Mapping[str, Any] = RunFolder(folder).card.get("stages", {})
    columns = {
        name: {
            metric: float(value)
            for metric, value in metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name, metrics in stages.items()
        if isinstance(metrics, Mapping)
    }
    return pd.DataFrame(columns, dtype=float)


def log_folder(folder: Path) -> Path:
    """Where a run wrote its event files: where its card says, where `mtquant demo` puts them (a
    folder may have moved, or its path may begin elsewhere), or the run's own folder.

    Raises:
        RunError: There is no card, or it is damaged.
    """
    logs = RunFolder(folder).card.get("logs")
    beside = folder.parent / "logs" / folder.name
    found = (Path(str(own)) for own in (logs, beside) if own)
    return next((own for own in found if own.is_dir()), folder)


def event_folders(logs: Path) -> dict[str, Path]:
    """Folders with event files below a folder, by whose they are."""
    found = [folder for folder in folders(logs) if any(folder.glob(EVENT_FILES))]
    return {str(own.relative_to(logs)) if own != logs else "run": own for own in found}


def curves(logs: Path) -> Curves:
    """Every training curve below a folder."""
    found: Curves = {}
    for whose, folder in event_folders(logs).items():
        for metric, (steps, values) in read_scalars(folder).items():
            found.setdefault(metric, {})[whose] = pd.Series(values, index=steps, dtype=float)
    return found


def fingerprint(logs: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes whenever an event file below a folder does: what a cache of its curves goes by."""
    files = [file for own in event_folders(logs).values() for file in own.glob(EVENT_FILES)]
    stats = [(str(file), file.stat()) for file in sorted(files)]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
