# SPDX-License-Identifier: Apache-2.0
"""A table of predictions, traded like anything that was trained here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtquant.cli.settings import backtest_settings
from mtquant.core import outcome as oc
from mtquant.core.config import load_config
from mtquant.core.errors import DataError
from mtquant.data.instruments import load_instruments
from mtquant.workflows.backtesting import Market, check_unseen, trade
from mtquant.workflows.predictions import load_predictions
from mtquant.workflows.report_parts import stress_of

SYMBOLS = ("EURUSD", "GBPUSD")
CONFIG = load_config(
    None,
    (
        "data.source=synthetic",
        f"data.instruments=[{', '.join(SYMBOLS)}]",
        "data.synthetic.bars=600",
        "environment.max_position_size=0.4",
        "environment.max_portfolio_var=null",
        "environment.max_correlation_exposure=null",
        "environment.max_sector_allocation=null",
    ),
)
INSTRUMENTS = load_instruments(None)
MARKET = Market.build(CONFIG, INSTRUMENTS, "test")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """What comes, told in advance: whether the open after next is higher than the next one."""
    parts = []
    for bars in MARKET.bars:
        rises = np.append(np.diff(bars.open)[1:] > 0.0, [False, False])
        columns = {"symbol": bars.symbol, "known_at": pd.to_datetime(bars.stamps, utc=True)}
        columns |= {"chance_up": np.where(rises, 0.9, 0.1), "confidence": 0.9}
        parts.append(pd.DataFrame(columns | {"says": "UP", "template_hash": "a"}))
    path = tmp_path_factory.mktemp("predictions") / "signals.parquet"
    pd.concat(parts).to_parquet(path)
    return path


def test_foresight_earns_within_the_caps(table):
    trained = load_predictions(table, CONFIG)
    check_unseen(trained, MARKET, "test", table)  # nothing is known of what it was trained on
    ledger = trade(trained, MARKET)
    assert ledger.outcomes[-1, oc.EQUITY] > 1.1 * ledger.initial_equity
    wanted = ledger.targets[:-3]
    np.testing.assert_allclose(np.abs(wanted), 0.32)  # (2 x 0.9 - 1) of the largest position
    assert any("not say" in warning for warning in trained.warnings)
    assert list(trained.weights) == ["signals.parquet"]


def test_made_up_markets_say_nothing_of_predictions(table):
    assert stress_of(load_predictions(table, CONFIG), MARKET, seeds=2) is None


def test_what_was_not_predicted_is_refused(table):
    settings = ("data.source=synthetic", "data.instruments=[EURUSD, USDJPY]")
    with pytest.raises(DataError, match="predictions of USDJPY"):
        load_predictions(table, load_config(None, settings))


def test_a_table_has_no_configuration_of_its_own(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, origin = backtest_settings(None, table, ["environment.max_position_size=0.3"])
    assert config.environment.max_position_size == 0.3
    assert origin.startswith("built-in defaults")
