# SPDX-License-Identifier: Apache-2.0
"""Extremes and moments by doubling against NumPy on the same windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.features import doubling
from mtquant.features.doubling import LEVELS

Values = NDArray[np.float64]
COLUMNS = 1 + 4 * LEVELS
HIGHS, LOWS, MOMENTS = 1, 1 + LEVELS, 1 + 2 * LEVELS


def table(values: Values) -> Values:
    """A past of one column and what is doubled from it, behind 32 rows of zeros."""
    past = np.zeros((COLUMNS, 32 + len(values)))
    past[0, 32:] = values
    doubling.double_extremes(past, 0, HIGHS, 0, LOWS, 32, past.shape[1])
    doubling.double_moments(past, 0, MOMENTS, 32, past.shape[1])
    return past


series = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=150)


@given(series, st.data())
def test_every_window_is_that_of_numpy(values: list[float], data: st.DataObject) -> None:
    past = table(np.array(values))
    end = data.draw(st.integers(1, len(values)), label="end")
    w = data.draw(st.integers(1, end), label="w")
    window = np.array(values[end - w : end])
    t = 32 + end - 1
    assert doubling.highest(past, 0, HIGHS, t, w) == window.max()
    assert doubling.lowest(past, 0, LOWS, t, w) == window.min()
    if w > 1:
        mean, squares = doubling.moments(past, 0, MOMENTS, t, w)
        # 150 terms of up to 1e6, each rounded at 1.1e-16 of itself a few times.
        assert mean == pytest.approx(window.mean(), rel=1e-12, abs=1e-8)
        assert squares == pytest.approx(window.var() * w, rel=1e-10, abs=1e-3)
        assert squares >= 0.0


@pytest.mark.parametrize("value", [0.1, 1e-6, 30_000.3, 1e9])
@pytest.mark.parametrize("w", [2, 3, 20, 31, 32, 60, 99])
def test_a_flat_window_has_its_value_and_no_deviation(value: float, w: int) -> None:
    # The rows before are wild: nothing of them may be left.
    past = table(np.concatenate((np.geomspace(1e-9, 1e12, 40), np.full(100, value))))
    assert doubling.moments(past, 0, MOMENTS, past.shape[1] - 1, w) == (value, 0.0)


@pytest.mark.parametrize("w", [2, 5, 20, 60, 77])
def test_windows_do_not_know_what_stood_before_them(w: int) -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    values = generator.normal(0.0, 1.0, 120)
    other = values.copy()
    other[: 120 - w] = 1e9
    found = [
        (
            doubling.moments(past, 0, MOMENTS, past.shape[1] - 1, w),
            doubling.highest(past, 0, HIGHS, past.shape[1] - 1, w),
        )
        for past in (table(values), table(other))
    ]
    assert found[0] == found[1]


def test_blocks_of_a_window() -> None:
    # 2^level is the largest of 1, 2, .., 32 that fits.
    expected = {1: 0, 2: 1, 3: 1, 4: 2, 7: 2, 8: 3, 16: 4, 31: 4, 32: 5, 10_000: 5}
    assert {w: doubling.level_of(w) for w in expected} == expected
