# SPDX-License-Identifier: Apache-2.0
"""Latency, spread by hour and orders limited by volume (docs/execution.md)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.panel import Panel
from mtquant.market.account import block_size
from mtquant.market.desk import Desk
from mtquant.market.rules import Rules
from mtquant.market.tape import S_QUEUED, T_EXTRA_COST, T_TRADABLE, Tape
from tests.support.builders import make_bars
from tests.support.judges import run_desk
from tests.support.markets import INSTRUMENTS
from tests.support.tapes import hand_rules, hand_tape, random_world

BAR = (100.0, 101.0, 99.0, 100.0)
RICH = hand_rules(initial_equity=100_000.0)


@hypothesis_settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_latency_is_the_target_of_the_bar_before(seed: int) -> None:
    world = random_world(seed, rows=30, latency_bars=1)
    late = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    shifted = np.concatenate([np.zeros((1, len(world.tape.symbols))), world.targets[:-1]])
    prompt = replace(world.rules, latency_bars=0)
    ledger = run_desk(world.tape, prompt, shifted, world.cost_scale)
    assert late.outcomes.tobytes() == ledger.outcomes.tobytes()
    assert late.fills.tobytes() == ledger.fills.tobytes()
    assert late.targets.tobytes() == ledger.targets.tobytes()
    assert late.rules_hash != ledger.rules_hash


def test_nobody_pays_for_latency_that_is_off() -> None:
    assert block_size(3, late=True) > block_size(3) == block_size(3, late=False)


BANDED = hand_rules(initial_equity=100_000.0, name_cap=1.0, rebalance_band=0.1)


def test_a_target_within_the_band_trades_nothing() -> None:
    targets = np.array([[0.5], [0.59], [0.61], [np.nan], [0.05], [0.0]])
    ledger = run_desk(hand_tape([BAR] * 7), BANDED, targets)
    assert ledger.fills[:, oc.FILL_ROW].tolist() == [1.0, 3.0, 5.0, 6.0]
    assert ledger.positions[-1, 0] == 0.0  # flat means flat, however little was held
    assert np.array_equal(ledger.targets, targets, equal_nan=True)  # what was asked for


def test_the_band_is_for_drift_and_not_for_limits() -> None:
    tape = hand_tape([(100.0 + t,) * 4 for t in range(8)])  # shorts grow with the price
    short = np.full((7, 1), -0.9)
    assert len(run_desk(tape, replace(BANDED, rebalance_band=0.0), short).fills) == 7
    assert len(run_desk(tape, BANDED, short).fills) == 1
    assert len(run_desk(tape, replace(BANDED, max_gross_exposure=0.95), short).fills) > 1


def test_without_a_name_cap_there_is_no_band() -> None:
    endless = hand_rules(initial_equity=100_000.0, name_cap=np.inf)
    targets = np.array([[0.5], [0.52], [0.0]])
    for rules in (endless, replace(endless, rebalance_band=0.1)):
        assert len(run_desk(hand_tape([BAR] * 4), rules, targets).fills) == 3


def test_what_somebody_insists_on_is_traded() -> None:
    desk = Desk(hand_tape([BAR] * 4), BANDED, "insistent")
    desk.plan(np.array([0.5]))
    desk.advance()
    for exact, orders in ((False, 0), (True, 1)):
        desk.plan(np.array([0.45]), exact=exact)
        assert np.count_nonzero(desk.noted(S_QUEUED)) == orders


def test_a_world_without_a_band_is_the_one_of_before_there_were_bands() -> None:
    entries = asdict(RICH)
    del entries["rebalance_band"]
    assert RICH.hash() == sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    assert replace(RICH, rebalance_band=0.1).hash() != RICH.hash()


@hypothesis_settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5))
def test_within_the_band_is_left_alone(seed: int, band: float) -> None:
    world = random_world(seed, rows=30, latency_bars=0)
    rules = replace(world.rules, rebalance_band=band)
    desk = run_desk(world.tape, rules, world.targets, world.cost_scale)
    equity = desk.outcomes[:, oc.EQUITY]
    value = desk.positions * np.array(desk.multipliers) * desk.prices * desk.rates
    held = np.nan_to_num(np.vstack([np.zeros(value.shape[1]), (value / equity[:, None])[:-1]]))
    caps = np.array([item.name_cap for item in rules.instruments])
    asked = world.targets[: len(held)]
    inside = (asked != 0.0) & (np.abs(asked - held) <= band * caps)
    told = np.where(inside, np.nan, asked)
    plain = replace(rules, rebalance_band=0.0)
    ledger = run_desk(world.tape, plain, told, world.cost_scale)
    assert desk.outcomes.tobytes() == ledger.outcomes.tobytes()
    assert desk.fills.tobytes() == ledger.fills.tobytes()
    assert desk.rules_hash != ledger.rules_hash


def test_an_order_takes_what_the_volume_allows_and_the_rest_is_lost() -> None:
    tape = hand_tape([BAR] * 4)
    tape.prices[1, 0, T_TRADABLE] = 1.0 + 300.0  # 300 lots of one unit
    ledger = run_desk(tape, RICH, np.array([[0.5], [np.nan], [0.5], [0.0]]))
    wanted, done = ledger.fills[:, oc.FILL_WANTED], ledger.fills[:, oc.FILL_QUANTITY]
    assert wanted.tolist() == [500.0, 200.0] and done.tolist() == [300.0, 200.0]
    assert ledger.fills[0, oc.FILL_REASON] == oc.REASON_SHRUNK_BY_VOLUME
    assert ledger.positions[:, 0].tolist() == [300.0, 300.0, 500.0]


def test_no_lot_is_a_refusal() -> None:
    tape = hand_tape([BAR] * 3)
    tape.prices[1, 0, T_TRADABLE] = 1.5
    ledger = run_desk(tape, RICH, np.array([[0.5], [np.nan], [np.nan]]))
    assert ledger.fills[:, oc.FILL_REASON].tolist() == [oc.REASON_REFUSED_BY_VOLUME]
    assert (ledger.equity == 100_000.0).all()


FREE = ("environment.max_portfolio_var=null", "environment.max_correlation_exposure=null")


def rules_for(*overrides: str) -> Rules:
    environment = load_config(None, [*FREE, *overrides]).environment
    return Rules.from_config(environment, INSTRUMENTS, ["EURUSD"])


def test_the_volume_of_the_bar_is_the_measure() -> None:
    bars = make_bars("EURUSD", 50, 3, 3600)
    panel = Panel.from_bars([bars])
    share = 2.0 * INSTRUMENTS["EURUSD"].lot / float(np.median(bars.volume))
    rules = rules_for(f"environment.max_volume_frac={share}")
    tape = Tape.from_panel(panel, rules)
    lots = np.floor(share * bars.volume / rules.instruments[0].lot)
    assert (lots >= 1.0).any() and (lots < 1.0).any()
    told = tape.prices[:, 0, T_TRADABLE]
    assert told.tolist() == np.where(lots >= 1.0, 1.0 + lots, 1.5).tolist()
    assert (Tape.from_panel(panel, rules_for()).prices[:, 0, T_TRADABLE] == 1.0).all()


def test_the_spread_is_that_of_the_hour_the_bar_opens_in() -> None:
    bars = make_bars("EURUSD", 60, 3, 3600)
    panel = Panel.from_bars([bars])
    multiples = [1.0 + hour / 4.0 for hour in range(24)]
    rules = rules_for(f"environment.spread_by_hour={{EURUSD: {multiples}}}")
    tape = Tape.from_panel(panel, rules)
    opened = (bars.stamps // NANOSECONDS - 3600).astype("datetime64[s]")
    hours = [int(str(moment)[11:13]) for moment in opened]
    half = rules.instruments[0].spread_bps / 2.0 / 1e4
    expected = [half * hour / 4.0 for hour in hours]
    assert tape.prices[:, 0, T_EXTRA_COST] == pytest.approx(expected, abs=1e-18)
    # Bought for all the equity at the first open: half the spread of that hour is paid.
    targets = np.full((2, 1), 0.1)
    short = replace(tape, prices=tape.prices[:3], clock=tape.clock[:3], stamps=tape.stamps[:3])
    ledger = run_desk(short, rules, targets)
    fill = ledger.fills[0]
    own = (rules.instruments[0].spread_bps * multiples[hours[1]]) / 2.0
    paid = 1e4 * (fill[oc.FILL_PRICE] / fill[oc.FILL_REFERENCE] - 1.0)
    assert paid == pytest.approx(own + rules.instruments[0].slippage_bps, rel=1e-9)


def test_a_profile_has_24_hours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spread_by_hour"):
        load_config(None, ["environment.spread_by_hour={EURUSD: [1.0, 2.0]}"])
    with pytest.raises(ConfigError, match="latency_bars"):
        load_config(None, ["environment.latency_bars=2"])
