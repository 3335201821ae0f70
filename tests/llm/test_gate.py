# SPDX-License-Identifier: Apache-2.0
"""The gate: what is steady, what is enough, and that nothing passes because nothing was asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.core.errors import ConfigError
from mtquant.data.bars import NANOSECONDS
from mtquant.llm.config import GateConfig, load_llm_config
from mtquant.llm.gate import (
    FEWEST_DAYS,
    _low_loss,
    base_chances,
    judge,
    measure,
    require_batches,
    training_base_reward,
)
from mtquant.llm.job import Trained
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import SyntheticTaskConfig, TaskConfig
from mtquant.llm.tasks.task import Examples

CONFIG = GateConfig(reward_batches=10)
NOISE = np.random.default_rng(0).normal(1.0, 0.1, 40).tolist()
GOOD = Trained(40, rewards=[0.9] * 40, losses=NOISE)
FIGURES = {
    "accuracy": 0.6,
    "parse_rate": 1.0,
    "reasoning": 1.0,
    "stage1_reward_gain": 0.02,
    "stage1_reward_gain_low": 0.01,
    "stage1_reward_gain_high": 0.03,
    "skill": 0.02,
    "skill_low": 0.01,
    "skill_high": 0.03,
    "training_base_reward": 0.7,
}


def verdict(trained=GOOD, task="odds_winner", config=CONFIG, **changes):
    return judge(FIGURES | changes, trained, config, task)


def named(name, found):
    return next(one for one in found.conditions if one.name == name)


@pytest.mark.parametrize(
    ("losses", "steady"),
    [
        (NOISE, True),
        (np.linspace(2.0, 1.0, 14).tolist() + [1.0] * 10, True),  # it fell, and stays
        (NOISE[:14] + np.geomspace(1.0, 1e6, 10).tolist(), False),  # the demo's 24 updates
        (NOISE[:30] + [5.0] * 10, False),  # steady at another level
        (NOISE[:30] + [float("nan")] * 10, False),
        (NOISE[:10], False),  # nothing to compare with
        (NOISE[:14], False),  # four tell nothing of a spread
        (NOISE[:5] * 3, True),
        ([], False),
    ],
)
def test_a_loss_is_steady_beside_what_it_was(losses: list[float], steady: bool) -> None:
    condition = _low_loss(Trained(len(losses), losses=losses), CONFIG)
    assert condition.met is steady


@pytest.mark.parametrize("task", ["stock_direction", "odds_winner"])
@pytest.mark.parametrize("rewards", [[], [0.9], [0.9] * 9, [0.9] * 9 + [float("nan")]])
def test_too_few_batches_are_unknown_and_do_not_pass(task, rewards):
    found = named("consistent rewards", verdict(replace(GOOD, rewards=rewards), task))
    assert found.met is False and found.found.startswith("unknown: ")


@pytest.mark.parametrize(
    ("task", "config", "rewards", "met"),
    [
        ("stock_direction", CONFIG, [0.2] * 5 + [0.71] * 10, True),
        ("stock_direction", CONFIG, [0.9] * 9 + [0.69], False),
        # Odds: their mean against the base-rate answer's 0.7, beyond what they scatter.
        ("odds_winner", CONFIG, [0.71, 0.73] * 5, True),
        ("odds_winner", CONFIG, [0.55, 0.87] * 5, False),
        ("odds_winner", CONFIG, [0.69] * 10, False),
        # A number of one's own holds for every task.
        ("odds_winner", GateConfig(reward_above=0.75), [0.74] * 10, False),
        ("stock_direction", GateConfig(reward_above=0.5), [0.6] * 10, True),
    ],
)
def test_rewards_are_consistently_above_a_level_that_fits_the_task(task, config, rewards, met):
    trained = replace(GOOD, rewards=rewards)
    assert named("consistent rewards", verdict(trained, task, config)).met is met


def test_what_is_not_asked_is_said_and_what_is_unknown_is_missing():
    whole = verdict()
    assert whole.passed
    assert (named("accuracy", whole).met, named("accuracy", whole).mark) == (None, "not asked")
    assert not verdict(config=GateConfig(accuracy_above=0.8)).passed
    unrewarded = {k: v for k, v in FIGURES.items() if k != "reasoning"}
    assert named("reasoning quality", judge(unrewarded, GOOD, CONFIG, "odds_total")).met is None
    for name in ("skill_low", "stage1_reward_gain_low", "parse_rate", "reasoning"):
        assert not verdict(**{name: float("nan")}).passed
    assert not verdict(skill_low=-0.001).passed  # skill of 0.02 that may be none
    assert verdict(skill_low=-1.0, bayes_accuracy=0.62).passed  # the best is known: no skill asked


@pytest.fixture(scope="module")
def task():
    return make_task(TaskConfig(synthetic=SyntheticTaskConfig(train=400, validation=40, test=400)))


def measured(task, examples, chances):
    return measure(task, examples, task.write(examples, chances), "stage1", 0.95)


def test_outcomes_of_one_day_are_one_observation(task):
    """20 stocks that rise or fall together on each of 40 days are 40 observations and not 800."""
    examples, day = task.examples("test", balanced=False), 86_400 * NANOSECONDS
    generator = np.random.default_rng(1)
    of_class = [np.flatnonzero(examples.columns["label"] == label) for label in (0, 1)]
    outcomes = np.repeat(np.arange(40) % 2, 20).reshape(40, 20)[generator.permutation(40)]
    rows = np.array([generator.choice(of_class[label]) for label in outcomes.ravel()])
    rows = rows.reshape(outcomes.shape).ravel()
    widths = {}
    for name, order, per_day in (
        ("together", np.arange(800), 20),
        ("apart", generator.permutation(800), 1),
        ("few", np.arange(800), 60),
    ):
        own = Examples(
            tuple(examples.prompts[row] for row in rows[order]),
            tuple(examples.answers[row] for row in rows[order]),
            np.arange(800) // per_day * day,
            {key: column[rows[order]] for key, column in examples.columns.items()},
            examples.template_hash,
        )
        found = measured(task, own, np.array([0.3, 0.7]))
        widths[name] = {
            key: found[f"{key}_high"] - found[f"{key}_low"]
            for key in ("stage1_reward_gain", "skill")
        }
    for key, width in widths["together"].items():
        assert width == pytest.approx(np.sqrt(20.0) * widths["apart"][key], rel=0.35)
        assert np.isnan(widths["few"][key]) and FEWEST_DAYS > 800 / 60


def test_rewards_of_two_stages_have_two_names(task):
    examples = task.examples("test", balanced=False)
    texts = task.write(examples, np.array([0.4, 0.6]))
    first, second = (measure(task, examples, texts, s, 0.95) for s in ("stage1", "stage2"))
    assert "reward" not in first | second
    both = first | second
    scores = {s: task.reward(s)(examples.prompts, texts, examples.columns).total.mean()
              for s in ("stage1", "stage2")}  # fmt: skip
    assert both["stage1_reward"] == pytest.approx(scores["stage1"])
    assert both["stage2_reward"] == pytest.approx(scores["stage2"])
    assert scores["stage1"] != scores["stage2"]
    assert both["accuracy"] == pytest.approx(float((examples.columns["label"] == 1).mean()))
    assert {"stage1_reward_accuracy", "stage2_reward_skew"} <= set(both)
    assert both["base_rate_accuracy"] >= 0.4 and base_chances(task).sum() == pytest.approx(1.0)


def test_the_level_of_training_is_that_of_knowing_nothing(task):
    assert training_base_reward(task) == pytest.approx(0.85, abs=0.01)


def test_a_stage_too_short_for_the_gate_is_refused_before_work():
    with pytest.raises(ConfigError, match=r"gate.reward_batches must be at most 4"):
        require_batches(load_llm_config(None, ["stages.algorithm=dpo"]))
    require_batches(load_llm_config(None, ["stages.algorithm=dpo", "gate.reward_batches=4"]))
    require_batches(load_llm_config(None, ["stages.algorithm=dpo", "gate.insist=false"]))
    with pytest.raises(ConfigError, match=r"at most 9 for 14 batches of stage I of ppo"):
        require_batches(load_llm_config(None, ["stages.algorithm=ppo", "ppo.num_rollouts=14"]))
    require_batches(load_llm_config(None, ["stages.algorithm=ppo", "ppo.num_rollouts=15"]))
