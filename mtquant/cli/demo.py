# SPDX-License-Identifier: Apache-2.0
"""`mtquant demo`: what `make demo` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mtquant.cli.backtesting import run_backtest
from mtquant.cli.console import interruptible, say
from mtquant.cli.training import run_phase1
from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments

SETTINGS = ("training.preset=recommended",)
TIMESTEPS = 300_000  # per specialist: enough to see it learn, short enough to wait for


def run(output: Path, timesteps: int | None, overrides: Sequence[str]) -> None:
    """Trains on the bundled bars with the recommended settings and reports on the test years."""
    console = Console()
    config = load_config(None, [*SETTINGS, *overrides])
    instruments = load_instruments(None)
    models, logs = output / "phase1", output / "logs" / "phase1"
    steps = timesteps or TIMESTEPS
    say(console, f"configuration built-in defaults and --set {' '.join([*SETTINGS, *overrides])}")
    with interruptible(f"checkpoints kept so far are in {models}"):
        console.rule("phase 1: one specialist per instrument, on real daily bars")
        run_phase1(config, instruments, models, logs, steps, None, console, overwrite=True)
        console.rule("out of sample: the specialists as one portfolio")
        run_backtest(config, instruments, models, output / "backtest", "test", console)
