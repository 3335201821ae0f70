# SPDX-License-Identifier: Apache-2.0
"""Closed forms for two goals against torchjd's solvers, and what they promise."""

from __future__ import annotations

import pytest
import torch
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

from mtquant.learning.gradients import WEIGHTINGS, gramian

ORACLES = {
    "upgrad": lambda: aggregation.UPGrad(projector=QuadprogProjector(norm_eps=0.0, reg_eps=1e-9)),
    "pcgrad": aggregation.PCGrad,
    "mgda": lambda: aggregation.MGDA(epsilon=1e-9, max_iters=2_000),
    "aligned_mtl": aggregation.AlignedMTL,
    "sum": aggregation.Sum,
    "mean": aggregation.Mean,
}


def pairs(seed: int, count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients [K, 5] of all angles and of lengths that differ by up to a thousand."""
    random = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, count, 5, generator=random, dtype=torch.float64)
    second[: count // 3] -= 1.5 * first[: count // 3]  # many conflicts
    return first, second * 10.0 ** torch.empty(count, 1).uniform_(-1.5, 1.5, generator=random)


def combined(name: str, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    weights = WEIGHTINGS[name](gramian(first, second))
    return first * weights[:, :1] + second * weights[:, 1:]


@pytest.mark.parametrize("name", ORACLES)
def test_closed_forms_are_torchjds(name: str) -> None:
    first, second = pairs(1)
    oracle, found = ORACLES[name](), combined(name, first, second)
    for k in range(len(first)):
        expected = oracle(torch.stack((first[k], second[k])))
        size = float(first[k].norm() + second[k].norm())
        # MGDA is solved by Frank-Wolfe steps, which close in slowly.
        tolerance = 2e-3 if name == "mgda" else 1e-6
        torch.testing.assert_close(found[k], expected, rtol=0.0, atol=tolerance * size)


def test_cagrad_is_the_best_worst_case_near_the_mean() -> None:
    """The definition itself: no direction within c |g0| of the mean has a better worst goal."""
    first, second = pairs(2, 100)
    found = combined("cagrad", first, second)
    mean = 0.5 * (first + second)
    radius = 0.5 * mean.norm(dim=1)
    torch.testing.assert_close((found - mean).norm(dim=1), radius, rtol=1e-6, atol=1e-9)

    def worst(direction: torch.Tensor) -> torch.Tensor:
        return torch.minimum((direction * first).sum(1), (direction * second).sum(1))

    random = torch.Generator().manual_seed(3)
    reached = worst(found)
    for _ in range(2_000):
        away = torch.randn(first.shape, generator=random, dtype=torch.float64)
        other = mean + away / away.norm(dim=1, keepdim=True) * radius[:, None]
        assert bool((worst(other) <= reached + 1e-9 * reached.abs() + 1e-12).all())


def test_nash_solves_its_equation() -> None:
    first, second = pairs(4)
    aa, ab, bb = gramian(first, second)
    a, b = WEIGHTINGS["nash_mtl"]((aa, ab, bb)).unbind(1)
    torch.testing.assert_close(aa * a + ab * b, 1.0 / a, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(ab * a + bb * b, 1.0 / b, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", ["upgrad", "pcgrad", "mgda", "nash_mtl"])
def test_no_goal_is_worked_against(name: str) -> None:
    first, second = pairs(5)
    found = combined(name, first, second)
    for goal in (first, second):
        product = (found * goal).sum(1)
        assert bool((product >= -1e-9 * found.norm(dim=1) * goal.norm(dim=1)).all())


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("case", ["no first", "no second", "none", "parallel", "opposite"])
def test_degenerate_pairs_give_finite_steps(name: str, case: str) -> None:
    one, none = torch.tensor([[1.0, 2.0]]).double(), torch.zeros(1, 2).double()
    first, second = {
        "no first": (none, one),
        "no second": (one, none),
        "none": (none, none),
        "parallel": (one, 3.0 * one),
        "opposite": (one, -2.0 * one),
    }[case]
    found = combined(name, first, second)
    assert bool(found.isfinite().all())
    if case == "parallel":
        assert float((found * one).sum()) > 0.0
