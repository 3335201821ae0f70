# SPDX-License-Identifier: Apache-2.0
"""Arrays that begin where a cache line does.

NumPy's begin anywhere: a row of 64 bytes then lies in two lines, and both have to be fetched.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CACHE_LINE_BYTES = 64
AMID = CACHE_LINE_BYTES - 1  # what to add to a size that may begin amid a line


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Zeros, contiguous."""
    kind = np.dtype(dtype)
    size = math.prod(np.atleast_1d(shape).tolist()) * kind.itemsize
    room = np.zeros(size + CACHE_LINE_BYTES, dtype=np.uint8)
    first = -room.ctypes.data % CACHE_LINE_BYTES
    return room[first : first + size].view(kind).reshape(shape)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """A copy, contiguous."""
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy
