# SPDX-License-Identifier: Apache-2.0
"""Three chances in steps: they add up, stay near the forecast, and keep its order."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.reference import stepped_chances
from tests.support.language import football_season


@given(
    st.lists(st.tuples(*[st.integers(1, 1_000)] * 3), min_size=1, max_size=20),
    st.integers(1, 25),
)
def test_steps_add_up_and_keep_the_order(weights, step):
    chances = np.array(weights, dtype=np.float64)
    chances /= chances.sum(axis=1, keepdims=True)
    found = 100.0 * stepped_chances(chances, step)
    np.testing.assert_allclose(found.sum(axis=1), 100.0)
    assert (found >= step - 1e-9).all()
    whole = found.copy()
    whole[np.arange(len(found)), chances.argmax(axis=1)] -= 100 % step
    np.testing.assert_allclose(whole / step, np.round(whole / step), atol=1e-9)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        larger = chances[:, a] > chances[:, b] + 1e-12
        assert (found[larger, a] >= found[larger, b] - 1e-9).all()
    # Raised to a step, nothing is further off than the two steps that raising the others takes.
    assert np.abs(found - 100.0 * chances).max() <= 3.0 * step


@pytest.mark.parametrize(
    ("chances", "percents"),
    [
        ((0.67, 0.23, 0.10), (65, 25, 10)),
        ((0.334, 0.333, 0.333), (35, 35, 30)),
        ((0.97, 0.02, 0.01), (90, 5, 5)),
    ],
)
def test_steps_of_five_by_hand(chances, percents):
    found = 100.0 * stepped_chances(np.array([chances]), 5)[0]
    assert np.round(found).astype(int).tolist() == list(percents)


@pytest.mark.parametrize("source", ["tables", "synthetic"])
def test_references_of_three_ways_are_written_in_steps(source, tmp_path):
    football_season().to_parquet(tmp_path / "games.parquet")
    odds = {"games": str(tmp_path / "games.parquet"), "sport": "football", "line": "open"}
    sizes = {"train": 200, "validation": 20, "test": 20}
    values = {"name": "odds_1x2", "source": source, "odds": odds, "synthetic": sizes}
    task = make_task(TaskConfig.model_validate(values))
    train = task.examples("train", balanced=False)
    for prompt, answer in zip(train.prompts, train.answers, strict=True):
        percents = [int(text) for text in re.findall(r"(\d+)%", answer)]
        assert sum(percents) == 100 and all(own % 5 == 0 and own > 0 for own in percents)
        said = task.parse(prompt, answer)
        assert said is not None and said.confidence == pytest.approx(max(percents) / 100)
