# SPDX-License-Identifier: Apache-2.0
"""The logarithm against the C library's in more digits."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from mtquant.core.logarithm import log


@numba.njit
def logs(numbers):
    found = np.empty_like(numbers)
    for k in range(len(numbers)):
        found[k] = log(numbers[k])
    return found


def drawn(name):
    generator = np.random.default_rng(7)
    normal, uniform = generator.standard_normal(200_000), generator.uniform(-1.0, 1.0, 200_000)
    return {
        "returns": 1.0 + 0.02 * np.clip(normal, -10.0, 10.0),
        "tiny returns": 1.0 + 1e-9 * normal,
        "where the power of two changes": np.sqrt(0.5) * (1.0 + 1e-6 * uniform),
        "ruins and riches": np.exp(14.0 * uniform),
        "all of float64": np.exp(708.0 * uniform),
    }[name]


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps, reason="no number with more digits"
)
@pytest.mark.parametrize(
    "name",
    [
        "returns",
        "tiny returns",
        "where the power of two changes",
        "ruins and riches",
        "all of float64",
    ],
)
def test_it_is_within_one_unit_in_the_last_place(name):
    numbers = drawn(name)
    true = np.log(numbers.astype(np.longdouble))
    units = np.abs((logs(numbers) - true) / np.spacing(np.abs(true.astype(np.float64))))
    assert units.max() < 1.0


def test_edges():
    least, most = np.finfo(np.float64).tiny, np.finfo(np.float64).max
    assert logs(np.array([1.0])).tobytes() == np.zeros(1).tobytes()
    assert logs(np.array([least, most])) == pytest.approx(np.log([least, most]), rel=2e-16)
    assert np.isnan(logs(np.array([0.0, -0.0, -1.0, np.inf, -np.inf, np.nan, least / 2.0]))).all()
