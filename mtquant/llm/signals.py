# SPDX-License-Identifier: Apache-2.0
"""The signal table: what a language model predicted, and from when it could be known.

    write_signals(signal_frame(task, symbols, stamps, prompts, completions), path)
    signals = read_signals(path)  # `mtquant.features.signals`, which names the columns
    policy = PredictionPolicy(signals)  # a policy of its own (`policy.py`)

`features.signals` makes a feature of it. An answer that does not parse has no row: nothing was
predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mtquant.core.errors import DataError, RunError
from mtquant.core.records import write_atomically
from mtquant.data.bars import NANOSECONDS
from mtquant.llm.tasks.task import Task

COLUMNS = ("symbol", "known_at", "chance_up", "confidence", "says", "template_hash")


def signal_frame(
    task: Task,
    symbols: Sequence[str],
    stamps: Sequence[int],
    prompts: Sequence[str],
    completions: Sequence[str],
    delay_seconds: float = 0.0,
) -> pd.DataFrame:
    """The signal table of predictions of stocks.

    Args:
        task: `stock_direction`.
        symbols: M instruments.
        stamps: M decisions, UTC nanoseconds.
        prompts: M prompts.
        completions: M answers.
        delay_seconds: How long after the decision an answer is there: a model that needs a minute
            is too late for the close it read.

    Raises:
        DataError: Another task, lengths that differ, a negative delay, or no answer that parses.
    """
    if task.classes != ("DOWN", "UP"):
        raise DataError("task", "must predict a direction", task.name, "Use stock_direction.")
    lengths = [len(column) for column in (symbols, stamps, prompts, completions)]
    if len(set(lengths)) > 1 or not delay_seconds >= 0.0:
        found = (lengths, delay_seconds)
        remedy = "Give one of each per prediction, and a delay of 0 or more."
        raise DataError("predictions", "must be of one length and not early", found, remedy)
    rows = []
    for symbol, stamp, prompt, completion in zip(
        symbols, stamps, prompts, completions, strict=True
    ):
        answer = task.parse(prompt, completion)
        if answer is not None:
            known_at = int(stamp) + round(delay_seconds * NANOSECONDS)
            chance = float(answer.chances[1])
            rows.append(
                (symbol, known_at, chance, answer.confidence, answer.says, task.template_hash)
            )
    if not rows:
        remedy = "Train the model until it keeps the format."
        raise DataError("predictions", "must hold an answer that parses", lengths[0], remedy)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["known_at"] = pd.to_datetime(frame["known_at"], utc=True)
    return frame.sort_values(["known_at", "symbol"], ignore_index=True)


def write_signals(frame: pd.DataFrame, path: Path) -> None:
    """Writes a signal table as parquet, atomically; its folder is made.

    Raises:
        RunError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, partial(frame.to_parquet, index=False))
    except OSError as error:
        remedy = "Choose a path that can be written, or free some disk space."
        raise RunError(str(path), "must be writable", error.strerror, remedy) from error
