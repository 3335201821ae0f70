# SPDX-License-Identifier: Apache-2.0
"""Moving numbers inside kernels: many at once, and four columns into four rows.

A compiler that cannot tell whether two arrays overlap moves one number at a time, or asks about it
before every few. These say what is moved, and leave it no question. Nobody checks bounds.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

SIDE = 4  # of the squares of `turn`


def _may_move(target: Any, source: Any) -> bool:
    """Whether two arrays lie in memory without gaps, hold the same kind of number, and one may be
    written.
    """
    alike = target.layout == source.layout == "C" and target.dtype == source.dtype
    return bool(alike and target.mutable)


def _address(builder: Any, data: Any, offset: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


@intrinsic  # type: ignore[misc]
def natural(typing_context: Any, number: Any) -> Any:
    """The number itself, of which the compiler may take for granted that it is not negative.

    Of an index that comes out of memory it would have to ask whether it counts from the end. What
    happens to a negative number is not defined.
    """
    signature = types.intp(types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (number,) = arguments
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
        assume = cgutils.get_or_insert_function(builder.module, kind, "llvm.assume")
        builder.call(assume, [builder.icmp_signed(">=", number, number.type(0))])
        return number

    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[misc]
def move(typing_context: Any, target: Any, at: Any, source: Any, first: Any, count: Any) -> Any:
    """``target[at : at + count] = source[first : first + count]``; `count` is a constant.

    Both are flat, without gaps, and of one type.
    """
    if not (_may_move(target, source) and isinstance(count, types.IntegerLiteral)):
        return None
    signature = types.void(target, types.intp, source, types.intp, count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        into = context.make_array(signature.args[0])(context, builder, arguments[0])
        out = context.make_array(signature.args[2])(context, builder, arguments[2])
        number = context.get_data_type(target.dtype)
        vector, align = ir.VectorType(number, count.literal_value), context.get_abi_sizeof(number)
        found = builder.load(_address(builder, out.data, arguments[3], vector), align=align)
        builder.store(found, _address(builder, into.data, arguments[1], vector), align=align)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[misc]
def turn(typing_context: Any, target: Any, to: Any, source: Any, of: Any) -> Any:
    """Moves SIDE rows of SIDE numbers as columns: number j of row k becomes number k of row j.

    Both arrays are without gaps and of one type; `of` and `to` are tuples of SIDE places, counted
    in numbers from the beginning of the arrays, at which rows begin.
    """
    if not _may_move(target, source):
        return None
    signature = types.void(target, to, source, of)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        into = context.make_array(signature.args[0])(context, builder, arguments[0])
        out = context.make_array(signature.args[2])(context, builder, arguments[2])
        number = context.get_data_type(target.dtype)
        vector, align = ir.VectorType(number, SIDE), context.get_abi_sizeof(number)
        picked = ir.VectorType(ir.IntType(32), SIDE)

        def row(data: Any, places: Any, k: int) -> Any:
            return _address(builder, data, builder.extract_value(places, k), vector)

        def mixed(a: Any, b: Any, *picks: int) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(picked, list(picks)))

        a, b, c, d = (
            builder.load(row(out.data, arguments[3], k), align=align) for k in range(SIDE)
        )
        even = mixed(a, b, 0, 4, 2, 6), mixed(c, d, 0, 4, 2, 6)
        odd = mixed(a, b, 1, 5, 3, 7), mixed(c, d, 1, 5, 3, 7)
        front, back = (0, 1, 4, 5), (2, 3, 6, 7)
        columns = mixed(*even, *front), mixed(*odd, *front), mixed(*even, *back), mixed(*odd, *back)
        for k, column in enumerate(columns):
            builder.store(column, row(into.data, arguments[1], k), align=align)
        return context.get_dummy_value()

    return signature, generate


if numba.config.DISABLE_JIT:

    def natural(number: int) -> int:
        """The same in plain Python."""
        return number

    def move(target: NDArray[Any], at: int, source: NDArray[Any], first: int, count: int) -> None:
        """The same in plain Python."""
        target[at : at + count] = source[first : first + count]

    def turn(
        target: NDArray[Any], to: tuple[int, ...], source: NDArray[Any], of: tuple[int, ...]
    ) -> None:
        """The same in plain Python."""
        rows = [source.reshape(-1)[place : place + SIDE].copy() for place in of]
        for j, place in enumerate(to):
            target.reshape(-1)[place : place + SIDE] = [row[j] for row in rows]
