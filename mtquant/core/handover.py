# SPDX-License-Identifier: Apache-2.0
"""Handing a kernel many arrays at every call for the price of one.

Numba takes about a fifth of a microsecond per array and call to look at its type and to make it its
own: for a kernel of thirty arrays more than the kernel itself needs for a hundred accounts. A
`Handover` looks at the arrays once and writes down where they are; the kernel gets that table and
`unpacker` makes the arrays of it again, without looking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from mtquant.core.errors import DataError

Kinds = tuple[tuple[str, str, int], ...]  # name, dtype and number of dimensions of each array
INTEGER = ir.IntType(64)


class Handover:
    """Arrays that a kernel is handed again and again.

    They are kept alive here, and stay the ones that were given: what comes later has to be written
    into them. Neither a copy nor a pickle exists, of whoever holds one neither.

    Args:
        kinds: What the kernel expects.
        arrays: In that order, contiguous.

    Attributes:
        argument: What to pass to the kernel.

    Raises:
        DataError: An array is of another kind.
    """

    def __init__(self, kinds: Kinds, arrays: Sequence[NDArray[Any]]) -> None:
        table: list[int] = []
        for (name, dtype, dimensions), array in zip(kinds, arrays, strict=True):
            found = (array.dtype.name, array.ndim, array.flags.c_contiguous)
            if found != (dtype, dimensions, True):
                raise DataError(
                    name,
                    f"must be contiguous {dtype} of {dimensions} dimensions",
                    found,
                    "Hand over what the kernel was compiled for.",
                )
            table += [array.ctypes.data, *array.shape]
        self._arrays = tuple(arrays)
        self.argument: Any = np.array(table, dtype=np.int64)
        if numba.config.DISABLE_JIT:
            self.argument = self._arrays

    def __reduce__(self) -> Any:
        raise DataError(
            "arrays",
            "cannot be copied or pickled: a copy would write where the first ones are",
            type(self).__name__,
            "Build another one on arrays of its own.",
        )


def _view(context: Any, builder: Any, table: Any, first: int, kind: Any) -> Any:
    """One array from the numbers of the table that begin at `first`."""
    address, *shape = (
        builder.load(builder.gep(table, [ir.Constant(INTEGER, first + k)]))
        for k in range(kind.ndim + 1)
    )
    view = context.make_array(kind)(context, builder)
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides: list[Any] = []
    step, count = ir.Constant(INTEGER, size), ir.Constant(INTEGER, 1)
    for length in reversed(shape):
        strides.insert(0, step)
        step, count = builder.mul(step, length), builder.mul(count, length)
    view.data = builder.inttoptr(address, view.data.type)
    view.shape = cgutils.pack_array(builder, shape)
    view.strides = cgutils.pack_array(builder, strides)
    view.itemsize, view.nitems = ir.Constant(INTEGER, size), count
    view.meminfo = cgutils.get_null_value(view.meminfo.type)
    view.parent = cgutils.get_null_value(view.parent.type)
    return view._getvalue()


def unpacker(kinds: Kinds) -> Callable[[Any], Any]:
    """What turns the argument of a `Handover` of these kinds into its arrays, inside a kernel."""
    arrays = tuple(types.Array(from_dtype(np.dtype(dtype)), n, "C") for _, dtype, n in kinds)

    @intrinsic  # type: ignore[misc]
    def arrays_of(typing_context: Any, argument: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            firsts = np.cumsum([0] + [kind.ndim + 1 for kind in arrays]).tolist()
            views = [
                _view(context, builder, table, first, kind)
                for first, kind in zip(firsts, arrays, strict=False)
            ]
            return context.make_tuple(builder, signature.return_type, views)

        return types.Tuple(arrays)(argument), generate

    def keep(argument: Any) -> Any:
        return argument

    return keep if numba.config.DISABLE_JIT else arrays_of
