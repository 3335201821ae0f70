# SPDX-License-Identifier: Apache-2.0
"""Rows of a stack move as torch's Adam moves them, each on its own clock."""

from __future__ import annotations

import pytest
import torch

from mtquant.learning.adam import EPSILON, StackedAdam, clip_rows

K, P = 3, 23
MOST = 2.0  # the norms of such gradients are around 5


def drawn(seed: int, steps: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """First parameters [K, P] and gradients [steps, K, P]."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randn(K, P, generator=random, dtype=torch.float64)
    return first, torch.randn(steps, K, P, generator=random, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_rows_move_as_torchs_adam_moves_them(dtype: torch.dtype, near: float) -> None:
    first, gradients = (own.to(dtype) for own in drawn(0))
    resting = [(), (1,), (), (0, 1), (2,), ()]
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    adam.scale_rate(2, 0.5)
    for gradient, rows in zip(gradients, resting, strict=True):
        room.copy_(gradient)
        assert adam.step(0.1, MOST, rows) == set()
    for k in range(K):
        own = first[k].clone().requires_grad_()
        rate = 0.05 if k == 2 else 0.1
        theirs = torch.optim.Adam([own], lr=rate, eps=EPSILON)
        for gradient, rows in zip(gradients, resting, strict=True):
            if k not in rows:
                own.grad = gradient[k].clone()
                torch.nn.utils.clip_grad_norm_([own], MOST)
                theirs.step()
        torch.testing.assert_close(parameters[k], own.detach(), rtol=near, atol=near)


@pytest.mark.parametrize("size", [7, 16, 12_354])
def test_a_row_that_rests_is_as_if_it_were_not_there(size: int) -> None:
    random = torch.Generator().manual_seed(4)
    first, *gradients = torch.randn(7, K, size, generator=random)
    resting = [(), (1,), (), (0, 1), (2,), ()]
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    for gradient, rows in zip(gradients, resting, strict=True):
        room.copy_(gradient)
        adam.step(0.1, MOST, rows)
    for k in range(K):
        alone, own = first[k : k + 1].clone(), torch.zeros(1, size)
        single = StackedAdam(alone, own)
        for gradient, rows in zip(gradients, resting, strict=True):
            if k not in rows:
                own.copy_(gradient[k : k + 1])
                single.step(0.1, MOST)
        assert torch.equal(parameters[k], alone[0])


def test_a_gpus_step_is_the_processors() -> None:
    """The way that a GPU takes, taken on a processor."""
    first, gradients = drawn(5)
    parameters, others = first.clone(), first.clone()
    room, their_room = torch.zeros_like(first), torch.zeros_like(first)
    adam, other = StackedAdam(parameters, room), StackedAdam(others, their_room)
    for own in (adam, other):
        own.scale_rate(1, 0.5)
    for gradient, moving in zip(gradients, [[0, 1, 2], [1], [0, 2]] * 2, strict=True):
        room.copy_(gradient)
        their_room.copy_(gradient)
        adam.step(0.1, MOST, {0, 1, 2} - set(moving))
        clip_rows(their_room, MOST)
        other._step_there(0.1, moving)
        torch.testing.assert_close(parameters, others, rtol=1e-13, atol=1e-13)
    for name, held in other.state().items():
        torch.testing.assert_close(held, adam.state()[name], rtol=1e-13, atol=1e-13)


def test_state_goes_on_to_the_byte() -> None:
    first, gradients = drawn(1)
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    adam.scale_rate(0, 0.25)
    for t, gradient in enumerate(gradients):
        if t == 3:
            state, kept = adam.state(), parameters.clone()
        room.copy_(gradient)
        adam.step(0.1, MOST)
    again, room = kept.clone(), torch.zeros_like(first)
    other = StackedAdam(again, room)
    other.load_state(state)
    assert other.scales == [0.25, 1.0, 1.0]
    for gradient in gradients[3:]:
        room.copy_(gradient)
        other.step(0.1, MOST)
    assert torch.equal(again, parameters)
    for name, held in other.state().items():
        assert torch.equal(held, adam.state()[name]), name


def test_one_row_goes_back_alone() -> None:
    first, gradients = drawn(2)
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    before = adam.state()
    room.copy_(gradients[0])
    adam.step(0.1, MOST)
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
@pytest.mark.parametrize("place", [0, P - 1])
def test_a_row_whose_gradient_is_not_finite_stays_where_it_is(value: float, place: int) -> None:
    first, gradients = drawn(3)
    parameters, room = first.clone(), torch.zeros_like(first)
    adam = StackedAdam(parameters, room)
    room.copy_(gradients[0])
    room[1, place] = value
    before = adam.state()
    assert adam.step(0.1, MOST) == {1}
    assert torch.equal(parameters[1], first[1])
    assert not torch.equal(parameters[[0, 2]], first[[0, 2]])
    for name, held in adam.state().items():
        assert torch.equal(held[1], before[name][1]), name
    room[1, place] = value
    assert adam.step(0.1, MOST, [1]) == set()
