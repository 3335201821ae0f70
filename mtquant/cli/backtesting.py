# SPDX-License-Identifier: Apache-2.0
"""`mtquant backtest`: progress, verdict, hashes and where the report is."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from mtquant.cli.training import specialist_progress
from mtquant.core.config import Config, load_config
from mtquant.data.instruments import Instrument, load_instruments
from mtquant.workflows.backtesting import BacktestResult, backtest


def run(
    config_path: Path | None,
    models: Path,
    output: Path,
    part: str,
    instruments_path: Path | None,
    overrides: Sequence[str],
) -> BacktestResult:
    """Runs the backtest as the flags say and prints what came out."""
    config = load_config(config_path, overrides)
    return run_backtest(config, load_instruments(instruments_path), models, output, part, Console())


def run_backtest(
    config: Config,
    instruments: Mapping[str, Instrument],
    models: Path,
    output: Path,
    part: str,
    console: Console,
) -> BacktestResult:
    """The backtest with a progress bar per policy."""
    with specialist_progress(console) as bars:
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
            progress=advance,
        )
    console.print(Markdown(result.markdown))
    for warning in result.warnings:
        console.print(f"[yellow]warning: {warning}[/yellow]")
    difference = result.audit.largest_relative_difference
    console.print(
        f"\naudit         vectorbt replays {result.audit.fills:,} fills over "
        f"{result.audit.bars:,} bars: largest relative difference {difference:.1e}"
    )
    for symbol, digest in result.weights_hashes.items():
        console.print(f"weights hash  {symbol} {digest}")
    console.print(f"ledger hash   {result.ledger_hash}")
    console.print(f"report        {result.report}")
    return result
