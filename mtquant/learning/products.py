# SPDX-License-Identifier: Apache-2.0
"""Batched matrix products, [K, m, n] @ [K, n, p], on whatever is quickest where they are.

On a processor that is NumPy and its OpenBLAS: for products of few rows or columns torch's MKL takes
up to five times as long on some processors, and for the others about the same
(docs/benchmarks.md#results). `threads.py` says with how many threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Held(NamedTuple):
    """A tensor, and the same memory as NumPy sees it: a view costs as much as a small product.

    Attributes:
        tensor: [K, m, n].
        array: The same numbers; None elsewhere than on a processor.
    """

    tensor: torch.Tensor
    array: NDArray[Any] | None

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Held:
        """A tensor and its view."""
        return cls(tensor, tensor.numpy() if tensor.is_cpu else None)

    def turned(self) -> Held:
        """Its matrices transposed, in the same memory."""
        return Held.of(self.tensor.transpose(1, 2))


def multiply(one: Held, other: Held, out: Held, precision: torch.dtype | None = None) -> None:
    """Writes the products of all pairs of matrices.

    Args:
        one: [K, m, n].
        other: [K, n, p].
        out: Receives [K, m, p].
        precision: What factors are rounded to before; None for none.
    """
    if precision is not None:
        out.tensor.copy_(torch.bmm(one.tensor.to(precision), other.tensor.to(precision)))
    elif one.array is None or other.array is None or out.array is None:
        out.tensor.copy_(torch.bmm(one.tensor, other.tensor))
    else:
        np.matmul(one.array, other.array, out=out.array)
