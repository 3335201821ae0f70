# SPDX-License-Identifier: Apache-2.0
"""What the three trainers of TRL share: their arguments here, their figures, their checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from mtquant.core.errors import CheckpointError
from mtquant.core.telemetry import Telemetry
from mtquant.llm.job import Job, Trained

Log = Callable[[Telemetry, int], None]

BETA2 = 0.98
STATE_FILE = "trainer_state.json"
EARNED = "earned"  # what answers were worth, by the task's own reward
NAMES = {"grad_norm": "train/gradient_norm", EARNED: "rollout/reward"}
LEFT_OUT = ("total_flos", "step", "reward")


def common_arguments(
    job: Job, folder: Path, save_steps: int, max_grad_norm: float
) -> dict[str, Any]:
    """Arguments of every TRL configuration, whose own defaults are for a GPU and a network."""
    cpu = job.model.device.type == "cpu"
    checkpointing = getattr(job.model, "is_activation_checkpointing", False)
    return {
        "output_dir": str(folder),
        "use_cpu": cpu,
        "bf16": False,  # the model's own number format stays
        "activation_checkpointing": checkpointing,
        "report_to": "none",
        "save_strategy": "steps",
        "save_steps": save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_first_step": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": not cpu,
        "adam_beta2": BETA2,
        "max_grad_norm": max_grad_norm,
        "seed": job.seed,
        "data_seed": job.seed,
    }


class Figures(TrainerCallback):  # type: ignore[misc]
    """Brings a trainer's figures to TensorBoard and to the progress bar.

    Args:
        job: Whose progress.
        board: Receives the figures.
        log: Writes more to it after every checkpoint.
    """

    def __init__(self, job: Job, board: Telemetry, log: Log | None) -> None:
        self._job, self._board, self._log = job, board, log

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called after every checkpoint."""
        if self._log is not None:
            self._log(self._board, state.global_step)
        self._board.flush()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Called with every update's figures."""
        figures = figures_of(logs or {})
        if "train/loss" in figures:  # the last call sums up the whole run
            self._board.scalars(figures, state.global_step)
            self._job.progress(state.global_step, state.max_steps, figures)


def figures_of(logs: Mapping[str, Any]) -> dict[str, float]:
    """A trainer's figures under our names."""
    return {
        NAMES.get(name, name if "/" in name else f"train/{name}"): float(value)
        for name, value in logs.items()
        if name not in LEFT_OUT and isinstance(value, int | float)
    }


def newest_checkpoint(folder: Path) -> Path:
    """The newest whole checkpoint of a TRL trainer.

    Raises:
        CheckpointError: There is none.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda place: int(place.name.split("-")[1]))
    # A trainer killed while it saved leaves one without its state, which is written last.
    whole = [place for place in found if (place / STATE_FILE).is_file()]
    if not whole:
        remedy = "Run it without --resume."
        rule = "must hold a checkpoint to go on from"
        raise CheckpointError(str(folder), rule, [place.name for place in found], remedy)
    return whole[-1]


def run_trainer(trainer: Any, job: Job, log: Log | None = None) -> Trained:
    """Trains to the end, from the newest checkpoint where the job resumes.

    Args:
        trainer: One of TRL's.
        job: What it trains.
        log: Writes more to TensorBoard after every checkpoint.

    Raises:
        CheckpointError: The job resumes and there is no checkpoint.
    """
    folder = Path(trainer.args.output_dir)
    resume = newest_checkpoint(folder) if job.resume else None
    if resume is None:
        shutil.rmtree(folder, ignore_errors=True)
    done = 0 if resume is None else int(resume.name.split("-")[1])
    with Telemetry(job.log_dir, resumed_at=done) as board:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Figures(job, board, log))
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    # The trainer keeps all log lines in its checkpoints, so a resumed run knows the first ones too.
    rows = [figures_of(row) for row in trainer.state.log_history]
    rows = [row for row in rows if "train/loss" in row]
    return Trained(
        updates=trainer.state.global_step,
        rewards=[row["rollout/reward"] for row in rows if "rollout/reward" in row],
        losses=[row["train/loss"] for row in rows],
        figures=rows[-1] if rows else {},
    )
