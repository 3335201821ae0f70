# SPDX-License-Identifier: Apache-2.0
"""Statistics of a window against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.features import windows

Values = NDArray[np.float64]
finite = st.floats(-1e6, 1e6, allow_subnormal=False)
samples = st.lists(finite, min_size=2, max_size=40).map(np.array)


@given(samples)
def test_deviations_are_those_of_numpy(window: Values) -> None:
    lead, squares = windows.deviations(window)
    assert (lead, squares) == windows.deviations.py_func(window)
    scale = np.abs(window).max()
    # A factor n = 40 of rounding, 2.2e-16, on each of n terms.
    assert lead == pytest.approx(window[-1] - window.mean(), abs=1e-12 * scale)
    assert squares == pytest.approx(window.var() * len(window), rel=1e-10, abs=1e-12 * scale**2)


@given(samples, finite)
def test_sums_are_those_of_numpy(window: Values, mean: float) -> None:
    scale = np.abs(window).max() + abs(mean)
    third, fourth = windows.higher_moments(window, mean)
    assert windows.total(window) == pytest.approx(window.sum(), abs=1e-12 * scale)
    assert third == pytest.approx(((window - mean) ** 3).sum(), abs=1e-12 * scale**3)
    assert fourth == pytest.approx(((window - mean) ** 4).sum(), abs=1e-12 * scale**4)
    for lag in range(1, len(window)):
        expected = (window[lag:] * window[:-lag]).sum()
        found = windows.products(window[lag:], window[:-lag])
        assert found == pytest.approx(expected, abs=1e-12 * scale**2)


def test_a_place_between_equals_is_the_middle() -> None:
    assert windows.place(3.0, 2.0, 4.0) == 0.5
    assert windows.place(2.0, 2.0, 2.0) == 0.5
    assert windows.place(4.0, 2.0, 4.0) == 1.0
