# SPDX-License-Identifier: Apache-2.0
"""Leaks planted in features, scalers, environments, policies and data, and what `mtquant verify`
makes of them; then the clean catalogue, in which it must find nothing.

    python scripts/benchmarks/leaks.py [--quick] [--seed 0]

Exit code 1 where a planted leak is missed or a clean subject fails a check.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import options, print_result  # first: it sets threads and paths

# isort: split
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mtquant.core.config import load_config
from mtquant.core.protocols import Observation
from mtquant.data.instruments import load_instruments
from mtquant.features.catalog import CATALOG, default_name
from mtquant.workflows.verify import Effort, Record, Subject, verify
from mtquant.workflows.verify.kept_weights import NAME as WEIGHTS
from mtquant.workflows.verify.scaler import NAME as SCALER
from mtquant.workflows.verify.seen_bars import NAME as BARS
from tests.support.leaks.market import Follower, config_of, market, subject_of
from tests.support.leaks.models import (
    Trained,
    trained_in,
    with_another_scaler,
    with_another_unit,
    with_other_weights,
    with_revised_bars,
)
from tests.support.leaks.plants import PLANTS, Plant
from tests.support.markets import INSTRUMENTS

TIMEFRAMES = ("log_return_1", "log_return_1@4h", "volatility_20@4h", "zscore_5@1d")
EXPOSURE = 0.05
CONSOLE = Console()


def main() -> int:
    """The tables, then the RESULT line."""
    asked = options(__doc__ or "")
    effort = Effort(4, 2, asked.seed) if asked.quick else Effort(seed=asked.seed)
    with tempfile.TemporaryDirectory() as place:
        trained = trained_in(Path(place), (1,))
        plants = [*PLANTS, *_in_models(trained)]
        missed = _planted(plants, effort)
        alarms = _clean(trained, effort, asked.quick)
    print_result(
        {"planted": len(plants), "found": len(plants) - len(missed), "false_alarms": len(alarms)}
    )
    return int(bool(missed or alarms))


def _in_models(trained: Trained) -> Iterator[Plant]:
    """Leaks that need a trained folder."""
    root = trained.root
    yield Plant(
        "a scaler that was fitted on all rows",
        "scaler",
        lambda: with_another_scaler(trained, trained.copy(1, root / "scaler")),
        SCALER,
    )
    yield Plant(
        "a unit of the reward of other rows",
        "scaler",
        lambda: with_another_unit(trained, trained.copy(1, root / "unit")),
        SCALER,
    )
    yield Plant(
        "weights that were exchanged since the training",
        "policy",
        lambda: with_other_weights(trained, trained.copy(1, root / "weights")),
        WEIGHTS,
    )
    yield Plant(
        "bars that were revised since the training",
        "data",
        lambda: with_revised_bars(trained, trained.folder(1), root / "revised"),
        BARS,
    )


def _planted(plants: list[Plant], effort: Effort) -> list[str]:
    """Prints what was found of each kind; the kinds that were missed."""
    table = Table(title="planted leaks", title_justify="left")
    for heading in ("kind", "where", "found by", "what, row, size", "also failed"):
        table.add_column(heading, overflow="fold")
    missed = []
    for plant in plants:
        CONSOLE.print(f"verifying: {plant.kind}")
        report = verify(plant.subject(), effort)
        own = next(record for record in report.records if record.name == plant.check)
        if own.verdict != "failed":
            missed.append(plant.kind)
        others = len(report.failed) - (own.verdict == "failed")
        found = plant.check if own.verdict == "failed" else "MISSED"
        table.add_row(plant.kind, plant.where, found, _shown(own), f"{others} checks")
    CONSOLE.print(table)
    return missed


def _shown(record: Record) -> str:
    if not record.findings:
        return "-"
    worst = record.findings[0]
    row = f", row {worst.row}" if worst.row >= 0 else ""
    return f"{worst.what} of {worst.symbol or '-'}{row}, {worst.size:.3g}"


def _clean(trained: Trained, effort: Effort, quick: bool) -> list[str]:
    """Prints what was said of clean subjects; the checks that failed."""
    table = Table(title="clean subjects", title_justify="left")
    for heading in ("subject", "features", "passed", "failed", "not checked"):
        table.add_column(heading, overflow="fold")
    alarms = []
    for name, subject in _subjects(trained, quick):
        CONSOLE.print(f"verifying: {name}")
        report = verify(subject, effort)
        verdicts = [record.verdict for record in report.records]
        alarms += [f"{name}: {check}" for check in report.failed]
        counts = [str(verdicts.count("passed")), ", ".join(report.failed) or "0"]
        features = str(len(subject.policy.feature_names))
        table.add_row(name, features, *counts, str(verdicts.count("not checked")))
    CONSOLE.print(table)
    return alarms


def _subjects(trained: Trained, quick: bool) -> Iterator[tuple[str, Subject]]:
    """Subjects in which there is nothing to find."""
    yield "honest policy, hourly bars", subject_of()
    timeframes = Follower(TIMEFRAMES)
    longer = Subject.of(timeframes, config_of(*TIMEFRAMES), INSTRUMENTS, market())
    yield "longer timeframes, hourly bars", longer
    yield "trained specialists", trained.subject(trained.folder(1))
    if quick:
        return
    alone = tuple(default_name(kind) for kind in CATALOG if CATALOG[kind].needs != "peer")
    yield "all features of one instrument, bundled bars", _on_bundled(alone)
    pairs = (default_name(kind, "SPX500") for kind in CATALOG if CATALOG[kind].needs == "peer")
    yield "features of two instruments, bundled bars", _on_bundled(("log_return_1", *pairs))


def _on_bundled(names: tuple[str, ...]) -> Subject:
    config = load_config(None, [f"features.catalog=[{', '.join(names)}]"])
    return Subject.of(Watcher(names), config, load_instruments(None))


class Watcher(Follower):
    """Observes many features, and holds the same exposure in every instrument."""

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        """A fixed book."""
        return np.full(len(observation.symbols), EXPOSURE), state


if __name__ == "__main__":
    sys.exit(main())
