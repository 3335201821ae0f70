# SPDX-License-Identifier: Apache-2.0
"""Stock prompts from real bars and texts, and what happened after each.

A decision is made at a bar's close. The prompt holds closes, changes and indicators of bars up to
it (`mtquant.features`) and texts with ``known_at`` no later. What happened is counted twice: the
spec's label is close to close; the worth is what the desk would have earned, from the next open,
where an order of this decision is filled, to the open after that, where the next decision's is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.events import Events
from mtquant.features.pipeline import FeaturePipeline
from mtquant.llm.rewards.evidence import WORDS
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.stock_text import stock_prompt
from mtquant.llm.tasks.templates import Template

Float = NDArray[np.float64]
Rows = NDArray[np.int64]

LATER_BARS = 2  # the label needs the next close, the worth the two next opens
HOUR = 3_600


@dataclass(frozen=True, eq=False)
class StockPrompts:
    """Prompts of one symbol's decisions, M of them.

    Attributes:
        symbol: The stock.
        rows: int64 [M], bars at whose close the decisions were made.
        stamps: int64 [M], those closes.
        prompts: One each.
        features: float64 [M] each by name: what the prompts show, as numbers.
    """

    symbol: str
    rows: Rows
    stamps: NDArray[np.int64]
    prompts: tuple[str, ...]
    features: dict[str, Float]


def first_row(config: TaskConfig) -> int:
    """The first bar with a whole prompt."""
    names = config.stocks.indicators
    warmup = FeaturePipeline(names).warmup_bars if names else 0
    return max(config.days, warmup)


def stock_prompts(
    config: TaskConfig,
    template: Template,
    bars: Bars,
    texts: Events | None = None,
    company: str | None = None,
    rows: Rows | None = None,
) -> StockPrompts:
    """Prompts at the closes of `rows`, from bars and texts known by then.

    Args:
        config: The task.
        template: Of the prompts.
        bars: Of one symbol.
        texts: Of any symbols.
        company: Name beside the symbol.
        rows: Increasing; None: every `every_days`-th bar that has a whole prompt, counted from the
            first, up to the last bar.

    Raises:
        DataError: A row is too early for a whole prompt, or beyond the bars.
    """
    first = first_row(config)
    if rows is None:
        rows = np.arange(first, len(bars), config.stocks.every_days)
    if len(rows) and not (first <= rows[0] and rows[-1] < len(bars)):
        rule = f"must lie in [{first}, {len(bars)})"
        raise DataError(f"rows of {bars.symbol}", rule, (rows[0], rows[-1]), "Use more bars.")
    changes = np.zeros(len(bars))
    changes[1:] = 100.0 * (bars.close[1:] / bars.close[:-1] - 1.0)
    facts, features = _indicators(config, bars, rows)
    shown, text_features = _texts(config, texts, bars, rows)
    name = f"{bars.symbol} ({company})" if company else bars.symbol
    prompts, days = [], config.days
    for place, row in enumerate(rows.tolist()):
        window = slice(row - days + 1, row + 1)
        closes, moved = bars.close[window].tolist(), changes[window].tolist()
        own = facts[place] + shown[place]
        prompts.append(stock_prompt(template, name, closes, moved, own))
    past = {f"change_{back}": changes[rows - back + 1] for back in range(1, days)}
    return StockPrompts(
        bars.symbol, rows, bars.stamps[rows], tuple(prompts), past | features | text_features
    )


def stock_outcomes(bars: Bars, rows: Rows) -> dict[str, NDArray[np.float64]]:
    """What happened after decisions at the closes of `rows`, float64 [M] each.

    Returns:
        ``realised_return``: next close over this close - 1. ``fill_return``: the open after the
        next over the next open - 1.

    Raises:
        DataError: A row has fewer than two bars behind it.
    """
    if len(rows) and rows[-1] + LATER_BARS >= len(bars):
        rule = f"must have {LATER_BARS} bars behind them"
        raise DataError(f"rows of {bars.symbol}", rule, int(rows[-1]), "Leave the last ones out.")
    return {
        "realised_return": bars.close[rows + 1] / bars.close[rows] - 1.0,
        "fill_return": bars.open[rows + 2] / bars.open[rows + 1] - 1.0,
    }


def _indicators(config: TaskConfig, bars: Bars, rows: Rows) -> tuple[list[str], dict[str, Float]]:
    """The line of indicators for each row, and their values."""
    names = config.stocks.indicators
    if not names:
        return [""] * len(rows), {}
    values = FeaturePipeline(names).compute(bars)[rows].astype(np.float64)
    columns = {name: values[:, column] for column, name in enumerate(names)}
    lines = [
        ", ".join(f"{name} {value:.3f}" for name, value in zip(names, row, strict=True)) + "\n"
        for row in values.tolist()
    ]
    return lines, columns


def _texts(
    config: TaskConfig, texts: Events | None, bars: Bars, rows: Rows
) -> tuple[list[str], dict[str, Float]]:
    """The latest texts known at each row's close, and their number and tone."""
    if texts is None or config.stocks.max_texts == 0:
        return [""] * len(rows), {}
    own, stamps = texts.of(bars.symbol), bars.stamps[rows]
    ends = np.searchsorted(own.known_at, stamps, side="right")
    oldest = stamps - config.stocks.text_hours * HOUR * NANOSECONDS
    starts = np.searchsorted(own.known_at, oldest, side="right")
    starts = np.maximum(starts, ends - config.stocks.max_texts)
    plain = [" ".join(str(text).split()) for text in own.columns["text"]]
    cut = [text[: config.stocks.text_characters].rstrip() for text in plain]
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    lines = ["".join(f"News: {text}\n" for text in cut[start:end]) for start, end in spans]
    tones = np.concatenate([[0.0], np.cumsum([tone(text) for text in cut])])
    counts = (ends - starts).astype(np.float64)
    return lines, {"texts": counts, "tone": tones[ends] - tones[starts]}


def tone(text: str) -> float:
    """Words of rise minus words of fall in a text."""
    words = text.lower().split()
    return float(sum(WORDS[word][1] for word in words if word in WORDS))
