# SPDX-License-Identifier: Apache-2.0
"""Integrated gradients: completeness, known answers, captum's numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.learning.attribution import integrated_gradients


def network(seed: int, inputs: int, outputs: int) -> torch.nn.Module:
    random = torch.Generator().manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(inputs, 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs)
    ).double()
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
    return layers


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_attributions_sum_to_the_change(seed: int) -> None:
    """The axiom of completeness (Sundararajan et al. 2017, proposition 1), of two inputs."""
    layers = network(seed, 7, 3)
    random = torch.Generator().manual_seed(seed + 1)
    first, second = (0.5 * torch.randn(5, n, generator=random, dtype=torch.float64) for n in (4, 3))
    baselines = [torch.zeros(1, 4).double(), second.mean(0, keepdim=True)]

    def function(points):
        return layers(torch.cat(list(points), 1))

    found = integrated_gradients(function, [first, second], baselines, steps=512)
    assert found[0].shape == (3, 5, 4) and found[1].shape == (3, 5, 3)
    with torch.no_grad():
        before = function([baselines[0].expand(5, 4), baselines[1].expand(5, 3)])
        change = function([first, second]) - before
    total = found[0].sum(2) + found[1].sum(2)
    assert torch.allclose(total.T, change, atol=1e-3)


def test_a_linear_function_gives_weight_times_move() -> None:
    weights = torch.tensor([[2.0, -1.0, 0.0]])
    inputs, start = torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[0.5, 1.0, 0.0]])
    (found,) = integrated_gradients(lambda points: points[0] @ weights.T, [inputs], [start], 3)
    assert found[0, 0].tolist() == pytest.approx([1.0, -2.0, 0.0])


def test_a_product_is_shared_evenly() -> None:
    """x y from 0: the gradient (y, x) grows along the path, so that each gets x y / 2."""
    (found,) = integrated_gradients(
        lambda points: points[0].prod(1, keepdim=True),
        [torch.tensor([[2.0, 3.0]])],
        [torch.zeros(1, 2)],
        10,
    )
    assert found[0, 0].tolist() == pytest.approx([3.0, 3.0])


def test_an_input_that_is_not_read_gets_nothing() -> None:
    inputs = [torch.ones(2, 1), torch.ones(2, 4)]
    found = integrated_gradients(
        lambda points: points[0] ** 2, inputs, [torch.zeros(1), torch.zeros(4)], 8
    )
    assert found[1].abs().max() == 0.0
    assert found[0].flatten().tolist() == pytest.approx([1.0, 1.0])


def test_captums_numbers() -> None:
    """captum 0.9.0, IntegratedGradients.attribute(n_steps=300, method="gausslegendre"), of the
    same network, input and baseline.
    """
    first = torch.tensor([[0.5, -1.0, 0.25], [1.5, 0.75, -0.5]]).double()
    bias, second = torch.tensor([0.1, -0.2]).double(), torch.tensor([[1.0, -2.0]]).double()
    (found,) = integrated_gradients(
        lambda points: torch.tanh(points[0] @ first.T + bias) @ second.T,
        [torch.tensor([[1.0, -0.5, 2.0]]).double()],
        [torch.tensor([[0.1, 0.2, -0.3]]).double()],
        512,
    )
    assert found[0, 0].tolist() == pytest.approx([-2.3837, 1.4576, 2.6117], abs=1e-4)
