# SPDX-License-Identifier: Apache-2.0
"""From a config's `data` section to bars and their split: bundled series, made-up bars, Yahoo,
parquet or clean csv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mtquant.core.config import DataConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.bundled import BUNDLED, BUNDLED_SESSION, DAY_SECONDS, load_bundled
from mtquant.data.files import describes_itself, file_session, read_csv, read_parquet
from mtquant.data.folds import split_by_dates
from mtquant.data.instruments import Instrument, Session, instrument_of
from mtquant.data.splits import Split, split_by_time
from mtquant.data.synthetic import FROM_REAL_BARS, Dials, generate
from mtquant.data.yahoo.cache import DEFAULT_FOLDER
from mtquant.data.yahoo.download import yahoo_bars
from mtquant.data.yahoo.frames import yahoo_session


def load_bars(config: DataConfig, instruments: Mapping[str, Instrument]) -> dict[str, Bars]:
    """Bars of every configured instrument, in the config's order.

    Raises:
        DataError: A series is not bundled, or a file is missing, contradicts the configuration or
            breaks a rule of `check_bars`, or Yahoo did not answer.
        RulesError: An instrument is not configured.
    """
    if config.source == "synthetic":
        return _make_up(config, instruments)
    return {
        symbol: _load(symbol, config, instrument_of(instruments, symbol))
        for symbol in config.instruments
    }


def _make_up(config: DataConfig, instruments: Mapping[str, Instrument]) -> dict[str, Bars]:
    """Bars of a scenario; those that start from real bars start from the bundled ones, and a GARCH
    is fitted to them where it can be.
    """
    wanted = config.synthetic
    quotes = [instrument_of(instruments, symbol).quote for symbol in config.instruments]
    real = None
    fits = wanted.scenario == "garch" and set(config.instruments) <= set(BUNDLED)
    if wanted.scenario in FROM_REAL_BARS or fits:
        real = {symbol: _bundled(symbol) for symbol in config.instruments}
    return generate(
        wanted.scenario,
        config.instruments,
        quotes,
        wanted.bars,
        config.bar_seconds,
        Dials.at(wanted.difficulty),
        SeedTree(wanted.seed).child("synthetic"),
        real,
        wanted.mean_block_bars,
    )


def session_of(
    symbol: str, config: DataConfig, instruments: Mapping[str, Instrument]
) -> Session | None:
    """When an instrument's days and weeks end, for bars made of shorter ones; None: midnight UTC.

    The bundled series and Yahoo's daily bars close at hours of their own, and daily bars that
    mtquant wrote say theirs. Other bars of a day that are not stamped with session dates are days
    of UTC.

    Raises:
        DataError: What a file says of its session cannot be used.
    """
    if config.source == "bundled":
        return BUNDLED_SESSION
    if config.source == "yahoo" and config.bar_seconds >= DAY_SECONDS:
        return yahoo_session(instrument_of(instruments, symbol))
    if config.source == "parquet" and config.bar_seconds >= DAY_SECONDS:
        session = file_session(_path(symbol, config))
        if session is not None:
            return session
    days_of_utc = config.source == "synthetic" or config.stamped != "session"
    if config.bar_seconds >= DAY_SECONDS and days_of_utc:
        return None
    return instrument_of(instruments, symbol).session


def split_bars(bars: Mapping[str, Bars], config: DataConfig) -> Split:
    """Train, validation and test: the same calendar cuts for all instruments."""
    stamps = {symbol: series.stamps for symbol, series in bars.items()}
    if config.periods is not None:
        return split_by_dates(stamps, config.periods)
    return split_by_time(
        stamps,
        config.train_frac,
        config.validation_frac,
        config.purge_bars,
        config.embargo_bars,
        config.bar_seconds,
    )


def _load(symbol: str, config: DataConfig, instrument: Instrument) -> Bars:
    if config.source == "bundled":
        return _bundled(symbol)
    if config.source == "yahoo":
        return yahoo_bars(Path(config.folder or DEFAULT_FOLDER), instrument, config.bar)
    path = _path(symbol, config)
    if config.source == "parquet" and describes_itself(path):
        bars = _read_own(path, symbol, config, instrument)
    else:
        bars = _read_foreign(path, symbol, config, instrument)
    if symbol in config.files:
        # The instrument is what the config says, whatever the file calls itself.
        bars = replace(bars, symbol=symbol, notes=(*bars.notes, f"bars read from {path.name}"))
    return bars


def _path(symbol: str, config: DataConfig) -> Path:
    return Path(config.folder or "") / config.files.get(symbol, f"{symbol}.{config.source}")


def _bundled(symbol: str) -> Bars:
    if symbol not in BUNDLED:
        raise DataError(
            f"data.instruments: {symbol}",
            "must be one of the bundled series",
            symbol,
            f"Bundled: {', '.join(BUNDLED)}; for others set data.source to parquet or csv.",
        )
    return load_bundled(symbol)


def _read_own(path: Path, symbol: str, config: DataConfig, instrument: Instrument) -> Bars:
    """Bars of a file that mtquant wrote: it says itself what its stamps mean."""
    bars = read_parquet(path, symbol=None if symbol in config.files else symbol)
    # Money is counted in the instrument's currency and splits in the config's bars.
    for field, expected, found in (
        (f"quote of {symbol}", instrument.quote, bars.quote),
        ("data.bar in seconds", config.bar_seconds, bars.bar_seconds),
    ):
        if found != expected:
            raise DataError(
                f"{path}: {field}",
                f"must agree with what the file says of itself ({found!r})",
                expected,
                "Correct the configuration, or use another file.",
            )
    return bars


def _read_foreign(path: Path, symbol: str, config: DataConfig, instrument: Instrument) -> Bars:
    """Bars of a file that the configuration has to describe."""
    session = config.stamped == "session"
    read = read_parquet if config.source == "parquet" else read_csv
    return read(
        path,
        symbol=symbol,
        quote=instrument.quote,
        stamped=config.stamped,
        bar_seconds=config.bar_seconds,
        timezone=config.timezone,
        session_timezone=instrument.session.timezone if session else None,
        session_close=instrument.session.close if session else None,
    )
