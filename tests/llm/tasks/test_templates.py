# SPDX-License-Identifier: Apache-2.0
"""Templates have an identity, and the instructed one asks for what the parser reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtquant.llm.tasks.catalog import KINDS, make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.templates import template_of

SMALL = {"synthetic": {"train": 40, "validation": 10, "test": 10}}


def test_every_text_has_a_hash_of_its_own():
    templates = [template_of(task, style) for task in KINDS for style in ("compact", "instructed")]
    assert len({template.hash for template in templates}) == len(templates)
    assert replace(templates[0], version=99).hash != templates[0].hash
    assert template_of("odds_total", "compact").hash == template_of("odds_total", "compact").hash


@pytest.mark.parametrize("name", KINDS)
def test_an_instruction_changes_neither_facts_nor_answers(name):
    plain = make_task(TaskConfig.model_validate({"name": name, **SMALL}))
    asked = make_task(TaskConfig.model_validate({"name": name, "template": "instructed", **SMALL}))
    short, long = (task.examples("train", balanced=False) for task in (plain, asked))
    assert short.answers == long.answers
    for brief, full in zip(short.prompts, long.prompts, strict=True):
        assert full.endswith(brief) and "Prediction: <" in full
    rewards = [
        task.reward("stage1")(part.prompts, part.answers, part.columns)
        for task, part in ((plain, short), (asked, long))
    ]
    assert rewards[0].parsed.all()
    assert (rewards[0].total == rewards[1].total).all()
    assert plain.template_hash != asked.template_hash


def test_the_corpus_is_the_training_part_alone():
    task = make_task(TaskConfig.model_validate(SMALL))
    train, test = (task.examples(part, balanced=False) for part in ("train", "test"))
    texts = list(task.corpus())
    assert texts == [one + two for one, two in zip(train.prompts, train.answers, strict=True)]
    assert not set(texts) & {one + two for one, two in zip(test.prompts, test.answers, strict=True)}
    assert {"UP", "Prediction:", "OMNI"} <= set(task.domain_words())
