# SPDX-License-Identifier: Apache-2.0
"""The signal table: what a language model predicted, and from when it could be known.

    write_signals(signal_frame(task, symbols, stamps, prompts, completions), path)
    signals = read_signals(path)  # a known-at table, `mtquant.data.events`
    own = signal_feature(signals, "AAPL")  # a feature for a specialist
    policy = PredictionPolicy(signals)  # a policy of its own (`policy.py`)

Columns: ``symbol``, ``known_at`` (UTC), ``chance_up`` and ``confidence`` in [0, 1], ``says``,
``template_hash``. An answer that does not parse has no row: nothing was predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mtquant.core.errors import DataError, RunError
from mtquant.core.records import write_atomically
from mtquant.data.bars import NANOSECONDS
from mtquant.data.events import Events, read_events
from mtquant.features.registry import BarWindow, LookbackFeature
from mtquant.llm.tasks.task import Task

COLUMNS = ("symbol", "known_at", "chance_up", "confidence", "says", "template_hash")
DAY = 86_400
FEATURE_NAME = "predicted_up"


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


def read_signals(path: Path) -> Events:
    """A signal table, checked as every known-at table is.

    Raises:
        DataError: It cannot be read, a column is missing, two predictions of an instrument became
            known at one moment, or a chance is none.
    """
    signals = read_events(
        path,
        known_at="known_at",
        symbol="symbol",
        event=["symbol", "known_at"],
        columns=["chance_up", "confidence", "says", "template_hash"],
    )
    for name in ("chance_up", "confidence"):
        values = signals.columns[name]
        wrong = ~((values >= 0.0) & (values <= 1.0))
        if wrong.any():
            found = float(values[wrong][0])
            raise DataError(f"{path}: {name}", "must lie in [0, 1]", found, "87 % is 0.87.")
    return signals


class LastKnown:
    """The last prediction known at a moment, by instrument.

    Args:
        signals: The table.
        max_age_seconds: An older prediction counts as none.
    """

    def __init__(self, signals: Events, max_age_seconds: float) -> None:
        self._oldest = round(max_age_seconds * NANOSECONDS)
        self._tables = {
            symbol: (own.known_at, own.columns["chance_up"])
            for symbol in dict.fromkeys(signals.symbols.tolist())
            for own in (signals.of(symbol),)
        }

    def chance_up(self, symbol: str, stamp_ns: int) -> float:
        """The chance of a rise as last predicted; one half where nothing is known."""
        known_at, chances = self._tables.get(symbol, (np.empty(0, dtype=np.int64), np.empty(0)))
        row = int(np.searchsorted(known_at, stamp_ns, side="right")) - 1
        if row < 0 or stamp_ns - int(known_at[row]) > self._oldest:
            return 0.5
        return float(chances[row])


def signal_feature(
    signals: Events,
    symbol: str,
    name: str = FEATURE_NAME,
    max_age_seconds: float = 4 * DAY,
) -> LookbackFeature:
    """A feature for a specialist: 2p - 1 as last predicted for its instrument, in [-1, 1].

    Register it as any feature of your own (`mtquant.features.registry`); 0 where nothing is known.

    Args:
        signals: The table.
        symbol: The specialist's instrument.
        name: The feature's.
        max_age_seconds: An older prediction counts as none; the default lasts over a weekend.
    """
    return LookbackFeature(
        name=name,
        compute=partial(_predicted, LastKnown(signals, max_age_seconds), symbol),
        lookback_bars=1,
    )


def _predicted(last: LastKnown, symbol: str, window: BarWindow) -> float:
    stamp = round(float(window.seconds[-1])) * NANOSECONDS
    return 2.0 * last.chance_up(symbol, stamp) - 1.0
