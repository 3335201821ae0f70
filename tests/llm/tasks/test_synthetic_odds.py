# SPDX-License-Identifier: Apache-2.0
"""The synthetic odds tasks: their chances are true, and the bookmaker can be beaten by them."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.rewards.calibration import reliability

TASKS = ["odds_winner", "odds_spread", "odds_total", "odds_1x2"]
SMALL = {"synthetic": {"train": 100, "validation": 50, "test": 6_000}}


@pytest.mark.parametrize("name", TASKS)
def test_the_known_chances_are_true_and_beat_the_market(name):
    task = make_task(TaskConfig.model_validate({"name": name, **SMALL}))
    test = task.examples("test", balanced=False)
    count = len(task.classes)
    bayes = np.column_stack([test.columns[f"bayes_chance_{k}"] for k in range(count)])
    market = np.column_stack([test.columns[f"market_{k}"] for k in range(count)])
    labels = test.columns["label"]
    for k in range(count):
        table = reliability(bayes[:, k], (labels == k).astype(np.int64))
        assert table.error < 0.03  # 6,000 games in ten bins: a standard error of about 0.01
    scores = {}
    for forecast, chances in {"bayes": bayes, "market": market}.items():
        written = task.write(test, chances)
        scored = task.reward("stage1")(test.prompts, written, test.columns)
        assert scored.parsed.all()
        scores[forecast] = scored
    # Prices err by 0.35 in log odds and hold 4 % of margin.
    assert scores["bayes"].parts["score"].mean() > scores["market"].parts["score"].mean()
    assert scores["bayes"].parts["growth"].mean() > 0.0
    # Whole percent find an edge at long odds now and then; it is none on average.
    assert abs(scores["market"].parts["growth"].mean()) < 0.001
