# SPDX-License-Identifier: Apache-2.0
"""Run folders: where a run writes, its report card and its log.

    run = RunFolder.create(Path("models/phase1"), config=config, seed=7, command=sys.argv)
    with training_log(Path("logs/phase1")) as log:
        log.info("specialist EURUSD: %d steps", 500_000)
    run.stage("phase1/EURUSD", {"validation/sharpe": 0.4})

The report card (after nanochat's `report.py`) says what is needed to know a result again: the
configuration and its hash, the seed, the state of the source, the versions, the machine, and the
metrics of each stage as they come.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from mtquant.core.config import Config, config_hash, trained_under
from mtquant.core.errors import RunError
from mtquant.core.records import write_atomically

CARD_NAME = "card.json"
LOG_NAME = "training.log"
LEAST_FREE_BYTES = 200 * 1024 * 1024
SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = (
    "mtquant",
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "gymnasium",
    "vectorbt",
    "torchjd",
    "pydantic",
)


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds what one run produces, and its report card.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        config: Config,
        seed: int,
        command: Sequence[str] = (),
        overwrite: bool = False,
        logs: Path | None = None,
    ) -> RunFolder:
        """Makes the folder, checks that a run can be written there, and starts a new report card.

        Args:
            path: The folder; one that exists keeps its other files.
            config: The run's configuration, written out whole.
            seed: Root of the run's seed tree.
            command: What was typed.
            overwrite: Replace the report card of an earlier run instead of refusing.
            logs: Folder of the run's event files, for reports; None if it writes none.

        Raises:
            RunError: The folder holds an earlier run and `overwrite` is off, before anything is
                written; it cannot be made or written, or its disk has less than 200 MB left.
        """
        card_file = path / CARD_NAME
        if card_file.exists() and not overwrite:
            raise RunError(
                str(path),
                "must not hold an earlier run",
                str(card_file),
                "Choose another --output-dir, or pass --overwrite.",
            )
        check_writable(path)
        card = {
            "command": list(command),
            "started": _utc_now(),
            "seed": seed,
            "config_hash": config_hash(config),
            "trained_under": trained_under(config),
            "config": config.model_dump(mode="json"),
            "git": git_state(),
            "versions": package_versions(),
            "machine": machine(),
            "stages": {},
        }
        if logs is not None:
            card["logs"] = str(logs)
        run = cls(path)
        run._write(card)
        return run

    @property
    def card(self) -> dict[str, Any]:
        """The report card as it stands on disk.

        Raises:
            RunError: The card is missing or damaged.
        """
        file = self.path / CARD_NAME
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            remedy = "Start the run again."
            raise RunError(str(file), "must hold a report card", str(error), remedy) from error
        return content

    def stage(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Adds a stage's metrics to the card, in one step; a stage of that name is replaced.

        Numbers may be NumPy's; those that are not finite are written as text, since JSON has none.
        """
        card = self.card
        card["stages"][name] = metrics
        self._write(card)

    def _write(self, card: Mapping[str, Any]) -> None:
        text = json.dumps(plain(card), indent=2, allow_nan=False) + "\n"
        write_atomically(
            self.path / CARD_NAME, lambda file: file.write_text(text, encoding="utf-8")
        )


def check_writable(folder: Path, needed_bytes: int = LEAST_FREE_BYTES) -> None:
    """Makes a folder and proves, before any work, that a run can be written there.

    Args:
        folder: The folder.
        needed_bytes: What its disk must have left; 200 MB for a run whose size nobody knows.

    Raises:
        RunError: It cannot be made or written, or its disk has less left.
    """
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"mtquant")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = "Choose another folder or mend its permissions."
        raise RunError(str(folder), "must be a writable folder", str(error), remedy) from error
    if free < needed_bytes:
        rule = f"must have {math.ceil(needed_bytes / 2**20)} MB of free disk"
        remedy = "Free some disk space or choose another folder."
        raise RunError(str(folder), rule, f"{free // 2**20} MB", remedy)


@contextlib.contextmanager
def training_log(folder: Path) -> Iterator[logging.Logger]:
    """A logger that appends to ``training.log`` in `folder` (``logs/phase1``), with UTC stamps.

    Opened twice at a time, it writes each line once; the file is closed when the outermost user
    leaves.

    Raises:
        RunError: The folder cannot be written.
    """
    check_writable(folder)
    file = (folder / LOG_NAME).resolve()
    # Named by a digest, since a dot in a folder's name would make one log the parent of another.
    logger = logging.getLogger(f"mtquant.run.{hashlib.sha256(str(file).encode()).hexdigest()}")
    if logger.handlers:
        yield logger
        return
    handler = logging.FileHandler(file, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(formatter)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        handler.close()


def git_state() -> dict[str, Any] | None:
    """Commit and whether files differ from it, or None outside the repository."""
    top = _git("rev-parse", "--show-toplevel")
    # An installed copy may lie inside somebody else's repository.
    if top is None or Path(top) != SOURCE:
        return None
    changes = _git("status", "--porcelain")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": changes is None or changes != ""}


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def machine() -> dict[str, Any]:
    """Python, system, processors and memory (GiB; None where the system does not tell)."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        memory = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_gib": None if memory is None else round(memory, 1),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the source tree, None if there is no git or it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(SOURCE), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def plain(value: Any) -> Any:
    """The same value in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, without importing NumPy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
