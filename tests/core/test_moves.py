# SPDX-License-Identifier: Apache-2.0
"""Moves against NumPy's own slices; `tests/market/test_observation.py` has those of whole rows."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from mtquant.core.moves import SIDE, move, natural, turn


@numba.njit
def moved(target, at, source, first):
    move(target, at, source, first, 16)


@numba.njit
def turned(target, to, source, of):
    turn(target, to, source, of)


@numba.njit
def picked(numbers, k):
    return numbers[natural(k)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_move_is_a_slice(dtype):
    source, target = np.arange(40, dtype=dtype), np.zeros(30, dtype=dtype)
    moved(target, 3, source, 11)
    expected = np.zeros(30, dtype=dtype)
    expected[3:19] = source[11:27]
    assert np.array_equal(target, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_turn_exchanges_rows_and_columns(dtype):
    source = np.arange(96, dtype=dtype).reshape(8, 12)
    target = np.zeros((6, 10), dtype=dtype)
    rows, first = (7, 0, 3, 3), 5  # in any order, and one of them twice
    to = tuple(10 * k + 2 for k in (5, 1, 0, 2))
    turned(target, to, source, tuple(12 * k + first for k in rows))
    expected = np.zeros((6, 10), dtype=dtype)
    for j, k in enumerate((5, 1, 0, 2)):
        expected[k, 2 : 2 + SIDE] = [source[row, first + j] for row in rows]
    assert np.array_equal(target, expected)


def test_a_natural_number_is_itself():
    assert picked(np.arange(5.0), 3) == 3.0


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (np.zeros(64)[::2], np.zeros(32)),
        (np.zeros(32), np.zeros(64)[::2]),
        (np.zeros(32, dtype=np.float32), np.zeros(32)),
        (np.frombuffer(bytes(256)), np.zeros(32)),
    ],
    ids=["gaps in the target", "gaps in the source", "two types", "a target to read only"],
)
def test_arrays_that_cannot_be_moved_so_do_not_compile(target, source):
    with pytest.raises(TypingError):
        moved(target, 0, source, 0)
    with pytest.raises(TypingError):
        turned(target, (0, 4, 8, 12), source, (0, 4, 8, 12))
