# SPDX-License-Identifier: Apache-2.0
"""`mtquant`: the commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.core.errors import MtquantError

app = typer.Typer(
    name="mtquant",
    help="Train trading agents on real bars and see, audited, what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(no_args_is_help=True, help="Train agents, phase by phase.")
app.add_typer(train_app, name="train")
data_app = typer.Typer(no_args_is_help=True, help="Bring bars in, check them, look at them.")
app.add_typer(data_app, name="data")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; left out, config/agents.yaml here, else defaults."),
]
InstrumentsOption = Annotated[
    Path | None, typer.Option("--instruments", help="YAML file of instruments and their costs.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One value: --set training.seed=3. Repeatable.")
]
TimestepsOption = Annotated[
    int | None, typer.Option("--timesteps", min=1, help="Bars lived through per specialist.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
SymbolOption = Annotated[
    str | None, typer.Option("--symbol", help="Left out: what the file's name begins with.")
]
STAMPED = typer.Option("--stamped", help="What a row's time is: bar start, end, session date.")
BAR = typer.Option("--bar", help="Length of a bar: 1h, 15min, 1d.")
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in --output-dir.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output-dir.")]
NumericsOption = Annotated[
    bool,
    typer.Option(
        "--allow-different-numerics", help="Resume under other versions, threads or device."
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--eval-episodes", min=1, help="Of --mode eval: samples of the intervals.")
]
ScenariosOption = Annotated[
    int,
    typer.Option(
        "--eval-scenarios", min=0, help="Of --mode eval: seeds of every made-up market; 0: none."
    ),
]
DRAWS, SCENARIO_SEEDS = 1_000, 3
PhaseTimestepsOption = Annotated[
    int | None, typer.Option(min=1, help="Bars of that phase; left out, the config's.")
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="stacked: all at once; sb3: through stable-baselines3."),
]
AlgorithmOption = Annotated[
    str | None,
    typer.Option("--algorithm", help="Of --engine sb3: ppo, recurrent_ppo, trpo, a2c or sac."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes that phase 1 splits its specialists over."),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", help="float32, or bf16 for matrix products on a GPU."),
]
CHECKPOINTS, LOGS = Path("models/checkpoints"), Path("logs")
MODE = typer.Option("--mode", help="train; resume; eval: measure on the test period.")


class Mode(StrEnum):
    """What `mtquant train` is to do."""

    train = "train"
    resume = "resume"
    eval = "eval"


def _evaluated(
    mode: Mode,
    folders: Mapping[int, Path],
    config: Path | None,
    instruments: Path | None,
    overrides: list[str] | None,
    draws: int,
    scenarios: int,
) -> bool:
    """Whether the mode was to evaluate, which is then done."""
    if mode is not Mode.eval:
        return False
    from mtquant.cli.evaluating import evaluate_folders

    evaluate_folders(folders, config, instruments, overrides or [], draws, scenarios)
    return True


@train_app.command("phase1")
def train_phase1(
    mode: Annotated[Mode, MODE] = Mode.train,
    config: ConfigOption = None,
    timesteps: TimestepsOption = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS / "phase1",
    log_dir: Annotated[Path, typer.Option("--log-dir")] = LOGS / "phase1",
    device: DeviceOption = None,
    eval_episodes: DrawsOption = DRAWS,
    eval_scenarios: ScenariosOption = SCENARIO_SEEDS,
    precision: PrecisionOption = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
    engine: EngineOption = None,
    algorithm: AlgorithmOption = None,
    workers: WorkersOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    allow_different_numerics: NumericsOption = False,
) -> None:
    """Train one specialist per instrument (TensorBoard: --logdir logs)."""
    from mtquant.cli.settings import flag_overrides
    from mtquant.cli.training import Places, phase

    folders = {1: output_dir}
    if _evaluated(mode, folders, config, instruments, overrides, eval_episodes, eval_scenarios):
        return
    resume = resume or mode is Mode.resume
    flags = flag_overrides(
        {
            "training.engine": engine,
            "training.algorithm": algorithm,
            "training.workers": workers,
            "training.precision": precision,
        }
    )
    places = Places(output_dir, log_dir, None, overwrite, resume, allow_different_numerics)
    phase(1, places, config, timesteps, device, instruments, [*(overrides or []), *flags])


@train_app.command("phase2")
def train_phase2(
    mode: Annotated[Mode, MODE] = Mode.train,
    config: ConfigOption = None,
    timesteps: TimestepsOption = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS / "phase2",
    log_dir: Annotated[Path, typer.Option("--log-dir")] = LOGS / "phase2",
    device: DeviceOption = None,
    eval_episodes: DrawsOption = DRAWS,
    eval_scenarios: ScenariosOption = SCENARIO_SEEDS,
    precision: PrecisionOption = None,
    specialists: Annotated[
        Path | None,
        typer.Option("--specialists", help="Folder of phase 1; beside --output-dir if left out."),
    ] = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    allow_different_numerics: NumericsOption = False,
) -> None:
    """Train the meta-controller over the specialists of phase 1, which stay as they are."""
    from mtquant.cli.settings import flag_overrides
    from mtquant.cli.training import Places, phase

    folders = {2: output_dir}
    if _evaluated(mode, folders, config, instruments, overrides, eval_episodes, eval_scenarios):
        return
    resume = resume or mode is Mode.resume
    places = Places(output_dir, log_dir, specialists, overwrite, resume, allow_different_numerics)
    overrides = [*(overrides or []), *flag_overrides({"training.precision": precision})]
    phase(2, places, config, timesteps, device, instruments, overrides)


@train_app.command("phase3")
def train_phase3(
    mode: Annotated[Mode, MODE] = Mode.train,
    config: ConfigOption = None,
    timesteps: TimestepsOption = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS / "phase3",
    log_dir: Annotated[Path, typer.Option("--log-dir")] = LOGS / "phase3",
    device: DeviceOption = None,
    eval_episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Episodes behind the training (100); of --mode eval samples of intervals (1,000).",
        ),
    ] = None,
    eval_scenarios: ScenariosOption = SCENARIO_SEEDS,
    precision: PrecisionOption = None,
    hierarchy: Annotated[
        Path | None,
        typer.Option("--hierarchy", help="Folder of phase 2; beside --output-dir if left out."),
    ] = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    allow_different_numerics: NumericsOption = False,
) -> None:
    """Train meta-controller and specialists together, starting from phase 2."""
    from mtquant.cli.settings import flag_overrides
    from mtquant.cli.training import Places, evaluate_hierarchy, phase

    folders = {3: output_dir}
    if _evaluated(
        mode, folders, config, instruments, overrides, eval_episodes or DRAWS, eval_scenarios
    ):
        return
    resume = resume or mode is Mode.resume
    places = Places(output_dir, log_dir, hierarchy, overwrite, resume, allow_different_numerics)
    overrides = [*(overrides or []), *flag_overrides({"training.precision": precision})]
    phase(3, places, config, timesteps, device, instruments, overrides)
    evaluate_hierarchy(places, config, device, instruments, overrides, eval_episodes or 100)


@train_app.command("all")
def train_all(
    mode: Annotated[
        Mode, typer.Option("--mode", help="train; resume after the last phase that ended; eval.")
    ] = Mode.train,
    config: ConfigOption = None,
    output_dir: Annotated[Path, typer.Option("--output-dir")] = CHECKPOINTS,
    log_dir: Annotated[Path, typer.Option("--log-dir")] = LOGS,
    device: DeviceOption = None,
    eval_episodes: DrawsOption = DRAWS,
    eval_scenarios: ScenariosOption = SCENARIO_SEEDS,
    precision: PrecisionOption = None,
    phase1_timesteps: PhaseTimestepsOption = None,
    phase2_timesteps: PhaseTimestepsOption = None,
    phase3_timesteps: PhaseTimestepsOption = None,
    workers: WorkersOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """All three phases in a row; --mode eval measures them on the test period."""
    from mtquant.cli.pipeline import run
    from mtquant.cli.settings import flag_overrides

    folders = {number: output_dir / f"phase{number}" for number in (1, 2, 3)}
    if _evaluated(mode, folders, config, None, overrides, eval_episodes, eval_scenarios):
        return
    flags = flag_overrides({"training.workers": workers, "training.precision": precision})
    steps = {1: phase1_timesteps, 2: phase2_timesteps, 3: phase3_timesteps}
    run(
        mode.value,
        config,
        output_dir,
        log_dir,
        steps,
        device,
        [*(overrides or []), *flags],
        overwrite,
    )


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


@data_app.command("download")
def data_download(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Left out, all of the instruments file.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day, 2010-01-01.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="First day not wanted in --output any more.")
    ] = None,
    bar: Annotated[str, typer.Option("--bar", help="1d, 1h, 15min or 5min.")] = "1d",
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Also write adjusted SYMBOL.parquet files here."),
    ] = None,
    cache: Annotated[
        Path, typer.Option("--cache", help="Prices as traded, with their splits and dividends.")
    ] = Path("data/yahoo"),
    revised: Annotated[
        Literal["keep", "replace", "refuse"],
        typer.Option("--revised", help="What to do where Yahoo changed a bar that is cached."),
    ] = "keep",
    instruments: InstrumentsOption = None,
) -> None:
    """Download bars from Yahoo Finance; run it again to go on or to bring them up to date."""
    from mtquant.cli.download import run

    run(symbols or [], start, end, bar, output, cache, revised, instruments)


@app.command()
def backtest(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML file; left out, what the models were trained under."),
    ] = None,
    models: Annotated[Path, typer.Option("--models", help="Folder of phase 1.")] = CHECKPOINTS
    / "phase1",
    output: Annotated[Path, typer.Option("--output")] = Path("models/backtests/latest"),
    part: Annotated[Literal["test", "validation"], typer.Option("--part")] = "test",
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Trade unseen bars with the specialists, audit the ledger with vectorbt, write the report."""
    from mtquant.cli.backtesting import run

    run(config, models, output, part, instruments, overrides or [])


