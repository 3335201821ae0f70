# SPDX-License-Identifier: Apache-2.0
"""Fills, refusals, margin, stops and ruin (docs/execution.md, steps 1 to 4), through the desk."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.lanes import LANES
from mtquant.market.account import ACCOUNT, B_MARK, BAR_FILLS, OUTCOME, at
from mtquant.market.desk import Desk
from mtquant.market.tape import (
    S_QUEUED,
    T_CLOSE,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
)
from tests.support.judges import run_desk
from tests.support.tapes import hand_rules, hand_tape, random_world

seeds = st.integers(0, 2**32 - 1)
FLAT = (100.0, 100.0, 100.0, 100.0)


def hold(target, rows):
    """One decision, then hands off."""
    targets = np.full((rows, 1), np.nan)
    targets[0] = target
    return targets


def fills_of(bars, rules, target):
    return run_desk(hand_tape(bars), rules, hold(target, len(bars)))


# --- what a fill is, and what a refusal is ---


@given(seeds)
def test_filled_means_something_was_done_and_never_more_than_wanted(seed):
    world = random_world(seed)
    ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    wanted, done = ledger.fills[:, oc.FILL_WANTED], ledger.fills[:, oc.FILL_QUANTITY]
    reason = ledger.fills[:, oc.FILL_REASON]
    assert (wanted != 0.0).all()
    filled = np.isin(reason, (oc.REASON_DONE, oc.REASON_SHRUNK_BY_MARGIN))
    assert np.array_equal(filled, done != 0.0)
    assert (done * wanted >= 0.0).all() and (np.abs(done) <= np.abs(wanted)).all()
    assert np.array_equal(done[reason == oc.REASON_DONE], wanted[reason == oc.REASON_DONE])
    cut = reason == oc.REASON_SHRUNK_BY_MARGIN
    assert (np.abs(done[cut]) < np.abs(wanted[cut])).all()
    costs = ledger.fills[:, [oc.FILL_FEE, oc.FILL_SLIPPAGE]]
    assert (costs >= 0.0).all() and (costs[~filled] == 0.0).all()
    assert (ledger.fills[~filled, oc.FILL_PRICE] == 0.0).all()
    reference, price = ledger.fills[filled][:, [oc.FILL_REFERENCE, oc.FILL_PRICE]].T
    assert ((price - reference) * np.sign(done[filled]) >= 0.0).all()  # the far side


@given(seeds)
def test_every_position_is_a_whole_number_of_lots(seed):
    world = random_world(seed)
    ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    lots = ledger.positions / np.array([item.lot for item in world.rules.instruments])
    np.testing.assert_allclose(lots, np.round(lots), rtol=1e-12, atol=1e-9)


def steps_of(world):
    """For every bar: the account before it, after it, and the fills and refusals it wrote."""
    desk = Desk(world.tape, world.rules, "test", cost_scale=world.cost_scale)
    steps, known = [], 0
    for targets in world.targets[:-1]:
        desk.plan(targets)
        before = (desk.block.copy(), desk.sheet.copy())
        desk.advance()
        fills = desk.ledger().fills
        steps.append((before, desk.block.copy(), fills[known:]))
        known = len(fills)
        if desk.bankrupt:
            break
    return steps


@hypothesis_settings(max_examples=60)
@given(seeds)
@example(326845)  # an order that nobody fills makes the margin look short
def test_a_refused_order_leaves_the_account_byte_for_byte(seed):
    """The bar is lived through once more without the refused orders: only the count of rows
    written differs.
    """
    world = random_world(seed, rows=20)
    twin = Desk(world.tape, world.rules, "twin", cost_scale=world.cost_scale)
    for row, (before, after, fills) in enumerate(steps_of(world)):
        refused = fills[fills[:, oc.FILL_QUANTITY] == 0.0, oc.FILL_INSTRUMENT].astype(int)
        if not len(refused):
            continue
        twin.row, twin.block[:], twin.sheet[:] = row, *before
        assert (twin.noted(S_QUEUED)[refused] != 0.0).all()
        twin.noted(S_QUEUED)[refused] = 0.0
        twin.advance()
        assert twin.block[BAR_FILLS] == after[BAR_FILLS] - len(refused)
        assert twin.account[OUTCOME // LANES :].tobytes() == after[OUTCOME::LANES].tobytes()
        assert (twin.noted(S_QUEUED) == 0.0).all()


@pytest.mark.parametrize(
    ("reason", "bar", "rules"),
    [
        (oc.REASON_MARKET_CLOSED, FLAT, hand_rules()),
        (oc.REASON_PRICE_UNKNOWN, (-5.0, -5.0, -5.0, -5.0), hand_rules()),
        # 600 units of 100 need 6000 of margin; 1000 are there. One lot of 500 units is 5000.
        (oc.REASON_REFUSED_BY_MARGIN, FLAT, hand_rules(lot=500.0)),
    ],
)
def test_a_refusal_on_a_flat_account_changes_nothing_but_the_queue(reason, bar, rules):
    tape = hand_tape([FLAT, bar])
    tape.prices[1, 0, T_TRADABLE] = float(reason != oc.REASON_MARKET_CLOSED)
    desk = Desk(tape, rules, "test")
    desk.plan(np.array([60.0]))
    remembered = slice(ACCOUNT // LANES, None)
    before = desk.account[remembered].copy()
    desk.advance()
    assert desk.ledger().fills[:, oc.FILL_REASON].tolist() == [reason]
    assert (desk.noted(S_QUEUED) == 0.0).all()
    desk.column(B_MARK)[:] = before[(at(0, B_MARK) - ACCOUNT) // LANES]  # it moved with the bar
    assert before.tobytes() == desk.account[remembered].tobytes()


# --- margin ---


@given(seeds)
def test_used_margin_never_exceeds_equity_after_an_order_that_adds_risk(seed):
    """Bars of one price each, no stops: the close of a bar is the moment after its last order."""
    world = random_world(seed, ugly=False, fill_at="open", maintenance_margin_frac=0.0)
    prices = world.tape.prices.copy()
    prices[:, :, T_OPEN:T_CLOSE] = prices[:, :, T_CLOSE : T_CLOSE + 1]
    prices[:, :, T_RATE_OPEN] = prices[:, :, T_RATE_CLOSE]
    names = tuple(
        replace(item, stop_loss_frac=0.0, take_profit_frac=0.0, name_cap=100.0)
        for item in world.rules.instruments
    )
    rules = replace(world.rules, instruments=names, max_gross_exposure=100.0)
    tape = replace(world.tape, prices=prices)
    ledger = run_desk(tape, rules, 20.0 * world.targets, world.cost_scale)
    for fill in ledger.fills[ledger.fills[:, oc.FILL_QUANTITY] != 0.0]:
        k = int(fill[oc.FILL_ROW]) - 1
        held = ledger.positions[k, int(fill[oc.FILL_INSTRUMENT])]
        if held * fill[oc.FILL_QUANTITY] > 0.0:  # opened, added or flipped
            assert ledger.outcomes[k, oc.MARGIN_USE] <= 1.0 + 1e-9


def test_an_order_is_cut_to_what_free_margin_carries_costs_included():
    # Asked for 60 x 1000 / 100 = 600 units. One unit takes 10 of margin (0.1 x 100) and costs half
    # the spread of 20 bps (0.10) and 10 bps commission on 100.10 (0.1001): 1000 / 10.2001 = 98.04.
    rules = hand_rules(spread_bps=20.0, commission_bps=10.0)
    ledger = fills_of([FLAT, FLAT], rules, 60.0)
    (fill,) = ledger.fills
    assert fill[oc.FILL_QUANTITY] == 98.0 and fill[oc.FILL_WANTED] == 600.0
    assert fill[oc.FILL_REASON] == oc.REASON_SHRUNK_BY_MARGIN
    # 980 of margin against 1000 - 98 x 0.2001 = 980.3902.
    assert ledger.equity[0] == pytest.approx(980.3902, abs=1e-9)
    assert ledger.outcomes[0, oc.MARGIN_USE] == pytest.approx(980.0 / 980.3902)


def test_what_an_order_closes_needs_no_margin():
    # Long 98 units as above, margin full; the flip to 600 short closes 98 and opens what 1000
    # carry: 100 units at 10 each, free of cost.
    tape = hand_tape([FLAT] * 3)
    ledger = run_desk(tape, hand_rules(), np.array([[9.8], [-60.0], [np.nan]]))
    assert ledger.fills[:, oc.FILL_QUANTITY].tolist() == [98.0, -198.0]
    assert ledger.positions[:, 0].tolist() == [98.0, -100.0]


def test_orders_that_reduce_risk_come_first_and_make_room():
    # Instrument 1 holds all the margin. Instrument 0, earlier in the panel, can buy nothing before
    # instrument 1 has sold; the desk sells first.
    flat = hand_tape([FLAT] * 3)
    tape = replace(
        flat, prices=np.repeat(flat.prices, 2, axis=1), own_rate=(False,) * 2, symbols=("X0", "X1")
    )
    ledger = run_desk(tape, hand_rules(2), np.array([[0.0, 10.0], [10.0, 0.0], [0.0, 0.0]]))
    assert ledger.fills[:, oc.FILL_INSTRUMENT].tolist() == [1.0, 1.0, 0.0]
    assert ledger.fills[:, oc.FILL_QUANTITY].tolist() == [100.0, -100.0, 100.0]


# --- costs ---


@given(
    st.floats(0.0, 50.0),
    st.floats(0.0, 50.0),
    st.floats(0.0, 5.0),
    st.floats(-0.9, 0.9),
    st.sampled_from(["spread_bps", "commission_bps", "slippage_bps", "cost_scale"]),
)
def test_dearer_rules_never_cost_less(bps, more, scale, target, dearer):
    def paid(increase):
        prices = {"spread_bps": bps, "commission_bps": bps, "slippage_bps": bps}
        factor = scale + (increase if dearer == "cost_scale" else 0.0)
        if dearer != "cost_scale":
            prices[dearer] += increase
        ledger = run_desk(
            hand_tape([FLAT] * 3), hand_rules(**prices), hold(target, 3), cost_scale=factor
        )
        fee, slippage = ledger.column("fee"), ledger.column("slippage")
        assert (fee >= 0.0).all() and (slippage >= 0.0).all()
        assert ledger.equity[-1] == pytest.approx(1000.0 - fee.sum() - slippage.sum(), abs=1e-9)
        return fee.sum() + slippage.sum()

    assert paid(more) >= paid(0.0)
    if target and not 0.0 < abs(target) < 0.1 and scale > 0.01 and more > 0.01 and bps > 0.01:
        assert paid(more) > paid(0.0)  # a unit of 100 is the smallest order of 0.1


# --- stops ---

LONG_STOP = hand_rules(stop_loss_frac=0.05, take_profit_frac=0.10)
# Bars after a fill at 100 (5 units): the trigger of a long is at 95, its take-profit at 110; of a
# short 105 and 90. Each case names a long's bar; a short's is its mirror at 100.
STOP_CASES = [
    pytest.param((99.0, 101.0, 96.0, 97.0), None, None, id="inside both"),
    pytest.param((99.0, 101.0, 95.0, 97.0), 95.0, oc.ORIGIN_STOP_LOSS, id="touch stops"),
    pytest.param((99.0, 110.1, 96.0, 97.0), 110.0, oc.ORIGIN_TAKE_PROFIT, id="takes"),
    pytest.param((93.0, 99.0, 92.0, 97.0), 93.0, oc.ORIGIN_STOP_LOSS, id="gap fills at the open"),
    pytest.param((112.0, 115.0, 111.0, 113.0), 112.0, oc.ORIGIN_TAKE_PROFIT, id="gap takes"),
    pytest.param((99.0, 120.0, 80.0, 100.0), 95.0, oc.ORIGIN_STOP_LOSS, id="stop first"),
    pytest.param((111.0, 112.0, 90.0, 91.0), 111.0, oc.ORIGIN_TAKE_PROFIT, id="open before low"),
]


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["long", "short"])
@pytest.mark.parametrize(("bar", "mid", "origin"), STOP_CASES)
def test_stops(bar, mid, origin, side):
    if side < 0.0:
        opened, high, low, close = (200.0 - price for price in bar)
        bar, mid = (opened, low, high, close), None if mid is None else 200.0 - mid
    ledger = fills_of([FLAT, FLAT, bar], LONG_STOP, 0.5 * side)
    closing = ledger.fills[1:]
    if origin is None:
        assert not len(closing)
        return
    ((row, wanted, done, reference, found),) = closing[
        :, [oc.FILL_ROW, oc.FILL_WANTED, oc.FILL_QUANTITY, oc.FILL_REFERENCE, oc.FILL_ORIGIN]
    ]
    assert (row, wanted, done, found) == (2.0, -5.0 * side, -5.0 * side, origin)
    assert reference == pytest.approx(mid, abs=1e-12)
    assert ledger.equity[-1] == pytest.approx(1000.0 + 5.0 * side * (mid - 100.0), abs=1e-9)


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["long", "short"])
@pytest.mark.parametrize("fill_at", ["open", "close"])
def test_stops_are_checked_from_the_first_exposed_bar(side, fill_at):
    rules = replace(LONG_STOP, fill_at=fill_at)
    ledger = fills_of([FLAT, (100.0, 120.0, 80.0, 100.0)], rules, 0.5 * side)
    assert ledger.fills[:, oc.FILL_ORIGIN].tolist() == [oc.ORIGIN_ORDER, oc.ORIGIN_STOP_LOSS]
    # Filled at this open, or at the close before it: either way this is the first exposed bar.
    assert ledger.fills[:, oc.FILL_ROW].tolist() == [0.0 if fill_at == "close" else 1.0, 1.0]
    assert ledger.equity[-1] == pytest.approx(975.0, abs=1e-9)  # 5 units, 5 % of 100 lost on each


def test_a_stop_looks_at_the_average_with_its_costs():
    # Bought at 100 x 1.01 = 101 (spread of 200 bps): the trigger is 101 x 0.95 = 95.95.
    rules = replace(
        LONG_STOP, instruments=tuple(replace(i, spread_bps=200.0) for i in LONG_STOP.instruments)
    )
    ledger = fills_of([FLAT, FLAT, (100.0, 100.0, 95.9, 96.0)], rules, 0.5)
    assert ledger.fills[1, oc.FILL_REFERENCE] == pytest.approx(95.95)
    assert ledger.fills[1, oc.FILL_PRICE] == pytest.approx(95.95 * 0.99)
    assert not len(fills_of([FLAT, FLAT, (100.0, 100.0, 96.0, 96.0)], rules, 0.5).fills[1:])


def test_a_closed_market_stops_nobody():
    tape = hand_tape([FLAT, FLAT, (80.0, 80.0, 80.0, 80.0), (80.0, 81.0, 79.0, 80.0)])
    tape.prices[2, 0] = [100.0, 100.0, 100.0, 100.0, 1.0, 1.0, 0.0, 0.0]
    ledger = run_desk(tape, LONG_STOP, hold(0.5, 4))
    assert ledger.fills[1:, oc.FILL_ROW].tolist() == [3.0]
    assert ledger.fills[1, oc.FILL_REFERENCE] == 80.0


def test_fill_at_close_pays_the_close_it_was_decided_on():
    bars = [(90.0, 110.0, 90.0, 100.0), (120.0, 130.0, 110.0, 125.0)]
    rules = hand_rules(fill_at="close", spread_bps=20.0)
    ledger = fills_of(bars, rules, 0.5)
    (fill,) = ledger.fills
    assert fill[oc.FILL_ROW] == 0.0 and fill[oc.FILL_REFERENCE] == 100.0
    # 5 units from 100.10 to 125, counted in the bar after; turnover 500 of 1000.
    assert ledger.equity.tolist() == [pytest.approx(1000.0 + 5 * 24.9)]
    assert ledger.outcomes[0, oc.TURNOVER] == 0.5


# --- liquidation and ruin ---

# 50 units at 100 with 1000 (exposure 5), margin 10 %, liquidated at half of it: equity
# 1000 +- 50 (p - 100) meets 0.5 * 50 p * 0.1 = 2.5 p at 4000 / 47.5 for a long and 6000 / 52.5 for
# a short position.
LEVERED = hand_rules(maintenance_margin_frac=0.5)


@pytest.mark.parametrize(
    ("side", "bar", "mid"),
    [
        (1.0, (100.0, 101.0, 60.0, 100.0), 4000.0 / 47.5),
        (1.0, (100.0, 101.0, 84.22, 100.0), None),  # 4000 / 47.5 = 84.2105
        (1.0, (83.0, 84.0, 60.0, 80.0), 83.0),
        (-1.0, (100.0, 150.0, 99.0, 100.0), 6000.0 / 52.5),
        (-1.0, (100.0, 114.28, 99.0, 100.0), None),  # 6000 / 52.5 = 114.2857
        (-1.0, (116.0, 150.0, 110.0, 118.0), 116.0),
    ],
)
def test_the_liquidation_price_by_hand(side, bar, mid):
    ledger = fills_of([FLAT, FLAT, bar], LEVERED, 5.0 * side)
    assert ledger.positions[0, 0] == 50.0 * side
    if mid is None:
        assert len(ledger.fills) == 1
        return
    order, closing = ledger.fills
    assert closing[oc.FILL_ORIGIN] == oc.ORIGIN_LIQUIDATION
    assert closing[oc.FILL_REFERENCE] == pytest.approx(mid, rel=1e-12)
    assert closing[oc.FILL_QUANTITY] == -order[oc.FILL_QUANTITY]
    assert ledger.equity[-1] == pytest.approx(1000.0 + 50.0 * side * (mid - 100.0), rel=1e-9)


def test_stops_come_before_liquidation():
    names = tuple(replace(item, stop_loss_frac=0.05) for item in LEVERED.instruments)
    ledger = fills_of(
        [FLAT, FLAT, (100.0, 101.0, 60.0, 100.0)], replace(LEVERED, instruments=names), 5.0
    )
    assert ledger.fills[1:, oc.FILL_ORIGIN].tolist() == [oc.ORIGIN_STOP_LOSS]


def test_bankruptcy_ends_the_account_and_floors_its_growth():
    # 50 units lose 30 each: 1500 of 1000.
    ledger = fills_of([FLAT, FLAT, (70.0, 70.0, 70.0, 70.0), FLAT], hand_rules(), 5.0)
    assert len(ledger) == 2  # no bar follows a bankrupt one
    assert ledger.column("status").tolist() == [oc.STATUS_ACTIVE, oc.STATUS_BANKRUPT]
    assert ledger.equity[-1] == -500.0
    assert ledger.column("growth").sum() == pytest.approx(math.log(1e-6))  # the floor of step 4
    assert ledger.column("drawdown")[-1] == 1.5
    # Below the line equity counts as 0.001: 50 units of 70 are 3500.
    np.testing.assert_allclose(ledger.outcomes[-1, [oc.GROSS, oc.NET]], 3500.0 / 0.001)


def test_the_line_of_bankruptcy_belongs_to_the_bankrupt():
    # 10 units lose 99 each of 1000: 10 are left, exactly 1 %.
    ledger = fills_of([FLAT, FLAT, (1.0, 1.0, 1.0, 1.0)], hand_rules(), 1.0)
    assert ledger.equity[-1] == 10.0
    assert ledger.column("status")[-1] == oc.STATUS_BANKRUPT
    assert ledger.column("growth").sum() == pytest.approx(math.log(0.01))
    spared = fills_of([FLAT, FLAT, (1.1, 1.1, 1.1, 1.1)], hand_rules(), 1.0)
    assert spared.column("status")[-1] == oc.STATUS_ACTIVE


def test_the_sample_of_refusals_holds_every_reason():
    reasons = Counter()
    for seed in range(40):
        world = random_world(seed, rows=20)
        for _, _, fills in steps_of(world):
            reasons.update(fills[fills[:, oc.FILL_QUANTITY] == 0.0, oc.FILL_REASON])
    assert reasons[oc.REASON_MARKET_CLOSED] > 50 and reasons[oc.REASON_REFUSED_BY_MARGIN] > 5
