# SPDX-License-Identifier: Apache-2.0
"""Closed forms for two goals against torchjd's solvers, and what they promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

from mtquant.learning.gradients import WEIGHTINGS, gramian

ORACLES = {
    "upgrad": lambda: aggregation.UPGrad(projector=QuadprogProjector(norm_eps=0.0, reg_eps=1e-9)),
    "pcgrad": aggregation.PCGrad,
    "mgda": lambda: aggregation.MGDA(epsilon=1e-9, max_iters=3),
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


# Oracle, Gramians, tolerance, decades by which the first goal's length varies. Frank and Wolfe's
# first step already ends at the optimum of two goals; a quadratic program's regularisation shows
# where lengths differ much, and a convex solver is less accurate still.
WEIGHTING_ORACLES = {
    "upgrad": (
        lambda: aggregation.UPGradWeighting(
            projector=QuadprogProjector(norm_eps=1e-30, reg_eps=1e-12)
        ),
        1_000,
        1e-6,
        1,
    ),
    "pcgrad": (aggregation.PCGradWeighting, 2_000, 1e-12, 3),
    "mgda": (lambda: aggregation.MGDAWeighting(epsilon=1e-12, max_iters=3), 2_000, 1e-12, 3),
    "aligned_mtl": (aggregation.AlignedMTLWeighting, 1_000, 1e-10, 3),
    "cagrad": (lambda: aggregation.CAGradWeighting(c=0.5, norm_eps=1e-12), 60, 1e-4, 3),
}


def degenerate_pairs(seed: int, count: int, decades: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """As `pairs`, of lengths that differ by up to a million and more; a tenth each is parallel,
    opposite or without the second goal, and one in a hundred without both.
    """
    first, second = pairs(seed, count)
    random = torch.Generator().manual_seed(seed + 1)
    lengths = 10.0 ** torch.empty(count, 1, dtype=torch.float64).uniform_(
        -decades, decades, generator=random
    )
    tenth = count // 10
    second[:tenth] = first[:tenth] * lengths[:tenth]
    second[tenth : 2 * tenth] = -first[tenth : 2 * tenth] * lengths[tenth : 2 * tenth]
    second[2 * tenth : 3 * tenth] = 0.0
    first[2 * tenth : 2 * tenth + max(count // 100, 1)] = 0.0
    return first * lengths.flip(0), second


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
        torch.testing.assert_close(found[k], expected, rtol=0.0, atol=1e-6 * size)


@pytest.mark.parametrize("name", WEIGHTING_ORACLES)
def test_closed_forms_are_torchjds_on_many_gramians(name: str) -> None:
    """Differences count by the length of the step they make: weights of parallel goals are not
    unique.
    """
    build, count, tolerance, decades = WEIGHTING_ORACLES[name]
    first, second = degenerate_pairs(11, count, decades)
    if name == "cagrad":  # whose worst case is the missing goal whatever the step: any will do
        present = (second != 0.0).any(1)
        first, second = first[present], second[present]
    aa, ab, bb = gramian(first, second)
    stacked = torch.stack((torch.stack((aa, ab), 1), torch.stack((ab, bb), 1)), 1)
    oracle = build()
    expected = torch.stack([oracle(matrix) for matrix in stacked])
    off = WEIGHTINGS[name]((aa, ab, bb)) - expected
    length = torch.einsum("ki,kij,kj->k", off, stacked, off).clamp(min=0.0).sqrt()
    assert bool((length <= tolerance * torch.sqrt(aa + bb)).all())


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


@pytest.mark.parametrize("name", WEIGHTINGS)
@given(seed=st.integers(0, 2**31), power=st.integers(-30, 30))
def test_scaling_both_goals_scales_the_step(name: str, seed: int, power: int) -> None:
    """By a power of 2, so that it is exact but for what solves an equation; nash_mtl's step has the
    length root 2 at any scale.
    """
    first, second = degenerate_pairs(seed, 20)
    factor = 2.0**power
    found = combined(name, factor * first, factor * second)
    expected = combined(name, first, second)
    if name == "nash_mtl":
        both = ((first != 0.0).any(1) & (second != 0.0).any(1))[:, None]
        expected = torch.where(both, expected / factor, expected)
    sizes = first.norm(dim=1, keepdim=True) + second.norm(dim=1, keepdim=True)
    off = (found / factor - expected).norm(dim=1, keepdim=True)
    assert bool((off <= 1e-9 * sizes + (1e-6 / factor if name == "nash_mtl" else 0.0)).all())


@given(seed=st.integers(0, 2**31))
def test_upgrad_grows_with_each_goal(seed: int) -> None:
    """Under scaling of one goal the step stays linear (Quinton & Rey 2024, definition 3): steps of
    two scales of a goal average to the step of the average scale.
    """
    first, second = degenerate_pairs(seed, 20)
    steps = [combined("upgrad", first, scale * second) for scale in (0.5, 1.0, 1.5)]
    torch.testing.assert_close(0.5 * (steps[0] + steps[2]), steps[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHTINGS)
@given(seed=st.integers(0, 2**31))
def test_goals_have_no_order(name: str, seed: int) -> None:
    first, second = pairs(seed, 12)
    torch.testing.assert_close(
        combined(name, first, second), combined(name, second, first), rtol=1e-6, atol=1e-6
    )


@given(seed=st.integers(0, 2**31))
def test_float32_steps_of_upgrad_work_against_no_goal(seed: int) -> None:
    """As the engine calls it; to what float32 leaves."""
    first, second = (goal.float() for goal in degenerate_pairs(seed, 50))
    found = combined("upgrad", first.double(), second.double())
    weights = WEIGHTINGS["upgrad"](gramian(first, second)).float()
    step = first * weights[:, :1] + second * weights[:, 1:]
    sizes = first.norm(dim=1) + second.norm(dim=1)
    assert bool(((step - found).norm(dim=1) <= 1e-5 * sizes).all())
    for goal in (first, second):
        product = (step * goal).sum(1)
        assert bool((product >= -1e-5 * sizes * goal.norm(dim=1)).all())
