# SPDX-License-Identifier: Apache-2.0
"""A run's answers to the test prompts: figures, and the report beside rivals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mtquant.core.config import config_hash
from mtquant.llm.evaluation.evaluate import evaluate
from mtquant.llm.evaluation.report import skill_sentence, write_evaluation
from mtquant.llm.gate import measure
from mtquant.llm.stages import LlmRun, StageName
from mtquant.llm.tasks.task import Stage

REWARDS: tuple[Stage, ...] = ("stage1", "stage2")


def test_figures(run: LlmRun, texts: Sequence[str]) -> dict[str, float]:
    """Figures of answers to the test prompts, with the rewards of both stages, so that models of
    different stages can be held against each other.
    """
    examples, confidence = run.examples("test"), run.config.gate.confidence
    found: dict[str, float] = {}
    for stage in REWARDS:
        found |= measure(run.task, examples, texts, stage, confidence)
    return found


def stage_answers(run: LlmRun, name: StageName) -> list[str]:
    """A trained stage's sampled answers to the test prompts."""
    return run.answers(run.folder / name, run.examples("test"), "test")


class Report(NamedTuple):
    """A written report.

    Attributes:
        page: The file to open.
        sentence: What it comes to beside the rivals.
    """

    page: Path
    sentence: str


def write_report(
    run: LlmRun, name: str, stage: Stage, texts: Sequence[str], folder: Path
) -> Report:
    """The report of answers to the test prompts beside rivals (`evaluation/`).

    Args:
        run: Whose task.
        name: Whose answers: a stage, or the deployed model.
        stage: Whose reward is reported.
        texts: An answer to each test prompt.
        folder: Receives the report.
    """
    examples = run.examples("test")
    evaluation = evaluate(run.task, examples, texts, stage=stage)
    done = run.done("stage2" if name == "deploy" else name)  # type: ignore[arg-type]
    card = {
        "model": run.config.model.source,
        "stage": name,
        "updates": 0 if done is None else done.updates,
        "seed": run.config.run.seed,
        "configuration": config_hash(run.config),
        "temperature": run.config.generation.temperature,
        "test examples": _asked(len(examples), len(run.task.examples("test", balanced=False))),
        "decisions (UTC)": " to ".join(
            str(day) for day in examples.stamps[[0, -1]].astype("datetime64[ns]").astype("M8[D]")
        ),
    }
    return Report(write_evaluation(evaluation, folder, card), skill_sentence(evaluation))


def _asked(count: int, whole: int) -> str:
    """How much of the test part was answered."""
    if count == whole:
        return f"{count:,}, all of the test part"
    return f"{count:,} of the {whole:,} of the test part, evenly spread"
