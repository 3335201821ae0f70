# SPDX-License-Identifier: Apache-2.0
"""`mtquant llm`: what the commands do, with progress and tables."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from mtquant.cli.console import Lines, interruptible, progress_bars, say
from mtquant.core.errors import ConfigError
from mtquant.core.runs import CARD_NAME, RunFolder

if TYPE_CHECKING:
    from mtquant.llm.config import LlmConfig
    from mtquant.llm.job import Progress
    from mtquant.llm.judging import Report
    from mtquant.llm.stages import LlmRun, StageName
    from mtquant.llm.tasks.task import Stage

LOCAL_FILE = Path("config/llm.yaml")
DEMO_FILE = "llm_demo.yaml"
DEMO_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes.

    Attributes:
        output_dir, log_dir: Models and TensorBoard files.
        resume: Keep what is done and go on.
        overwrite: Replace an earlier run.
        batch_size: Examples per pass through the model; None: the configuration's.
    """

    output_dir: Path
    log_dir: Path
    resume: bool
    overwrite: bool
    batch_size: int | None = None


def settings(
    path: Path | None, demo: bool, overrides: Sequence[str], batch_size: int | None = None
) -> LlmConfig:
    """The configuration of a command; with `demo` the shipped one, without a network."""
    _require_extra()
    from mtquant.llm.config import load_llm_config, shipped_config
    from mtquant.llm.passes import in_passes_of

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours are enough
    if demo:
        if path is not None:
            remedy = "Leave one of them out."
            raise ConfigError("--config", "must be left out with --demo", str(path), remedy)
        os.environ.update(DEMO_ENVIRONMENT)
        path = shipped_config(DEMO_FILE)
    elif path is None and LOCAL_FILE.is_file():
        path = LOCAL_FILE
    config = load_llm_config(path, overrides)
    return config if batch_size is None else in_passes_of(config, batch_size)


def show_data(path: Path | None, demo: bool, overrides: Sequence[str]) -> None:
    """Counts the examples of each part and shows the first."""
    from mtquant.llm.tasks.catalog import make_task

    config = settings(path, demo, overrides)
    console, task = Console(), make_task(config.task)
    table = Table(title=f"{task.name} ({config.task.source})", title_justify="left")
    for heading in ("part", "examples", *task.classes):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for split in ("train", "validation", "test"):
        examples = task.examples(split, balanced=False)
        labels = examples.columns["label"]
        shares = [f"{(labels == k).mean():.1%}" for k in range(len(task.classes))]
        table.add_row(split, f"{len(examples):,}", *shares)
    console.print(table)
    first = task.examples("train", balanced=True).take([0])  # type: ignore[arg-type]
    say(console, f"{first.prompts[0]}>>> {first.answers[0]}")
    say(console, f"template      {task.template_hash}")


def fine_tune(path: Path | None, demo: bool, places: Places, overrides: Sequence[str]) -> None:
    """Begins a run with supervised fine-tuning."""
    config, console = settings(path, demo, overrides, places.batch_size), Console()
    _begin(config, places)
    with _watched(config, places, console) as run:
        run.sft(resume=places.resume)
    say(console, f"model         {places.output_dir / 'sft'}")


def reinforce(
    path: Path | None,
    demo: bool,
    places: Places,
    overrides: Sequence[str],
    stage: Literal["stage1", "stage2"],
    algorithm: Any,
) -> None:
    """Trains one stage; stage II first asks the gate."""
    config, console = settings(path, demo, overrides, places.batch_size), Console()
    with _watched(config, places, console) as run:
        if stage == "stage2":
            run.require_passed(run.gate())
        run.stage(stage, algorithm, resume=places.resume)
    say(console, f"model         {places.output_dir / stage}")
    say(console, f"curves        tensorboard --logdir {places.log_dir}")


def judge_stage(
    path: Path | None, demo: bool, output: Path, overrides: Sequence[str], stage: StageName
) -> None:
    """Prints the test figures of a stage's sampled answers."""
    from mtquant.llm.judging import stage_answers, test_figures, write_report
    from mtquant.llm.stages import LlmRun

    config, console = settings(path, demo, overrides), Console()
    run = LlmRun(config, output, output / "logs")
    reward: Stage = "stage2" if stage == "stage2" else "stage1"
    texts = stage_answers(run, stage)
    figures = test_figures(run, texts)
    report = write_report(run, stage, reward, texts, output / f"report_{stage}")
    console.print(figures_table(f"{stage}: test set, sampled answers", {stage: figures}))
    _say_report(console, report)


