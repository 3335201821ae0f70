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
from mtquant.learning.products import Held, multiply

HIDDEN_GAIN = math.sqrt(2.0)  # of orthogonal first weights, as in stable-baselines3
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
        self._weights = [Held.of(matrix) for matrix, _ in self.layers]
        self._turned = [weights.turned() for weights in self._weights]
        # Views of the latest `out` of `backward`, which is the same one again and again.
        self._out: torch.Tensor | None = None
        self._wanted: list[tuple[Held, torch.Tensor]] = []
        self._buffers: dict[int, _Buffers] = {}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs [K, B, outputs] for inputs [K, B, inputs]; valid until the next call with as many
        samples B.
        """
        *rooms, last = self._of(inputs).seen
        values = Held.of(inputs)
        for weights, (_, bias), room in zip(self._weights, self.layers, rooms, strict=False):
            multiply(values, weights, room, self.precision)
            bias_tanh_(room.tensor, bias)
            values = room
        multiply(values, self._weights[-1], last, self.precision)
        return last.tensor.add_(self.layers[-1][1])

    def backward(self, inputs: torch.Tensor, change: torch.Tensor, out: torch.Tensor) -> None:
        """Gradient by the parameters, for the outputs of the latest `forward` of this B.

        Args:
            inputs: What `forward` was given, [K, B, inputs].
            change: Gradient by the outputs, [K, B, outputs].
            out: Receives the gradient, [K, P].
        """
        buffers = self._of(inputs)
        if out is not self._out:
            parts = self.shape.split(out)
            self._out, self._wanted = out, [(Held.of(matrix), bias) for matrix, bias in parts]
        torch.sum(change, 1, keepdim=True, out=self._wanted[-1][1])
        by = Held.of(change)
        for layer in range(len(self.layers) - 1, 0, -1):
            before, room = buffers.seen[layer - 1], buffers.changes[layer - 1]
            multiply(buffers.turned[layer - 1], by, self._wanted[layer][0], self.precision)
            self._back(by, layer, room)
            bias_tanh_back_(room.tensor, before.tensor, self._wanted[layer - 1][1])
            by = room
        multiply(Held.of(inputs).turned(), by, self._wanted[0][0], self.precision)

    def to_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Gradient by the inputs, [K, B, inputs], behind the latest `backward` of this B."""
        found = torch.empty_like(inputs)
        self._back(self._of(inputs).changes[0], 0, Held.of(found))
        return found

    def _back(self, change: Held, layer: int, out: Held) -> None:
        """Gradient by what a layer was given; of a single output it is an outer product."""
        if self.precision is None and change.tensor.shape[2] == 1:
            torch.mul(change.tensor, self._turned[layer].tensor, out=out.tensor)
        else:
            multiply(change, self._turned[layer], out, self.precision)

    def _of(self, inputs: torch.Tensor) -> _Buffers:
        """The buffers for inputs [K, B, inputs]."""
        batch = inputs.shape[1]
        if batch not in self._buffers:
            self._buffers[batch] = _Buffers(self.shape, self.parameters, batch)
        return self._buffers[batch]


class _Buffers:
    """What one batch size needs: outputs of all layers, also turned, and gradients by them."""

    def __init__(self, shape: TowerShape, parameters: torch.Tensor, batch: int) -> None:
        rooms = [parameters.new_empty(len(parameters), batch, size) for _, size in shape.layers]
        self.seen = [Held.of(room) for room in rooms]
        self.turned = [seen.turned() for seen in self.seen]
        self.changes = [Held.of(torch.empty_like(room)) for room in rooms[:-1]]
