# SPDX-License-Identifier: Apache-2.0
"""Predictions as a feature: ``predicted_up``, from a table that says when each became known.

    features:
      signals: models/llm/run/signals.parquet    # of `mtquant llm predict`, or of your own
      catalog: [log_return_1, predicted_up]

Columns of the table: ``symbol``, ``known_at`` (UTC), ``chance_up`` and ``confidence`` in [0, 1],
``says``, ``template_hash``. The feature is 2p - 1 of the last chance of a rise that was known when
the bar closed, in [-1, 1]; 0 before the first and where the last one is too old.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import FeaturesConfig
from mtquant.core.data_config import PREDICTED
from mtquant.core.errors import DataError, FeatureError
from mtquant.data.bars import NANOSECONDS, Float, Stamps
from mtquant.data.events import Events, read_events
from mtquant.features.registry import FeatureRegistry, UserFeature, load_registry

Float32 = NDArray[np.float32]
DAY = 86_400
MAX_AGE = 4 * DAY  # a prediction lasts over a weekend
UNKNOWN = 0.5


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

    def __init__(self, signals: Events, max_age_seconds: float = MAX_AGE) -> None:
        self._oldest = round(max_age_seconds * NANOSECONDS)
        self._tables = {
            symbol: (own.known_at, own.columns["chance_up"])
            for symbol in dict.fromkeys(signals.symbols.tolist())
            for own in (signals.of(symbol),)
        }

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments of which something was predicted."""
        return tuple(self._tables)

    def chances_up(self, symbol: str, stamps: Stamps) -> Float:
        """Chances of a rise as last predicted at stamps, int64 [T] of UTC nanoseconds; float64 [T],
        one half where nothing is known.
        """
        if symbol not in self._tables:
            return np.full(len(stamps), UNKNOWN)
        known_at, chances = self._tables[symbol]
        row = np.searchsorted(known_at, stamps, side="right") - 1
        fresh = (row >= 0) & (stamps - known_at[row] <= self._oldest)
        return np.where(fresh, chances[row], UNKNOWN)


class PredictedUp(UserFeature):
    """``predicted_up`` of the instrument whose bars it is given.

    Args:
        table: Predictions, or the file that holds them. A file that was replaced is read again, so
            that paper trading sees what was predicted since.
        symbol: The instrument; `of` names it.
        max_age_seconds: An older prediction counts as none.
    """

    name = PREDICTED
    version = 1
    warmup_bars, lookback_bars, state_size = 0, 1, 0
    recursive, scale_free = False, True

    def __init__(
        self, table: Events | Path, symbol: str | None = None, max_age_seconds: float = MAX_AGE
    ) -> None:
        self._table, self._symbol, self._age = table, symbol, max_age_seconds
        self._version: tuple[int, ...] = ()
        self._last: LastKnown | None = None

    def of(self, symbol: str) -> PredictedUp:
        """The feature of one instrument.

        Raises:
            FeatureError: Nothing was ever predicted of it.
            DataError: The table cannot be read.
        """
        bound = PredictedUp(self._table, symbol, self._age)
        known = bound._known().symbols
        if symbol not in known:
            remedy = "Predict it, or leave predicted_up or the instrument out."
            rule = f"must hold predictions of {symbol or 'the instrument'}"
            raise FeatureError("features.signals", rule, list(known), remedy)
        return bound

    def value(self, state: Float, rows: Float) -> float:
        return float(self.batch(rows[:, -1:])[0])

    def batch(self, rows: Float) -> Float:
        if self._symbol is None:
            remedy = "Use feature.of(symbol)."
            raise FeatureError(self.name, "must be told its instrument", None, remedy)
        stamps = rows[5].astype(np.int64) * NANOSECONDS
        return 2.0 * self._known().chances_up(self._symbol, stamps) - 1.0

    def _known(self) -> LastKnown:
        """The table as it is now."""
        if isinstance(self._table, Events):
            self._last = self._last or LastKnown(self._table, self._age)
            return self._last
        version = _version(self._table)
        if self._last is None or version != self._version:
            self._last = LastKnown(read_signals(self._table), self._age)
            self._version = version
        return self._last


def configured_registry(features: FeaturesConfig) -> FeatureRegistry:
    """What `features.catalog` may name beside the catalogue: the user's own features, and
    ``predicted_up`` where `features.signals` names a table.

    Raises:
        FeatureError: The user's registry cannot be used.
    """
    own = [] if features.user is None else list(load_registry(features.user))
    told = [] if features.signals is None else [PredictedUp(Path(features.signals))]
    return FeatureRegistry([*own, *told])


def unpredicted(values: Float32, panel_names: Sequence[str]) -> Float32:
    """Features of made-up bars, float32 [T, N, F], without what was predicted of real ones: 0 in
    the columns of ``predicted_up``, where nothing is known. Changed in place.
    """
    for column, name in enumerate(panel_names):
        if name.partition("@")[0] == PREDICTED:
            values[:, :, column] = np.where(np.isfinite(values[:, :, column]), 0.0, np.nan)
    return values


def signals_digest(features: FeaturesConfig, until_ns: int) -> str:
    """sha256 of what `features.signals` had said before a moment; empty without such a table. A
    table that was continued since has the same.

    Raises:
        DataError: It cannot be read.
    """
    if features.signals is None:
        return ""
    signals = read_signals(Path(features.signals))
    rows = slice(0, int(np.searchsorted(signals.known_at, until_ns)))
    digest = hashlib.sha256("\n".join(signals.symbols[rows].tolist()).encode())
    digest.update(signals.known_at[rows].tobytes())
    digest.update(signals.columns["chance_up"][rows].astype(np.float64).tobytes())
    return digest.hexdigest()


def _version(path: Path) -> tuple[int, ...]:
    """Changes whenever a file is replaced; the same for all files that are not there."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns)
