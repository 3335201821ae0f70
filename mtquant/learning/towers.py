# SPDX-License-Identifier: Apache-2.0
"""Stacked towers: K multilayer perceptrons of one shape, run and differentiated as one.

The parameters of all layers lie side by side in one matrix [K, P], a row per network, so that a
layer of all networks is one batched matrix product, an optimiser is a few operations on one
matrix, and a row can be masked, restored or handed to another process as it is.

The backward pass is written out (Rumelhart, Hinton & Williams 1986), into buffers that are kept:
under autograd the same layers take two to three times as long. A test compares both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch

from mtquant.learning.activation import bias_tanh_, bias_tanh_back_

HIDDEN_GAIN = math.sqrt(2.0)  # of orthogonal first weights, as in stable-baselines3
# A large matrix times one of fewer columns than FEW is quicker as its transpose: products like that
# take MKL up to ten times as long on some processors (docs/benchmarks.md#results).
FEW, LARGE = 16, 4_096
Layers = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class TowerShape:
    """Sizes of a tower: tanh after every hidden layer, nothing after the last.

    Attributes:
        inputs: Entries of its input.
        hidden: Width of each hidden layer.
        outputs: Entries of its output.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(pairwise((self.inputs, *self.hidden, self.outputs)))

    @property
    def size(self) -> int:
        """P, parameters of one network."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    def split(self, parameters: torch.Tensor) -> Layers:
        """Views of [K, P]: weights [K, inputs, outputs] and biases [K, 1, outputs] by layer."""
        start, count, found = 0, len(parameters), []
        for inputs, outputs in self.layers:
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            matrix = parameters[:, start:middle].unflatten(1, (inputs, outputs))
            found.append((matrix, parameters[:, middle:end].view(count, 1, outputs)))
            start = end
        return found

    def fresh(self, gains: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """First parameters of one network, [P]: orthogonal weights, biases of 0.

        Args:
            gains: [outputs], of the last layer's weights (0.01 for actions, 1 for values:
                Andrychowicz et al. 2021, "What matters for on-policy deep actor-critic methods?").
                Outputs of one gain are orthogonal to each other.
            generator: Where the randomness comes from.
        """
        parameters = torch.zeros(1, self.size)
        *hidden, (last, _) = self.split(parameters)
        for matrix, _ in hidden:
            matrix[0] = _orthogonal(matrix.shape[1], matrix.shape[2], HIDDEN_GAIN, generator)
        for gain in gains.unique(sorted=True):
            own = gains == gain
            drawn = _orthogonal(last.shape[1], int(own.sum()), float(gain), generator)
            last[0, :, own] = drawn
        return parameters[0]


def _orthogonal(inputs: int, outputs: int, gain: float, random: torch.Generator) -> torch.Tensor:
    """[inputs, outputs], drawn as [outputs, inputs], the way torch draws a linear layer."""
    return torch.nn.init.orthogonal_(torch.empty(outputs, inputs), gain, random).T


class Towers:
    """K towers over parameters that somebody else holds.

    Args:
        shape: Of each.
        parameters: [K, P], read at every call.

    Attributes:
        layers: Views of the parameters, `TowerShape.split`.
        precision: What the factors of matrix products are rounded to; None for none. Weights,
            sums, gradients and everything else keep the type of the parameters (Micikevicius et
            al. 2018, "Mixed precision training"; bfloat16 needs no scaling of the loss).
    """

    def __init__(self, shape: TowerShape, parameters: torch.Tensor) -> None:
        self.shape = shape
        self.precision: torch.dtype | None = None
        self.parameters = parameters
        self.layers = shape.split(parameters)
        # Views cost as much as a small product, so those of the weights and of the latest `out` of
        # `backward`, which is the same one again and again, are kept.
        self._turned = [matrix.transpose(1, 2) for matrix, _ in self.layers]
        self._out, self._wanted = parameters, self.layers
        self._buffers: dict[int, _Buffers] = {}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs [K, B, outputs] for inputs [K, B, inputs]; valid until the next call with as many
        samples B.
        """
        *rooms, last = self._of(inputs).seen
        values = inputs
        for (matrix, bias), out in zip(self.layers, rooms, strict=False):
            values = bias_tanh_(self._product(values, matrix, out), bias)
        matrix, bias = self.layers[-1]
        return self._product(values, matrix, last).add_(bias)

    def backward(self, inputs: torch.Tensor, change: torch.Tensor, out: torch.Tensor) -> None:
        """Gradient by the parameters, for the outputs of the latest `forward` of this B.

        Args:
            inputs: What `forward` was given, [K, B, inputs].
            change: Gradient by the outputs, [K, B, outputs].
            out: Receives the gradient, [K, P].
        """
        buffers = self._of(inputs)
        if out is not self._out:
            self._out, self._wanted = out, self.shape.split(out)
        torch.sum(change, 1, keepdim=True, out=self._wanted[-1][1])
        for layer in range(len(self.layers) - 1, -1, -1):
            before = buffers.seen[layer - 1] if layer else inputs
            self._product(before.transpose(1, 2), change, buffers.products[layer])
            self._wanted[layer][0].copy_(buffers.products[layer])
            if layer:
                change = self._back(change, self._turned[layer], buffers.changes[layer - 1])
                bias_tanh_back_(change, before, self._wanted[layer - 1][1])

    def to_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Gradient by the inputs, [K, B, inputs], behind the latest `backward` of this B."""
        change = self._of(inputs).changes[0]
        return self._back(change, self._turned[0], torch.empty_like(inputs))

    def _back(self, change: torch.Tensor, matrix: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Batched matrix product, into `out`; of a single column it is an outer product."""
        if self.precision is None and change.shape[2] == 1:
            return torch.mul(change, matrix, out=out)
        return self._product(change, matrix, out)

    def _product(self, one: torch.Tensor, other: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Batched matrix product, into `out`."""
        if self.precision is not None:
            return out.copy_(torch.bmm(one.to(self.precision), other.to(self.precision)))
        if not _turns(one.shape[1], one.shape[2], other.shape[2], one):
            return torch.bmm(one, other, out=out)
        turned = other.transpose(1, 2).contiguous()
        torch.bmm(turned, one.transpose(1, 2), out=out.transpose(1, 2))
        return out

    def _of(self, inputs: torch.Tensor) -> _Buffers:
        """The buffers for inputs [K, B, inputs]."""
        batch = inputs.shape[1]
        if batch not in self._buffers:
            self._buffers[batch] = _Buffers(self.shape, self.layers, batch)
        return self._buffers[batch]


class _Buffers:
    """What one batch size needs: outputs of all layers, gradients by them, products [in, out]."""

    def __init__(self, shape: TowerShape, layers: Layers, batch: int) -> None:
        first, sizes = layers[0][0], shape.layers
        self.seen = [_room(first, batch, before, outputs) for before, outputs in sizes]
        self.changes = [first.new_empty(len(first), batch, outputs) for _, outputs in sizes[:-1]]
        self.products = [_room(first, inputs, batch, outputs) for inputs, outputs in sizes]


def _turns(rows: int, between: int, columns: int, like: torch.Tensor) -> bool:
    """Whether [rows, between] @ [between, columns] is computed as its transpose."""
    return columns < FEW and rows * between >= LARGE and not like.is_cuda


def _room(like: torch.Tensor, rows: int, between: int, columns: int) -> torch.Tensor:
    """Where such products go, [K, rows, columns], laid out as they are computed."""
    if _turns(rows, between, columns, like):
        return like.new_empty(len(like), columns, rows).transpose(1, 2)
    return like.new_empty(len(like), rows, columns)