@data_app.command("import")
def data_import(
    files: Annotated[list[Path], typer.Argument(help="csv or any other separated text.")],
    bar: Annotated[str, BAR],
    stamped: Annotated[Literal["open", "close", "session"], STAMPED],
    clock: Annotated[
        str | None,
        typer.Option("--clock", help="Zone, offset (+02:00), or YAML file of a broker's clock."),
    ] = None,
    symbol: SymbolOption = None,
    repair: Annotated[
        list[str] | None,
        typer.Option("--repair", help="Per kind of dirt: --repair nonpositive=drop. Repeatable."),
    ] = None,
    price_scale: Annotated[
        float | None, typer.Option("--price-scale", help="100000 if 158611 means 1.58611.")
    ] = None,
    price_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--price-range", help="Lowest and highest plausible median close."),
    ] = None,
    date_order: Annotated[
        str | None, typer.Option("--date-order", help="day_first or month_first.")
    ] = None,
    decimal: Annotated[str, typer.Option("--decimal", help="Decimal mark.")] = ".",
    thousands: Annotated[
        str | None, typer.Option("--thousands", help="Mark between groups of three digits.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="utf-8, utf-16, cp1252 or latin-1.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="date,time,open,... for a file without a header line."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="Column=role, such as Last=close. Repeatable."),
    ] = None,
    output: Annotated[Path, typer.Option("--output")] = Path("data/bars"),
    instruments: InstrumentsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace bars of an earlier import.")
    ] = False,
) -> None:
    """Make bars of foreign price files, with a report and a picture of what was found."""
    from mtquant.cli.data import import_files

    facts = {
        "symbol": symbol,
        "bar": bar,
        "stamped": stamped,
        "clock": clock,
        "price_scale": price_scale,
        "price_range": price_range,
        "date_order": date_order,
        "decimal": decimal,
        "thousands": thousands,
        "encoding": encoding,
        "columns": columns.split(",") if columns else None,
        "rename": rename,
    }
    import_files(files, facts, repair or [], output, instruments, overwrite)


