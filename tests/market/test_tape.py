# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import RulesError
from mtquant.core.lanes import LANES
from mtquant.core.moves import SIDE
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.market.rules import Rules
from mtquant.market.tape import (
    C_BENCHMARK,
    C_ELAPSED,
    SHEET_SIZE,
    T_CLOSE,
    T_HIGH,
    T_LOW,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    TAPE_COLUMNS,
    Tape,
    currency_path,
    load_bars,
)
from tests.support.builders import START_NS, make_bars
from tests.support.judges import run_desk
from tests.support.tapes import hand_rules


def named(*pairs):
    """Instruments by (symbol, sector)."""
    (item,) = hand_rules().instruments
    return tuple(replace(item, symbol=symbol, sector=sector) for symbol, sector in pairs)


FOREX = [(name, "forex") for name in ("EURUSD", "USDJPY", "EURGBP", "GBPUSD", "AUDNZD")]


@pytest.mark.parametrize(
    ("quote", "account", "path"),
    [
        ("USD", "USD", ()),
        ("EUR", "USD", ((0, False),)),  # direct: one euro is EURUSD dollars
        ("JPY", "USD", ((1, True),)),  # inverse: one yen is 1 / USDJPY dollars
        ("USD", "EUR", ((0, True),)),
        ("JPY", "EUR", ((1, True), (0, True))),  # through the dollar: 1 / USDJPY / EURUSD
        ("GBP", "JPY", ((3, False), (1, False))),  # GBPUSD USDJPY
        ("GBP", "EUR", ((2, True),)),  # EURGBP itself rather than two steps
    ],
)
def test_currency_paths(quote, account, path):
    assert currency_path(quote, account, named(*FOREX)) == path


def test_a_currency_without_a_path_is_refused():
    with pytest.raises(RulesError, match=r"USDNOK or NOKUSD"):
        currency_path("NOK", "USD", named(*FOREX))
    with pytest.raises(RulesError, match="reachable from quote currency NZD"):
        currency_path("NZD", "USD", named(*FOREX))  # to AUD, and no further
    # An index that happens to be called like a pair converts nothing.
    with pytest.raises(RulesError):
        currency_path("JPY", "USD", named(("USDJPY", "equity")))


@pytest.fixture
def world():
    bars = [
        make_bars("USDJPY", n=40, seed=1, quote="JPY", start_price=110.0, missing_frac=0.3),
        make_bars("EURUSD", n=40, seed=2, start_ns=START_NS + 10 * 3600 * 10**9),
    ]
    panel = Panel.from_bars(bars)
    environment = EnvironmentConfig(max_position_size=1.0, stop_loss_pct=0.0)
    return panel, Rules.from_config(environment, load_instruments(), panel.symbols)


def test_a_panel_becomes_a_tape(world):
    panel, rules = world
    tape = Tape.from_panel(panel, rules)
    for column, prices in (
        (T_OPEN, panel.open),
        (T_HIGH, panel.high),
        (T_LOW, panel.low),
        (T_CLOSE, panel.close),
        (T_TRADABLE, panel.tradable),
    ):
        np.testing.assert_array_equal(tape.prices[:, :, column], prices)
    assert tape.own_rate == (True, False)
    np.testing.assert_allclose(tape.prices[:, 0, T_RATE_OPEN], 1.0 / panel.open[:, 0])
    np.testing.assert_allclose(tape.prices[:, 0, T_RATE_CLOSE], 1.0 / panel.close[:, 0])
    assert (tape.prices[:, 1, [T_RATE_OPEN, T_RATE_CLOSE]] == 1.0).all()
    assert np.array_equal(tape.clock[:, C_ELAPSED], panel.elapsed_seconds)
    assert tape.symbols == panel.symbols and tape.bars_per_year == panel.bars_per_year


def test_the_benchmark_is_what_traded_in_equal_shares(world):
    panel, rules = world
    tape = Tape.from_panel(panel, rules)
    for t in range(1, len(panel)):
        moves = [
            panel.close[t, n] / panel.close[t - 1, n] - 1.0
            for n in range(2)
            if panel.tradable[t, n] and np.isfinite(panel.close[t - 1, n])
        ]
        expected = sum(moves) / len(moves) if moves else 0.0
        assert tape.clock[t, C_BENCHMARK] == pytest.approx(expected, abs=1e-15)
    assert tape.clock[0, C_BENCHMARK] == 0.0


def test_yen_gains_are_worth_their_own_rate(world):
    """Dollars earned on USDJPY: q (p - a) / p at every close, without costs."""
    panel, rules = world
    free = tuple(
        replace(
            item, spread_bps=0.0, slippage_bps=0.0, financing_long_bps=0.0, financing_short_bps=0.0
        )
        for item in rules.instruments
    )
    unlimited = {
        "max_portfolio_var": np.inf,
        "max_correlation_exposure": np.inf,
        "max_sector_allocation": np.inf,
    }
    rules = replace(rules, instruments=free, **unlimited)
    tape = Tape.from_panel(panel, rules)
    targets = np.full((len(panel), 2), np.nan)
    first = int(np.flatnonzero(panel.tradable[:, 0])[1])
    targets[first - 1, 0] = 0.5
    ledger = run_desk(tape, rules, targets)
    fill = ledger.fills[0]
    price = panel.open[first, 0]
    assert (fill[2], fill[4], fill[5]) == (0.0, 50_000.0, price)  # half of 100,000 dollars
    assert ledger.positions[-1, 0] == 50_000.0  # one unit is one dollar's worth of yen
    close = ledger.prices[first - 1 :, 0]
    np.testing.assert_allclose(
        ledger.equity[first - 1 :] - 100_000.0, 50_000.0 * (close - price) / close, atol=1e-8
    )


def test_an_instrument_that_has_not_begun_has_neither_price_nor_rate(world):
    panel, rules = world
    tape = Tape.from_panel(panel, rules)
    assert np.isnan(tape.prices[0, 1, :T_RATE_OPEN]).all()
    assert tape.prices[0, 1, T_TRADABLE] == 0.0
    # The other way round the yen's rate is what is missing.
    late = Panel.from_bars(
        [
            make_bars("USDJPY", quote="JPY", start_price=110.0, start_ns=START_NS + 10**13),
            make_bars("EURUSD"),
        ]
    )
    prices = Tape.from_panel(late, rules).prices[0]
    assert np.isnan(prices[0, [T_RATE_OPEN, T_RATE_CLOSE]]).all()
    assert (prices[1, [T_RATE_OPEN, T_RATE_CLOSE]] == 1.0).all()


def test_panel_and_rules_must_name_the_same_instruments(world):
    panel, rules = world
    with pytest.raises(RulesError, match="same in panel and rules"):
        Tape.from_panel(panel, replace(rules, instruments=rules.instruments[::-1]))


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("live", range(1, LANES + 1))
@pytest.mark.parametrize("instruments", [1, 3, 8])
def test_bars_are_laid_side_by_side(instruments, live, back):
    assert TAPE_COLUMNS % SIDE == LANES % SIDE == 0
    generator = np.random.default_rng(live)
    bars = generator.normal(size=(12, instruments, TAPE_COLUMNS))
    rows = generator.integers(1, 12, LANES)
    sheet = np.full(instruments * SHEET_SIZE, np.nan)
    load_bars(bars, rows, back, sheet, live)
    columns = sheet.reshape(instruments, -1, LANES)
    for i in range(live):
        assert np.array_equal(columns[:, :TAPE_COLUMNS, i], bars[rows[i] - back])
    assert np.isnan(columns[:, TAPE_COLUMNS:]).all() and np.isnan(columns[:, :, live:]).all()
