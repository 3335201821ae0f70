# SPDX-License-Identifier: Apache-2.0
"""`mtquant`: the commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.cli.data_commands import data_app
from mtquant.cli.options import (
    CHECKPOINTS,
    ConfigOption,
    DeviceOption,
    InstrumentsOption,
    SetOption,
    TimestepsOption,
)
from mtquant.cli.paper_commands import paper_app
from mtquant.cli.train_commands import train_app
from mtquant.core.errors import MtquantError

app = typer.Typer(
    name="mtquant",
    help="Train trading agents on real bars and see, audited, what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.add_typer(paper_app, name="paper")


@app.command()
def search(
    params: Annotated[
        list[str],
        typer.Option(
            "--param", help="training.gamma=[0.9,0.99], or KEY=log:1e-4:1e-2. Repeatable."
        ),
    ],
    method: Annotated[
        Literal["grid", "random", "tpe"], typer.Option("--method", help="tpe is Optuna's.")
    ] = "random",
    candidates: Annotated[
        int | None, typer.Option("--candidates", min=1, help="Left out, a whole grid.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs per candidate.")] = 1,
    metric: Annotated[
        Literal["sharpe", "win_rate", "drawdown", "turnover"],
        typer.Option("--metric", help="Mean over specialists and seeds, on the validation rows."),
    ] = "sharpe",
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Give up runs that lag behind.")
    ] = True,
    config: ConfigOption = None,
    timesteps: TimestepsOption = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS / "search",
    device: DeviceOption = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Search for phase 1 settings on the validation rows; run it again to go on."""
    from mtquant.cli.search import run

    asked = {
        "method": method,
        "dimensions": params,
        "candidates": candidates,
        "seeds": seeds,
        "metric": metric,
        "prune": prune,
    }
    run(config, overrides or [], instruments, output_dir, timesteps, device, asked)


@app.command()
def backtest(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML file; left out, what the models were trained under."),
    ] = None,
    models: Annotated[Path, typer.Option("--models", help="Folder of a phase.")] = CHECKPOINTS
    / "phase1",
    output: Annotated[Path, typer.Option("--output")] = Path("models/backtests/latest"),
    part: Annotated[Literal["test", "validation"], typer.Option("--part")] = "test",
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Trade unseen bars with what was trained, audit the ledger with vectorbt, write the report."""
    from mtquant.cli.backtesting import run

    run(config, models, output, part, instruments, overrides or [])


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output")] = Path("models/demo"),
    timesteps: TimestepsOption = None,
    overrides: SetOption = None,
) -> None:
    """All phases on the bundled real bars, then the out-of-sample report. No network needed."""
    from mtquant.cli.demo import run

    run(output, timesteps, overrides or [])


@app.command()
def config(
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Print the configuration in force."""
    import yaml

    from mtquant.cli.settings import training_settings

    loaded, origin = training_settings(config, overrides or [])
    typer.echo(f"# configuration {origin}")
    typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False).rstrip())


def main() -> None:
    """Entry point: our own errors are one line and exit code 2, anything else is a traceback."""
    run_app(app)


def run_app(command: typer.Typer) -> None:
    """Runs a command line with our errors shown as messages."""
    try:
        command()
    except MtquantError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
