# SPDX-License-Identifier: Apache-2.0
"""`mtquant train`: phase by phase, or all in a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mtquant.cli.options import (
    CHECKPOINTS,
    DRAWS,
    LOGS,
    MODE,
    SCENARIO_SEEDS,
    AlgorithmOption,
    ConfigOption,
    DeviceOption,
    DrawsOption,
    EngineOption,
    InstrumentsOption,
    Mode,
    NumericsOption,
    OverwriteOption,
    PhaseTimestepsOption,
    PrecisionOption,
    ResumeOption,
    ScenariosOption,
    SetOption,
    TimestepsOption,
    WorkersOption,
)

train_app = typer.Typer(no_args_is_help=True, help="Train agents, phase by phase.")


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
    """Train the specialists: one per instrument, or training.specialists (curves: --log-dir)."""
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
    allow_different_numerics: NumericsOption = False,
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
        allow_different_numerics,
    )
