# SPDX-License-Identifier: Apache-2.0
"""Trained specialists of one shape, acting and speaking together on raw observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, Said, Weights, confidence, stack_of
from mtquant.envs.hierarchy import MESSAGE_HIGH, MESSAGE_LOW

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
        mean, scale = (
            torch.stack([weights[f"features_extractor.{name}"] for weights in rows]).to(device)
            for name in ("mean", "scale")
        )
        return cls(stack_of(rows, device), Scaling(mean, scale))

    def __len__(self) -> int:
        return len(self.stack)

    def act(self, observations: Float32) -> Float32:
        """Mean actions in [-1, 1], float32 [K, B, A], for raw observations [K, B, inputs]."""
        return self._say(observations).mean.clamp(-1.0, 1.0).float().cpu().numpy()

    def speak(self, views: Sequence[Float32]) -> Float32:
        """Messages float32 [B, K x A, MESSAGE] (`envs/hierarchy.py`) for the specialists' views,
        float32 [B, inputs] each.
        """
        return messages(self._say(np.stack(views))).flatten(1, 2).float().cpu().numpy()

    @torch.no_grad()
    def _say(self, observations: Float32) -> Said:
        raw = torch.from_numpy(np.ascontiguousarray(observations)).to(self.stack.parameters)
        return self.stack.forward(self.scaling.apply(raw))


def messages(said: Said, signals: torch.Tensor | None = None) -> torch.Tensor:
    """What networks let the meta-controller know, [B, K, A, MESSAGE].

    Args:
        said: What they say about observations [K, B].
        signals: [K, B, A], the actions taken; the mean ones when None.
    """
    signal = (said.mean if signals is None else signals).clamp(-1.0, 1.0)
    value = said.value[:, :, None].expand_as(signal)
    nothing = torch.zeros_like(signal)
    parts = [signal, nothing, value, nothing, nothing]
    if said.forecast.shape[2]:
        sure = confidence(said.forecast, said.log_deviation)
        parts = [signal, sure, value, said.forecast, torch.exp(said.log_deviation)]
    stacked = torch.stack(parts, dim=3).transpose(0, 1)
    low, high = (torch.from_numpy(bound).to(stacked) for bound in (MESSAGE_LOW, MESSAGE_HIGH))
    return stacked.clamp(low, high)


def kept(crew: Crew, k: int) -> Weights:
    """What is kept of network k: its scaling too."""
    own = {"mean": crew.scaling.mean[k], "scale": crew.scaling.scale[k]}
    held = {f"features_extractor.{name}": value.cpu().clone() for name, value in own.items()}
    return crew.stack.weights(k) | held


def use_threads(count: int) -> None:
    """How many threads torch computes with in this process; one is fastest for networks as small
    as these, above all where cores are shared.
    """
    torch.set_num_threads(count)
