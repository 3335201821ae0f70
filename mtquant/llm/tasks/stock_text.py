# SPDX-License-Identifier: Apache-2.0
"""The words of stock prompts and of their reference answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.task import Examples
from mtquant.llm.tasks.templates import Template

CLASSES = ("DOWN", "UP")
# What a reference reasoning concludes: by whether it says UP, and whether the last day agrees.
CONCLUSIONS = {
    (True, True): "momentum is up.",
    (False, True): "momentum is down.",
    (True, False): "a rebound is likely.",
    (False, False): "a pullback is likely.",
}


def history_text(closes: Sequence[float], changes: Sequence[float]) -> str:
    """One line per day: its close and, from the second on, the change from the day before.

    Args:
        closes: D closes, dollars.
        changes: D changes, percent; the first is not shown, since its day before is not.
    """
    lines = [f"Day 1: ${closes[0]:.2f}\n"]
    for day in range(1, len(closes)):
        lines.append(f"Day {day + 1}: ${closes[day]:.2f} ({changes[day]:+.2f}%)\n")
    return "".join(lines)


def stock_prompt(
    template: Template, company: str, closes: Sequence[float], changes: Sequence[float], facts: str
) -> str:
    """A whole prompt; `facts` is what stands between the prices and the question."""
    history = history_text(closes, changes)
    return template.prompt.format(
        company=company, history=history, facts=facts, next_day=len(closes) + 1
    )


def stock_answer(
    template: Template, says_up: bool, percent: int, days: int, changes: Sequence[float]
) -> str:
    """A reference answer that quotes the last two changes.

    Args:
        template: Of the prompt.
        says_up: What it predicts.
        percent: Its confidence.
        days: Days of prices in the prompt.
        changes: At least the last two changes, percent, as in the prompt.
    """
    last = changes[-1]
    agrees = (last > 0.0) == says_up
    reasoning = (
        f"Day {days - 1} {changes[-2]:+.2f}%, Day {days} {last:+.2f}%: "
        f"{CONCLUSIONS[says_up, agrees]}"
    )
    return template.answer.format(says=CLASSES[says_up], percent=percent, reasoning=reasoning)


def write_directions(
    template: Template, examples: Examples, says: NDArray[np.int64], chances: NDArray[np.float64]
) -> tuple[str, ...]:
    """Answers in good form that state given chances, one per example.

    Args:
        template: Of the prompts.
        examples: With the columns ``day``, the number of days shown, and ``feature:change_1`` and
            ``feature:change_2``, the last two changes in percent.
        says: int [M], 1 for UP.
        chances: float64 [M, 2], of a fall and of a rise.
    """
    columns = examples.columns
    percents = np.rint(100.0 * np.take_along_axis(chances, says[:, None], axis=1)[:, 0])
    pairs = np.column_stack([columns["feature:change_2"], columns["feature:change_1"]]).tolist()
    return tuple(
        stock_answer(template, bool(up), int(percent), int(days), pair)
        for up, percent, days, pair in zip(says, percents, columns["days"], pairs, strict=True)
    )
