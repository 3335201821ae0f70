# SPDX-License-Identifier: Apache-2.0
"""The compiled passes between two layers against torch's own."""

from __future__ import annotations

import pytest
import torch

from mtquant.learning.activation import bias_tanh_, bias_tanh_back_

DTYPES = [(torch.float32, 4e-7), (torch.float64, 1e-15)]


@pytest.mark.parametrize(("dtype", "error"), DTYPES)
def test_the_hyperbolic_tangent_is_torchs(dtype: torch.dtype, error: float) -> None:
    values = torch.linspace(-30.0, 30.0, 200_001, dtype=dtype)
    ends = torch.tensor([-torch.inf, -1e30, -0.0, 1e-30, 1e30, torch.inf], dtype=dtype)
    for own in (values, ends):
        found = bias_tanh_(own.clone()[None, :, None], torch.zeros(1, 1, 1, dtype=dtype))[0, :, 0]
        torch.testing.assert_close(found, torch.tanh(own), rtol=0.0, atol=error)
        assert float(found.abs().max()) <= 1.0
    small = torch.logspace(-20, -1, 1_000, dtype=dtype)  # there it counts in proportion
    found = bias_tanh_(small.clone()[None, :, None], torch.zeros(1, 1, 1, dtype=dtype))[0, :, 0]
    torch.testing.assert_close(found, torch.tanh(small), rtol=error, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_not_a_number_stays_none(dtype: torch.dtype) -> None:
    values = torch.zeros(2, 3, 4, dtype=dtype)
    values[1, 2, 3] = torch.nan
    found = bias_tanh_(values.clone(), torch.zeros(2, 1, 4, dtype=dtype))
    assert torch.equal(found.isnan(), values.isnan())
    to_bias = torch.zeros(2, 1, 4, dtype=dtype)
    bias_tanh_back_(torch.ones_like(values), found, to_bias)
    assert torch.nonzero(to_bias.isnan()).tolist() == [[1, 0, 3]]


@pytest.mark.parametrize("size", [(3, 11, 7), (8, 256, 64), (1, 1, 1)])
def test_forward_and_backward_are_autograds(size: tuple[int, int, int]) -> None:
    """Parameters lie among others, as in a stack: with gaps between the networks' rows."""
    random = torch.Generator().manual_seed(0)
    count, _, width = size
    held = torch.randn(count, width + 5, generator=random)
    bias = held[:, 2 : 2 + width].view(count, 1, width)
    values = 3.0 * torch.randn(*size, generator=random)
    change = torch.randn(*size, generator=random)
    leaf, own = values.double().requires_grad_(), bias.double().requires_grad_()
    expected = torch.tanh(leaf + own)
    expected.backward(change.double())
    assert leaf.grad is not None
    assert own.grad is not None
    turned = bias_tanh_(values.mT.clone(memory_format=torch.contiguous_format).mT, bias)
    torch.testing.assert_close(turned.double(), expected.detach(), rtol=0.0, atol=4e-7)
    found = bias_tanh_(values.clone(), bias)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=0.0, atol=4e-7)
    gradients = torch.zeros_like(held)
    below = change.clone()
    bias_tanh_back_(below, found, gradients[:, 2 : 2 + width].view(count, 1, width))
    torch.testing.assert_close(below.double(), leaf.grad, rtol=0.0, atol=5e-6)
    sums = gradients[:, 2 : 2 + width].double()
    torch.testing.assert_close(sums, own.grad[:, 0], rtol=0.0, atol=1e-4)
    other = torch.zeros_like(sums, dtype=torch.float32)[:, None]
    turned = change.mT.clone(memory_format=torch.contiguous_format).mT
    bias_tanh_back_(turned, found, other)
    torch.testing.assert_close(turned, below, rtol=0.0, atol=5e-6)
    torch.testing.assert_close(other[:, 0].double(), sums, rtol=0.0, atol=1e-4)
    assert not gradients[:, :2].any()
    assert not gradients[:, 2 + width :].any()
