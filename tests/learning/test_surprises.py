# SPDX-License-Identifier: Apache-2.0
"""A surprise has no mean, whatever was held; a reward without it says the same with less noise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtquant.learning.surprises import surprises

NUMBERS = st.lists(st.floats(-9.0, 9.0), min_size=3, max_size=3)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_was_foreseen_is_what_stays(held, came, foreseen):
    held, came, foreseen = np.array(held), np.array(came), np.array(foreseen)
    left = held * came - surprises(held, came, foreseen)
    np.testing.assert_allclose(left, held * foreseen, atol=1e-12)


def test_where_nothing_came_nothing_surprises():
    found = surprises(np.ones(3), np.array([np.nan, 2.0, np.nan]), np.array([1.0, 0.5, np.nan]))
    np.testing.assert_array_equal(found, [0.0, 1.5, 0.0])


def test_positions_that_know_the_forecast_gain_nothing_by_surprises():
    """AR(1) returns, positions that follow them with noise: the mean reward stays what it is, and
    nearly all of its variance goes.
    """
    generator = np.random.default_rng(7)
    count = 200_000
    signal = generator.standard_normal(count)
    came = 0.1 * signal + generator.standard_normal(count)
    held = np.clip(signal + generator.standard_normal(count), -1.0, 1.0)
    beyond = surprises(held, came, 0.1 * signal)
    error = beyond.std() / np.sqrt(count)
    assert abs(beyond.mean()) < 4.0 * error
    rewards = held * came
    assert (rewards - beyond).var() < 0.02 * rewards.var()