def serve(
    model: Path,
    output: Path,
    split: Any,
    temperature: float | None,
    seed: int | None,
    device: str,
    delay_seconds: float,
) -> None:
    """Writes the predictions of a deployed model."""
    _require_extra()
    from mtquant.llm.deploy import predict, write_predictions
    from mtquant.llm.models import chosen_device

    console = Console()
    found = predict(model, split, chosen_device(device), temperature=temperature, seed=seed)
    write_predictions(found, output, delay_seconds)
    read = sum(answer is not None for answer in found.answers)
    say(console, f"predictions   {len(found.answers):,}, of which {read:,} can be read")
    say(console, f"known         {delay_seconds:g} s after each decision")
    say(console, f"table         {output}")


def run_all(
    path: Path | None, demo: bool, places: Places, overrides: Sequence[str], algorithm: Any
) -> None:
    """The whole pipeline."""
    chosen = [*overrides, *([f"stages.algorithm={algorithm}"] if algorithm else [])]
    config, console = settings(path, demo, chosen, places.batch_size), Console()
    from mtquant.llm.pipeline import run_pipeline

    started = (time.monotonic(), time.process_time())
    _begin(config, places)
    with _watched(config, places, console) as run:
        result = run_pipeline(run, lambda text: say(console, text), resume=places.resume)
    columns = {"after references": result.before, "deployed": result.after}
    console.print(figures_table("test set, sampled answers", columns))
    seconds = (time.monotonic() - started[0], time.process_time() - started[1])
    say(console, f"took          {seconds[0]:.0f} s, {seconds[1]:.0f} s of processor time")
    _say_report(console, result.report)
    say(console, f"deployed      {result.folder}")
    say(console, f"serve it      mtquant llm predict --model {result.folder}")
    say(console, f"curves        tensorboard --logdir {places.log_dir}")


def _say_report(console: Console, report: Report) -> None:
    say(console, f"skill         {report.sentence}")
    say(console, f"report        {report.page}")


def figures_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> Table:
    """Figures side by side."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in columns:
        table.add_column(heading, justify="right")
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    for name in names:
        cells = [f"{own[name]:.4f}" if name in own else "" for own in columns.values()]
        table.add_row(name.replace("_", " "), *cells)
    return table


def _begin(config: LlmConfig, places: Places) -> None:
    """Writes the report card of a new run; one that goes on keeps its own."""
    if places.resume and (places.output_dir / CARD_NAME).is_file():
        return
    RunFolder.create(
        places.output_dir,
        config=config,
        seed=config.run.seed,
        command=sys.argv,
        overwrite=places.overwrite,
    )


@contextmanager
def _watched(config: LlmConfig, places: Places, console: Console) -> Iterator[LlmRun]:
    """A run whose stages have progress bars, or lines; Ctrl-C says how to go on."""
    from mtquant.llm.stages import LlmRun

    _hush()
    lines = Lines(console)
    kept = f"checkpoints are in {places.output_dir}; --resume goes on from there"
    with interruptible(kept), progress_bars(console) as bars:

        def watch(name: str) -> Progress:
            task = bars.add_task(name, total=None, rate="")

            def advance(done: int, total: int, figures: Mapping[str, float]) -> None:
                key = "rollout/reward" if "rollout/reward" in figures else "train/loss"
                rate = f"{key.partition('/')[2]} {figures[key]:.3f}"
                bars.update(task, completed=done, total=total, rate=rate)
                lines.tell(f"{name} {done:,} of {total:,}, {rate}")

            return advance

        yield LlmRun(config, places.output_dir, places.log_dir, watch)


def _hush() -> None:
    """Silences what libraries say of one another, which nobody who reads it can mend."""
    message = ".*gradient_checkpointing.* is deprecated"  # peft and trl ask transformers so
    warnings.filterwarnings("ignore", message=message, category=FutureWarning)
    # Of a faster product in 4 bit that no configuration here asks for.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def _require_extra() -> None:
    """Refuses to begin without the libraries of the extra `llm`."""
    from importlib.util import find_spec

    missing = [name for name in ("transformers", "trl", "peft", "datasets") if not find_spec(name)]
    if missing:
        remedy = 'Install them: pip install "mtquant[llm]".'
        raise ConfigError("mtquant llm", "must find its libraries", missing, remedy)
