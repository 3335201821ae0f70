# SPDX-License-Identifier: Apache-2.0
"""Bars, texts and company names from parquet tables with one row per symbol and day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.events import Events, read_events, require_columns
from mtquant.llm.tasks.config import StocksConfig

DAY_SECONDS = 86_400
PRICE_NOTE = (
    "closes are adjusted for splits, with hindsight, and not for dividends: levels are those of a"
    " later day, changes on a dividend day are too low"
)


def read_prices(config: StocksConfig) -> dict[str, Bars]:
    """Daily bars of the wanted symbols, in alphabetic order.

    Days without volume are dropped: their close is the day before's, carried on.

    Raises:
        DataError: The table cannot be read, a column or a wanted symbol is missing, or bars break a
            rule of `check_bars`.
    """
    path = str(config.prices)
    frame = read_table(path)
    require_columns(frame, ["symbol", "date", "open", "high", "low", "close", "volume"], path)
    known = sorted(frame["symbol"].unique())
    wanted = sorted(config.symbols or known)
    missing = [symbol for symbol in wanted if symbol not in known]
    if missing:
        remedy = f"Known: {', '.join(known)}."
        raise DataError("task.stocks.symbols", f"must be in {path}", missing, remedy)
    traded = frame[(frame["volume"] > 0.0) & frame["symbol"].isin(wanted)].set_index("date")
    return {
        str(symbol): Bars.from_frame(
            rows.drop(columns="symbol").sort_index(),
            str(symbol),
            "USD",
            "session",
            DAY_SECONDS,
            config.session_timezone,
            config.session_close,
            notes=(PRICE_NOTE,),
        )
        for symbol, rows in traded.groupby("symbol")
    }


def read_texts(config: StocksConfig) -> Events | None:
    """The texts as a known-at table; None where none are wanted.

    Only what a text said when it was written is read: counts of copies and followers are later
    knowledge.
    """
    if config.texts is None:
        return None
    return read_events(Path(config.texts), known_at="created_at", symbol="symbol", columns=["text"])


def read_companies(config: StocksConfig) -> dict[str, str]:
    """Names by symbol; empty where no table is given."""
    if config.companies is None:
        return {}
    frame = read_table(config.companies)
    require_columns(frame, ["symbol", "company"], config.companies)
    names = frame["company"].astype(str).to_numpy(dtype=np.str_)
    return dict(zip(frame["symbol"].astype(str), names.tolist(), strict=True))


def read_table(path: str) -> pd.DataFrame:
    """A parquet table.

    Raises:
        DataError: It is missing or no parquet file.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(path, "must be a parquet table", str(error), "Check the path.") from error
