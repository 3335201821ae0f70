# SPDX-License-Identifier: Apache-2.0
"""Round trips by hand and as an identity with the account."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.evaluation.trips import TRIP_COLUMNS, round_trips
from tests.support.ledgers import ledger_from_fills, trading_ledger


def fill(row: int, quantity: float, price: float, **others: float) -> dict[str, float]:
    return {"row": row, "quantity": quantity, "price": price, **others}


def test_long_trip_by_average_price() -> None:
    # 10 at 100 and 10 at 110 are 20 at 105; 5 at 120 and 15 at 100 gain 5*15 - 15*5 = 0; fees 4.
    fills = [
        fill(1, 10, 100, fee=1),
        fill(2, 10, 110, fee=1),
        fill(5, -5, 120, fee=1),
        fill(7, -15, 100, fee=1),
    ]
    trips = round_trips(ledger_from_fills(fills))
    assert tuple(trips.columns) == TRIP_COLUMNS
    trip = trips.iloc[0]
    assert (len(trips), trip["side"], trip["bars"], trip["quantity"]) == (1, "long", 6, 20)
    assert (trip["entry"], trip["exit"]) == (105.0, pytest.approx(105.0))
    assert trip["profit"] == pytest.approx(-4.0)
    assert trip["return"] == pytest.approx(-4.0 / 2100.0)


def test_entry_is_the_mean_of_all_that_was_entered() -> None:
    # 10 at 100, 8 of them sold at 90, 8 more at 80: what is left is held at 84, but 18 units were
    # entered at 91.1 and left at 89.4; the profit is the difference.
    fills = [fill(1, 10, 100), fill(2, -8, 90), fill(3, 8, 80), fill(4, -10, 89)]
    trip = round_trips(ledger_from_fills(fills)).iloc[0]
    assert trip["entry"] == pytest.approx((10 * 100 + 8 * 80) / 18)
    assert trip["exit"] == pytest.approx((8 * 90 + 10 * 89) / 18)
    assert trip["profit"] == pytest.approx((trip["exit"] - trip["entry"]) * 18)


def test_a_change_of_side_closes_one_trip_and_opens_the_next() -> None:
    # +2 at 50, then -5 at 60: 2 * 10 = 20 gained, 2/5 of the fee of 5; short 3 at 60, bought at 55:
    # 15 gained less 3/5 of 5.
    trips = round_trips(ledger_from_fills([fill(1, 2, 50), fill(2, -5, 60, fee=5), fill(4, 3, 55)]))
    assert list(trips["side"]) == ["long", "short"]
    assert list(trips["profit"]) == pytest.approx([18.0, 12.0])
    assert trips["closed"].iloc[0] == trips["opened"].iloc[1]


def test_profit_in_foreign_currency_is_converted_by_the_closing_fill() -> None:
    # 1,000 units from 150 to 153 quote at 1/153 account currency each: 3000 / 153.
    fills = [fill(1, 1000, 150, rate=1 / 150), fill(3, -1000, 153, rate=1 / 153)]
    assert round_trips(ledger_from_fills(fills))["profit"].iloc[0] == pytest.approx(3000 / 153)


def test_instruments_do_not_mix_and_refusals_and_open_trips_do_not_count() -> None:
    fills = [
        fill(1, 1, 10, instrument=0),
        fill(1, -1, 10, instrument=1),
        fill(2, 0, 99, instrument=0, wanted=-1, reason=2),
        fill(3, 1, 8, instrument=1),
    ]
    trips = round_trips(ledger_from_fills(fills, symbols=("AAA", "BBB")))
    assert list(trips["symbol"]) == ["BBB"]
    assert list(trips["profit"]) == [2.0]


def test_many_lots_that_sum_to_zero_only_nearly_close_a_trip() -> None:
    # Ten times 0.1 is not 1.0 in binary.
    fills = [*(fill(k, 0.1, 10) for k in range(10)), fill(11, -1.0, 11)]
    trips = round_trips(ledger_from_fills(fills))
    assert len(trips) == 1
    assert trips["profit"].iloc[0] == pytest.approx(1.0)


def test_no_fills_give_no_trips() -> None:
    assert round_trips(ledger_from_fills([])).empty


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_profits_less_financing_are_the_gain_of_a_flat_account(seed: int) -> None:
    ledger = trading_ledger(seed=seed, bars=200)
    gain = ledger.equity[-1] - ledger.initial_equity
    profit = round_trips(ledger)["profit"].sum() - ledger.financing.sum()
    np.testing.assert_allclose(profit, gain, rtol=1e-9, atol=1e-6)
