# SPDX-License-Identifier: Apache-2.0
"""Examples of `stock_direction` on real bars: prompts, outcomes and reference answers by date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.events import Events
from mtquant.llm.baselines import logistic_chances
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.parts import split_examples
from mtquant.llm.tasks.reference import reference_percents, reference_says
from mtquant.llm.tasks.stock_text import write_directions
from mtquant.llm.tasks.stocks import (
    LATER_BARS,
    StockPrompts,
    first_row,
    stock_outcomes,
    stock_prompts,
)
from mtquant.llm.tasks.task import FEATURE_PREFIX, Examples, SplitName
from mtquant.llm.tasks.templates import Template

Outcomes = Mapping[str, NDArray[np.float64]]


def stock_parts(
    config: TaskConfig,
    template: Template,
    bars: Mapping[str, Bars],
    texts: Events | None,
    companies: Mapping[str, str],
) -> dict[SplitName, Examples]:
    """All parts, with reference answers; the natural distribution.

    Columns beside label, event and stamp: ``symbol``, ``days`` shown, ``realised_return`` and
    ``fill_return`` (fractions), and as features what the prompts show.

    Raises:
        DataError: No symbol has enough bars, or a part would be empty.
    """
    tables = []
    for symbol, series in bars.items():
        rows = np.arange(first_row(config), len(series) - LATER_BARS, config.stocks.every_days)
        if len(rows):
            made = stock_prompts(config, template, series, texts, companies.get(symbol), rows)
            tables.append((made, stock_outcomes(series, rows)))
    if not tables:
        need = first_row(config) + LATER_BARS + 1
        found = {symbol: len(series) for symbol, series in bars.items()}
        raise DataError("bars", f"must be at least {need} of a symbol", found, "Use more bars.")
    whole = _joined(tables, config, template)
    return _with_references(config, template, split_examples(whole, config.split))


def _joined(
    tables: Sequence[tuple[StockPrompts, Outcomes]], config: TaskConfig, template: Template
) -> Examples:
    """All symbols' examples in order of decision; equal moments by symbol. Without references."""
    stamps = np.concatenate([made.stamps for made, _ in tables])
    symbols = np.concatenate([np.full(len(made.rows), made.symbol, object) for made, _ in tables])
    order = np.lexsort((symbols.astype(str), stamps))
    prompts = np.array([prompt for made, _ in tables for prompt in made.prompts], dtype=object)
    columns = {
        name: np.concatenate([outcomes[name] for _, outcomes in tables])[order]
        for name in ("realised_return", "fill_return")
    }
    for name in tables[0][0].features:
        column = np.concatenate([made.features[name] for made, _ in tables])
        columns[FEATURE_PREFIX + name] = column[order]
    count = len(stamps)
    facts = {
        "label": (columns["realised_return"] > 0.0).astype(np.int64),
        "event": np.arange(count),
        "stamp": stamps[order],
        "symbol": symbols[order],
        "days": np.full(count, config.days),
    }
    shown = tuple(prompts[order])
    return Examples(shown, ("",) * count, stamps[order], facts | columns, template.hash)


def _with_references(
    config: TaskConfig, template: Template, parts: dict[SplitName, Examples]
) -> dict[SplitName, Examples]:
    """The same parts with reference answers, as sure as a regression fitted on training rows is."""
    return {
        name: replace(
            part,
            answers=_references(
                config, template, part, logistic_chances(parts["train"], part, 2), name
            ),
        )
        for name, part in parts.items()
    }


def _references(
    config: TaskConfig,
    template: Template,
    part: Examples,
    chances: NDArray[np.float64],
    name: str,
) -> tuple[str, ...]:
    generator = SeedTree(config.seed).child("llm", "references", name).generator()
    says = reference_says(config.answer, chances, part.columns["label"])
    stated = reference_percents(config.answer, chances, generator) / 100.0
    up = np.where(says == 1, stated, 1.0 - stated)
    return write_directions(template, part, says, np.column_stack([1.0 - up, up]))
