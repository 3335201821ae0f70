# SPDX-License-Identifier: Apache-2.0
"""`mtquant demo`: what `make demo` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mtquant.cli.backtesting import run_backtest
from mtquant.cli.console import interruptible, say
from mtquant.cli.pipeline import Pipeline
from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments

SETTINGS = ("training.preset=recommended",)
SCENARIO_SEEDS = 2  # of every made-up market: the least that shows a range
TIMESTEPS = {1: 300_000, 2: 150_000, 3: 200_000}  # enough to see it learn


def run(output: Path, timesteps: int | None, overrides: Sequence[str]) -> None:
    """Trains all phases on the bundled bars with the recommended settings and reports on the test
    years.

    Args:
        output: Receives everything.
        timesteps: Bars of every phase; `TIMESTEPS` when None.
        overrides: ``section.key=value`` texts.
    """
    console = Console()
    config = load_config(None, [*SETTINGS, *overrides])
    instruments = load_instruments(None)
    steps = TIMESTEPS if timesteps is None else dict.fromkeys(TIMESTEPS, timesteps)
    say(console, f"configuration built-in defaults and --set {' '.join([*SETTINGS, *overrides])}")
    from mtquant.workflows.ahead import compiled_ahead, marker  # slow to import

    with interruptible(f"what was kept so far is in {output}"):
        pipeline = Pipeline(config, instruments, output, output / "logs", steps, None)
        if (done := marker()) is not None and not done.exists():
            say(
                console,
                "compiling kernels, once for this version of the source: one to two minutes",
            )
        with compiled_ahead(config, instruments):
            pipeline.train(console, overwrite=True)
        console.rule("out of sample: the hierarchy")
        models = output / "phase3"
        out = output / "backtest"
        run_backtest(config, instruments, models, out, "test", console, SCENARIO_SEEDS)
