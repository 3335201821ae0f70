# SPDX-License-Identifier: Apache-2.0
"""The synthetic stock task: its ceiling is the theory's, and the same seed gives the same bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.rewards.calibration import reliability


def config(**changes) -> TaskConfig:
    small = {"synthetic": {"train": 400, "validation": 100, "test": 4_000}}
    return TaskConfig.model_validate({**small, **changes})


@pytest.fixture(scope="module")
def task():
    return make_task(config())


def test_the_best_rule_is_as_good_as_theory_says(task):
    test = task.examples("test", balanced=False)
    chance, label = test.columns["bayes_chance"], test.columns["label"]
    # Sheppard 1899: 1/2 + asin(0.85) / pi = 0.823; 4,000 draws have a standard error of 0.006.
    assert np.mean((chance > 0.5) == label) == pytest.approx(0.823, abs=0.02)
    assert reliability(chance, label).error < 0.03
    # The rule needs nothing that the prompt does not show.
    assert np.array_equal(chance > 0.5, test.columns["feature:change_1"] > 0.0)


def test_the_prompt_shows_the_facts_and_not_the_outcome(task):
    test = task.examples("test", balanced=False)
    for row in range(50):
        prompt = test.prompts[row]
        assert f"({test.columns['feature:change_1'][row]:+.2f}%)\nDay 5: ?\n" in prompt
        assert f"{100 * test.columns['realised_return'][row]:+.2f}%" not in prompt


def test_the_same_seed_gives_the_same_bytes(task):
    again, other = make_task(config()), make_task(config(seed=1))
    one, two = (t.examples("train", balanced=True) for t in (task, again))
    assert one.prompts == two.prompts and one.answers == two.answers
    assert other.examples("train", balanced=True).prompts != one.prompts


def test_parts_follow_each_other_and_share_no_event(task):
    parts = [task.examples(name, balanced=False) for name in ("train", "validation", "test")]
    for early, late in itertools.pairwise(parts):
        assert early.stamps[-1] < late.stamps[0]
        assert not set(early.columns["event"]) & set(late.columns["event"])


def test_a_balanced_set_has_equally_many_of_each():
    drifting = make_task(config(synthetic={"train": 400, "drift_percent": 0.5}))
    natural = drifting.examples("train", balanced=False).columns["label"]
    even = drifting.examples("train", balanced=True)
    assert natural.mean() > 0.55
    assert even.columns["label"].mean() == 0.5
    assert (np.diff(even.stamps) > 0).all()


def test_reference_answers_parse_and_say_what_was_asked_for(task):
    train = task.examples("train", balanced=False)
    read = [task.parse(*pair) for pair in zip(train.prompts, train.answers, strict=True)]
    assert all(answer is not None for answer in read)
    says = np.array([answer.says == "UP" for answer in read])
    assert np.array_equal(says, train.columns["label"])
    sure = np.abs(train.columns["bayes_chance"] - 0.5)
    assert np.corrcoef([answer.confidence for answer in read], sure)[0, 1] > 0.8
    likely = make_task(config(answer={"prediction": "likely", "confidence": "random"}))
    train = likely.examples("train", balanced=False)
    read = [task.parse(*pair) for pair in zip(train.prompts, train.answers, strict=True)]
    says = np.array([answer.says == "UP" for answer in read])
    assert np.array_equal(says, train.columns["bayes_chance"] > 0.5)
    assert abs(np.corrcoef([answer.confidence for answer in read], sure)[0, 1]) < 0.2


def test_what_is_written_is_what_is_read(task):
    test = task.examples("test", balanced=False).take(np.arange(100))
    chance = np.round(test.columns["bayes_chance"], 2)
    chances = np.column_stack([1.0 - chance, chance])
    for prompt, text, stated in zip(test.prompts, task.write(test, chances), chances, strict=True):
        np.testing.assert_allclose(task.parse(prompt, text).chances, stated, atol=1e-9)
