# SPDX-License-Identifier: Apache-2.0
"""Flags that several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
