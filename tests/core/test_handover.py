# SPDX-License-Identifier: Apache-2.0
"""Arrays that go through a table are the arrays that came in."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

from mtquant.core.compiled import kernel
from mtquant.core.errors import DataError
from mtquant.core.handover import Handover, unpacker

KINDS = (
    ("cube", "float32", 3),
    ("flags", "uint8", 1),
    ("rows", "int64", 2),
    ("numbers", "float64", 1),
)
arrays_of = unpacker(KINDS)


@kernel
def add_up(argument, sums):
    """The sum of each array, weighted by place; then 1 is added to every number."""
    cube, flags, rows, numbers = arrays_of(argument)
    for i in range(cube.shape[0]):
        for j in range(cube.shape[1]):
            for k in range(cube.shape[2]):
                sums[0] += (i + 10 * j + 100 * k) * cube[i, j, k]
    for i in range(flags.shape[0]):
        sums[1] += i * flags[i]
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            sums[2] += (i + 10 * j) * rows[i, j]
    for i in range(numbers.shape[0]):
        sums[3] += i * numbers[i]
        numbers[i] += 1.0


def arrays():
    return (
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.arange(5, dtype=np.uint8),
        np.arange(6, dtype=np.int64).reshape(3, 2),
        np.arange(7.0),
    )


def test_a_kernel_sees_every_array_and_writes_into_it():
    given = arrays()
    sums = np.zeros(4)
    add_up(Handover(KINDS, given).argument, sums)
    cube, flags, rows, numbers = arrays()
    i, j, k = np.indices(cube.shape)
    assert sums[0] == ((i + 10 * j + 100 * k) * cube).sum()
    assert sums[1] == (np.arange(5) * flags).sum()
    i, j = np.indices(rows.shape)
    assert sums[2] == ((i + 10 * j) * rows).sum()
    assert sums[3] == (np.arange(7) * numbers).sum()
    assert np.array_equal(given[3], numbers + 1.0)


def test_the_arrays_live_as_long_as_the_handover():
    handover, sums = Handover(KINDS, arrays()), np.zeros(4)
    gc.collect()
    again = [np.full(7, 99.0) for _ in range(100)]  # would land where the arrays had been
    add_up(handover.argument, sums)
    assert sums[3] == (np.arange(7) * np.arange(7.0)).sum()
    assert all((array == 99.0).all() for array in again)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, np.zeros((2, 3, 4))),
        (1, np.zeros((5, 1), dtype=np.uint8)),
        (2, np.zeros((3, 4), dtype=np.int64)[:, ::2]),
        (3, np.zeros(7, dtype=np.int64)),
    ],
)
def test_an_array_of_another_kind_is_refused_by_name(place, other):
    given = list(arrays())
    given[place] = other
    with pytest.raises(DataError, match=KINDS[place][0]):
        Handover(KINDS, given)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle.dumps])
def test_there_are_no_copies_with_old_addresses(duplicate):
    with pytest.raises(DataError, match="copied or pickled"):
        duplicate([Handover(KINDS, arrays())])
