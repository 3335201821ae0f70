# SPDX-License-Identifier: Apache-2.0
"""Thinned lines lose no extreme, and what is not thinned is what the ledger holds."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.dashboard import curves
from mtquant.dashboard.accounts import opened
from mtquant.paper.ledger import PaperLedger
from mtquant.paper.reading import market_ledger
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_HALTED, GUARD_REDUCING
from tests.support.long_ledger import SYMBOLS, long_ledger


@pytest.mark.parametrize(("points", "last"), [(7, None), (100, None), (100, 333), (400, 1_400)])
def test_a_thinned_line_keeps_ends_and_extremes(long, points, last):
    with opened(long.path) as ledger:
        found = curves.equity_curve(ledger, last, points)
    equity = long.walk.equity[-last if last else 0 :]
    fall = long.walk.outcomes[-last if last else 0 :, oc.DRAWDOWN]
    assert len(found) <= 3 * points + 5
    assert found.index.is_monotonic_increasing and found.index.is_unique
    assert found["equity"].iloc[[0, -1]].tolist() == [equity[0], equity[-1]]
    assert (found["equity"].min(), found["equity"].max()) == (equity.min(), equity.max())
    assert found["drawdown"].max() == pytest.approx(fall.max(), abs=0)


def test_every_stretch_keeps_its_own_extremes(long):
    with opened(long.path) as ledger:
        found = curves.equity_curve(ledger, None, 10)
    width = 1_499 // 10 + 1
    kept = found.groupby(found["bar"].astype(int) // width)["equity"]
    for stretch, own in kept:
        part = long.walk.equity[stretch * width : (stretch + 1) * width]
        assert (own.min(), own.max()) == (part.min(), part.max())


def test_a_short_line_is_the_ledgers(replayed):
    with opened(replayed.path) as ledger:
        found, expected = curves.equity_curve(ledger), market_ledger(ledger)
    np.testing.assert_array_equal(found["equity"], expected.equity)
    np.testing.assert_array_equal(found["drawdown"], expected.column("drawdown"))
    np.testing.assert_array_equal(found.index.as_unit("ns").asi8, expected.stamps)


def test_allocation_is_what_was_held(replayed):
    with opened(replayed.path) as ledger:
        found, expected = curves.allocation(ledger), market_ledger(ledger)
    worth = np.nan_to_num(expected.positions * expected.prices * expected.rates)
    np.testing.assert_allclose(found, worth / expected.equity[:, None], rtol=1e-15)
    np.testing.assert_allclose(found.abs().sum(axis=1), expected.column("gross"), rtol=1e-12)


def test_allocation_of_a_long_ledger_is_picked_evenly(long):
    with opened(long.path) as ledger:
        found = curves.allocation(ledger, None, 50)
    assert found.shape == (50, len(SYMBOLS))
    held = long.walk.positions[-1] * long.walk.prices[-1] / long.walk.equity[-1]
    np.testing.assert_allclose(found.iloc[-1], held, rtol=1e-15)


def test_marks_of_the_guard_begin_with_the_mode_that_held(long):
    with opened(long.path) as ledger:
        whole, part = curves.guard_marks(ledger), curves.guard_marks(ledger, 900)
        newest = curves.guard_marks(ledger, None, 2)
    modes = [GUARD_REDUCING, GUARD_ACTIVE, GUARD_HALTED, GUARD_ACTIVE]
    assert whole["mode"].tolist() == modes
    # 900 bars ago the guard was reducing: that is said at the first bar that is shown.
    assert part["mode"].tolist() == modes
    assert part.index[0].value == long.walk.stamps[600]
    assert newest["mode"].tolist() == modes[2:]


def test_an_account_before_its_first_bar_has_empty_lines(tmp_path):
    path = tmp_path / "new.sqlite"
    long_ledger(path, 20)
    with PaperLedger.open(path) as ledger:
        ledger._connection.execute("DROP TRIGGER outcomes_delete")
        ledger._connection.execute("DELETE FROM outcomes")
    with opened(path) as ledger:
        assert curves.equity_curve(ledger).empty
        assert curves.guard_marks(ledger).empty
        assert list(curves.allocation(ledger).columns) == list(SYMBOLS)
