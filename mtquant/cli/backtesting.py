# SPDX-License-Identifier: Apache-2.0
"""`mtquant backtest`: progress, verdict, hashes and where the report is."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.cli.options import SCENARIO_SEEDS
from mtquant.cli.settings import backtest_settings
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument, load_instruments

if TYPE_CHECKING:
    from mtquant.workflows.backtest_report import BacktestResult


def run(
    config_path: Path | None,
    models: Path,
    output: Path,
    part: str,
    instruments_path: Path | None,
    overrides: Sequence[str],
    scenario_seeds: int = SCENARIO_SEEDS,
) -> BacktestResult:
    """Runs the backtest as the flags say and prints what came out."""
    config, origin = backtest_settings(config_path, models, overrides)
    instruments = load_instruments(instruments_path)
    console = Console()
    say(console, f"configuration {origin}")
    with interruptible("the report was not written"):
        return run_backtest(config, instruments, models, output, part, console, scenario_seeds)


def run_backtest(
    config: Config,
    instruments: Mapping[str, Instrument],
    models: Path,
    output: Path,
    part: str,
    console: Console,
    scenario_seeds: int = SCENARIO_SEEDS,
) -> BacktestResult:
    """The backtest with a progress bar per policy."""
    from mtquant.workflows.backtest_report import backtest  # slow to import

    with progress_bars(console) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, rate="")
            if done % 50 == 0 or done == total:
                bars.update(tasks[name], completed=done)

        result = backtest(
            config,
            instruments,
            models,
            output,
            part=part,
            command=sys.argv,
            scenario_seeds=scenario_seeds,
            progress=advance,
        )
    console.print(Markdown(result.markdown))
    for warning in result.warnings:
        say(console, f"warning: {warning}", style="yellow")
    difference = result.audit.largest_relative_difference
    say(
        console,
        f"\naudit         vectorbt replays {result.audit.fills:,} fills over "
        f"{result.audit.bars:,} bars: largest relative difference {difference:.1e}",
    )
    for symbol, digest in result.weights_hashes.items():
        say(console, f"weights hash  {symbol} {digest}")
    say(console, f"ledger hash   {result.ledger_hash}")
    say(console, f"report        {result.report}")
    return result
