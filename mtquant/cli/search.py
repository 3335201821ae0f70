# SPDX-License-Identifier: Apache-2.0
"""`mtquant search`: progress, the table of the best, and where their configuration is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from mtquant.cli.console import interruptible, say
from mtquant.cli.settings import training_settings
from mtquant.data.instruments import load_instruments

if TYPE_CHECKING:
    from mtquant.workflows.search import SearchResult

BEST_SHOWN = 10


def run(
    config_path: Path | None,
    overrides: Sequence[str],
    instruments_path: Path | None,
    output: Path,
    timesteps: int | None,
    device: str | None,
    asked: Mapping[str, Any],
) -> None:
    """Searches as the flags say and prints what came out.

    Args:
        config_path, overrides: What candidates are variations of.
        instruments_path: As everywhere.
        output: The search folder.
        timesteps, device: As for phase 1.
        asked: Fields of `Plan`; ``"dimensions"`` as they were typed.
    """
    config, origin = training_settings(config_path, overrides)
    instruments = load_instruments(instruments_path)
    from mtquant.workflows.search_space import parse_dimension  # slow to import
    from mtquant.workflows.search_study import Plan

    dimensions = tuple(parse_dimension(text) for text in asked["dimensions"])
    plan = Plan(**{**asked, "dimensions": dimensions})
    console = Console()
    say(console, f"configuration {origin}")
    with (
        interruptible(f"what is done is in {output}; the same command goes on"),
        _bar(console) as bar,
    ):
        from mtquant.workflows.search import Watcher, search

        task = bar.add_task("runs", total=None, shown="")

        class Shown(Watcher):
            def running(self, run: int, runs: int, share: float, values: Mapping[str, Any]) -> None:
                _advance(bar, task, run, runs, share, values)

        result = search(
            config,
            instruments,
            plan,
            output,
            timesteps=timesteps,
            device=device,
            watcher=Shown(),
        )
        bar.update(task, completed=1.0, total=1.0, shown="")
    console.print(_table(result))
    say(console, f"best          {result.config_file}")
    say(console, f"trials        {result.trials.path} ({len(result.trials.rows())} in all)")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
        console=console,
    )


def _advance(
    bar: Progress, task: TaskID, run: int, runs: int, share: float, values: Mapping[str, Any]
) -> None:
    description = f"run {run + 1} of {runs}"
    shown = " ".join(f"{key}={_short(value)}" for key, value in values.items())
    bar.update(task, completed=run + share, total=runs, description=description, shown=shown)


def _table(result: SearchResult) -> Table:
    """The best candidates, and how the others ended."""
    metric, keys = result.plan.metric, list(result.best.values)
    title = f"The best of {len(result.candidates)} candidates on the validation rows"
    table = Table(title=title, title_justify="left")
    for heading in ("candidate", metric, *keys):
        table.add_column(heading, justify="right")
    for each in result.ranked[:BEST_SHOWN]:
        shown = [_short(each.values[key]) for key in keys]
        table.add_row(str(each.number), f"{each.value:.4f}", *shown)
    states = [each.state for each in result.candidates]
    table.caption = (
        f"{states.count('pruned')} given up early, {states.count('refused')} refused; "
        "chosen on these rows, so no evidence: the test period decides (backtest)"
    )
    return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
