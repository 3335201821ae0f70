# SPDX-License-Identifier: Apache-2.0
"""Our logarithm against the C library's, and over lanes against one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.compiled import kernel
from mtquant.core.logarithm import logarithm


@kernel
def logarithms(numbers, results):
    for k in range(min(numbers.shape[0], results.shape[0])):
        results[k] = logarithm(numbers[k])


def taken(numbers):
    results = np.empty(len(numbers))
    logarithms(np.array(numbers, dtype=np.float64), results)
    return results


@given(st.floats(0.0, exclude_min=True, allow_nan=False, allow_infinity=False))
def test_it_is_the_logarithm_to_one_unit_in_the_last_place(x):
    expected = math.log(x)
    # Each of the two errs by less than one unit; together they have never been seen further apart.
    assert abs(taken([x])[0] - expected) <= math.ulp(expected)


@given(st.floats(0.5, 2.0))
def test_so_it_is_near_one_where_returns_are(x):
    expected = math.log(x)
    assert abs(taken([x])[0] - expected) <= math.ulp(expected)


@given(st.lists(st.floats(), min_size=1, max_size=70))
def test_many_abreast_are_the_bytes_of_one_by_one(numbers):
    alone = np.concatenate([taken([x]) for x in numbers])
    assert taken(numbers).tobytes() == alone.tobytes()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (1.0, 0.0),
        (0.0, -math.inf),
        (-0.0, -math.inf),
        (math.inf, math.inf),
        (-1.0, math.nan),
        (-math.inf, math.nan),
        (math.nan, math.nan),
    ],
)
def test_special_numbers(x, expected):
    assert taken([x])[0] == pytest.approx(expected, abs=0.0, nan_ok=True)
