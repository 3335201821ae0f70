# SPDX-License-Identifier: Apache-2.0
"""K actor-critics as one: what the training loop moves.

A network is an actor tower, whose outputs are the mean action and the forecasts, a critic tower,
and the logarithm of the action's standard deviation. The forecasts, mean and log deviation of what
each traded instrument does next, are the message head: an auxiliary loss trains them (Jaderberg et
al. 2017, "Reinforcement learning with unsupervised auxiliary tasks").

Networks of unequally many inputs, actions or forecasts are padded to the largest: inputs that are
0, outputs that nothing comes of. Padding begins at 0, and the losses leave it out
(`present_actions`, `present_forecasts`), so it stays 0 and a network learns as it would alone.
`weights` cuts it off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.core.errors import PolicyError
from mtquant.core.training_config import Precision
from mtquant.learning.losses import HALF_LOG_TWO_PI
from mtquant.learning.towers import Layers, Towers, TowerShape

ACTION_GAIN, VALUE_GAIN, FORECAST_GAIN = 0.01, 1.0, 0.1
VALUE_BOUND = 10.0
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class PolicyShape:
    """Sizes of one actor-critic.

    Attributes:
        inputs: Entries of an observation.
        hidden: Width of each hidden layer of the actor, and of the critic.
        actions: Entries of an action, A.
        forecasts: Quantities forecast, F; 0 for no message head.
    """

    inputs: int
    hidden: tuple[int, ...]
    actions: int
    forecasts: int = 0

    @property
    def actor(self) -> TowerShape:
        """Outputs: A mean actions, F forecast means, F log deviations."""
        return TowerShape(self.inputs, self.hidden, self.actions + 2 * self.forecasts)

    @property
    def critic(self) -> TowerShape:
        """Output: the value."""
        return TowerShape(self.inputs, self.hidden, 1)

    @property
    def size(self) -> int:
        """Parameters of one network."""
        return self.actor.size + self.critic.size + self.actions

    @classmethod
    def around(cls, shapes: Sequence[PolicyShape]) -> PolicyShape:
        """The smallest shape that holds all of these.

        Raises:
            PolicyError: Hidden layers differ, or some have a message head and others none.
        """
        for field, found in (
            ("hidden layers", [own.hidden for own in shapes]),
            ("message head", [own.forecasts > 0 for own in shapes]),
        ):
            if len(set(found)) > 1:
                rule = "must be the same in all networks that act together"
                remedy = "Train all specialists with one configuration."
                raise PolicyError(field, rule, found, remedy)
        return cls(
            inputs=max(own.inputs for own in shapes),
            hidden=shapes[0].hidden,
            actions=max(own.actions for own in shapes),
            forecasts=max(own.forecasts for own in shapes),
        )


class Said(NamedTuple):
    """What K networks say about [K, B] observations.

    Attributes:
        mean: [K, B, A], of the actions; unbounded.
        value: [K, B].
        forecast: [K, B, F].
        log_deviation: [K, B, F], of what is forecast.
    """

    mean: torch.Tensor
    value: torch.Tensor
    forecast: torch.Tensor
    log_deviation: torch.Tensor


class ActorCriticStack:
    """K networks in one matrix.

    Args:
        shape: Of each, padding included.
        parameters: [K, shape.size]; 0 where a network has less.
        own: Of each, without padding; `shape` for all when None.

    Attributes:
        own: The networks' own shapes.
        parameters, gradients: [K, shape.size].
        log_std: [K, A], a view of `parameters`.
        present_actions, present_forecasts: [K, A] and [K, F], 1 where the network has the entry and
            0 where it is padding; None where none is.
        entries: int64, where the actions of all networks in turn stand among K x A.
    """

    def __init__(
        self,
        shape: PolicyShape,
        parameters: torch.Tensor,
        own: Sequence[PolicyShape] | None = None,
    ) -> None:
        self.shape = shape
        self.own = (shape,) * len(parameters) if own is None else tuple(own)
        counts = [each.actions for each in self.own]
        self.present_actions = _present(counts, shape.actions, parameters)
        counts = [each.forecasts for each in self.own]
        self.present_forecasts = _present(counts, shape.forecasts, parameters)
        self.entries: NDArray[np.int64] = np.concatenate(
            [k * shape.actions + np.arange(each.actions) for k, each in enumerate(self.own)]
        )
        self.parameters = parameters
        self.gradients = torch.zeros_like(parameters)
        self._parts = (
            slice(0, shape.actor.size),
            slice(shape.actor.size, shape.actor.size + shape.critic.size),
            slice(shape.actor.size + shape.critic.size, shape.size),
        )
        actor, critic, std = self._parts
        self.actor = Towers(shape.actor, parameters[:, actor])
        self.critic = Towers(shape.critic, parameters[:, critic])
        self.log_std = parameters[:, std]
        self._gradient_parts = self.gradients[:, actor], self.gradients[:, critic]
        self._said: dict[int, Said] = {}

    def __len__(self) -> int:
        return len(self.parameters)

    def compute_in(self, precision: Precision) -> ActorCriticStack:
        """Rounds the factors of matrix products from now on (`Towers.precision`)."""
        for towers in (self.actor, self.critic):
            towers.precision = torch.bfloat16 if precision == "bf16" else None
        return self

    @classmethod
    def fresh(
        cls,
        shapes: PolicyShape | Sequence[PolicyShape],
        seeds: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> ActorCriticStack:
        """Untrained networks, one per seed; a network's first weights depend on its seed and its
        own shape alone.

        Args:
            shapes: Of all, or of each.
            seeds: One per network.
            dtype, device: Of the parameters.
        """
        own = [shapes] * len(seeds) if isinstance(shapes, PolicyShape) else list(shapes)
        shape = PolicyShape.around(own)
        stack = cls(shape, torch.zeros(len(seeds), shape.size, device=device, dtype=dtype), own)
        for k, (each, seed) in enumerate(zip(own, seeds, strict=True)):
            fresh = _fresh_row(each, torch.Generator().manual_seed(seed))
            stack.parameters[k] = stack.padded(k, fresh.to(stack.parameters))
        return stack

    def cut(self, k: int, rows: torch.Tensor) -> torch.Tensor:
        """Network k's own part of rows [..., shape.size], [..., own[k].size]."""
        if self.own[k] == self.shape:
            return rows
        return rows[..., _places(self.own[k], self.shape).to(rows.device)]

    def padded(self, k: int, rows: torch.Tensor) -> torch.Tensor:
        """What `cut` made [..., own[k].size] of, with 0 for the padding."""
        if self.own[k] == self.shape:
            return rows
        found = rows.new_zeros(*rows.shape[:-1], self.shape.size)
        found[..., _places(self.own[k], self.shape).to(rows.device)] = rows
        return found

    def alone(self, k: int) -> ActorCriticStack:
        """A copy of network k in its own shape."""
        return ActorCriticStack(self.own[k], self.cut(k, self.parameters[k : k + 1]).clone())

    def log_scale(self) -> torch.Tensor:
        """What the log-density of an action has less for the width of the policy, [K]."""
        present = self.present_actions
        count = self.shape.actions if present is None else present.sum(1)
        return self.log_std.sum(1) + HALF_LOG_TWO_PI * count

    def mean_deviation(self) -> list[float]:
        """Mean standard deviation of each network's actions."""
        deviation, present = torch.exp(self.log_std), self.present_actions
        if present is None:
            found: list[float] = deviation.mean(1).tolist()
            return found
        found = ((deviation * present).sum(1) / present.sum(1)).tolist()
        return found

    def forward(self, observations: torch.Tensor) -> Said:
        """What the networks say about scaled observations [K, B, inputs]; valid until the next call
        with as many samples.
        """
        outputs, value = self.actor.forward(observations), self.critic.forward(observations)
        batch = observations.shape[1]
        if batch not in self._said:  # the towers answer in the same place again and again
            widths = (self.shape.actions, self.shape.forecasts, self.shape.forecasts)
            mean, forecast, log_deviation = outputs.split(widths, dim=2)
            self._said[batch] = Said(mean, value.squeeze(2), forecast, log_deviation)
        return self._said[batch]

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """The mean actions of `forward`, [K, B, A], for who asks for nothing else."""
        return self.actor.forward(observations).narrow(2, 0, self.shape.actions)

    def backward(
        self, observations: torch.Tensor, said: Said, log_std: torch.Tensor, out: torch.Tensor
    ) -> None:
        """Gradient by the parameters.

        Args:
            observations: What the latest `forward` was given.
            said: Gradients by what it returned.
            log_std: Gradient by `log_std`, [K, A].
            out: Receives the gradient, [K, shape.size].
        """
        actor, critic, std = self._parts
        own = self._gradient_parts if out is self.gradients else (out[:, actor], out[:, critic])
        self.actor.backward(observations, self._acted(said), own[0])
        self.critic.backward(observations, said.value[:, :, None], own[1])
        out[:, std] = log_std

    def backward_to_inputs(
        self, observations: torch.Tensor, said: Said, log_std: torch.Tensor, out: torch.Tensor
    ) -> torch.Tensor:
        """`backward`, and the gradient by the observations, [K, B, inputs]."""
        self.backward(observations, said, log_std, out)
        acted = self.actor.to_inputs(observations)
        return acted + self.critic.to_inputs(observations)

    def _acted(self, said: Said) -> torch.Tensor:
        """Gradient by all outputs of the actor tower."""
        if not self.shape.forecasts:
            return said.mean
        return torch.cat((said.mean, said.forecast, said.log_deviation), 2)

    def weights(self, k: int) -> Weights:
        """Network k under the names of a stable-baselines3 policy (`sb3_export`), copies."""
        if self.own[k] != self.shape:
            return self.alone(k).weights(0)
        actions = self.shape.actions
        *hidden, (last, bias) = [(m[k], b[k, 0]) for m, b in self.actor.layers]
        named = _named("mlp_extractor.policy_net", hidden)
        named |= _linear("action_net", last[:, :actions], bias[:actions])
        if self.shape.forecasts:
            named |= _linear("message_net", last[:, actions:], bias[actions:])
        *hidden, (last, bias) = [(m[k], b[k, 0]) for m, b in self.critic.layers]
        named |= _named("mlp_extractor.value_net", hidden) | _linear("value_net", last, bias)
        named["log_std"] = self.log_std[k]
        return {name: tensor.detach().cpu().clone() for name, tensor in named.items()}

    def set_weights(self, k: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes network k over from `weights`; those that it does not know are passed over."""
        if self.own[k] != self.shape:
            alone = self.alone(k)
            alone.set_weights(0, weights)
            self.parameters[k] = self.padded(k, alone.parameters[0])
            return
        actions = self.shape.actions
        *hidden, (last, bias) = [(m[k], b[k, 0]) for m, b in self.actor.layers]
        _fill(hidden, weights, "mlp_extractor.policy_net")
        _fill([(last[:, :actions], bias[:actions])], weights, "action_net", numbered=False)
        if self.shape.forecasts:
            _fill([(last[:, actions:], bias[actions:])], weights, "message_net", numbered=False)
        *hidden, top = [(m[k], b[k, 0]) for m, b in self.critic.layers]
        _fill(hidden, weights, "mlp_extractor.value_net")
        _fill([top], weights, "value_net", numbered=False)
        self.log_std[k] = weights["log_std"].to(self.log_std)


def shape_of(weights: Mapping[str, torch.Tensor]) -> PolicyShape:
    """The shape of a network whose `weights` these are."""
    prefix = "mlp_extractor.policy_net."
    names = [name for name in weights if name.startswith(prefix) and name.endswith(".weight")]
    layers = [weights[name] for name in sorted(names, key=lambda name: int(name.split(".")[2]))]
    forecasts = len(weights["message_net.bias"]) // 2 if "message_net.bias" in weights else 0
    return PolicyShape(
        inputs=layers[0].shape[1],
        hidden=tuple(len(layer) for layer in layers),
        actions=len(weights["action_net.bias"]),
        forecasts=forecasts,
    )


def stack_of(rows: Sequence[Mapping[str, torch.Tensor]], device: str = "cpu") -> ActorCriticStack:
    """Networks, from the `weights` of each.

    Raises:
        PolicyError: As `PolicyShape.around`.
    """
    own = [shape_of(weights) for weights in rows]
    shape = PolicyShape.around(own)
    stack = ActorCriticStack(shape, torch.zeros(len(rows), shape.size, device=device), own)
    for k, weights in enumerate(rows):
        stack.set_weights(k, weights)
    return stack


def confidence(forecast: torch.Tensor, log_deviation: torch.Tensor) -> torch.Tensor:
    """How sure a Gaussian forecast is of its own sign, in [0, 1): twice the probability that what
    comes has the sign of the mean, less 1.
    """
    return torch.erf(forecast.abs() * torch.exp(-log_deviation) * math.sqrt(0.5))


def _present(counts: Sequence[int], size: int, like: torch.Tensor) -> torch.Tensor | None:
    """[K, size], 1 for the first `counts[k]` of row k, else 0; None where all are 1."""
    if all(count == size for count in counts):
        return None
    own = torch.tensor(counts)[:, None]
    return (torch.arange(size)[None] < own).to(like)


def _places(own: PolicyShape, around: PolicyShape) -> torch.Tensor:
    """Where the parameters of a network lie in a row of a larger shape, int64 [own.size]."""
    numbers = torch.arange(around.size)[None]
    middle = around.actor.size + around.critic.size
    actor = around.actor.split(numbers[:, : around.actor.size])
    critic = around.critic.split(numbers[:, around.actor.size : middle])
    starts = (0, around.actions, around.actions + around.forecasts)
    counts = (own.actions, own.forecasts, own.forecasts)
    outputs = [start + n for start, count in zip(starts, counts, strict=True) for n in range(count)]
    return torch.cat(
        (
            _tower_places(actor, own.inputs, outputs),
            _tower_places(critic, own.inputs, [0]),
            numbers[0, middle : middle + own.actions],
        )
    )


def _tower_places(layers: Layers, inputs: int, outputs: Sequence[int]) -> torch.Tensor:
    """Of the parameters behind the first `inputs` and before some outputs, of numbered ones."""
    found = []
    for layer, (matrix, bias) in enumerate(layers):
        rows = slice(inputs) if layer == 0 else slice(None)
        columns = list(outputs) if layer == len(layers) - 1 else slice(None)
        found += [matrix[0, rows][:, columns].flatten(), bias[0, 0, columns].flatten()]
    return torch.cat(found)


def _fresh_row(shape: PolicyShape, generator: torch.Generator) -> torch.Tensor:
    forecasts = 2 * shape.forecasts
    gains = torch.tensor([ACTION_GAIN] * shape.actions + [FORECAST_GAIN] * forecasts)
    actor = shape.actor.fresh(gains, generator)
    critic = shape.critic.fresh(torch.tensor([VALUE_GAIN]), generator)
    return torch.cat((actor, critic, torch.zeros(shape.actions)))


def _linear(name: str, matrix: torch.Tensor, bias: torch.Tensor) -> Weights:
    return {f"{name}.weight": matrix.T, f"{name}.bias": bias}


def _named(name: str, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Weights:
    """Hidden layers as torch.nn.Sequential numbers them: every other one is a tanh."""
    named: Weights = {}
    for layer, (matrix, bias) in enumerate(layers):
        named |= _linear(f"{name}.{2 * layer}", matrix, bias)
    return named


def _fill(
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
    weights: Mapping[str, torch.Tensor],
    name: str,
    *,
    numbered: bool = True,
) -> None:
    for layer, (matrix, bias) in enumerate(layers):
        own = f"{name}.{2 * layer}" if numbered else name
        matrix.copy_(weights[f"{own}.weight"].T)
        bias.copy_(weights[f"{own}.bias"])
