# SPDX-License-Identifier: Apache-2.0
"""vectorbt replays our fills with its own books and has to reach our equity."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import numpy as np
import pytest

from mtquant.backtest.vectorbt_audit import TOLERANCE, audit
from mtquant.core import outcome as oc
from mtquant.core.errors import AuditError
from tests.support.judges import run_desk
from tests.support.tapes import hand_rules, hand_tape, random_world

# Enough that long, short, levered, stopped, gapping, foreign and refused all occur (counted below).
WORLDS = 40


@functools.cache
def sample():
    worlds = [random_world(seed, rows=30, ugly=seed % 4 == 0) for seed in range(3 * WORLDS)]
    # vectorbt has no negative prices, so worlds whose prices cross zero are left out.
    worlds = [w for w in worlds if not np.nanmin(w.tape.prices[:, :, :4]) <= 0.0][:WORLDS]
    return [(w, run_desk(w.tape, w.rules, w.targets, w.cost_scale)) for w in worlds]


def test_vectorbt_agrees_on_dozens_of_worlds():
    for number, (world, ledger) in enumerate(sample()):
        found = audit(ledger, world.rules)
        assert found.largest_relative_difference <= 1e-9, f"world {number}"
        assert found.bars == len(ledger)
        assert found.fills == (ledger.fills[:, oc.FILL_QUANTITY] != 0.0).sum()
    assert TOLERANCE == 1e-9  # DESIGN.md section 3


def test_the_sample_holds_every_case():
    fills = np.concatenate([ledger.fills for _, ledger in sample()])
    assert set(fills[:, oc.FILL_ORIGIN]) == set(oc.ORIGIN_TEXTS) - {oc.ORIGIN_ADOPTED}
    assert {
        oc.REASON_SHRUNK_BY_MARGIN,
        oc.REASON_REFUSED_BY_MARGIN,
        oc.REASON_MARKET_CLOSED,
    } <= set(fills[:, oc.FILL_REASON])
    net = np.concatenate([ledger.column("net") for _, ledger in sample()])
    assert (net > 2.0).sum() > 20 and (net < -2.0).sum() > 20
    kinds = {(world.rules.fill_at, any(world.tape.own_rate)) for world, _ in sample()}
    assert len(kinds) == 4
    assert any(np.isnan(world.tape.prices).any() for world, _ in sample())  # one that begins late


def test_the_replay_is_the_users_portfolio():
    # 5 units bought at 100 and sold at 110: one trade, gain 50 of 1000.
    bars = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(110.0, 110.0, 110.0, 110.0)] * 2
    rules = hand_rules()
    ledger = run_desk(hand_tape(bars), rules, np.array([[0.5], [np.nan], [0.0]]))
    found = audit(ledger, rules)
    assert found.portfolio.trades.values["pnl"].tolist() == [pytest.approx(50.0)]
    np.testing.assert_allclose(found.equity, [1000.0, 1050.0, 1050.0])
    assert found.columns == ("X0", "financing")


def tampered(kind):
    """A ledger with one lie, and the first bar whose equity no longer follows."""
    world = random_world(21, rows=30, instruments=3, foreign=True, ugly=False, fill_at="open")
    ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    fills, financing, outcomes = (
        ledger.fills.copy(),
        ledger.financing.copy(),
        ledger.outcomes.copy(),
    )
    done = np.flatnonzero((fills[:, oc.FILL_QUANTITY] != 0.0) & (fills[:, oc.FILL_FEE] > 0.0))
    lie = int(done[len(done) // 2])
    bar = int(fills[lie, oc.FILL_ROW]) - 1
    if kind == "price":
        fills[lie, oc.FILL_PRICE] *= 1.001
    elif kind == "fee":
        fills[lie, oc.FILL_FEE] = 0.0
    elif kind == "quantity":
        fills[lie, oc.FILL_QUANTITY] *= 1.01
    elif kind == "fill":
        fills = np.delete(fills, lie, axis=0)
    elif kind == "financing":
        bar = int(np.argmax(np.abs(financing).sum(axis=1)))
        financing[bar] = 0.0
    elif kind == "equity":
        bar = 7
        outcomes[bar, oc.EQUITY] *= 1.0 + 1e-7
    return replace(ledger, fills=fills, financing=financing, outcomes=outcomes), world.rules, bar


def test_what_is_tampered_with_is_sound_before():
    ledger, rules, _ = tampered("not at all")
    audit(ledger, rules)


@pytest.mark.parametrize("kind", ["price", "fee", "quantity", "fill", "financing", "equity"])
def test_a_lie_is_found_and_its_bar_named(kind):
    ledger, rules, bar = tampered(kind)
    with pytest.raises(AuditError, match="must equal vectorbt's") as raised:
        audit(ledger, rules)
    stamps = [str(stamp) for stamp in ledger.index]
    named = stamps.index(re.search(r"at (.+)$", raised.value.field)[1])
    assert named == bar
    assert set(raised.value.found) == {"ours", "vectorbt", "relative"}


def test_a_fill_below_zero_is_beyond_the_replay():
    # 50 units at 100 on 1000 are liquidated where the market opens again, at -5, as oil's was.
    bars = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(-5.0, -4.0, -6.0, -5.0)]
    rules = hand_rules(maintenance_margin_frac=0.5)
    ledger = run_desk(hand_tape(bars), rules, np.array([[5.0], [np.nan]]))
    assert ledger.fills[-1, oc.FILL_REFERENCE] == -5.0
    with pytest.raises(AuditError, match="positive"):
        audit(ledger, rules)
