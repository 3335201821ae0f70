# SPDX-License-Identifier: Apache-2.0
"""The natural logarithm without a branch, a table or a call: lanes take it abreast.

The algorithm and its constants are those of fdlibm (Sun Microsystems 1993, ``e_log.c``), whose
error is below 1 ulp: with x = 2^k (1 + f) and 1 + f in [sqrt(1/2), sqrt(2)),
log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)), s = f / (2 + f), and R is a polynomial that was
fitted to the least largest error. Written here with choices in the place of its special cases, it
gives the same number everywhere, whatever mathematical library a machine has.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose

LN2_HIGH = 6.93147180369123816490e-01  # the last 32 bits are 0, so that k times it is exact
LN2_LOW = 1.90821492927058770002e-10
L1, L2, L3, L4, L5, L6, L7 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
LEAST_NORMAL = 2.0**-1022
SUBNORMAL_SHIFT = 54
ROOT_HALF_BITS = 0x3FE6A09E << 32  # sqrt(1/2), to the upper half of its bits
ONE_BITS = 0x3FF << 52
FRACTION_BITS = (1 << 52) - 1
EXPONENT_BIAS = 0x3FF


@intrinsic  # type: ignore[misc]
def _bits_of(typing_context: Any, number: Any) -> Any:
    """The bits of a float64 as an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic  # type: ignore[misc]
def _number_of(typing_context: Any, bits: Any) -> Any:
    """The float64 of these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


if numba.config.DISABLE_JIT:

    def _bits_of(number: float) -> int:
        """The same in plain Python."""
        return int(np.float64(number).view(np.int64))

    def _number_of(bits: int) -> float:
        """The same in plain Python."""
        return float(np.int64(bits).view(np.float64))


@kernel
def logarithm(x: float) -> float:
    """log(x) to less than 1 ulp; -inf at 0, NaN below 0 and for NaN."""
    subnormal = x < LEAST_NORMAL
    normal = choose(subnormal, min(x, LEAST_NORMAL) * 2.0**SUBNORMAL_SHIFT, x)
    bits = _bits_of(normal) + (ONE_BITS - ROOT_HALF_BITS)
    k = np.float64((bits >> 52) - EXPONENT_BIAS) - choose(subnormal, 1.0 * SUBNORMAL_SHIFT, 0.0)
    f = _number_of((bits & FRACTION_BITS) + ROOT_HALF_BITS) - 1.0
    half_square = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (L2 + w * (L4 + w * L6))
    odd = z * (L1 + w * (L3 + w * (L5 + w * L7)))
    result = s * (half_square + (even + odd)) + k * LN2_LOW - half_square + f + k * LN2_HIGH
    result = choose((x > 0.0) & (x < math.inf), result, x)  # infinity and NaN are their own
    result = choose(x == 0.0, -math.inf, result)
    return choose(x < 0.0, math.nan, result)
