# SPDX-License-Identifier: Apache-2.0
"""All stages in a row: references, stage I, gate, stage II, report, deployment.

    result = run_pipeline(run, say=print)

What is done stays done: `resume` begins where an earlier run ended, inside a stage if need be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtquant.core.config import config_hash
from mtquant.llm.deploy import deploy
from mtquant.llm.evaluation.evaluate import evaluate
from mtquant.llm.evaluation.report import write_evaluation
from mtquant.llm.gate import Verdict, measure, require_batches
from mtquant.llm.stages import LlmRun, StageName
from mtquant.llm.tasks.task import Stage

Say = Callable[[str], None]
SHOWN = ("accuracy", "stage1_reward", "stage2_reward", "ece", "parse_rate")
STAGES: tuple[Stage, ...] = ("stage1", "stage2")


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline came to.

    Attributes:
        verdict: The gate's.
        before, after: Figures of sampled answers to the same test prompts, after supervised
            training and at the end (`gate.measure`).
        agreement: Of the deployed model with the trained one.
        folder: The deployed model.
        report: The page that holds it beside its rivals.
    """

    verdict: Verdict
    before: dict[str, float]
    after: dict[str, float]
    agreement: dict[str, float]
    folder: Path
    report: Path


def run_pipeline(run: LlmRun, say: Say, *, resume: bool = False) -> PipelineResult:
    """Runs all stages.

    Args:
        run: The run.
        say: Hears a line about each stage.
        resume: Keep what an earlier run finished.

    Raises:
        ConfigError: The gate insists and stage I is too short for it.
        RunError: The gate insists and a condition is missing.
    """
    require_batches(run.config)
    run.sft(resume=resume)
    before = test_figures(run, "sft", "stage1")
    say(line("references", before))
    run.stage("stage1", resume=resume)
    verdict = run.gate()
    say(line("stage I, validation", verdict.figures))
    for condition in verdict.conditions:
        found, needed = condition.found, condition.needed
        say(f"gate {condition.mark:9} {condition.name}: {found}; needed {needed}")
    run.require_passed(verdict)
    run.stage("stage2", resume=resume)
    after, report = test_report(run, "stage2", "stage2", run.folder / "report")
    say(line("stage II, test", after))
    record = {"gate": verdict.record(), "test": after, "test_before": before}
    run.note("test", {"before": before, "after": after})
    agreement = deploy(run, run.folder / "stage2", record)
    return PipelineResult(verdict, before, after, agreement, run.folder / "deploy", report)


def test_figures(run: LlmRun, name: StageName, stage: Stage) -> dict[str, float]:
    """Figures of a stage's sampled answers to the test prompts."""
    examples = run.examples("test")
    texts = run.answers(run.folder / name, examples, "test")
    return measure(run.task, examples, texts, stage, run.config.gate.confidence)


def test_report(
    run: LlmRun, name: StageName, stage: Stage, folder: Path
) -> tuple[dict[str, float], Path]:
    """The same figures, and a report that holds the answers beside rivals (`evaluation/`)."""
    examples = run.examples("test")
    texts = run.answers(run.folder / name, examples, "test")
    figures = measure(run.task, examples, texts, stage, run.config.gate.confidence)
    evaluation = evaluate(run.task, examples, texts, stage=stage)
    done = run.done(name)
    card = {
        "model": run.config.model.source,
        "stage": name,
        "updates": 0 if done is None else done.updates,
        "seed": run.config.run.seed,
        "configuration": config_hash(run.config),
        "temperature": run.config.generation.temperature,
    }
    return figures, write_evaluation(evaluation, folder, card)


def line(title: str, figures: dict[str, float]) -> str:
    """The figures that matter most, in one line."""
    shown = ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
    best = figures.get("bayes_accuracy")
    known = "" if best is None else f" (best possible accuracy {best:.3f})"
    return f"{title}: {shown}{known}"
