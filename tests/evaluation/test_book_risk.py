# SPDX-License-Identifier: Apache-2.0
"""The forecast value at risk of the book: known before the bar, right where risk is."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.evaluation.book_risk import book_risk, exposures_at_open
from mtquant.market.ledger import Ledger
from tests.support.ledgers import ledger_from_returns, trading_ledger


def held_walk(bars: int, seed: int, exposure: float = 0.5) -> Ledger:
    """One instrument of normal returns, held at a constant share of equity for free."""
    moves = np.random.default_rng(seed).normal(0.0, 0.01, bars)
    ledger = ledger_from_returns(exposure * moves, held=exposure)
    prices = 100.0 * np.cumprod(1.0 + moves)
    ledger.prices[:, 0] = prices
    # Units such that what is held at the open is `exposure` of the equity before.
    before = np.concatenate([[100.0], prices[:-1]])
    ledger.positions[:, 0] = exposure * ledger.column("equity_before") / before
    return ledger


def rebalanced(ledger: Ledger) -> Ledger:
    """The same with the fills that change the position at each open."""
    change = np.diff(ledger.positions[:, 0], prepend=0.0)
    fills = np.zeros((len(ledger), len(oc.FILL_COLUMNS)))
    fills[:, oc.FILL_ROW], fills[:, oc.FILL_QUANTITY] = ledger.rows, change
    return Ledger(**{**ledger.__dict__, "fills": fills})


def test_normal_returns_exceed_it_one_bar_in_twenty() -> None:
    # 4,000 bars: 5 % with a standard error of 0.34 %; the EWMA's own noise adds about 0.6 %
    # (an EWMA of decay 0.94 has 33 effective observations).
    found = book_risk(rebalanced(held_walk(4_000, seed=3)))
    assert found.coverage is not None
    assert 0.045 <= found.exceeded.mean() <= 0.07
    # 1.645 deviations of half a position in 1 % moves.
    assert np.nanmedian(found.value_at_risk) == pytest.approx(1.645 * 0.005, rel=0.1)


def test_the_forecast_knows_nothing_of_its_bar() -> None:
    ledger = rebalanced(held_walk(300, seed=4))
    before = book_risk(ledger).value_at_risk
    ledger.prices[200:] *= 3.0
    ledger.outcomes[200:, oc.SIMPLE_RETURN] = 2.0
    after = book_risk(ledger).value_at_risk
    np.testing.assert_array_equal(before[:201], after[:201])
    assert after[205] > before[205]


def test_a_stop_inside_the_bar_hides_no_risk() -> None:
    ledger = trading_ledger(bars=200)
    stopped = ledger.fills[:, oc.FILL_ORIGIN] != oc.ORIGIN_ORDER
    assert stopped.any()
    held = exposures_at_open(ledger)
    for row, n in ledger.fills[stopped][:, [oc.FILL_ROW, oc.FILL_INSTRUMENT]].astype(int):
        expected = ledger.positions[row - 1, n] * ledger.prices[row - 1, n]
        if row and (ledger.fills[:, oc.FILL_ROW] == row).sum() == 1:
            assert held[row, n] == pytest.approx(expected / ledger.column("equity_before")[row])


def test_a_flat_book_has_no_forecast_and_too_few_bars_no_test() -> None:
    cash = book_risk(ledger_from_returns(np.zeros(200), held=0.0))
    assert np.isnan(cash.value_at_risk).all()
    assert cash.coverage is None
    assert book_risk(held_walk(30, seed=1)).coverage is None
