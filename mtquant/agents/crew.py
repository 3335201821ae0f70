# SPDX-License-Identifier: Apache-2.0
"""Trained specialists, acting and speaking together on raw observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, Said, Weights, confidence, stack_of
from mtquant.envs.hierarchy import MESSAGE_HIGH, MESSAGE_LOW, Views

Float32 = NDArray[np.float32]


class Crew:
    """K networks and their scaling.

    Args:
        stack: The networks.
        scaling: Of their observations.
    """

    def __init__(self, stack: ActorCriticStack, scaling: Scaling) -> None:
        self.stack, self.scaling = stack, scaling

    @classmethod
    def from_weights(cls, rows: Sequence[Mapping[str, torch.Tensor]], device: str = "cpu") -> Crew:
        """From what `specialist.save_specialist` keeps of each, scaling included."""
        pairs = [
            (
                weights["features_extractor.mean"].numpy(),
                weights["features_extractor.scale"].numpy(),
            )
            for weights in rows
        ]
        stack = stack_of(rows, device)
        return cls(stack, Scaling.of(pairs, stack.parameters))

    def __len__(self) -> int:
        return len(self.stack)

    def act(self, observations: Views) -> list[Float32]:
        """Mean actions in [-1, 1] of each network, float32 [B, its actions], for raw observations
        float32 [B, its inputs] each.
        """
        found = self.stack.act(self.scaled(observations))  # no critic: nobody asks for values
        actions = np.minimum(np.maximum(found.float().cpu().numpy(), -1.0), 1.0)
        if self.stack.present_actions is None:
            return list(actions)
        return [
            np.ascontiguousarray(acted[:, : own.actions])
            for acted, own in zip(actions, self.stack.own, strict=True)
        ]

    def speak(self, views: Views) -> Float32:
        """Messages float32 [B, N, MESSAGE] (`envs/hierarchy.py`) about the specialists' instruments
        in turn, for their views, float32 [B, its inputs] each.
        """
        said = messages(self.stack.forward(self.scaled(views))).flatten(1, 2)
        if self.stack.present_actions is not None:
            said = said[:, self.stack.entries]
        return said.float().cpu().numpy()

    def together(self, views: Views) -> Float32:
        """Views of all as one array, float32 [K, B, inputs], 0 where a network has fewer."""
        if isinstance(views, np.ndarray):
            return views
        own = self.stack.own
        if len({view.shape for view in views}) == 1:
            return np.concatenate(views).reshape(len(own), -1, self.stack.shape.inputs)
        found = np.zeros((len(own), len(views[0]), self.stack.shape.inputs), dtype=np.float32)
        for padded, view, shape in zip(found, views, own, strict=True):
            padded[:, : shape.inputs] = view
        return found

    def scaled(self, views: Views, out: torch.Tensor | None = None) -> torch.Tensor:
        """Views as the networks take them, [K, B, inputs], in `out` where one is given."""
        raw = torch.from_numpy(np.ascontiguousarray(self.together(views)))
        return self.scaling.apply(raw.to(self.stack.parameters), out)


def messages(said: Said, signals: torch.Tensor | None = None) -> torch.Tensor:
    """What networks let the meta-controller know, [B, K, A, MESSAGE]; what padding says means
    nothing (`ActorCriticStack.entries`).

    Args:
        said: What they say about observations [K, B].
        signals: [K, B, A], the actions taken; the mean ones when None.
    """
    signal = said.mean if signals is None else signals  # cut with all the others
    value = said.value.unsqueeze(2).expand_as(signal)
    if said.forecast.shape[2]:
        sure = confidence(said.forecast, said.log_deviation)
        parts = [signal, sure, value, said.forecast, torch.exp(said.log_deviation)]
    else:
        nothing = torch.zeros_like(signal)
        parts = [signal, nothing, value, nothing, nothing]
    stacked = torch.stack(parts, dim=3).transpose(0, 1)
    return stacked.clamp(*_bounds(stacked.dtype, stacked.device))


@cache
def _bounds(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest message, [MESSAGE] each."""
    low, high = (torch.from_numpy(own) for own in (MESSAGE_LOW, MESSAGE_HIGH))
    return low.to(device, dtype), high.to(device, dtype)


def kept(crew: Crew, k: int) -> Weights:
    """What is kept of network k: its scaling too."""
    inputs = crew.stack.own[k].inputs
    own = {"mean": crew.scaling.mean[k, :inputs], "scale": crew.scaling.scale[k, :inputs]}
    held = {f"features_extractor.{name}": value.cpu().clone() for name, value in own.items()}
    return crew.stack.weights(k) | held
