# SPDX-License-Identifier: Apache-2.0
"""Networks of stable-baselines3 and sb3-contrib that are no plain actor-critic, without pickle.

A zip of stable-baselines3 runs pickle. Instead a specialist's manifest names one of `POLICIES` and
the plain numbers it is built from, and its weights are safetensors: what is loaded is data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from mtquant.agents.actors import Float32
from mtquant.agents.networks import ObservationScaler

POLICIES: Mapping[str, type[BasePolicy]] = MappingProxyType(
    {"recurrent_ppo": RecurrentActorCriticPolicy, "sac": SACPolicy}
)
"""By the algorithm that trains it."""
# The scaler is listed three times where actor and critic share it: one tensor, kept once.
COPIES = ("pi_features_extractor.", "vf_features_extractor.")
MOST_UNITS = 65_536


def library_arguments(
    policy: str, hidden_units: Sequence[int], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> dict[str, Any]:
    """`policy_kwargs` of one of `POLICIES`, with our scaler inside.

    The recurrent policy's first hidden layer is an LSTM (one for the actor, one for the critic),
    the others are tanh layers on top. SAC's actor and its two critics have relu layers, as in
    Haarnoja et al. 2018.
    """
    scaler = {
        "features_extractor_class": ObservationScaler,
        "features_extractor_kwargs": {"mean": mean.tolist(), "scale": scale.tolist()},
    }
    if policy == "sac":
        return {**scaler, "net_arch": list(hidden_units)}
    memory, *layers = hidden_units
    return {
        **scaler,
        "lstm_hidden_size": memory,
        "net_arch": {"pi": layers, "vf": layers},
        "activation_fn": nn.Tanh,
    }


def rebuilt(
    policy: str,
    weights: Mapping[str, torch.Tensor],
    inputs: int,
    actions: int,
    arguments: Mapping[str, Any],
) -> BasePolicy:
    """A policy with its weights, ready to act.

    Args:
        policy: One of `POLICIES`.
        weights: What `kept_state` kept.
        inputs: Entries of an observation.
        actions: Entries of an action.
        arguments: ``{"hidden_units": [64, 64]}``; untrusted.

    Raises:
        ValueError, TypeError, LookupError, RuntimeError: Not one of `POLICIES`, or weights and
            arguments are not those of it.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
    hidden = _layers(**arguments)
    box = spaces.Box(-np.inf, np.inf, (inputs,), dtype=np.float32)
    acts = spaces.Box(-1.0, 1.0, (actions,), dtype=np.float32)
    nothing, one = np.zeros(inputs, dtype=np.float32), np.ones(inputs, dtype=np.float32)
    named = library_arguments(policy, hidden, nothing, one)
    # The learning rate is for an optimiser that nobody steps.
    network = POLICIES[policy](box, acts, lambda _: 0.0, **named)
    network.load_state_dict(_expanded(weights, network))
    network.set_training_mode(False)
    return network


def kept_state(policy: nn.Module) -> dict[str, torch.Tensor]:
    """What is kept of a policy: its state, each tensor once."""
    return {
        name: tensor.cpu().clone()
        for name, tensor in policy.state_dict().items()
        if not name.startswith(COPIES)
    }


class LibraryActor:
    """A policy of stable-baselines3 as an `Actor`; a recurrent one's state is its LSTM's.

    Args:
        policy: One of `POLICIES`.
    """

    def __init__(self, policy: BasePolicy) -> None:
        self._policy = policy

    def initial_state(self, n_accounts: int) -> tuple[Float32, Float32] | None:
        """Hidden and cell state, zeros float32 [layers, E, units] each; None without memory."""
        if not isinstance(self._policy, RecurrentActorCriticPolicy):
            return None
        layers, _, units = self._policy.lstm_hidden_state_shape
        shape = (layers, n_accounts, units)
        return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)

    def decide(self, values: Float32, state: Any) -> tuple[Float32, Any]:
        """As `actors.Actor.decide`: mean actions."""
        going_on = np.zeros(len(values), dtype=np.bool_)
        actions, state = self._policy.predict(values, state, going_on, deterministic=True)
        return actions.astype(np.float32), state


def _layers(hidden_units: Sequence[int]) -> tuple[int, ...]:
    """Checked: a manifest is a file that anybody may have written."""
    whole = all(type(units) is int and 0 < units <= MOST_UNITS for units in hidden_units)
    if not hidden_units or not whole:
        raise ValueError(f"hidden_units must be whole numbers, found {hidden_units!r}")
    return tuple(hidden_units)


def _expanded(weights: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights under all the names that the network lists them by."""
    copied = {
        name: weights[name.partition("_")[2]]
        for name in network.state_dict()
        if name.startswith(COPIES)
    }
    return {**weights, **copied}
