# SPDX-License-Identifier: Apache-2.0
"""Parts of a set of examples: by date with a purge and an embargo, balanced or as they come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS
from mtquant.data.splits import Part, split_by_time
from mtquant.llm.tasks.config import TaskSplitConfig
from mtquant.llm.tasks.task import Examples, SplitName

DAY_SECONDS = 86_400


def split_examples(examples: Examples, config: TaskSplitConfig) -> dict[SplitName, Examples]:
    """Train, validation and test by one calendar cut for all symbols (`data/splits.py`).

    Purge and embargo are counted on the days on which decisions were made, so an outcome that falls
    one decision day later never reaches into the next part.

    Raises:
        DataError: A part would be empty.
    """
    day = DAY_SECONDS * NANOSECONDS
    examples = _within(examples, config)
    days = np.unique(examples.stamps // day) * day
    split = split_by_time(
        {"examples": days},
        config.train_frac,
        config.validation_frac,
        config.purge_days,
        config.embargo_days,
        DAY_SECONDS,
    )
    spans: Mapping[SplitName, Part] = {
        "train": split.train,
        "validation": split.validation,
        "test": split.test,
    }
    of_day = examples.stamps // day * day
    return {
        name: examples.take((of_day >= part.start_ns) & (of_day < part.end_ns))
        for name, part in spans.items()
    }


def _within(examples: Examples, config: TaskSplitConfig) -> Examples:
    """The decisions between the first and the last day that are wanted."""
    keep = np.ones(len(examples), dtype=np.bool_)
    if config.first_day is not None:
        keep &= examples.stamps >= _midnight(config.first_day)
    if config.last_day is not None:
        keep &= examples.stamps < _midnight(config.last_day + timedelta(days=1))
    if not keep.any():
        remedy = "Choose days that the table covers."
        days = (str(config.first_day), str(config.last_day))
        raise DataError("task.split", "must leave examples", days, remedy)
    return examples.take(keep)


def _midnight(day: date) -> int:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return int(moment.timestamp()) * NANOSECONDS


def balance(examples: Examples, classes: int, seeds: SeedTree) -> Examples:
    """Equally many examples of each class, drawn without replacement, still in order of date.

    Raises:
        DataError: A class has no example.
    """
    labels = examples.columns["label"]
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0:
        remedy = "Use the natural set, or more data."
        raise DataError("balanced examples", "must have every class", counts.tolist(), remedy)
    generator = seeds.child("balanced").generator()
    chosen = [
        generator.choice(np.flatnonzero(labels == label), counts.min(), replace=False)
        for label in range(classes)
    ]
    return examples.take(np.sort(np.concatenate(chosen)))
