# SPDX-License-Identifier: Apache-2.0
"""`mtquant train` and the training scripts: progress, tables, hashes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.cli.settings import training_settings
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument, load_instruments

if TYPE_CHECKING:
    from mtquant.workflows.training import PhaseResult

LEAST_DRAWDOWN = 0.001  # of a policy that takes risks, over a validation period
TITLES = {
    1: "Phase 1: kept specialists on the validation rows",
    2: "Phase 2: kept hierarchy on the validation rows",
    3: "Phase 3: kept hierarchy on the validation rows",
}


@dataclass(frozen=True)
class Places:
    """Where a phase reads and writes.

    Attributes:
        output_dir, log_dir: Models and TensorBoard files.
        source: Models of the phase before; beside `output_dir` when None.
        overwrite: Replace an earlier run in `output_dir`.
        resume: Go on with it from its newest checkpoint.
        different_numerics: Also where versions, threads or device differ.
    """

    output_dir: Path
    log_dir: Path
    source: Path | None = None
    overwrite: bool = False
    resume: bool = False
    different_numerics: bool = False


def phase(
    number: int,
    places: Places,
    config_path: Path | None,
    timesteps: int | None,
    device: str | None,
    instruments_path: Path | None,
    overrides: Sequence[str],
) -> PhaseResult:
    """Runs a phase as the flags say and prints what came out."""
    config, origin = training_settings(config_path, overrides)
    instruments = load_instruments(instruments_path)
    console = Console()
    say(console, f"configuration {origin}")
    with interruptible(f"checkpoints are in {places.output_dir}; --resume goes on from there"):
        return run_phase(number, places, config, instruments, timesteps, device, console)


def run_phase(
    number: int,
    places: Places,
    config: Config,
    instruments: Mapping[str, Instrument],
    timesteps: int | None,
    device: str | None,
    console: Console,
) -> PhaseResult:
    """One phase with a progress bar per network that trains."""
    from mtquant.workflows.training import train_phase  # slow to import

    steps = timesteps or getattr(config.training, f"phase_{number}_timesteps")
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

        result = train_phase(
            number,
            config,
            instruments,
            places.output_dir,
            places.log_dir,
            source=places.source,
            timesteps=timesteps,
            device=device,
            command=sys.argv,
            progress=advance,
            overwrite=places.overwrite,
            resume=places.resume,
            different_numerics=places.different_numerics,
        )
    console.print(results_table(result))
    for name, metrics in result.results.items():
        if "note" in metrics:
            say(console, f"note          {name}: {metrics['note']}")
    say(console, f"models        {result.output_dir}")
    say(console, f"curves        tensorboard --logdir {places.log_dir}")
    say(console, f"weights hash  {result.weights_hash}")
    say(console, f"ledger hash   {result.ledger_hash}")
    return result


def results_table(result: PhaseResult) -> Table:
    """Validation figures of the kept checkpoints."""
    table = Table(title=TITLES[result.phase], title_justify="left")
    for heading in ("trained", "best step", "Sharpe", "max drawdown", "turnover a bar"):
        table.add_column(heading, justify="left" if heading == "trained" else "right")
    for name, metrics in result.results.items():
        table.add_row(
            name,
            f"{metrics['best_step']:,}",
            f"{metrics['validation/sharpe']:.2f}",
            f"{metrics['validation/drawdown']:.1%}",
            f"{metrics['validation/turnover']:.4f}",
        )
    table.caption = "chosen on these rows, so no evidence: the test period decides (backtest)"
    found = list(result.results.values())
    poor = sum(metrics["validation/sharpe"] <= 0.0 for metrics in found)
    idle = sum(metrics["validation/drawdown"] < LEAST_DRAWDOWN for metrics in found)
    for count, said in (
        (poor, "earned nothing even here"),
        (idle, "hardly trades: a ratio of next to nothing says nothing"),
    ):
        if count:
            who = "it" if len(found) == 1 else f"{count} of {len(found)}"
            table.caption += f"; {who} {said}"
    return table


def evaluate_hierarchy(
    places: Places,
    config_path: Path | None,
    device: str | None,
    instruments_path: Path | None,
    overrides: Sequence[str],
    episodes: int,
) -> None:
    """Prints how the kept hierarchy of phase 3 fares in random episodes of the validation rows."""
    from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer

    config, _ = training_settings(config_path, overrides)
    trainer = Phase3JointTrainer(
        config,
        places.output_dir,
        places.log_dir,
        load_instruments(instruments_path),
        device=device,
        hierarchy_dir=places.source,
    )
    found = trainer.evaluate(episodes)
    error = found["growth_standard_error"]
    say(
        Console(),
        f"{found['episodes']} validation episodes: growth {found['growth']:+.4f} +- {error:.4f}, "
        f"{found['win_rate']:.0%} of them gained, drawdown at the end {found['drawdown']:.1%}",
    )
