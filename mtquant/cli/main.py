# SPDX-License-Identifier: Apache-2.0
"""`mtquant`: the commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.cli.data_commands import data_app
from mtquant.cli.llm_commands import llm_app
from mtquant.cli.options import (
    CHECKPOINTS,
    SCENARIO_SEEDS,
    ConfigOption,
    DeviceOption,
    InstrumentsOption,
    SetOption,
    TimestepsOption,
)
from mtquant.cli.paper_commands import LEDGER, paper_app
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
app.add_typer(llm_app, name="llm")
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
    models: Annotated[
        Path,
        typer.Option("--models", help="Folder of a phase, or parquet table of predictions."),
    ] = CHECKPOINTS / "phase1",
    output: Annotated[Path, typer.Option("--output")] = Path("models/backtests/latest"),
    part: Annotated[Literal["test", "validation"], typer.Option("--part")] = "test",
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
    scenarios: Annotated[
        int, typer.Option("--scenarios", min=0, help="Seeds of every made-up market; 0: none.")
    ] = SCENARIO_SEEDS,
) -> None:
    """Trade unseen bars with what was trained, audit the ledger with vectorbt, write the report."""
    from mtquant.cli.backtesting import run

    run(config, models, output, part, instruments, overrides or [], scenarios)


@app.command()
def evaluate(
    scheme: Annotated[
        Literal["anchored", "rolling", "combinatorial"],
        typer.Option("--scheme", help="How the history is cut (docs/evaluation.md)."),
    ] = "anchored",
    folds: Annotated[
        int, typer.Option("--folds", min=1, help="Tests; of --scheme combinatorial groups.")
    ] = 4,
    test_groups: Annotated[
        int, typer.Option("--test-groups", min=1, help="Of --scheme combinatorial: tested at once.")
    ] = 2,
    first_test: Annotated[
        float, typer.Option("--first-test", help="Share of the history before the first test.")
    ] = 0.5,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="How many, counting up from training.seed.")
    ] = 3,
    phases: Annotated[
        str, typer.Option("--phases", help="Which are tested; those before them are trained too.")
    ] = "1,2,3",
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="Length of a bar: 1d, 1h (data.bar).")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="bundled, parquet, csv, yahoo (data.source).")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the files are (data.folder).")
    ] = None,
    config: ConfigOption = None,
    timesteps: Annotated[
        int | None, typer.Option("--timesteps", min=1, help="Bars of every phase, in every fold.")
    ] = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS / "evaluate",
    device: DeviceOption = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Train fold by fold, test on what follows, judge with statistics; run it again to go on."""
    from mtquant.cli.walk_forward import Asked, run

    asked = Asked(
        scheme,
        folds,
        test_groups,
        first_test,
        seeds,
        phases,
        timesteps,
        source,
        folder,
        timeframe,
    )
    run(config, overrides or [], instruments, output_dir, device, asked)


@app.command()
def verify(
    models: Annotated[Path, typer.Argument(help="Folder of a phase.")],
    full: Annotated[
        bool, typer.Option("--full", help="Train the whole run again, not its first updates.")
    ] = False,
    cuts: Annotated[int, typer.Option("--cuts", min=1, help="Drawn cut points.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML file; left out, what the models were trained under."),
    ] = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Look for look-ahead, wrong books and runs that do not repeat; exit code 1 where one shows."""
    from mtquant.cli.verifying import run

    run(models, config, instruments, overrides or [], cuts, seed, full)


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
def dashboard(
    ledger: Annotated[
        list[Path] | None,
        typer.Option("--ledger", help=f"Of a paper account; left out, {LEDGER}. Repeatable."),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", help="Run folders and backtests, or above them. Repeatable."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Who may read: by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535)] = 8501,
) -> None:
    """A web page over paper ledgers and run folders, which it cannot change."""
    from mtquant.cli.dashboard import run

    run(ledger or [LEDGER], runs or [Path("models")], host, port)


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
