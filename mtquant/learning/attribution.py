# SPDX-License-Identifier: Apache-2.0
"""Integrated gradients: how much each input moved an output, in the output's own units.

Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks", equations 1 and 3.
Attributions of a sample sum to f(input) - f(baseline), the axiom of completeness, up to the error
of the sum that stands for the integral.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

STEPS = 64

Function = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""Inputs, [B, ...] each, to outputs [B, M]; differentiable, samples independent of each other."""


def integrated_gradients(
    function: Function,
    inputs: Sequence[torch.Tensor],
    baselines: Sequence[torch.Tensor],
    steps: int = STEPS,
) -> list[torch.Tensor]:
    """Attributions of every output to every entry of every input.

    Args:
        function: What is explained.
        inputs: Tensors [B, ...] that are moved together.
        baselines: Where the path begins; broadcast to the inputs.
        steps: Midpoints of the sum along the straight path.

    Returns:
        One tensor [M, B, ...] per input.
    """
    moves = [value - start for value, start in zip(inputs, baselines, strict=True)]
    sums: list[torch.Tensor] = []
    for step in range(steps):
        fraction = (step + 0.5) / steps
        points = [
            (start + fraction * move).detach().requires_grad_()
            for start, move in zip(baselines, moves, strict=True)
        ]
        slopes = _slopes(function(points), points)
        sums = slopes if not sums else [a + b for a, b in zip(sums, slopes, strict=True)]
    return [move * total / steps for move, total in zip(moves, sums, strict=True)]


def _slopes(outputs: torch.Tensor, points: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients of every output by the points, [M, B, ...] each."""
    rows = []
    for m in range(outputs.shape[1]):
        found = torch.autograd.grad(
            outputs[:, m].sum(), points, retain_graph=True, allow_unused=True
        )
        rows.append(
            [
                torch.zeros_like(point) if slope is None else slope
                for slope, point in zip(found, points, strict=True)
            ]
        )
    return [torch.stack(own) for own in zip(*rows, strict=True)]
