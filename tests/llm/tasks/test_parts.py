# SPDX-License-Identifier: Apache-2.0
"""Parts by date: purged, embargoed, within the wanted days; balance without repetition."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.checked import validated
from mtquant.core.errors import ConfigError, DataError
from mtquant.core.seeding import SeedTree
from mtquant.llm.config import LlmConfig
from mtquant.llm.tasks.config import TaskConfig, TaskSplitConfig
from mtquant.llm.tasks.parts import balance, split_examples
from mtquant.llm.tasks.task import Examples

DAY = 86_400 * 10**9
FIRST = 16_000 * DAY  # 2013-10-22


def examples(days: int = 100, per_day: int = 3) -> Examples:
    stamps = np.repeat(FIRST + np.arange(days) * DAY + DAY // 2, per_day)
    labels = (np.arange(len(stamps)) % 4 == 0).astype(np.int64)
    text = tuple(str(row) for row in range(len(stamps)))
    return Examples(text, text, stamps, {"label": labels}, "hash")


def test_parts_leave_out_purge_and_embargo():
    config = TaskSplitConfig(purge_days=2, embargo_days=5)
    parts = split_examples(examples(), config)
    days = {name: np.unique((part.stamps - FIRST) // DAY).tolist() for name, part in parts.items()}
    # Cuts at 60 % and 80 % of the 99 days between the first and the last.
    assert days["train"] == list(range(58))
    assert days["validation"] == list(range(65, 78))
    assert days["test"] == list(range(85, 100))
    assert all(len(part) == 3 * len(days[name]) for name, part in parts.items())


def test_decisions_outside_of_the_wanted_days_are_left_out():
    config = TaskSplitConfig(first_day="2013-10-24", last_day="2014-01-01")
    parts = split_examples(examples(), config)
    assert (parts["train"].stamps[0] - FIRST) // DAY == 2
    assert (parts["test"].stamps[-1] - FIRST) // DAY == 71  # the last day is kept
    with pytest.raises(DataError, match="leave examples"):
        split_examples(examples(), TaskSplitConfig(first_day="2030-01-01"))


def test_balance_draws_without_repetition_and_keeps_the_order():
    even = balance(examples(), 2, SeedTree(0))
    assert even.columns["label"].mean() == 0.5
    assert len(set(even.prompts)) == len(even) == 150
    assert (np.diff(even.stamps) >= 0).all()
    assert balance(examples(), 2, SeedTree(0)).prompts == even.prompts
    assert balance(examples(), 2, SeedTree(1)).prompts != even.prompts
    with pytest.raises(DataError, match="every class"):
        balance(examples(), 3, SeedTree(0))


def test_examples_refuse_what_does_not_fit():
    good = examples()
    with pytest.raises(DataError, match="one entry"):
        Examples(good.prompts[1:], good.answers, good.stamps, good.columns, "hash")
    with pytest.raises(DataError, match="must not fall"):
        Examples(good.prompts, good.answers, good.stamps[::-1], good.columns, "hash")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"source": "tables"}, "stocks.prices"),
        ({"name": "odds_1x2", "source": "tables"}, "odds.games"),
        (
            {"name": "odds_1x2", "source": "tables", "odds": {"games": "x"}},
            "be football for odds_1x2",
        ),
        ({"name": "odds_total", "source": "bars"}, "no games"),
        ({"nmae": "odds_total"}, "name"),
    ],
)
def test_configurations_that_cannot_be(values, field):
    with pytest.raises(ConfigError, match=field):
        validated(TaskConfig, values)


def test_keys_that_do_not_fit_together_are_told_without_all_defaults():
    values = {"task": {"name": "odds_1x2", "source": "tables", "odds": {"games": "x"}}}
    with pytest.raises(ConfigError, match=r"odds\.sport must be football") as caught:
        validated(LlmConfig, values)
    assert str(caught.value).endswith("Correct one of these keys.")
