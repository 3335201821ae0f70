# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mtquant.core.data_config import SPEC_INSTRUMENTS
from mtquant.core.errors import ConfigError, RulesError
from mtquant.data import instruments as module
from mtquant.data.instruments import instrument_of, load_instruments, shipped_instruments

# Leverage limits for retail clients' CFDs, ESMA decision (EU) 2018/796: 30:1, 20:1, 10:1.
ESMA_LEVERAGE = {
    **{"EURUSD": 30, "GBPUSD": 30, "USDJPY": 30},
    **{"XAUUSD": 20, "SPX500": 20, "NAS100": 20, "US30": 20},
    "WTIUSD": 10,
}


@pytest.fixture(scope="module")
def shipped():
    return load_instruments(None)


@pytest.fixture
def one(tmp_path):
    """Writes a file of one instrument with some of its keys replaced."""

    def write(**changes: object) -> Path:
        raw = yaml.safe_load(shipped_instruments().read_text(encoding="utf-8"))
        path = tmp_path / "instruments.yaml"
        path.write_text(yaml.safe_dump({"EURUSD": raw["EURUSD"] | changes}), encoding="utf-8")
        return path

    return write


def test_the_specification_s_eight_are_shipped(shipped):
    assert tuple(shipped) == SPEC_INSTRUMENTS
    assert all(symbol == item.symbol for symbol, item in shipped.items())
    assert {item.quote for item in shipped.values()} == {"USD", "JPY"}
    assert shipped["USDJPY"].quote == "JPY"


def test_margins_are_the_regulator_s(shipped):
    for symbol, leverage in ESMA_LEVERAGE.items():
        assert shipped[symbol].margin_frac == pytest.approx(1 / leverage, rel=1e-12)
        assert f"ESMA {leverage}:1" in shipped[symbol].source


def test_costs_are_plausible(shipped):
    for item in shipped.values():
        # One way, all in: more than nothing, and far below the specification's flat 30 bps.
        assert 0.0 < item.spread_bps / 2 + item.slippage_bps + item.commission_bps < 5.0
        # Holding both a long and a short position of the same thing never earns anything.
        assert item.financing_long_bps + item.financing_short_bps > 0.0
        assert "assumed" in item.source


def test_a_position_of_the_default_size_can_be_bought_in_small_steps(shipped):
    # Prices in dollars per unit near the highest of 2010-2025, rounded up; the specification's
    # position is 10 % of 100,000 dollars.
    high = {"EURUSD": 1.3, "GBPUSD": 1.5, "USDJPY": 1.0, "XAUUSD": 4_000.0, "WTIUSD": 150.0}
    high |= {"SPX500": 7_000.0, "NAS100": 25_000.0, "US30": 48_000.0}
    for symbol, item in shipped.items():
        assert 10_000.0 / (item.lot * item.multiplier * high[symbol]) > 20


def test_an_unknown_symbol_is_answered_with_the_nearest(shipped):
    with pytest.raises(RulesError, match="Did you mean SPX500"):
        instrument_of(shipped, "SPX50")
    assert instrument_of(shipped, "US30") is shipped["US30"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spread_bps": -1.0}, r"EURUSD\.spread_bps must be greater than or equal to 0"),
        ({"lot": 0.0}, r"EURUSD\.lot must be greater than 0"),
        ({"sector": "bonds"}, r"EURUSD\.sector must be 'forex', 'commodities' or 'equity'"),
        ({"spreads_bps": 1.0}, r"EURUSD\.spreads_bps is not a known key.*Did you mean spread_bps"),
        ({"quote": "usd"}, r"EURUSD\.quote must match pattern"),
        (
            {"session": {"timezone": "Mars/Base", "close": "17:00", "week_opens": "sunday"}},
            r"EURUSD\.session\.timezone must be a time zone this machine knows; found 'Mars/Base'",
        ),
        (
            {"session": {"timezone": "UTC", "close": "25:00", "week_opens": "sunday"}},
            r"EURUSD\.session\.close must be a time of day after midnight",
        ),
        (
            # YAML reads 17:00 without quotes as 17 * 60 in base 60.
            {"session": {"timezone": "UTC", "close": 1020, "week_opens": "sunday"}},
            r"EURUSD\.session\.close must be a valid string",
        ),
    ],
)
def test_figures_that_cannot_be_are_refused(one, changes, said):
    with pytest.raises(RulesError, match=said):
        load_instruments(one(**changes))


def test_a_missing_figure_is_refused(one, tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text("EURUSD: {name: Euro}", encoding="utf-8")
    with pytest.raises(RulesError, match=r"EURUSD\.sector is required"):
        load_instruments(path)
    path.write_text("EURUSD: 3", encoding="utf-8")
    with pytest.raises(RulesError, match="EURUSD must be a mapping"):
        load_instruments(path)
    with pytest.raises(ConfigError, match="must be a readable file"):
        load_instruments(tmp_path / "none.yaml")


def test_an_installed_package_reads_its_own_copy(tmp_path, monkeypatch):
    # As the wheel lays it out: config/ of the repository becomes mtquant/_config.
    copy = tmp_path / "mtquant" / "_config" / "instruments.yaml"
    copy.parent.mkdir(parents=True)
    copy.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "mtquant" / "data" / "instruments.py"))
    assert shipped_instruments() == copy
