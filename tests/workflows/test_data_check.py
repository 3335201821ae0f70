# SPDX-License-Identifier: Apache-2.0
"""The whole way of bars to the simulator, and what stops it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtquant.core.config import Config, load_config
from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.files import write_parquet
from mtquant.data.instruments import load_instruments
from mtquant.workflows.data_check import check_data
from tests.support.builders import make_bars


def settings(folder: Path, symbols: str) -> Config:
    return load_config(
        None,
        [
            "data.source=parquet",
            f"data.folder={folder}",
            f"data.instruments=[{symbols}]",
            "data.bar=1h",
            "features.catalog=[log_return_1, rsi_14]",
        ],
    )


def write_bars(folder: Path, symbol: str, missing_frac: float = 0.0, **changes) -> Bars:
    quote = "JPY" if symbol == "USDJPY" else "USD"
    bars = make_bars(symbol, n=700, seed=len(symbol), quote=quote, missing_frac=missing_frac)
    write_parquet(bars, folder / f"{symbol}.parquet")
    return bars


def test_clean_bars_come_all_the_way(tmp_path: Path) -> None:
    euro = write_bars(tmp_path, "EURUSD")
    write_bars(tmp_path, "USDJPY", missing_frac=0.2)
    calls: list[tuple[int, int]] = []
    found = check_data(
        settings(tmp_path, "EURUSD, USDJPY"),
        load_instruments(),
        lambda done, total: calls.append((done, total)),
    )
    first, second = found.instruments
    assert (first.symbol, first.rows, first.unknown) == ("EURUSD", len(euro), 0)
    assert first.warmup_bars > 0 and second.unknown == 0
    assert found.features == 3  # and their age
    # Random exposures change at every bar, so each bar has its order.
    assert first.fills > 0 and second.fills > 0
    # USDJPY lacks hours in which EURUSD has bars: its orders there are refused.
    assert second.refusals["refused: the market had no bar"] > 0
    assert found.panel_rows >= 700
    assert sum(found.parts.values()) <= found.panel_rows
    assert calls[-1] == (found.bars, found.bars)
    assert check_data(settings(tmp_path, "EURUSD, USDJPY"), load_instruments()) == found


def test_bars_shorter_than_the_warm_up_are_refused(tmp_path: Path) -> None:
    bars = make_bars("EURUSD", n=30)
    write_parquet(bars, tmp_path / "EURUSD.parquet")
    config = settings(tmp_path, "EURUSD").model_copy(
        update={"features": Config().features.model_copy(update={"catalog": ("volatility_60",)})}
    )
    with pytest.raises(DataError):
        check_data(config, load_instruments())


def test_a_file_that_breaks_a_rule_is_named(tmp_path: Path) -> None:
    frame = make_bars("EURUSD", n=300).to_frame()
    frame.iloc[17, 3] = np.nan
    frame.to_parquet(tmp_path / "EURUSD.parquet")
    with pytest.raises(DataError, match=r"EURUSD\.parquet: .* row 17 .*close must be finite"):
        config = load_config(
            None,
            [
                "data.source=parquet",
                f"data.folder={tmp_path}",
                "data.instruments=[EURUSD]",
                "data.bar=1h",
                "data.stamped=close",
            ],
        )
        check_data(config, load_instruments())
