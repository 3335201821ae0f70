# SPDX-License-Identifier: Apache-2.0
"""A stack of towers is as many torch.nn networks, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtquant.learning.towers import HIDDEN_GAIN, Towers, TowerShape


def twin(shape: TowerShape, parameters: torch.Tensor, k: int) -> nn.Sequential:
    """Network k of the stack, built of torch's own layers."""
    layers: list[nn.Module] = []
    for layer, (matrix, bias) in enumerate(shape.split(parameters)):
        own = nn.Linear(*matrix.shape[1:], dtype=torch.float64)
        with torch.no_grad():
            own.weight.copy_(matrix[k].T)
            own.bias.copy_(bias[k, 0])
        layers += [own] if layer == len(shape.hidden) else [own, nn.Tanh()]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("batch", [11, 700])  # matrices of few columns are turned if large
@pytest.mark.parametrize(
    "shape",
    [TowerShape(5, (7, 6), 3), TowerShape(4, (3,), 1), TowerShape(9, (20, 64), 1)],
)
def test_forward_and_backward_are_torchs(shape: TowerShape, batch: int) -> None:
    random = torch.Generator().manual_seed(0)
    count = 3
    parameters = torch.randn(count, shape.size, generator=random, dtype=torch.float64)
    inputs = torch.randn(count, batch, shape.inputs, generator=random, dtype=torch.float64)
    change = torch.randn(count, batch, shape.outputs, generator=random, dtype=torch.float64)
    towers = Towers(shape, parameters)
    outputs = towers.forward(inputs).clone()
    found, other = torch.zeros_like(parameters), torch.zeros_like(parameters)
    for out in (found, other, found.zero_()):
        towers.backward(inputs, change, out)
    assert torch.equal(found, other)
    to_inputs = towers.to_inputs(inputs)
    for k in range(count):
        network, seen = twin(shape, parameters, k), inputs[k].clone().requires_grad_()
        expected = network(seen)
        expected.backward(change[k])
        torch.testing.assert_close(outputs[k], expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(to_inputs[k], seen.grad, rtol=1e-12, atol=1e-12)
        gradient = torch.cat(
            [
                part.flatten()
                for layer in network
                if isinstance(layer, nn.Linear) and layer.weight.grad is not None
                for part in (layer.weight.grad.T, layer.bias.grad)
            ]
        )
        torch.testing.assert_close(found[k], gradient, rtol=1e-12, atol=1e-12)


def test_a_network_does_not_know_who_stands_beside_it() -> None:
    shape, random = TowerShape(35, (64, 64), 1), torch.Generator().manual_seed(1)
    parameters, others = torch.randn(2, 8, shape.size, generator=random)
    inputs = torch.randn(8, 256, 35, generator=random)
    others[2] = parameters[2]
    found = []
    for stack in (parameters, others):
        towers, gradients = Towers(shape, stack), torch.zeros_like(stack)
        outputs = towers.forward(inputs)
        towers.backward(inputs, torch.ones_like(outputs), gradients)
        found.append((outputs, gradients))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one[2], other[2])
        assert not torch.equal(one[3], other[3])


def test_first_weights_are_orthogonal_and_biases_zero() -> None:
    shape, random = TowerShape(20, (12, 12), 3), torch.Generator().manual_seed(2)
    parameters = shape.fresh(torch.tensor([0.01, 0.1, 0.1]), random)[None]
    layers = shape.split(parameters)
    assert all(not bias.any() for _, bias in layers)
    for matrix, _ in layers[:-1]:
        product = matrix[0].T @ matrix[0]
        torch.testing.assert_close(product, HIDDEN_GAIN**2 * torch.eye(12), atol=1e-5, rtol=0.0)
    last = layers[-1][0][0]
    torch.testing.assert_close(last.norm(dim=0), torch.tensor([0.01, 0.1, 0.1]))
    assert abs(float(last[:, 1] @ last[:, 2])) < 1e-8


def test_bf16_rounds_factors_and_nothing_else() -> None:
    """Against float32, to bfloat16's 8 bits; weights and gradients stay float32."""
    shape, random = TowerShape(35, (64, 64), 3), torch.Generator().manual_seed(2)
    parameters = torch.stack([shape.fresh(torch.ones(3), random) for _ in range(4)])
    inputs = torch.randn(4, 256, 35, generator=random)
    change = torch.randn(4, 256, 3, generator=random)
    found = []
    for precision in (None, torch.bfloat16):
        towers, gradient = Towers(shape, parameters), torch.zeros_like(parameters)
        towers.precision = precision
        outputs = towers.forward(inputs).clone()
        towers.backward(inputs, change, gradient)
        found.append((outputs, gradient, towers.to_inputs(inputs)))
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)
        assert (exact - rounded).norm() < 0.02 * exact.norm()  # measured: 0.004 to 0.006
