# SPDX-License-Identifier: Apache-2.0
"""What the book lacks of a broker's money."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.paper.desk_book import missing_cash
from mtquant.paper.orders import Holdings
from tests.support.paper import SYMBOLS, Stage

FLAT = np.zeros(2)
ONES = np.ones(2)
SIZES = st.floats(-1e5, 1e5).map(lambda q: round(q) * 1.0)
PRICES = st.floats(0.5, 2.0)


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return Stage.of(tmp_path_factory.mktemp("rules"), rows=60).rules


def test_flat_books_differ_by_their_money(rules):
    held = Holdings({}, {}, 105.0)
    assert missing_cash(held, 100.0, FLAT, FLAT, ONES, rules) == 5.0


def test_first_in_first_out_and_average_are_the_same_wealth(rules):
    """Bought 100 at 1.0 and 100 at 1.2, sold 100 at 1.3: realised 30, and 100 at 1.2 are left; or
    realised 20, and 100 at 1.1 are left.
    """
    held = Holdings({"EURUSD": 100.0}, {"EURUSD": 1.2}, 30.0)
    positions, averages = np.array([100.0, 0.0]), np.array([1.1, 0.0])
    missing = missing_cash(held, 20.0, positions, averages, ONES, rules)
    assert missing == pytest.approx(0.0, abs=1e-12)


def test_a_broker_that_does_not_say_is_not_compared(rules):
    positions, averages = np.array([100.0, 0.0]), np.array([1.1, 0.0])
    for held in (
        Holdings({"EURUSD": 100.0}, {}, 30.0),
        Holdings({"EURUSD": 100.0}, {"EURUSD": 1.2}),
    ):
        assert np.isnan(missing_cash(held, 20.0, positions, averages, ONES, rules))


@given(
    st.lists(st.tuples(SIZES, PRICES), min_size=2, max_size=2),
    st.lists(st.tuples(PRICES, PRICES), min_size=2, max_size=2),
    st.floats(-1e3, 1e3),
)
def test_it_is_the_difference_in_wealth_at_any_price(rules, books, others, money):
    """The gain that is open at a price p, added to both sides, changes nothing."""
    positions, averages = np.array(books).T
    theirs, price = np.array(others).T
    rates = np.array([1.0, 1.0 / 150.0])
    held = Holdings(
        dict(zip(SYMBOLS, positions, strict=True)), dict(zip(SYMBOLS, theirs, strict=True)), money
    )
    ours_open = float((positions * (price - averages) * rates).sum())
    theirs_open = float((positions * (price - theirs) * rates).sum())
    expected = (money + theirs_open) - (7.0 + ours_open)
    found = missing_cash(held, 7.0, positions, averages, rates, rules)
    assert found == pytest.approx(expected, abs=1e-6)
