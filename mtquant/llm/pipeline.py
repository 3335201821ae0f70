# SPDX-License-Identifier: Apache-2.0
"""All stages in a row: references, stage I, gate, stage II, deployment, and the report on that.

    result = run_pipeline(run, say=print)

What is done stays done: `resume` begins where an earlier run ended, inside a stage if need be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtquant.llm.deploy import deploy
from mtquant.llm.gate import Verdict, require_batches
from mtquant.llm.judging import Report, stage_answers, test_figures
from mtquant.llm.stages import LlmRun

Say = Callable[[str], None]
SHOWN = ("accuracy", "stage1_reward", "stage2_reward", "ece", "parse_rate")


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline came to.

    Attributes:
        verdict: The gate's.
        before, after: Figures of sampled answers to the same test prompts, after supervised
            training and of the deployed model (`judging.test_figures`).
        agreement: Of the deployed model with the trained one.
        folder: The deployed model.
        report: The page that holds it beside its rivals, and what it comes to.
    """

    verdict: Verdict
    before: dict[str, float]
    after: dict[str, float]
    agreement: dict[str, float]
    folder: Path
    report: Report


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
    before = test_figures(run, stage_answers(run, "sft"))
    say(line("references, test", before))
    run.stage("stage1", resume=resume)
    verdict = run.gate()
    say(line("stage I, validation", verdict.figures))
    for condition in verdict.conditions:
        found, needed = condition.found, condition.needed
        say(f"gate {condition.mark:9} {condition.name}: {found}; needed {needed}")
    run.require_passed(verdict)
    run.stage("stage2", resume=resume)
    deployed = deploy(run, run.folder / "stage2", verdict.record(), run.folder / "report")
    after = deployed.figures
    say(line("deployed, test", after))
    run.note("test", {"before": before, "after": after})
    return PipelineResult(
        verdict, before, after, deployed.agreement, run.folder / "deploy", deployed.report
    )


def line(title: str, figures: dict[str, float]) -> str:
    """The figures that matter most, in one line."""
    shown = ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
    best = figures.get("bayes_accuracy")
    known = "" if best is None else f" (best possible accuracy {best:.3f})"
    return f"{title}: {shown}{known}"
