# SPDX-License-Identifier: Apache-2.0
"""What every trainer is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mtquant.core.checked import Section
from mtquant.core.errors import ConfigError
from mtquant.core.runs import package_versions
from mtquant.core.telemetry import Telemetry
from mtquant.llm.identity import PIECES, examples_digest, flat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from mtquant.llm.tasks.task import Examples, Reward, Scores

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Updates made, updates to make, latest figures."""


def no_progress(done: int, total: int, figures: Mapping[str, float]) -> None:
    """Shows nothing."""


@dataclass(frozen=True, eq=False)
class Job:
    """One stage of training.

    Attributes:
        name: Of the stage: ``"sft"``, ``"stage1"``, ``"stage2"``.
        model, tokenizer: What learns; adapters are in place where there are any.
        examples: Prompts, references and the columns that the reward needs.
        reward: What answers are worth; None for supervised training.
        folder: Receives checkpoints; the model itself is saved by the caller.
        log_dir: Receives TensorBoard's file.
        seed: Root of the stage's draws.
        max_new_tokens: At which answers are cut off.
        temperature: That answers are drawn with.
        generation_batch: Prompts per pass while answers are drawn.
        log_completions: Sample answers that are logged.
        resume: Go on from the newest checkpoint.
        progress: Hears of every update.
    """

    name: str
    model: Any
    tokenizer: PreTrainedTokenizerFast
    examples: Examples
    reward: Reward | None
    folder: Path
    log_dir: Path
    seed: int
    max_new_tokens: int = 64
    temperature: float = 1.0
    generation_batch: int = 64
    log_completions: int = 4
    resume: bool = False
    progress: Progress = no_progress


@dataclass
class Trained:
    """What a stage did.

    Attributes:
        updates: Made in all, also before a resume.
        rewards: Mean reward of each batch, where there was one.
        losses: Of each update or log line.
        figures: The last ones.
    """

    updates: int
    rewards: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def fingerprint(config: Section, job: Job) -> dict[str, Any]:
    """What has to be the same for a run to go on as if it had never stopped, by key."""
    drawn = {
        "generation.max_new_tokens": job.max_new_tokens,
        "generation.temperature": job.temperature,
        "generation.batch_size": job.generation_batch,
    }
    pieces = {key.rpartition(".")[2] for key in PIECES}
    values = flat(config.model_dump(mode="json"))
    return {
        **{key: value for key, value in values.items() if key not in pieces},
        **drawn,
        "examples": examples_digest(job.examples),
        "seed": job.seed,
        **numerics(job.model.device),
    }


def numerics(device: torch.device) -> dict[str, Any]:
    """What the last bit of a number depends on, by key."""
    versions = package_versions()
    names = ("torch", "numpy", "transformers", "trl", "peft")
    return {
        **{f"version of {name}": versions.get(name) for name in names},
        "threads": torch.get_num_threads(),
        "device": str(device),
    }


def scored(job: Job, rows: Sequence[int], texts: Sequence[str]) -> Scores:
    """What answers to some of the job's prompts are worth.

    Raises:
        ConfigError: The job has no reward.
    """
    if job.reward is None:
        remedy = "Give the task's reward."
        raise ConfigError("job.reward", "must be there to score answers", None, remedy)
    chosen = np.asarray(rows)
    columns = {name: job.examples.columns[name][chosen] for name in job.reward.needs}
    return job.reward([job.examples.prompts[row] for row in rows], texts, columns)


def log_texts(
    board: Telemetry,
    prompts: Sequence[str],
    texts: Sequence[str],
    rewards: Sequence[float],
    step: int,
) -> None:
    """Writes answers with their prompts and rewards to TensorBoard's Text."""
    shown = [
        f"{prompt}\n>>> {text}\n(reward {reward:.3f})"
        for prompt, text, reward in zip(prompts, texts, rewards)
    ]
    # Indented by four blanks, Markdown shows them as they are.
    blocks = ["    " + one.replace("\n", "\n    ") for one in shown]
    board.text("completions", "\n\n---\n\n".join(blocks), step)


def numpy_of(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A copy on the processor; bfloat16, which NumPy does not know, as its bits."""
    held = tensor.detach().cpu()
    return (held.view(torch.int16) if held.dtype == torch.bfloat16 else held).numpy().copy()


def fill_tensor(tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> None:
    """Writes what `numpy_of` gave back into a tensor."""
    with torch.no_grad():
        tensor.copy_(tensor_of(array))


def tensor_of(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """What `numpy_of` gave back as a tensor of its own, in the number format that it had; no tensor
    of training is an int16.
    """
    held = torch.from_numpy(array.copy())
    return held.view(torch.bfloat16) if held.dtype == torch.int16 else held
