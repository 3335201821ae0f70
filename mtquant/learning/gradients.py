# SPDX-License-Identifier: Apache-2.0
"""Two gradients that want different things: weights by which they become one step.

A specialist of phase 3 has two goals, its own and the meta-controller's. Every method here sees
their Gramian [[a.a, a.b], [a.b, b.b]] alone and returns the weights of a and b. With two goals all
of them have closed forms, so that a stack of specialists costs a few operations; the tests hold
them against torchjd's general solvers.

    sum, mean      the losses added up, or averaged
    pcgrad         each gradient less its projection on the other where they conflict, added up
                   (Yu et al. 2020, "Gradient surgery for multi-task learning", algorithm 1)
    upgrad         the mean of the projections onto the dual cone (Quinton & Rey 2024, "Jacobian
                   descent for multi-objective optimization", eq. 5); with two goals half of pcgrad
    mgda           the shortest convex combination (Desideri 2012; Sener & Koltun 2018, eq. 4)
    cagrad         the best worst case near the mean, c = 0.5 (Liu et al. 2021, eq. 4)
    nash_mtl       the bargaining solution (Navon et al. 2022, eq. 3)
    aligned_mtl    both goals at the scale of the weaker direction (Senushkin et al. 2023, eq. 9)
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Gramian = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""a.a, a.b and b.b, float64 [K] each."""
Weighting = Callable[[Gramian], torch.Tensor]
"""To weights [K, 2]."""

CONFLICT_AVERSION = 0.5
TINY = 1e-300
RANK_TOLERANCE = 1e-12
OPPOSITE = 1e-6  # 1 + cosine; what float32 gradients leave of an exact opposite


def gramian(first: torch.Tensor, second: torch.Tensor) -> Gramian:
    """Of rows [K, P], in float64."""

    def dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vecdot(one, other).double()

    return dot(first, first), dot(first, second), dot(second, second)


def _sum(products: Gramian) -> torch.Tensor:
    return products[0].new_ones(len(products[0]), 2)


def _mean(products: Gramian) -> torch.Tensor:
    return 0.5 * _sum(products)


def _pcgrad(products: Gramian) -> torch.Tensor:
    aa, ab, bb = products
    return 1.0 - _ratio(ab.clamp(max=0.0)[:, None], torch.stack((aa, bb), 1))


def _upgrad(products: Gramian) -> torch.Tensor:
    return 0.5 * _pcgrad(products)


def _mgda(products: Gramian) -> torch.Tensor:
    aa, ab, bb = products
    distance = aa - 2.0 * ab + bb
    share = torch.where(distance > 0.0, _ratio(bb - ab, distance), 0.5).clamp(0.0, 1.0)
    return torch.stack((share, 1.0 - share), 1)


def _cagrad(products: Gramian) -> torch.Tensor:
    """The dual of eq. 4 in one variable, the share w of a in the direction g_w: least g_w.g0 +
    c |g0| |g_w|. Where its derivative is 0, a quadratic equation holds.
    """
    aa, ab, bb = products
    level = CONFLICT_AVERSION * (0.5 * torch.sqrt((aa + 2.0 * ab + bb).clamp(min=0.0)))
    start, slope = 0.5 * (ab + bb), 0.5 * (aa - bb)  # g_w.g0 at w = 0, and by w
    quadratic, linear = (aa - 2.0 * ab + bb).clamp(min=0.0), 2.0 * (ab - bb)

    def length(w: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((bb + linear * w + quadratic * w * w).clamp(min=0.0))

    # slope |g_w| = -level (linear + 2 quadratic w) / 2, squared
    level2, slope2 = level * level, slope * slope
    square = quadratic * (level2 * quadratic - slope2)
    middle = linear * (level2 * quadratic - slope2)
    rest = 0.25 * level2 * linear * linear - slope2 * bb
    root = torch.sqrt((middle * middle - 4.0 * square * rest).clamp(min=0.0))
    ends = [torch.zeros_like(aa), torch.ones_like(aa)]
    inner = [_ratio(-middle + sign * root, 2.0 * square).clamp(0.0, 1.0) for sign in (1.0, -1.0)]
    options = torch.stack(ends + inner)
    values = torch.stack([start + slope * w + level * length(w) for w in options])
    best = options.gather(0, values.argmin(0, keepdim=True))[0]
    pull = _ratio(level, length(best))
    return torch.stack((0.5 + pull * best, 0.5 + pull * (1.0 - best)), 1)


def _nash(products: Gramian) -> torch.Tensor:
    """G w = 1 / w: both sides of the two equations are equal where w is proportional to the inverse
    lengths. The step's length is always the root of 2. Opposite goals have no solution, and get no
    step: near there weights without bounds would multiply rounding errors.
    """
    aa, ab, bb = products
    length = torch.sqrt(aa) * torch.sqrt(bb)
    room = 1.0 + _ratio(ab, length)
    weights = [torch.rsqrt((own * room).clamp(min=TINY)) for own in (aa, bb)]
    bargained = torch.where((room > OPPOSITE)[:, None], torch.stack(weights, 1), 0.0)
    return torch.where((length > 0.0)[:, None], bargained, 1.0)


def _aligned(products: Gramian) -> torch.Tensor:
    aa, ab, bb = products
    matrix = torch.stack((torch.stack((aa, ab), 1), torch.stack((ab, bb), 1)), 2)
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > RANK_TOLERANCE * values[:, 1:]
    least = torch.where(kept[:, 0], values[:, 0], values[:, 1])
    scale = torch.where(kept, torch.sqrt(_ratio(least[:, None], values)), 0.0)
    balance = (vectors * scale[:, None]) @ vectors.transpose(1, 2)
    return 0.5 * balance.sum(2)


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Part / whole, 0 where whole is 0."""
    usable = whole != 0.0
    return torch.where(usable, part / torch.where(usable, whole, 1.0), 0.0)


WEIGHTINGS: dict[str, Weighting] = {
    "upgrad": _upgrad,
    "pcgrad": _pcgrad,
    "cagrad": _cagrad,
    "mgda": _mgda,
    "nash_mtl": _nash,
    "aligned_mtl": _aligned,
    "sum": _sum,
    "mean": _mean,
}
