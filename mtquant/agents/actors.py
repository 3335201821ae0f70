# SPDX-License-Identifier: Apache-2.0
"""How a trained network acts, bar after bar, whatever network it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.crew import Crew
from mtquant.agents.stack import shape_of

ACTOR_CRITIC = "actor_critic"
"""The feed-forward network of the stacked engine, which ppo, trpo and a2c share."""

Float32 = NDArray[np.float32]


class Actor(Protocol):
    """A network that decides for E accounts, bar after bar."""

    def initial_state(self, n_accounts: int) -> Any:
        """What it remembers of E accounts before their first bar; None without memory."""
        ...

    def decide(self, values: Float32, state: Any) -> tuple[Float32, Any]:
        """Actions in [-1, 1], float32 [E, A], for raw observations float32 [E, inputs], and the
        next state.
        """
        ...


class CrewActor:
    """The feed-forward network; without memory.

    Args:
        weights: What `specialist.save_specialist` keeps, scaling included.
        inputs: Entries of an observation.
        actions: Entries of an action.

    Raises:
        ValueError, LookupError, RuntimeError: They are weights of another network.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], inputs: int, actions: int) -> None:
        found = shape_of(weights)
        if found.inputs != inputs:
            raise ValueError(f"its first layer takes {found.inputs} inputs, not {inputs}")
        if found.actions != actions:
            raise ValueError(f"its last layer gives {found.actions} actions, not {actions}")
        self._crew = Crew.from_weights([weights])

    def initial_state(self, n_accounts: int) -> None:
        """Nothing."""
        return None

    def decide(self, values: Float32, state: None) -> tuple[Float32, None]:
        """As `Actor.decide`."""
        return self._crew.act(values[None])[0], None


def actor_of(
    policy: str,
    weights: Mapping[str, torch.Tensor],
    inputs: int,
    actions: int,
    arguments: Mapping[str, Any],
) -> Actor:
    """The network that `weights` belong to.

    Args:
        policy: `ACTOR_CRITIC`, or a name of `library_policies.POLICIES`.
        weights: Its state.
        inputs: Entries of an observation.
        actions: Entries of an action.
        arguments: What else its class is built from; none for `ACTOR_CRITIC`.

    Raises:
        ValueError, TypeError, LookupError, RuntimeError: The policy is none of ours, or weights and
            arguments are not those of it.
    """
    if policy == ACTOR_CRITIC:
        return CrewActor(weights, inputs, actions)
    from mtquant.agents.library_policies import LibraryActor, rebuilt  # loads stable-baselines3

    return LibraryActor(rebuilt(policy, weights, inputs, actions, arguments))


class Walk:
    """An actor on E accounts that remembers by itself, as `training.validation` calls it.

    Args:
        actor: Who decides.
        n_accounts: E.
    """

    def __init__(self, actor: Actor, n_accounts: int = 1) -> None:
        self._actor, self._state = actor, actor.initial_state(n_accounts)

    def __call__(self, observations: Float32) -> Float32:
        """Actions float32 [E, A] for the next bar's observations, float32 [E, inputs]."""
        actions, self._state = self._actor.decide(observations, self._state)
        return actions
