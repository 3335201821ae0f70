# SPDX-License-Identifier: Apache-2.0
"""Networks: stable-baselines3's actor-critic with the observation scaler as buffers.

Observations stay raw everywhere; the model holds the scaling it was trained with, so an exported
model cannot meet observations that were scaled in another way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ObservationLayout

CLIP = 10.0

OPEN_RETURN_SCALE = 0.02  # gain or loss of an open position that counts as 1


class ObservationScaler(BaseFeaturesExtractor):
    """(observation - mean) / scale, clipped to +-10; without parameters to learn.

    Args:
        observation_space: Box of shape (size,).
        mean: float32 [size].
        scale: float32 [size], positive.
    """

    def __init__(
        self, observation_space: spaces.Box, mean: Sequence[float], scale: Sequence[float]
    ) -> None:
        super().__init__(observation_space, features_dim=int(observation_space.shape[0]))
        self.register_buffer("mean", torch.tensor(np.asarray(mean, dtype=np.float32)))
        self.register_buffer("scale", torch.tensor(np.asarray(scale, dtype=np.float32)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Scaled observations, [batch, size]."""
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        return torch.clamp((observations - mean) / scale, -CLIP, CLIP)


def observation_scaling(
    layout: ObservationLayout, features: Scaler, unit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and scale of every entry of a one-instrument observation.

    The account block has an infinite scale, so a specialist sees 0 there: trained alone, it would
    learn from an account that holds nothing but its own position, and then trade in one that holds
    eight. Its own position, its cost and its market are in its block.

    Args:
        layout: Where everything is.
        features: Scaler of the features, fitted on training rows.
        unit: Exposure that an action of 1 asks for.

    Returns:
        float32 [layout.size] each.
    """
    known = np.tile(features.mean, layout.window_bars)
    mean: list[NDArray[Any]] = [known, np.zeros(layout.size - len(known))]
    # exposure, open return, held bars, cost, tradable
    own = np.array([unit, OPEN_RETURN_SCALE, 1.0, 1.0, 1.0])
    scale: list[NDArray[Any]] = [
        np.tile(features.scale, layout.window_bars),
        own,
        np.full(layout.size - len(known) - len(own), np.inf),
    ]
    return np.concatenate(mean).astype(np.float32), np.concatenate(scale).astype(np.float32)


class Actor(nn.Module):
    """The acting half of a trained policy: scaler, hidden layers, mean action.

    Built from the policy's own weights, so it computes what stable-baselines3's deterministic
    ``predict`` computes.

    Args:
        weights: State of an `ActorCriticPolicy` with `ObservationScaler`, as saved by
            `specialist.save`.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.register_buffer("mean", weights["features_extractor.mean"])
        self.register_buffer("scale", weights["features_extractor.scale"])
        names = [
            name.removesuffix(".weight")
            for name in weights
            if name.startswith("mlp_extractor.policy_net.") and name.endswith(".weight")
        ]
        layers: list[nn.Module] = []
        for name in sorted(names, key=lambda text: int(text.rsplit(".", 1)[1])):
            layers += [_linear(weights, name), nn.Tanh()]
        self.layers = nn.Sequential(*layers, _linear(weights, "action_net"))
        self.requires_grad_(False)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Mean actions in [-1, 1], [batch, actions]."""
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        scaled = torch.clamp((observations - mean) / scale, -CLIP, CLIP)
        actions: torch.Tensor = torch.clamp(self.layers(scaled), -1.0, 1.0)
        return actions

    def act(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean action float64 [actions] for one raw observation float32 [size]."""
        with torch.inference_mode():
            action: NDArray[np.float32] = self(torch.from_numpy(values[None]))[0].numpy()
        return action.astype(np.float64)


def _linear(weights: Mapping[str, torch.Tensor], name: str) -> nn.Linear:
    matrix = weights[f"{name}.weight"]
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    layer.load_state_dict({"weight": matrix, "bias": weights[f"{name}.bias"]})
    return layer


def policy_arguments(
    hidden_units: Sequence[int], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> dict[str, Any]:
    """`policy_kwargs` for stable-baselines3's ``"MlpPolicy"``."""
    return {
        "net_arch": {"pi": list(hidden_units), "vf": list(hidden_units)},
        "activation_fn": nn.Tanh,
        "features_extractor_class": ObservationScaler,
        # Lists, not arrays: they travel inside the exported zip's JSON.
        "features_extractor_kwargs": {"mean": mean.tolist(), "scale": scale.tolist()},
    }
