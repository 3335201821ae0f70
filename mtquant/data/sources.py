# SPDX-License-Identifier: Apache-2.0
"""From a config's `data` section to bars and their split: bundled series, parquet or clean csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mtquant.core.config import DataConfig
from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.bundled import BUNDLED, load_bundled
from mtquant.data.files import read_csv, read_parquet
from mtquant.data.instruments import Instrument, instrument_of
from mtquant.data.splits import Split, split_by_time


def load_bars(config: DataConfig, instruments: Mapping[str, Instrument]) -> dict[str, Bars]:
    """Bars of every configured instrument, in the config's order.

    Raises:
        DataError: A series is not bundled, or a file is missing or breaks a rule of `check_bars`.
        RulesError: An instrument is not configured.
    """
    return {
        symbol: _load(symbol, config, instrument_of(instruments, symbol))
        for symbol in config.instruments
    }


def split_bars(bars: Mapping[str, Bars], config: DataConfig) -> Split:
    """Train, validation and test: the same calendar cuts for all instruments."""
    return split_by_time(
        {symbol: series.stamps for symbol, series in bars.items()},
        config.train_frac,
        config.validation_frac,
        config.purge_bars,
        config.embargo_bars,
        config.bar_seconds,
    )


def _load(symbol: str, config: DataConfig, instrument: Instrument) -> Bars:
    if config.source == "bundled":
        if symbol not in BUNDLED:
            raise DataError(
                f"data.instruments: {symbol}",
                "must be one of the bundled series",
                symbol,
                f"Bundled: {', '.join(BUNDLED)}; for others set data.source to parquet or csv.",
            )
        return load_bundled(symbol)
    path = Path(config.folder or "") / config.files.get(symbol, f"{symbol}.{config.source}")
    session = config.stamped == "session"
    options = {
        "symbol": symbol,
        "quote": instrument.quote,
        "stamped": config.stamped,
        "bar_seconds": config.bar_seconds,
        "session_timezone": instrument.session.timezone if session else None,
        "session_close": instrument.session.close if session else None,
    }
    read = read_parquet if config.source == "parquet" else read_csv
    bars = read(path, **options)  # type: ignore[arg-type]
    if symbol in config.files:
        bars = replace(bars, notes=(*bars.notes, f"bars read from {path.name}"))
    return bars
