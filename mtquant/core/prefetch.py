# SPDX-License-Identifier: Apache-2.0
"""`prefetch_row`: asks the processor to fetch a row of an array that will be read soon.

Many accounts stand at random places of a long tape, so each one's next row misses the cache. Asking
for the rows of a whole block of accounts first lets the misses overlap. Pure advice: it changes no
result.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from mtquant.core.aligned import CACHE_LINE_BYTES
from mtquant.core.compiled import kernel


@intrinsic  # type: ignore[misc]
def _prefetch(typing_context: Any, array: Any, row: Any, offset: Any) -> Any:
    """``llvm.prefetch`` of the byte `offset` behind the start of ``array[row]``."""
    signature = types.void(array, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        view = context.make_array(array_type)(context, builder, arguments[0])
        stride = builder.extract_value(view.strides, 0)
        byte = builder.add(builder.mul(arguments[1], stride), arguments[2])
        start = builder.bitcast(view.data, ir.PointerType(ir.IntType(8)))
        pointer = builder.gep(start, [byte])
        integer = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer.type, integer, integer, integer]),
            "llvm.prefetch.p0i8",
        )
        read, keep, data = (ir.Constant(integer, value) for value in (0, 3, 1))
        builder.call(function, [pointer, read, keep, data])
        return context.get_dummy_value()

    return signature, generate


def prefetch_row(array: Any, row: int, size_bytes: int) -> None:
    """Fetches the cache lines of ``array[row]``, which is `size_bytes` long and begins where a line
    does (`aligned.py`), or lies within one. Of others, say AMID bytes more: else the last line may
    be left out.
    """
    for offset in range(0, size_bytes, CACHE_LINE_BYTES):
        _prefetch(array, row, offset)


if numba.config.DISABLE_JIT:

    def _prefetch(array: Any, row: int, offset: int) -> None:
        """Plain Python has nothing to fetch."""

else:
    prefetch_row = kernel(prefetch_row)
