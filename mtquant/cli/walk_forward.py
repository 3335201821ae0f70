# SPDX-License-Identifier: Apache-2.0
"""`mtquant evaluate`: walk-forward with progress, the verdict, tables, and where the files are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.progress import Progress

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.cli.evaluating import table_of
from mtquant.cli.settings import flag_overrides, training_settings
from mtquant.core.errors import ConfigError
from mtquant.data.instruments import load_instruments

if TYPE_CHECKING:
    from mtquant.data.folds import Scheme
    from mtquant.workflows.fold_training import Watcher
    from mtquant.workflows.walk_forward import WalkForwardResult


@dataclass(frozen=True)
class Asked:
    """What the flags say.

    Attributes:
        scheme, folds, test_groups, first_test_frac, timesteps: As `Walk`.
        seeds: How many; they count up from `training.seed`.
        phases: As typed, ``"1,2,3"``.
        source, folder, timeframe: Written over `data.source`, `data.folder` and `data.bar`.
    """

    scheme: str
    folds: int
    test_groups: int
    first_test_frac: float
    seeds: int
    phases: str
    timesteps: int | None
    source: str | None
    folder: Path | None
    timeframe: str | None


def run(
    config_path: Path | None,
    overrides: Sequence[str],
    instruments_path: Path | None,
    output: Path,
    device: str | None,
    asked: Asked,
) -> WalkForwardResult:
    """Runs the evaluation as the flags say and prints what came out."""
    flags = {
        "data.source": asked.source,
        "data.folder": None if asked.folder is None else str(asked.folder),
        "data.bar": asked.timeframe,
    }
    config, origin = training_settings(config_path, [*flag_overrides(flags), *overrides])
    phases = _phases(asked.phases)
    instruments = load_instruments(instruments_path)
    console = Console()
    say(console, f"configuration {origin}")
    from mtquant.workflows.walk_forward import Walk, walk_forward  # slow to import

    walk = Walk(
        cast("Scheme", asked.scheme),
        asked.folds,
        asked.test_groups,
        asked.first_test_frac,
        tuple(config.training.seed + k for k in range(asked.seeds)),
        phases,
        asked.timesteps,
    )
    kept = f"what is trained so far is in {output}; the same command goes on from there"
    with interruptible(kept), progress_bars(console) as bars:
        result = walk_forward(
            config,
            instruments,
            walk,
            output,
            device=device,
            command=sys.argv,
            watcher=_watcher(bars, console),
        )
    _show(result, console)
    return result


def _phases(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        remedy = "Example: --phases 1,2,3."
        raise ConfigError("phases", "must be numbers with commas", text, remedy) from error


def _watcher(bars: Progress, console: Console) -> Watcher:
    """Bars for the units and for what trains in the one at hand."""
    from mtquant.workflows.fold_training import Watcher

    class Bars(Watcher):
        def __init__(self) -> None:
            self.units = bars.add_task("folds x seeds", total=None, rate="")
            self.tasks: dict[str, Any] = {}
            self.steps, self.current = 0, ""

        def unit(self, name: str, number: int, total: int, ended: bool) -> None:
            bars.update(self.units, completed=number - 1, total=total)
            self.current = name
            if ended:
                say(console, f"trained before: {name}")
                bars.update(self.units, completed=number)

        def phase(self, phase: int, timesteps: int) -> None:
            self._clear()
            self.steps = timesteps
            say(console, f"{self.current}: phase {phase}")

        def step(self, name: str, steps: int, metrics: Mapping[str, float]) -> None:
            if name not in self.tasks:
                self.tasks[name] = bars.add_task(name, total=self.steps, rate="")
            bars.update(self.tasks[name], completed=min(steps, self.steps))

        def measuring(self, what: str) -> None:
            self._clear()
            total = bars.tasks[self.units].total
            bars.update(self.units, completed=total, description=f"measuring: {what}")

        def _clear(self) -> None:
            for task in self.tasks.values():
                bars.remove_task(task)
            self.tasks.clear()

    return Bars()


def _show(result: WalkForwardResult, console: Console) -> None:
    from mtquant.evaluation.walk_forward_page import opening, sections_of
    from mtquant.workflows.cost_sensitivity import cost_section

    for line in opening(result.found, result.findings):
        say(console, line)
    for section in [*sections_of(result.found, result.findings), cost_section(result.costs)]:
        console.print(table_of(section))
    say(console, f"written       {result.text}")
    say(console, f"              {result.json}")
    say(console, f"report        {result.report}")
