# SPDX-License-Identifier: Apache-2.0
"""The gate between the stages: spec 002's four signs that stage I has worked, made checkable.

The spec asks for rewards above 0.7, accuracy above 80 %, sound reasons and a low, steady loss. A
coin flip in perfect form earns 0.85 of 1, so the reward is also held against what the base-rate
answer earns; and what accuracy can be reached is a property of the data, so it is held against the
best possible one where that is known, and else against the base rate.

What cannot be told, for want of batches or of days, is missing; a condition that nobody asked for
stands in the verdict as such. Intervals resample whole days: what happened on one is dependent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.llm.config import GateConfig, LlmConfig
from mtquant.llm.evaluation.scores import Resamples
from mtquant.llm.job import Trained
from mtquant.llm.tasks.task import Examples, Stage, Task
from mtquant.rewards.calibration import reliability
from mtquant.rewards.scoring import brier_loss

Float = NDArray[np.float64]
NAN = float("nan")
REASONING = ("data_usage", "coherence")
SPEC_REWARD = 0.7  # spec 002's, on the scale of its own reward
DRAWS = 1_000
FEWEST_DAYS = 20  # of which an interval can be told
FEWEST_LOSSES = 5  # by whose spread later ones are judged


@dataclass(frozen=True)
class Condition:
    """One thing that has to hold.

    Attributes:
        name: What it is about.
        found, needed: Texts for people.
        met: Whether it holds; None where it is not asked for.
    """

    name: str
    found: str
    needed: str
    met: bool | None

    @property
    def mark(self) -> str:
        """One word for people."""
        return "not asked" if self.met is None else "ok" if self.met else "MISSING"


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        conditions: All of them.
        figures: The numbers behind them.
    """

    conditions: tuple[Condition, ...]
    figures: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every condition that is asked for holds."""
        return all(condition.met is not False for condition in self.conditions)

    @property
    def missing(self) -> list[str]:
        """The conditions that do not, each in a sentence."""
        return [
            f"{c.name}: {c.found}, needed {c.needed}" for c in self.conditions if c.met is False
        ]

    def record(self) -> dict[str, Any]:
        """Plain values, for a report card."""
        conditions = [asdict(condition) for condition in self.conditions]
        return {"passed": self.passed, "conditions": conditions, "figures": self.figures}


def require_batches(config: LlmConfig) -> None:
    """Refuses, before any work, a stage I too short for a gate that insists.

    Raises:
        ConfigError: It has fewer batches than the gate asks for.
    """
    # DPO notes a reward before its first round and one after each.
    counts = {
        "ppo": config.ppo.num_rollouts,
        "grpo": config.grpo.max_steps,
        "dpo": config.dpo.rounds + 1,
    }
    algorithm, wanted = config.stages.algorithm, config.gate.reward_batches
    # A round of DPO has many losses; the others have one a batch, and some must come before.
    most = counts[algorithm] - (0 if algorithm == "dpo" else FEWEST_LOSSES)
    if config.gate.insist and most < wanted:
        rule = f"must be at most {most} for {counts[algorithm]} batches of stage I of {algorithm}"
        remedy = "Ask for fewer, or train longer; the gate cannot be passed otherwise."
        raise ConfigError("gate.reward_batches", rule, wanted, remedy)


def base_chances(task: Task) -> Float:
    """Shares of the classes in the natural training part, float64 [K]: what an answer that knows
    nothing about a prompt should say.
    """
    labels = task.examples("train", balanced=False).columns["label"]
    return np.bincount(labels, minlength=len(task.classes)) / len(labels)


def best_accuracy(examples: Examples) -> float | None:
    """Share of outcomes that the best possible rule foresees; None where it is not known."""
    labels = examples.columns["label"]
    if "bayes_chance" in examples.columns:
        return float(((examples.columns["bayes_chance"] > 0.5) == labels).mean())
    names = sorted(name for name in examples.columns if name.startswith("bayes_chance_"))
    if not names:
        return None
    chances = np.column_stack([examples.columns[name] for name in names])
    return float((chances.argmax(axis=1) == labels).mean())


def training_base_reward(task: Task) -> float:
    """What the answer that states the shares of the classes earns in stage I's training: the level
    that the rewards of its batches have to be above.
    """
    examples = task.examples("train", balanced=True)
    labels = examples.columns["label"]
    shares = np.bincount(labels, minlength=len(task.classes)) / len(labels)
    written = task.write(examples, shares)
    scores = task.reward("stage1")(examples.prompts, written, examples.columns)
    return float(scores.total.mean())


def measure(
    task: Task, examples: Examples, completions: Sequence[str], stage: Stage, confidence: float
) -> dict[str, float]:
    """Figures of sampled answers; NaN where there is nothing to measure.

    Rewards are named after their stage, since those of two stages are different sums.

    Args:
        task: What was asked.
        examples: The prompts.
        completions: An answer to each.
        stage: Whose reward counts.
        confidence: Of the intervals.
    """
    base = base_chances(task)
    labels = examples.columns["label"]
    found = {"base_rate_accuracy": float((labels == base.argmax()).mean())}
    best = best_accuracy(examples)
    if best is not None:
        found["bayes_accuracy"] = best
    found |= _reward_figures(task, examples, completions, stage, confidence)
    return found | _forecast_figures(task, examples, completions, base, confidence)


def _reward_figures(
    task: Task, examples: Examples, completions: Sequence[str], stage: Stage, confidence: float
) -> dict[str, float]:
    """Mean reward, its parts, and its gain over that of the base-rate answer with an interval."""
    reward = task.reward(stage)
    scores = reward(examples.prompts, completions, examples.columns)
    written = task.write(examples, base_chances(task))
    plain = reward(examples.prompts, written, examples.columns)
    gains = scores.total - plain.total
    resamples = _resamples(examples, gains, "gain")
    low, high = (NAN, NAN)
    if resamples.days >= FEWEST_DAYS:
        low, high = resamples.mean_interval(gains, confidence)
    found = {
        "reward": float(scores.total.mean()),
        "base_rate_reward": float(plain.total.mean()),
        "reward_gain": float(gains.mean()),
        "reward_gain_low": low,
        "reward_gain_high": high,
        **{f"reward_{name}": float(values.mean()) for name, values in scores.parts.items()},
    }
    named = {f"{stage}_{name}": value for name, value in found.items()}
    named["parse_rate"] = float(scores.parsed.mean())
    reached = [float(plain.parts[name].mean()) for name in REASONING if name in plain.parts]
    if sum(reached) > 0.0:
        own = [float(scores.parts[name].mean()) for name in REASONING if name in plain.parts]
        named["reasoning"] = sum(own) / sum(reached)
    return named


def _resamples(examples: Examples, values: Float, name: str) -> Resamples:
    generator = SeedTree(0).child("llm", "gate", name).generator()
    return Resamples(examples.stamps, values, DRAWS, generator)


def _forecast_figures(
    task: Task, examples: Examples, completions: Sequence[str], base: Float, confidence: float
) -> dict[str, float]:
    """Accuracy (what does not parse is wrong), skill, calibration and resolution of what does."""
    answers = [task.parse(p, c) for p, c in zip(examples.prompts, completions)]
    read = np.array([answer is not None for answer in answers])
    labels = np.asarray(examples.columns["label"])
    if not read.any():
        return {"accuracy": 0.0, "skill": -1.0, "skill_low": NAN, "skill_high": NAN, "ece": 1.0}
    chances = np.stack([answer.chances for answer in answers if answer is not None])
    happened = labels[read]
    hits = np.array([answer.predicted for answer in answers if answer is not None]) == happened
    stated = np.array([answer.confidence for answer in answers if answer is not None])
    plain = brier_loss(np.tile(base, (len(happened), 1)), happened)
    better = plain - brier_loss(chances, happened)
    resamples = _resamples(examples.take(read), better, "skill")
    low, high = (NAN, NAN)
    if resamples.days >= FEWEST_DAYS:
        low, high = resamples.ratio_interval(better, plain, confidence)
    found = {
        "accuracy": float(hits.sum() / len(labels)),
        "skill": float(better.mean() / plain.mean()),
        "skill_low": low,
        "skill_high": high,
        "ece": reliability(stated, hits.astype(np.int64)).error,
        "confidence": float(stated.mean()),
    }
    if "bayes_chance" in examples.columns:
        true = np.asarray(examples.columns["bayes_chance"])[read]
        found["confidence_correlation"] = _correlation(stated, np.maximum(true, 1.0 - true))
        found["chance_correlation"] = _correlation(chances[:, 1], true)
    return found


def _correlation(a: Float, b: Float) -> float:
    """0 where one of them does not vary."""
    if a.std() == 0.0 or b.std() == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def judge(figures: dict[str, float], trained: Trained, config: GateConfig, task: str) -> Verdict:
    """Holds figures of the validation set and the history of training against the conditions.

    Args:
        figures: Of `measure` for stage I, and ``training_base_reward``.
        trained: What stage I did.
        config: Thresholds.
        task: Name of the task.
    """
    conditions = (
        _steady_rewards(figures, trained, config, task),
        _beats_base_rate(figures),
        *_accurate(figures, config),
        _at_least("answers that can be read", figures["parse_rate"], config.parse_rate_above),
        _reasoned(figures, config),
        _low_loss(trained, config),
    )
    return Verdict(conditions, figures)


def _at_least(name: str, found: float, needed: float) -> Condition:
    return Condition(name, f"{found:.3f}", f"{needed:.3f} or more", found >= needed)


def _steady_rewards(
    figures: dict[str, float], trained: Trained, config: GateConfig, task: str
) -> Condition:
    """Every one of the last batches above a level; or, on a scale for which the spec names none,
    their mean above the base-rate answer's by more than they scatter.
    """
    name, count = "consistent rewards", config.reward_batches
    last = np.array(trained.rewards[-count:])
    spec = SPEC_REWARD if task == "stock_direction" else None
    level = spec if config.reward_above is None else config.reward_above
    if level is None:
        base = figures["training_base_reward"]
        needed = f"their mean above the base-rate answer's {base:.3f} by more than chance"
    else:
        needed = f"each of the last {count} batches above {level}"
    if len(last) < count or not np.isfinite(last).all():
        return Condition(name, f"unknown: {len(last)} of {count} batches", needed, False)
    if level is not None:
        found = f"lowest of {count} batches {last.min():.3f}"
        return Condition(name, found, needed, bool(last.min() > level))
    reach = NormalDist().inv_cdf(0.5 + config.confidence / 2.0)
    error = reach * float(last.std(ddof=1)) / np.sqrt(count) if count > 1 else NAN
    found = f"mean of the last {count} batches {last.mean():.3f}, give or take {error:.3f}"
    return Condition(name, found, needed, bool(last.mean() - error > base))


def _beats_base_rate(figures: dict[str, float]) -> Condition:
    found = _with_interval(figures, "stage1_reward_gain")
    met = figures["stage1_reward_gain_low"] > 0.0
    needed = "the whole interval above 0"
    return Condition("reward above the base-rate answer's", found, needed, met)


def _with_interval(figures: dict[str, float], name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    if not np.isfinite([low, high]).all():
        return f"{figures[name]:+.4f}, interval unknown: fewer than {FEWEST_DAYS} days"
    return f"{figures[name]:+.4f}, interval {low:+.4f} to {high:+.4f}"


def _accurate(figures: dict[str, float], config: GateConfig) -> list[Condition]:
    accuracy, asked = figures["accuracy"], config.accuracy_above
    if asked is None:
        needed = "gate.accuracy_above is null"
        plain = Condition("accuracy", f"{accuracy:.3f}", needed, None)
    else:
        plain = _at_least("accuracy", accuracy, asked)
    if "bayes_accuracy" in figures:
        least = figures["bayes_accuracy"] - config.bayes_gap
        return [plain, _at_least("accuracy near the best possible", accuracy, least)]
    needed = f"the whole interval above {config.skill_above:.3f}"
    met = figures["skill_low"] > config.skill_above
    found = _with_interval(figures, "skill")
    return [plain, Condition("skill over the base rate", found, needed, met)]


def _reasoned(figures: dict[str, float], config: GateConfig) -> Condition:
    name = "reasoning quality"
    if "reasoning" not in figures:
        return Condition(name, "not rewarded", "task.reward gives reasoning no weight", None)
    return _at_least(name, figures["reasoning"], config.reasoning_above)


def _low_loss(trained: Trained, config: GateConfig) -> Condition:
    """Steady: the last losses scatter no more than those before them did, and have not left their
    range. A policy's loss has no natural level, so nothing is asked of its height.
    """
    losses = np.array(trained.losses)
    before, last = losses[: -config.reward_batches], losses[-config.reward_batches :]
    needed = f"finite and at most {config.loss_spread} of those before"
    if not np.isfinite(losses).all():
        found = f"{len(losses)} losses, {int(np.isfinite(losses).sum())} of them finite"
        return Condition("steady loss", found, needed, False)
    if len(before) < FEWEST_LOSSES:
        found = f"unknown: {len(before)} losses before the last {config.reward_batches}"
        return Condition("steady loss", f"{found}, and {FEWEST_LOSSES} tell", needed, False)
    usual = float(before.std())
    spread, rise = float(last.std()), float(last.mean() - before.mean())
    found = f"spread of the last {len(last)} is {spread:.3g} and was {usual:.3g}; rise {rise:+.3g}"
    steady = max(spread, rise) <= config.loss_spread * usual
    return Condition("steady loss", found, needed, steady)
