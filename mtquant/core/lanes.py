# SPDX-License-Identifier: Apache-2.0
"""Working on several accounts at once: the width, a choice without a branch, and a view of a lane.

A block is a flat array of columns, each of LANES numbers that belong to as many accounts. A loop
over the lanes of a few columns becomes vector instructions if the compiler can see that columns do
not overlap and that no lane takes another way than its neighbours. Flat arrays with constant
distances give it the one, `choose` the other.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

Float = NDArray[np.float64]

LANES = 16  # two cache lines of each column


def lanes_of(block: Float) -> int:
    """LANES, but a number that the compiler cannot see: loops of a known length it unrolls before
    it looks for vector instructions, and finds none.

    In a block for a single account (`single_block`) it is 1, which the compiler can see.
    """
    return min(block.shape[0], LANES)


@overload(lanes_of, jit_options={"error_model": "numpy", "_nrt": False, "forceinline": True})  # type: ignore[misc]
def _lanes_of(block: Any) -> Any:
    def every(block: Any) -> int:
        return min(block.shape[0], LANES)

    def one(block: Any) -> int:
        return 1

    return one if block.layout == "A" else every


def single_block(size: int) -> Float:
    """Zeros for a block of which only lane 0 is in use, float64 [size].

    Every other number in memory is skipped. Kernels are compiled for such an array apart, with
    loops over one lane: an account alone does not pay for fifteen that are not there.
    """
    return np.zeros(2 * size)[::2]


def choose(condition: bool, chosen: float, otherwise: float) -> float:
    """`chosen` where the condition holds, else `otherwise`; both have been worked out by then.

    Python's ``a if c else b`` compiles into a branch, and the compiler moves the work for `a` and
    `b` into its two sides. That is what one wants for one account, and what keeps lanes from
    marching in step. This is LLVM's `select`.
    """
    return chosen if condition else otherwise


@intrinsic  # type: ignore[misc]
def _select(typing_context: Any, condition: Any, chosen: Any, otherwise: Any) -> Any:
    signature = types.float64(types.boolean, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return signature, generate


@overload(choose)  # type: ignore[misc]
def _choose(condition: Any, chosen: Any, otherwise: Any) -> Any:
    def implementation(condition: Any, chosen: Any, otherwise: Any) -> Any:
        return _select(condition, chosen, otherwise)

    return implementation


@intrinsic  # type: ignore[misc]
def lane(typing_context: Any, block: Any, first: Any, count: Any) -> Any:
    """One lane of `count` neighbouring columns, float64 [count] (a view; in kernels only).

    ``block[first : first + count * LANES : LANES]``, with a stride that the compiler knows. `block`
    is flat, float64; `first` is where the first of the columns begins, plus the lane.
    """
    signature = types.Array(types.float64, 1, "A")(block, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        view = context.make_array(signature.return_type)(context, builder)
        view.data = builder.gep(source.data, [arguments[1]])
        view.shape = cgutils.pack_array(builder, [arguments[2]])
        view.strides = cgutils.pack_array(builder, [ir.Constant(ir.IntType(64), 8 * LANES)])
        view.itemsize = ir.Constant(ir.IntType(64), 8)
        view.nitems = arguments[2]
        view.meminfo, view.parent = source.meminfo, source.parent
        return view._getvalue()

    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[misc]
def as_tuple(typing_context: Any, array: Any, count: Any) -> Any:
    """The first `count` numbers of an array as a tuple (in kernels only; `count` a constant).

    Numbers in an array might change while another is written, as far as a compiler can know; those
    of a tuple are read once.
    """
    signature = types.UniTuple(types.float64, count.literal_value)(array, count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        numbers = [
            builder.load(builder.gep(source.data, [ir.Constant(ir.IntType(64), k)]))
            for k in range(signature.return_type.count)
        ]
        return context.make_tuple(builder, signature.return_type, numbers)

    return signature, generate


if numba.config.DISABLE_JIT:

    def as_tuple(array: Float, count: int) -> tuple[float, ...]:
        """The same in plain Python."""
        return tuple(array[:count].tolist())

    def lane(block: Float, first: int, count: int) -> Float:
        """The same in plain Python."""
        return block[first : first + count * LANES : LANES]
