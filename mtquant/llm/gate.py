# SPDX-License-Identifier: Apache-2.0
"""The gate between the stages: spec 002's four signs that stage I has worked, made checkable.

The spec asks for rewards above 0.7, accuracy above 80 %, sound reasons and a low, steady loss. A
coin flip in perfect form earns 0.85 of 1, so the reward is also held against what the base-rate
answer earns; and what accuracy can be reached is a property of the data, so it is held against the
best possible one where that is known, and else against the base rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.config import GateConfig
from mtquant.llm.job import Trained
from mtquant.llm.tasks.task import Examples, Stage, Task
from mtquant.rewards.calibration import reliability
from mtquant.rewards.scoring import brier_loss

Float = NDArray[np.float64]
REASONING = ("data_usage", "coherence")


@dataclass(frozen=True)
class Condition:
    """One thing that has to hold.

    Attributes:
        name: What it is about.
        found, needed: Texts for people.
        met: Whether it holds.
    """

    name: str
    found: str
    needed: str
    met: bool


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
        """Whether every condition holds."""
        return all(condition.met for condition in self.conditions)

    @property
    def missing(self) -> list[str]:
        """The conditions that do not, each in a sentence."""
        return [f"{c.name}: {c.found}, needed {c.needed}" for c in self.conditions if not c.met]

    def record(self) -> dict[str, Any]:
        """Plain values, for a report card."""
        conditions = [asdict(condition) for condition in self.conditions]
        return {"passed": self.passed, "conditions": conditions, "figures": self.figures}


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


def measure(
    task: Task, examples: Examples, completions: Sequence[str], stage: Stage, confidence: float
) -> dict[str, float]:
    """Figures of sampled answers; NaN where there is nothing to measure.

    Args:
        task: What was asked.
        examples: The prompts.
        completions: An answer to each.
        stage: Whose reward counts.
        confidence: Of the interval of the gain over the base-rate answer.
    """
    base = base_chances(task)
    reward = task.reward(stage)
    scores = reward(examples.prompts, completions, examples.columns)
    plain = reward(examples.prompts, task.write(examples, base), examples.columns)
    labels = examples.columns["label"]
    gains = scores.total - plain.total
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    found = {
        "reward": float(scores.total.mean()),
        "base_rate_reward": float(plain.total.mean()),
        "reward_gain": float(gains.mean()),
        "reward_gain_low": float(gains.mean() - reach * error),
        "reward_gain_high": float(gains.mean() + reach * error),
        "parse_rate": float(scores.parsed.mean()),
        "base_rate_accuracy": float((labels == base.argmax()).mean()),
        **{name: float(values.mean()) for name, values in scores.parts.items()},
    }
    best = best_accuracy(examples)
    if best is not None:
        found["bayes_accuracy"] = best
    reached = [float(plain.parts[name].mean()) for name in REASONING if name in plain.parts]
    if sum(reached) > 0.0:
        own = [float(scores.parts[name].mean()) for name in REASONING if name in plain.parts]
        found["reasoning"] = sum(own) / sum(reached)
    return found | _forecast_figures(task, examples, completions, base)


def _forecast_figures(
    task: Task, examples: Examples, completions: Sequence[str], base: Float
) -> dict[str, float]:
    """Accuracy (what does not parse is wrong), skill, calibration and resolution of what does."""
    answers = [task.parse(p, c) for p, c in zip(examples.prompts, completions)]
    read = np.array([answer is not None for answer in answers])
    labels = np.asarray(examples.columns["label"])
    if not read.any():
        return {"accuracy": 0.0, "skill": -1.0, "ece": 1.0}
    chances = np.stack([answer.chances for answer in answers if answer is not None])
    happened = labels[read]
    hits = np.array([answer.predicted for answer in answers if answer is not None]) == happened
    stated = np.array([answer.confidence for answer in answers if answer is not None])
    loss, plain = (
        brier_loss(chances, happened),
        brier_loss(np.tile(base, (len(happened), 1)), happened),
    )
    found = {
        "accuracy": float(hits.sum() / len(labels)),
        "skill": float(1.0 - loss.mean() / plain.mean()),
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


def judge(figures: dict[str, float], trained: Trained, config: GateConfig) -> Verdict:
    """Holds figures of the validation set and the history of training against the conditions."""
    conditions = [
        _steady_rewards(trained, config),
        _beats_base_rate(figures),
        *_accurate(figures, config),
        _at_least("answers that can be read", figures["parse_rate"], config.parse_rate_above),
        _low_loss(trained, config),
    ]
    if "reasoning" in figures:
        conditions.append(
            _at_least("reasoning quality", figures["reasoning"], config.reasoning_above)
        )
    return Verdict(tuple(conditions), figures)


def _at_least(name: str, found: float, needed: float) -> Condition:
    return Condition(name, f"{found:.3f}", f"{needed:.3f} or more", found >= needed)


def _steady_rewards(trained: Trained, config: GateConfig) -> Condition:
    last = trained.rewards[-config.reward_batches :]
    lowest = min(last, default=float("-inf"))
    needed = f"each of the last {config.reward_batches} batches above {config.reward_above}"
    found = f"lowest of {len(last)} batches {lowest:.3f}"
    return Condition("consistent rewards", found, needed, lowest > config.reward_above)


def _beats_base_rate(figures: dict[str, float]) -> Condition:
    low, high = figures["reward_gain_low"], figures["reward_gain_high"]
    found = f"gain {figures['reward_gain']:+.4f}, interval {low:+.4f} to {high:+.4f}"
    needed = "the whole interval above 0"
    return Condition("reward above the base-rate answer's", found, needed, low > 0.0)


def _accurate(figures: dict[str, float], config: GateConfig) -> list[Condition]:
    accuracy = figures["accuracy"]
    conditions = []
    if config.accuracy_above is not None:
        conditions.append(_at_least("accuracy", accuracy, config.accuracy_above))
    if "bayes_accuracy" in figures:
        needed = figures["bayes_accuracy"] - config.bayes_gap
        conditions.append(_at_least("accuracy near the best possible", accuracy, needed))
    else:
        skill = figures["skill"]
        needed_text = f"above {config.skill_above:.3f}"
        conditions.append(
            Condition(
                "skill over the base rate",
                f"{skill:+.4f}",
                needed_text,
                skill > config.skill_above,
            )
        )
    return conditions


def _low_loss(trained: Trained, config: GateConfig) -> Condition:
    """Steady: the last losses scatter no more than those before them did, and have not left their
    range. A policy's loss has no natural level, so nothing is asked of its height.
    """
    losses = np.array(trained.losses)
    before, last = losses[: -config.reward_batches], losses[-config.reward_batches :]
    needed = f"finite and at most {config.loss_spread} of those before"
    if len(before) < 2 or not np.isfinite(losses).all():
        found = f"{len(losses)} losses, {int(np.isfinite(losses).sum())} of them finite"
        return Condition("steady loss", found, needed, False)
    usual = float(before.std())
    spread, rise = float(last.std()), float(last.mean() - before.mean())
    found = f"spread of the last {len(last)} is {spread:.3g} and was {usual:.3g}; rise {rise:+.3g}"
    steady = max(spread, rise) <= config.loss_spread * usual
    return Condition("steady loss", found, needed, steady)
