# SPDX-License-Identifier: Apache-2.0
"""Gains by instrument: nothing of the account's gain is left over, whatever the desk did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.evaluation.attribution import attribute, fill_bars
from tests.support.judges import run_desk
from tests.support.ledgers import trading_ledger
from tests.support.tapes import random_world


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_gains_sum_to_the_change_of_equity_on_the_desk(seed: int) -> None:
    # Foreign currencies, gaps, stops, liquidations, both fill moments, closed markets.
    world = random_world(seed, rows=40, ugly=seed % 4 == 0)
    ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    found = attribute(ledger)
    change = np.diff(ledger.equity, prepend=ledger.initial_equity)
    scale = max(1.0, float(np.abs(ledger.equity).max()))
    np.testing.assert_allclose(found.gains.sum(axis=1) / scale, change / scale, atol=1e-9)
    for parts, name in ((found.fees, "fee"), (found.slippage, "slippage")):
        np.testing.assert_allclose(parts.sum(axis=1), ledger.column(name), atol=1e-9 * scale)


def test_costs_are_what_lies_between_the_gains_and_what_prices_earned() -> None:
    ledger = trading_ledger(bars=400)
    found = attribute(ledger)
    paid = sum(ledger.column(name).sum() for name in ("fee", "slippage", "financing"))
    assert found.before_costs.sum() - found.gains.sum() == pytest.approx(paid)


def test_an_order_filled_at_a_close_belongs_to_the_bar_that_follows() -> None:
    ledger = trading_ledger(bars=50, fill_at="close")
    ledger.fills[:, oc.FILL_ORIGIN] = oc.ORIGIN_ORDER
    rows = ledger.fills[:, oc.FILL_ROW]
    assert fill_bars(ledger).tolist() == np.minimum(rows + 1, 49).tolist()
    ledger.fills[:, oc.FILL_ORIGIN] = oc.ORIGIN_STOP_LOSS
    assert fill_bars(ledger).tolist() == rows.tolist()
