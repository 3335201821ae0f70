# SPDX-License-Identifier: Apache-2.0
"""`mtquant llm`: language models that predict. Everything heavy is imported inside `cli/llm.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.cli.options import LOGS, OverwriteOption, ResumeOption, SetOption

llm_app = typer.Typer(no_args_is_help=True, help="Train language models to predict.")

LlmConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; left out, config/llm.yaml here, else defaults."),
]
DemoOption = Annotated[
    bool, typer.Option("--demo", help="The made-up stock task and a tiny model; no network.")
]
OutputOption = Annotated[Path, typer.Option("--output-dir", help="Receives or holds the run.")]
LogOption = Annotated[Path, typer.Option("--log-dir", help="Receives TensorBoard's files.")]
AlgorithmOption = Annotated[
    Literal["grpo", "ppo", "dpo"] | None,
    typer.Option("--algorithm", help="Left out, the configuration's."),
]
SPLIT = typer.Option("--split", help="Which part of the task, by date.")
RUN, LLM_LOGS = Path("models/llm/run"), LOGS / "llm"


@llm_app.command()
def data(
    config: LlmConfigOption = None,
    demo: DemoOption = False,
    overrides: SetOption = None,
) -> None:
    """Make the examples, count them, show one; fails before training would."""
    from mtquant.cli.llm import show_data

    show_data(config, demo, overrides or [])


@llm_app.command()
def sft(
    config: LlmConfigOption = None,
    demo: DemoOption = False,
    output_dir: OutputOption = RUN,
    log_dir: LogOption = LLM_LOGS,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    overrides: SetOption = None,
) -> None:
    """Supervised fine-tuning on reference answers: begins a run in --output-dir."""
    from mtquant.cli.llm import Places, fine_tune

    fine_tune(config, demo, Places(output_dir, log_dir, resume, overwrite), overrides or [])


@llm_app.command()
def train(
    algorithm: AlgorithmOption = None,
    stage: Annotated[
        Literal["stage1", "stage2"],
        typer.Option("--stage", help="stage1: balanced set; stage2: natural set, lower rate."),
    ] = "stage1",
    config: LlmConfigOption = None,
    demo: DemoOption = False,
    output_dir: OutputOption = RUN,
    log_dir: LogOption = LLM_LOGS,
    resume: ResumeOption = False,
    overrides: SetOption = None,
) -> None:
    """Reinforcement learning from what the stage before left in --output-dir."""
    from mtquant.cli.llm import Places, reinforce

    places = Places(output_dir, log_dir, resume, True)
    reinforce(config, demo, places, overrides or [], stage, algorithm)


@llm_app.command()
def evaluate(
    stage: Annotated[
        Literal["sft", "stage1", "stage2"], typer.Option("--stage", help="Whose model.")
    ] = "stage2",
    config: LlmConfigOption = None,
    demo: DemoOption = False,
    output_dir: OutputOption = RUN,
    overrides: SetOption = None,
) -> None:
    """Sampled answers to the test set: figures beside the base rate and the best possible."""
    from mtquant.cli.llm import judge_stage

    judge_stage(config, demo, output_dir, overrides or [], stage)


@llm_app.command()
def predict(
    model: Annotated[Path, typer.Option("--model", help="Folder `deploy` of a pipeline.")] = RUN
    / "deploy",
    output: Annotated[Path, typer.Option("--output", help="Parquet table.")] = RUN
    / "signals.parquet",
    split: Annotated[Literal["train", "validation", "test"], SPLIT] = "test",
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0: the likeliest answer.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Serve a deployed model: a table of predictions with the moment each became known."""
    from mtquant.cli.llm import serve

    serve(model, output, split, temperature, seed, device)


@llm_app.command()
def pipeline(
    algorithm: AlgorithmOption = None,
    config: LlmConfigOption = None,
    demo: DemoOption = False,
    output_dir: OutputOption = RUN,
    log_dir: LogOption = LLM_LOGS,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    overrides: SetOption = None,
) -> None:
    """References, stage I, gate, stage II, report and deployment, in a row."""
    from mtquant.cli.llm import Places, run_all

    places = Places(output_dir, log_dir, resume, overwrite)
    run_all(config, demo, places, overrides or [], algorithm)
