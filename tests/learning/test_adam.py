# SPDX-License-Identifier: Apache-2.0
"""Rows of a stack move as torch's Adam moves them, each on its own clock."""

from __future__ import annotations

import pytest
import torch

from mtquant.learning.adam import EPSILON, StackedAdam, broken, clip_rows

K, P = 3, 7


def drawn(seed: int, steps: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """First parameters [K, P] and gradients [steps, K, P]."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randn(K, P, generator=random, dtype=torch.float64)
    return first, torch.randn(steps, K, P, generator=random, dtype=torch.float64)


def test_a_row_that_rests_is_as_if_it_were_not_there() -> None:
    first, gradients = drawn(0)
    resting = [(), (1,), (), (0, 1), (2,), ()]
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    adam.scale_rate(2, 0.5)
    for gradient, rows in zip(gradients, resting, strict=True):
        room.copy_(gradient)
        adam.step(0.1, rows)
    for k in range(K):
        own = first[k].clone().requires_grad_()
        rate = 0.05 if k == 2 else 0.1
        theirs = torch.optim.Adam([own], lr=rate, eps=EPSILON, fused=True)
        for gradient, rows in zip(gradients, resting, strict=True):
            if k not in rows:
                own.grad = gradient[k].clone()
                theirs.step()
        assert torch.equal(parameters[k], own.detach())


def test_state_goes_on_to_the_byte() -> None:
    first, gradients = drawn(1)
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    adam.scale_rate(0, 0.25)
    for t, gradient in enumerate(gradients):
        if t == 3:
            state, kept = adam.state(), parameters.clone()
        room.copy_(gradient)
        adam.step(0.1)
    again, room = kept.clone(), torch.zeros_like(first)
    other = StackedAdam(again, room)
    other.load_state(state)
    assert other.scales == [0.25, 1.0, 1.0]
    for gradient in gradients[3:]:
        room.copy_(gradient)
        other.step(0.1)
    assert torch.equal(again, parameters)
    for name, held in other.state().items():
        assert torch.equal(held, adam.state()[name]), name


def test_one_row_goes_back_alone() -> None:
    first, gradients = drawn(2)
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    before = adam.state()
    room.copy_(gradients[0])
    adam.step(0.1)
    after = adam.state()
    adam.load_state(before, [1])
    found = adam.state()
    for name in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(found[name][1], before[name][1])
        assert torch.equal(found[name][[0, 2]], after[name][[0, 2]])


def test_rows_are_clipped_one_by_one() -> None:
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    norms = clip_rows(gradients, 1.0)
    assert norms.tolist() == pytest.approx([5.0, 0.5])
    # torch.nn.utils.clip_grad_norm_ divides by the norm plus 1e-6.
    torch.testing.assert_close(gradients, torch.tensor([[0.6, 0.8], [0.3, 0.4]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_is_found_by_its_norm(value: float) -> None:
    _, gradients = drawn(3)
    own = gradients[0].clone()
    assert broken(clip_rows(own, 0.5)) == set()
    own[1, 4] = value
    assert broken(clip_rows(own, 0.5)) == {1}
