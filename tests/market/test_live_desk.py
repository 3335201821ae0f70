# SPDX-License-Identifier: Apache-2.0
"""Bars one at a time give the bytes of the whole panel: tape, risk, venue and booking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.config import load_config
from mtquant.core.errors import RulesError
from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.market.account import B_POSITION
from mtquant.market.desk import Desk
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LAST, LiveTape
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from tests.support.builders import make_bars

SYMBOLS = ("EURUSD", "USDJPY", "SPX500")
INSTRUMENTS = load_instruments(None)
LEVERED = (
    "environment.max_position_size=4",
    "environment.max_gross_exposure=8",
    "environment.max_portfolio_var=0.5",
    "environment.max_correlation_exposure=6",
    "environment.max_sector_allocation=null",
)


def holed(symbol: str, seed: int, offset: int, rows: int = 60) -> Bars:
    """Hourly bars with holes; some close between the others'."""
    whole = make_bars(symbol, rows, seed, 3_600, INSTRUMENTS[symbol].quote, volatility=0.01)
    kept = np.random.default_rng(seed).random(rows) > 0.2
    kept[:2] = True
    columns = {
        name: getattr(whole, name)[kept] for name in ("open", "high", "low", "close", "volume")
    }
    stamps = whole.stamps[kept] + offset * 1_000_000_000
    return Bars(symbol=symbol, stamps=stamps, quote=whole.quote, bar_seconds=3_600, **columns)


def market(seed: int, *overrides: str) -> tuple[list[Bars], Panel, Rules, Tape]:
    bars = [holed(symbol, seed + n, 1_200 * (n == 2)) for n, symbol in enumerate(SYMBOLS)]
    config = load_config(None, list(overrides))
    panel = Panel.from_bars(bars)
    rules = Rules.from_config(config.environment, INSTRUMENTS, SYMBOLS)
    return bars, panel, rules, Tape.from_panel(panel, rules)


def rows_of(bars: list[Bars], stamp: int) -> dict[int, tuple[float, float, float, float]]:
    found = {}
    for n, own in enumerate(bars):
        k = int(np.searchsorted(own.stamps, stamp))
        if k < len(own) and own.stamps[k] == stamp:
            found[n] = (own.open[k], own.high[k], own.low[k], own.close[k])
    return found


def test_rows_and_risks_are_the_panels_to_the_byte() -> None:
    bars, panel, rules, tape = market(3)
    live = LiveTape(rules, 3_600, tape.bars_per_year)
    table = tape.risk("ewma")
    for row, stamp in enumerate(panel.stamps):
        live.push(int(stamp), rows_of(bars, int(stamp)))
        assert live.count == row + 1
        assert live.tape.prices[LAST].tobytes() == tape.prices[row].tobytes()
        assert live.tape.clock[LAST].tobytes() == tape.clock[row].tobytes()
        assert live.risk.tobytes() == table.rows[row].tobytes()
        other = LiveTape(rules, 3_600, tape.bars_per_year)
        other.restore(live.state())
        live = other


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), levered=st.booleans())
def test_venue_and_booked_account_live_like_the_desk(seed: int, levered: bool) -> None:
    """A venue fills, a second account books what it did: both equal the desk on the whole tape."""
    bars, panel, rules, tape = market(seed % 7, *(LEVERED if levered else ()))
    start = 25
    desk = Desk(tape, rules, "whole", start_row=start)
    feeds = [LiveTape(rules, 3_600, tape.bars_per_year) for _ in range(2)]
    for stamp in panel.stamps[: start + 1]:
        for feed in feeds:
            feed.push(int(stamp), rows_of(bars, int(stamp)))
    venue, own = (LiveDesk(feed, rules, "live") for feed in feeds)
    draws = np.random.default_rng(seed)
    for stamp in panel.stamps[start + 1 :]:
        targets = draws.normal(0.0, 3.0, len(SYMBOLS))
        targets[draws.random(len(SYMBOLS)) < 0.3] = np.nan
        desk.plan(targets)
        own.plan(targets)
        venue.queue(own.take_orders())
        for feed in feeds:
            feed.push(int(stamp), rows_of(bars, int(stamp)))
        executions = venue.live()
        outcome = own.book(executions)
        expected = desk.advance()
        assert outcome.tobytes() == expected.tobytes()
        unplanned = np.arange(len(expected)) != oc.BINDING  # a venue knows nothing of limits
        assert venue.outcome[unplanned].tobytes() == expected[unplanned].tobytes()
        fresh = LiveDesk(feeds[1], rules, "live")
        fresh.restore(own.state())
        own = fresh
        if desk.bankrupt:
            break
    assert own.account[len(own.account) // 2 :].tobytes() == (
        desk.account[len(desk.account) // 2 :].tobytes()
    )


@pytest.mark.parametrize("parts", [(150.0, 150.0), (0.5, 299.5), (99.9, 100.1, 100.0)])
def test_parts_that_are_no_whole_lots_add_up(parts: tuple[float, ...]) -> None:
    """A broker fills in any parts; the book ends with what they come to."""
    bars, panel, rules, tape = market(3)
    coarse = replace(rules.instruments[0], lot=100.0)
    rules = replace(rules, instruments=(coarse, *rules.instruments[1:]))
    feed = LiveTape(rules, 3_600, tape.bars_per_year)
    feed.push(int(panel.stamps[0]), rows_of(bars, int(panel.stamps[0])))
    desk = LiveDesk(feed, rules, "live")
    for sign, stamp in zip((1.0, -1.0), panel.stamps[1:3], strict=True):
        feed.push(int(stamp), rows_of(bars, int(stamp)))
        rows = np.zeros((len(parts), len(oc.FILL_COLUMNS)))
        rows[:, oc.FILL_QUANTITY] = rows[:, oc.FILL_WANTED] = sign * np.array(parts)
        rows[:, oc.FILL_PRICE] = rows[:, oc.FILL_REFERENCE] = 1.1
        rows[:, oc.FILL_RATE] = 1.0
        desk.book(rows)
        assert desk.column(B_POSITION)[0] == (300.0 if sign > 0.0 else 0.0)


def test_a_rule_that_needs_days_is_refused() -> None:
    _, _, rules, tape = market(1, "environment.var_method=historical")
    with pytest.raises(RulesError, match="var_method must be ewma"):
        LiveTape(rules, 3_600, tape.bars_per_year)


def test_origins_and_reasons_have_texts() -> None:
    assert oc.ORIGIN_ADOPTED in oc.ORIGIN_TEXTS
    assert {oc.REASON_PARTIAL, oc.REASON_REJECTED, oc.REASON_NOT_SENT} <= set(oc.REASON_TEXTS)
