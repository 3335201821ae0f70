# SPDX-License-Identifier: Apache-2.0
"""A choice between two numbers without a branch."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic, overload


def choose(condition: bool, chosen: float, otherwise: float) -> float:
    """`chosen` where the condition holds, else `otherwise`; both have been worked out by then.

    Python's ``a if c else b`` compiles into a branch, and the compiler moves the work for `a` and
    `b` into its two sides. That is what one wants for one account, and what keeps the accounts of a
    block from being worked on together: a loop with such a branch around loads from memory does not
    become vector instructions. This is always LLVM's `select`.
    """
    return chosen if condition else otherwise


@intrinsic
def _select(typing: Any, condition: Any, chosen: Any, otherwise: Any) -> Any:
    signature = types.float64(types.boolean, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return signature, generate


@overload(choose)
def _choose(condition: Any, chosen: Any, otherwise: Any) -> Any:
    def implementation(condition: Any, chosen: Any, otherwise: Any) -> Any:
        return _select(condition, chosen, otherwise)

    return implementation
