# SPDX-License-Identifier: Apache-2.0
"""From targets to queued orders (docs/execution.md, step 7), through the desk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.market.account import B_POSITION, BAR_BINDING
from mtquant.market.desk import Desk
from mtquant.market.tape import S_PLANNED, S_QUEUED, T_CLOSE
from tests.support.judges import run_desk
from tests.support.tapes import hand_rules, hand_tape, random_world

seeds = st.integers(0, 2**32 - 1)
FLAT = (100.0, 100.0, 100.0, 100.0)


@given(seeds)
def test_every_plan_holds_the_limits(seed):
    world = random_world(seed, rows=20)
    desk = Desk(world.tape, world.rules, "test", cost_scale=world.cost_scale)
    caps = np.array([item.name_cap for item in world.rules.instruments])
    for targets in world.targets[:-1]:
        desk.plan(targets)
        planned = desk.noted(S_PLANNED)
        assert (np.abs(planned) <= caps).all()
        assert np.abs(planned).sum() <= world.rules.max_gross_exposure * (1.0 + 1e-12)
        binding = desk.block[BAR_BINDING]
        assert desk.advance()[oc.BINDING] == binding
        if desk.bankrupt:
            break


@given(seeds)
def test_the_order_leads_to_the_planned_exposure_within_a_lot_toward_zero(seed):
    world = random_world(seed, rows=20, ugly=False)
    desk = Desk(world.tape, world.rules, "test", cost_scale=world.cost_scale)
    lots = np.array([item.lot for item in world.rules.instruments])
    multipliers = np.array([item.multiplier for item in world.rules.instruments])
    for targets in world.targets[:-1]:
        desk.plan(targets)
        equity = desk.outcome[oc.EQUITY] or world.rules.initial_equity
        prices = world.tape.prices[desk.row]
        unit = prices[:, T_CLOSE] * prices[:, 5] * multipliers
        goal = desk.column(B_POSITION) + desk.noted(S_QUEUED)
        exact = desk.noted(S_PLANNED) * equity / unit
        ordered = np.isfinite(targets) & (equity > 0.0)
        short = (np.abs(exact) - np.abs(goal)) / lots
        # 1e-9 of a lot: a quantity that close below a boundary counts as being on it.
        assert (short[ordered] > -2e-9).all() and (short[ordered] < 1.0 + 1e-9).all()
        assert (goal * exact >= 0.0)[ordered].all()
        desk.advance()
        if desk.bankrupt:
            break


def test_a_target_that_is_no_number_leaves_the_position_alone():
    bars = [FLAT, FLAT, (120.0, 120.0, 120.0, 120.0), FLAT, FLAT]
    for nothing in (np.nan, np.inf, -np.inf):
        targets = np.array([[0.5], [nothing], [nothing], [nothing]])
        ledger = run_desk(hand_tape(bars), hand_rules(), targets)
        # 5 units; the exposure drifts with the price, and nobody trades.
        assert ledger.positions[:, 0].tolist() == [5.0] * 4
        assert len(ledger.fills) == 1


def test_a_limit_moves_even_a_position_left_alone():
    # 5 units of 100 are 0.5 of 1000. At 200 they are 1000 of 1500, above a cap of 0.6: 900 are
    # left, 4 whole units.
    bars = [FLAT, FLAT, (200.0, 200.0, 200.0, 200.0), (200.0, 200.0, 200.0, 200.0)]
    targets = np.array([[0.5], [np.nan], [np.nan]])
    ledger = run_desk(hand_tape(bars), hand_rules(name_cap=0.6), targets)
    assert ledger.positions[:, 0].tolist() == [5.0, 5.0, 4.0]
    assert ledger.column("binding").tolist() == [0.0, 0.0, oc.LIMIT_NAME]


@pytest.mark.parametrize(
    ("target", "caps", "planned", "binding"),
    [
        (0.5, {}, 0.5, 0),
        (2.0, {"name_cap": 0.7}, 0.7, oc.LIMIT_NAME),
        (2.0, {"max_gross_exposure": 0.7}, 0.7, oc.LIMIT_GROSS),
        (2.0, {"name_cap": 0.9, "max_gross_exposure": 0.7}, 0.7, oc.LIMIT_NAME | oc.LIMIT_GROSS),
    ],
)
def test_each_limit_binds_and_says_so(target, caps, planned, binding):
    for method in ("project", "scale"):
        desk = Desk(hand_tape([FLAT] * 2), hand_rules(limit_method=method, **caps), "test")
        desk.plan(np.array([-target]))
        assert desk.noted(S_PLANNED)[0] == pytest.approx(-planned)
        assert desk.noted(S_QUEUED)[0] == -int(planned * 10 + 1e-9)
        assert desk.advance()[oc.BINDING] == binding


def test_a_new_plan_replaces_what_was_queued():
    desk = Desk(hand_tape([FLAT] * 2), hand_rules(), "test")
    for target in (0.5, -0.3, 0.2):
        desk.plan(np.array([target]))
    assert desk.noted(S_QUEUED)[0] == 2.0
    desk.plan(np.array([np.nan]))
    assert desk.noted(S_QUEUED)[0] == 0.0


def test_nothing_is_ordered_where_no_price_is_known():
    tape = hand_tape([FLAT] * 2)
    for price, rate in ((np.nan, 1.0), (0.0, 1.0), (-3.0, 1.0), (100.0, np.nan), (100.0, 0.0)):
        prices = tape.prices.copy()
        prices[:, 0, :4], prices[:, 0, 4:6] = price, rate
        desk = Desk(replace(tape, prices=prices), hand_rules(), "test")
        desk.plan(np.array([0.5]))
        assert desk.noted(S_QUEUED)[0] == 0.0


def test_a_quantity_on_a_lot_boundary_counts_as_being_on_it():
    # 0.3 * 1000 / 100 = 3 lots of 1, but 0.29999999999999998 * 10 in floating point may be less.
    desk = Desk(hand_tape([FLAT] * 2), hand_rules(lot=0.1), "test")
    for target in (0.1, 0.2, 0.3, 0.6, 0.7, 1.1):
        desk.plan(np.array([target]))
        assert desk.noted(S_QUEUED)[0] == pytest.approx(10.0 * target, abs=1e-9)
