# SPDX-License-Identifier: Apache-2.0
"""`mtquant train phase1` and `scripts/run_phase1_training.py`: progress, table, hashes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.cli.settings import training_settings
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument, load_instruments

if TYPE_CHECKING:
    from mtquant.workflows.training import Phase1Result


def phase1(
    config_path: Path | None,
    timesteps: int | None,
    output_dir: Path,
    log_dir: Path,
    device: str | None,
    instruments_path: Path | None,
    overrides: Sequence[str],
    overwrite: bool,
) -> Phase1Result:
    """Runs phase 1 as the flags say and prints what came out."""
    config, origin = training_settings(config_path, overrides)
    instruments = load_instruments(instruments_path)
    console = Console()
    say(console, f"configuration {origin}")
    with interruptible(f"checkpoints kept so far are in {output_dir}"):
        return run_phase1(
            config, instruments, output_dir, log_dir, timesteps, device, console, overwrite
        )


def run_phase1(
    config: Config,
    instruments: Mapping[str, Instrument],
    output_dir: Path,
    log_dir: Path,
    timesteps: int | None,
    device: str | None,
    console: Console,
    overwrite: bool,
) -> Phase1Result:
    """Phase 1 with a progress bar per specialist."""
    from mtquant.workflows.training import train_phase1  # slow to import

    steps = timesteps or config.training.phase_1_timesteps
    with progress_bars(console) as bars:
        tasks: dict[str, Any] = {}
        started: dict[str, float] = {}

        def advance(name: str, step: int, metrics: Mapping[str, float]) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=steps, rate="")
                started[name] = time.monotonic()
            elapsed = max(time.monotonic() - started[name], 1e-9)
            rate = f"{step / elapsed:,.0f} steps/s" if elapsed > 0.5 else ""
            bars.update(tasks[name], completed=min(step, steps), rate=rate)

        result = train_phase1(
            config,
            instruments,
            output_dir,
            log_dir,
            timesteps=timesteps,
            device=device,
            command=sys.argv,
            progress=advance,
            overwrite=overwrite,
        )
    console.print(results_table(result))
    say(console, f"specialists   {result.output_dir}")
    say(console, f"curves        tensorboard --logdir {log_dir}")
    say(console, f"weights hash  {result.weights_hash}")
    say(console, f"ledger hash   {result.ledger_hash}")
    return result


def results_table(result: Phase1Result) -> Table:
    """Validation figures of the kept checkpoints."""
    table = Table(title="Phase 1: kept checkpoints on the validation rows", title_justify="left")
    for heading in ("specialist", "best step", "Sharpe", "max drawdown", "turnover a bar"):
        table.add_column(heading, justify="left" if heading == "specialist" else "right")
    for symbol, metrics in result.results.items():
        table.add_row(
            symbol,
            f"{metrics['best_step']:,}",
            f"{metrics['validation/sharpe']:.2f}",
            f"{metrics['validation/drawdown']:.1%}",
            f"{metrics['validation/turnover']:.4f}",
        )
    table.caption = "chosen on these rows, so no evidence: the test period decides (backtest)"
    return table
