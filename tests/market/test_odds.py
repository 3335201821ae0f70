# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from mtquant.core.errors import DataError
from mtquant.market.odds import (
    fair_chances,
    from_american,
    from_fractional,
    overround,
    shin_insiders,
    to_american,
    to_fractional,
)

METHODS = ("multiplicative", "power", "shin")
single = st.floats(1.01, 200.0)


@st.composite
def books(draw, least=2, most=6):
    """Odds of a bookmaker: chances of at least 1 % with a margin of 0.1 % to 25 % on them."""
    weights = draw(st.lists(st.floats(0.1, 1.0), min_size=least, max_size=most))
    total = draw(st.floats(1.001, 1.25))
    implied = np.array(weights) / np.sum(weights) * total
    return 1.0 / np.minimum(implied, 0.99)


@pytest.mark.parametrize(
    ("american", "decimal", "fraction"),
    [
        # Any odds converter: evens, 3/2, 5/2 against; 2/1 and 10/11 on.
        (100.0, 2.0, "1/1"),
        (150.0, 2.5, "3/2"),
        (250.0, 3.5, "5/2"),
        (-200.0, 1.5, "1/2"),
        (-110.0, 1.0 + 10.0 / 11.0, "10/11"),
    ],
)
def test_one_price_three_ways(american, decimal, fraction):
    assert from_american(np.array([american]))[0] == pytest.approx(decimal)
    assert to_american(np.array([decimal]))[0] == pytest.approx(american)
    assert from_fractional(fraction) == pytest.approx(decimal)
    assert to_fractional(decimal) == fraction


def test_words_of_the_trade():
    assert from_fractional(" Evens ") == from_fractional("evs") == 2.0
    assert from_fractional("100 / 30") == pytest.approx(13.0 / 3.0)
    assert from_fractional("3") == 4.0


@given(single)
def test_conversions_are_inverses(odds):
    assert from_american(to_american(np.array([odds])))[0] == pytest.approx(odds, rel=1e-12)


@given(books())
def test_fair_chances_are_chances_in_the_same_order(odds):
    order = np.argsort(odds, kind="stable")
    for method in METHODS:
        chances = fair_chances(odds, method)
        assert chances.sum() == pytest.approx(1.0, abs=1e-12)
        assert ((chances > 0.0) & (chances < 1.0)).all()
        assert (np.diff(chances[order]) <= 1e-12).all()
        assert (chances <= 1.0 / odds + 1e-9).all()  # no outcome is likelier than its price says


@given(books(), st.permutations(range(3)))
def test_events_do_not_touch_each_other(odds, order):
    """A table gives what its rows give, to the last bit of the bisection."""
    rows = np.stack([odds, odds[::-1], odds + 1.0])[list(order)]
    for method in ("multiplicative", "power"):
        alone = np.stack([fair_chances(row, method) for row in rows])
        np.testing.assert_allclose(fair_chances(rows, method), alone, rtol=1e-12)


def test_without_a_margin_all_methods_say_the_price():
    for chances in (np.array([0.5, 0.5]), np.array([0.7, 0.2, 0.1])):
        for method in METHODS:
            np.testing.assert_allclose(fair_chances(1.0 / chances, method), chances, atol=1e-9)
    assert shin_insiders(np.array([2.0, 2.0])) == pytest.approx(0.0, abs=1e-9)


@given(books(2, 2))
def test_of_two_outcomes_shin_takes_the_margin_in_equal_parts(odds):
    """Clarke, Kovalchik & Ingram 2017, "Adjusting bookmaker's odds to allow for overround"."""
    implied = 1.0 / odds
    additive = implied - (implied.sum() - 1.0) / 2.0
    if (additive > 0.0).all():
        np.testing.assert_allclose(fair_chances(odds, "shin"), additive, atol=1e-9)


def test_shin_agrees_with_a_published_implementation():
    """The example of pypi.org/project/shin: odds 2.6, 2.4, 4.3 and, below, its z."""
    found = fair_chances(np.array([2.6, 2.4, 4.3]), "shin")
    expected = [0.37299406033208965, 0.4047794109200184, 0.2222265287474275]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    insiders = shin_insiders(np.array([2.6, 2.4, 4.3]))
    assert insiders == pytest.approx(0.01694251276407055, abs=1e-9)


@given(books(2, 4))
def test_margins_are_solved_as_a_general_solver_does(odds):
    implied = 1.0 / odds
    total = implied.sum()
    power = optimize.brentq(lambda k: (implied**k).sum() - 1.0, 1.0, 64.0, xtol=1e-14)
    np.testing.assert_allclose(fair_chances(odds, "power"), implied**power, atol=1e-9)

    def shin(z):  # Shin 1993, written out
        root = np.sqrt(z**2 + 4.0 * (1.0 - z) * implied**2 / total)
        return (root - z) / (2.0 * (1.0 - z))

    insiders = optimize.brentq(lambda z: shin(z).sum() - 1.0, 0.0, 0.9, xtol=1e-14)
    np.testing.assert_allclose(fair_chances(odds, "shin"), shin(insiders), atol=1e-9)


def test_long_shots_carry_more_of_the_margin():
    odds = np.array([1.2, 5.0, 15.0])  # 1.1, by hand: 0.8333 + 0.2 + 0.0667
    assert overround(odds) == pytest.approx(1.1)
    shares = {method: fair_chances(odds, method)[2] for method in METHODS}
    assert shares["power"] < shares["multiplicative"] and shares["shin"] < shares["multiplicative"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_american(np.array([50.0])), "are these decimal odds"),
        (lambda: from_american(np.array([np.nan])), "must be 100 or more from 0"),
        (lambda: overround(np.array([2.0, 1.0])), "must be above 1; found .*1.0"),
        (lambda: overround(np.array([2.0, np.nan])), "leave out missing lines"),
        (lambda: overround(np.array([2.0, np.inf])), "must be above 1"),
        (lambda: fair_chances(np.array([2.1, 2.1]), "shin"), "sure profit or a mistake"),
        (lambda: fair_chances(np.array([2.0, 2.0]), "magic"), "Known: multiplicative, power, shin"),
        (lambda: from_fractional("5-2"), "must be a fraction"),
        (lambda: from_fractional("5/0"), "must be a fraction"),
        (lambda: from_fractional("-1/2"), "must be positive"),
    ],
)
def test_what_is_no_price_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_power_takes_odds_below_the_margin():
    """Best prices of several bookmakers may add up to less than 1."""
    found = fair_chances(np.array([2.1, 2.1]), "power")
    np.testing.assert_allclose(found, [0.5, 0.5])
