# SPDX-License-Identifier: Apache-2.0
"""Value at risk on scenarios: the compiled figures equal those of the book's own returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.outcome import LIMIT_VAR
from mtquant.risk import measures as m
from mtquant.risk.tail import (
    book_losses,
    cornish_fisher_tail,
    exceeds,
    historical_tail,
    limit_tail,
)


def world(seed):
    """Fat-tailed scenarios [N, D] with a window of them, and a book."""
    generator = np.random.default_rng(seed)
    days, n = int(generator.integers(62, 251)), int(generator.integers(1, 9))
    scenarios = 0.01 * generator.standard_t(4, size=(n, days + 20))
    return scenarios, (10, 10 + days), generator.normal(size=n)


def tails(book, scenarios, window):
    """Historical and Cornish-Fisher figure of a book."""
    losses, worst = np.empty(window[1] - window[0]), np.empty(250)
    book_losses(book, scenarios, *window, losses)
    return historical_tail(losses, worst), cornish_fisher_tail(losses, worst)


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_the_book_has_the_risk_of_its_returns(seed):
    scenarios, window, book = world(seed)
    returns = book @ scenarios[:, slice(*window)]
    assert tails(book, scenarios, window) == pytest.approx(
        (m.historical_var(returns), m.cornish_fisher_var(returns)), rel=1e-9
    )


@given(seeds, st.integers(-3, 3))
def test_counting_tells_what_sorting_would(seed, moved):
    scenarios, window, book = world(seed)
    losses = np.empty(window[1] - window[0])
    book_losses(book, scenarios, *window, losses)
    value = historical_tail(losses, np.empty(250))
    bound = np.sort(losses)[np.searchsorted(np.sort(losses), value) + moved]  # a loss near it
    assert exceeds(losses, bound) == (value > bound)
    assert not exceeds(losses, value)


@given(seeds, st.booleans(), st.floats(0.001, 0.2))
def test_a_book_is_shrunk_to_the_limit_and_no_further(seed, modified, largest):
    scenarios, window, book = world(seed)
    before = tails(book, scenarios, window)[modified]
    allowed, scratch = book.copy(), np.full((2, 250), np.nan)
    binding = limit_tail(allowed, scenarios, *window, largest, modified, scratch)
    if before <= largest:
        assert binding == 0
        assert np.array_equal(allowed, book)
    else:
        assert binding == LIMIT_VAR
        after = tails(allowed, scenarios, window)[modified]
        assert after == pytest.approx(largest, rel=1e-9)
        np.testing.assert_allclose(allowed, book * largest / before, rtol=1e-12)
