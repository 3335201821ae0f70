# SPDX-License-Identifier: Apache-2.0
"""K actor-critics of one shape as one: what the training loop moves.

A network is an actor tower, whose outputs are the mean action and the forecasts, a critic tower,
and the logarithm of the action's standard deviation. The forecasts, mean and log deviation of what
each traded instrument does next, are the message head: an auxiliary loss trains them (Jaderberg et
al. 2017, "Reinforcement learning with unsupervised auxiliary tasks").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from mtquant.core.training_config import Precision
from mtquant.learning.towers import Towers, TowerShape

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
        shape: Of each.
        parameters: [K, shape.size].

    Attributes:
        parameters, gradients: [K, shape.size].
        log_std: [K, A], a view of `parameters`.
    """

    def __init__(self, shape: PolicyShape, parameters: torch.Tensor) -> None:
        self.shape = shape
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
        shape: PolicyShape,
        seeds: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> ActorCriticStack:
        """Untrained networks, one per seed; a network's first weights depend on its seed alone."""
        rows = [_fresh_row(shape, torch.Generator().manual_seed(seed)) for seed in seeds]
        return cls(shape, torch.stack(rows).to(device, dtype))

    def forward(self, observations: torch.Tensor) -> Said:
        """What the networks say about scaled observations [K, B, inputs]; valid until the next call
        with as many samples.
        """
        shape = self.shape
        outputs = self.actor.forward(observations)
        middle = shape.actions + shape.forecasts
        value = self.critic.forward(observations)[:, :, 0]
        return Said(
            outputs[:, :, : shape.actions],
            value,
            outputs[:, :, shape.actions : middle],
            outputs[:, :, middle:],
        )

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
        self.actor.backward(observations, self._acted(said), out[:, actor])
        self.critic.backward(observations, said.value[:, :, None], out[:, critic])
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
    """Networks of one shape, from the `weights` of each."""
    shape = shape_of(rows[0])
    stack = ActorCriticStack(shape, torch.zeros(len(rows), shape.size, device=device))
    for k, weights in enumerate(rows):
        stack.set_weights(k, weights)
    return stack


def confidence(forecast: torch.Tensor, log_deviation: torch.Tensor) -> torch.Tensor:
    """How sure a Gaussian forecast is of its own sign, in [0, 1): twice the probability that what
    comes has the sign of the mean, less 1.
    """
    return torch.erf(forecast.abs() * torch.exp(-log_deviation) * math.sqrt(0.5))


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
