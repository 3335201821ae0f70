# SPDX-License-Identifier: Apache-2.0
"""Arrays that begin where a cache line does."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.aligned import CACHE_LINE_BYTES, aligned, aligned_copy


@pytest.mark.parametrize("shape", [0, 5, (0, 3), (7, 3, 2), (1000, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_zeros_begin_with_a_line(shape, dtype):
    found = aligned(shape, dtype)
    assert np.array_equal(found, np.zeros(shape, dtype)) and found.dtype == dtype
    assert found.flags["C_CONTIGUOUS"] and found.flags["WRITEABLE"]
    assert found.size == 0 or found.ctypes.data % CACHE_LINE_BYTES == 0


def test_a_copy_is_one():
    source = np.arange(24.0).reshape(4, 6)[:, ::2]
    copy = aligned_copy(source)
    assert np.array_equal(copy, source) and copy.ctypes.data % CACHE_LINE_BYTES == 0
    copy[0, 0] = 7.0
    assert source[0, 0] == 0.0
