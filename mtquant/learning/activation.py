# SPDX-License-Identifier: Apache-2.0
"""What stands between the matrix products of a tower: bias, hyperbolic tangent and the way back.

In float32 on a processor one compiled pass does what takes torch three or four, and a rational
function works the tangent out in a ninth of the time of torch's `tanh_`. Elsewhere (float64, GPU)
torch's own do; a test holds the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.core.compiled import kernel

Array = NDArray[np.float32]
# tanh(x) = x P(x^2) / Q(x^2) for |x| <= BOUND, beyond which it is the value there. Relative error
# 7e-9 before rounding: a weighted least-squares fit in float64, Lawson's iteration (Lawson 1961).
BOUND = np.float32(8.0)
P0, P1, P2, P3, P4 = (
    np.float32(c)
    for c in (9.999999936e-01, 1.344450132e-01, 3.571601999e-03, 2.189472829e-05, 1.523051249e-08)
)
Q0, Q1, Q2, Q3, Q4 = (
    np.float32(c)
    for c in (1.000000000e00, 4.677782864e-01, 2.616445802e-02, 3.411298552e-04, 8.522484735e-07)
)
ONE, NOTHING = np.float32(1.0), np.float32(0.0)


def bias_tanh_(values: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Hyperbolic tangent of values plus bias, in place; NaN stays NaN.

    Args:
        values: [K, B, H]; to 4e-7 in float32.
        bias: [K, 1, H].
    """
    if not compiled_for(values):
        return values.add_(bias).tanh_()
    _bias_tanh(values.numpy(), bias.numpy(), np.empty(values.shape[2], np.float32))
    return values


def bias_tanh_back_(change: torch.Tensor, said: torch.Tensor, to_bias: torch.Tensor) -> None:
    """Turns the gradient by what `bias_tanh_` said into that by what it was given, in place.

    Args:
        change: [K, B, H].
        said: [K, B, H].
        to_bias: [K, 1, H], receives the gradient by the bias.
    """
    if not (compiled_for(change) and compiled_for(said)):
        torch.ops.aten.tanh_backward.grad_input(change, said, grad_input=change)
        torch.sum(change, 1, keepdim=True, out=to_bias)
        return
    row = np.empty(change.shape[2], np.float32)
    _bias_tanh_back(change.numpy(), said.numpy(), to_bias.numpy(), row)


def compiled_for(values: torch.Tensor) -> bool:
    """Whether the compiled passes serve such values, a few numbers side by side at a time."""
    return values.dtype == torch.float32 and values.is_contiguous() and values.is_cpu


@kernel
def _bias_tanh(values: Array, bias: NDArray[Any], row: Array) -> None:
    """`row` [H] is room for one network's bias, whose entries need not lie side by side."""
    for k in range(values.shape[0]):
        for h in range(row.shape[0]):
            row[h] = bias[k, 0, h]
        for b in range(values.shape[1]):
            own = values[k, b]
            for h in range(row.shape[0]):
                x = own[h] + row[h]
                x = BOUND if x > BOUND else x
                x = -BOUND if x < -BOUND else x
                s = x * x
                p = (((P4 * s + P3) * s + P2) * s + P1) * s + P0
                q = (((Q4 * s + Q3) * s + Q2) * s + Q1) * s + Q0
                own[h] = x * p / q


@kernel
def _bias_tanh_back(change: Array, said: Array, to_bias: NDArray[Any], row: Array) -> None:
    """`row` [H] is room for one network's sums."""
    for k in range(change.shape[0]):
        row[:] = NOTHING
        for b in range(change.shape[1]):
            by, own = change[k, b], said[k, b]
            for h in range(row.shape[0]):
                by[h] *= ONE - own[h] * own[h]
                row[h] += by[h]
        for h in range(row.shape[0]):
            to_bias[k, 0, h] = row[h]
