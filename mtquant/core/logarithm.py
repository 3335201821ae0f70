# SPDX-License-Identifier: Apache-2.0
"""`log`: the natural logarithm as a formula, which a loop over lanes can take in.

The one of the C library is a call for every number, at which all lanes wait and everything that is
kept in registers goes to memory and back.
"""

from __future__ import annotations

import struct
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose

MANTISSA_BITS = 52
ROOT_BITS = 0x3FE6A09E667F3BCD  # the bits of sqrt(1 / 2)
LEAST_NORMAL = 2.0**-1022
# ln 2 in two parts: any power of two times the first is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")


@intrinsic  # type: ignore[misc]
def _bits_of(typing_context: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic  # type: ignore[misc]
def _number_of(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


if numba.config.DISABLE_JIT:

    def _bits_of(number: float) -> int:
        """The same in plain Python."""
        return int(struct.unpack("<q", struct.pack("<d", number))[0])

    def _number_of(bits: int) -> float:
        """The same in plain Python."""
        return float(struct.unpack("<d", struct.pack("<q", bits))[0])


@kernel
def log(x: float) -> float:
    """The natural logarithm of a positive normal number, within one unit in the last place; NaN of
    anything else, infinity and 0 among them.

    x = 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), and log(1 + f) = 2 atanh(s), s =
    f / (2 + f) (Muller 2016, "Elementary functions", 3rd ed., on argument reduction and on this
    series). Written as f - f^2 / 2 + s (f^2 / 2 + r), what is rounded is small beside f. Of r, the
    sum of 2 s^(2j) / (2j + 1), ten terms are kept: the next is 1e-18 at most.
    """
    bits = _bits_of(x)
    k = (bits - ROOT_BITS) >> MANTISSA_BITS
    f = _number_of(bits - (k << MANTISSA_BITS)) - 1.0
    twos, s, half = float(k), f / (2.0 + f), 0.5 * f * f
    z = s * s
    r = 2.0 / 21.0
    r = r * z + 2.0 / 19.0
    r = r * z + 2.0 / 17.0
    r = r * z + 2.0 / 15.0
    r = r * z + 2.0 / 13.0
    r = r * z + 2.0 / 11.0
    r = r * z + 2.0 / 9.0
    r = r * z + 2.0 / 7.0
    r = r * z + 2.0 / 5.0
    r = (r * z + 2.0 / 3.0) * z
    found = twos * LN2_HIGH - ((half - (s * (half + r) + twos * LN2_LOW)) - f)
    return choose((x >= LEAST_NORMAL) & (x < np.inf), found, np.nan)