@data_app.command("show")
def data_show(
    file: Annotated[Path, typer.Argument(help="A parquet file of bars.")],
    bar: Annotated[str | None, BAR] = None,
    stamped: Annotated[Literal["open", "close", "session"] | None, STAMPED] = None,
    clock: Annotated[
        str | None, typer.Option("--clock", help="Zone of times that do not say theirs.")
    ] = None,
    symbol: SymbolOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG; left out, in data/pictures.")
    ] = None,
    instruments: InstrumentsOption = None,
) -> None:
    """Print facts of bars and draw them. Files that mtquant wrote need no options."""
    from mtquant.cli.data import show

    facts = {"symbol": symbol, "bar": bar, "stamped": stamped, "clock": clock}
    show(file, facts, instruments, picture)


@data_app.command("check")
def data_check(
    config: ConfigOption = None,
    overrides: SetOption = None,
    instruments: InstrumentsOption = None,
) -> None:
    """Take the configured bars all the way: check, features, simulator with random actions."""
    from mtquant.cli.data import check

    check(config, overrides or [], instruments)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output")] = Path("models/demo"),
    timesteps: TimestepsOption = None,
    overrides: SetOption = None,
) -> None:
    """Phase 1 on the bundled real bars, then the out-of-sample report. No network needed."""
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
