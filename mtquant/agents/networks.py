# SPDX-License-Identifier: Apache-2.0
"""stable-baselines3's view of a specialist: its actor-critic policy, with our scaler and message
head inside.

What is exported as a zip, and what ``--engine sb3`` trains. `sb3_export` writes any specialist as a
zip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from mtquant.agents.scaling import CLIP
from mtquant.agents.stack import FORECAST_GAIN, shape_of
from mtquant.core.records import write_atomically


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


class MessagePolicy(ActorCriticPolicy):
    """stable-baselines3's policy with a message head on the actor's last hidden layer.

    stable-baselines3's own losses do not reach the head: the stacked engine trains it, or here a
    callback (`training/foresight.py`).

    Args:
        forecasts: Quantities forecast, F; the head has F means and F log deviations.
    """

    def __init__(self, *arguments: Any, forecasts: int = 0, **named: Any) -> None:
        self.forecasts = forecasts
        super().__init__(*arguments, **named)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if self.forecasts:
            self.message_net = nn.Linear(self.mlp_extractor.latent_dim_pi, 2 * self.forecasts)
            nn.init.zeros_(self.message_net.bias)
            nn.init.orthogonal_(self.message_net.weight, FORECAST_GAIN)
            options = {"lr": lr_schedule(1), **self.optimizer_kwargs}
            self.optimizer = self.optimizer_class(self.parameters(), **options)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "forecasts": self.forecasts}

    def forecast(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast means and log deviations, [B, F] each, for raw observations [B, inputs]."""
        features = self.pi_features_extractor(observations)
        outputs = self.message_net(self.mlp_extractor.forward_actor(features))
        return outputs[:, : self.forecasts], outputs[:, self.forecasts :]


def policy_arguments(
    hidden_units: Sequence[int],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    forecasts: int,
) -> dict[str, Any]:
    """`policy_kwargs` of a `MessagePolicy`."""
    return {
        "forecasts": forecasts,
        "net_arch": {"pi": list(hidden_units), "vf": list(hidden_units)},
        "activation_fn": nn.Tanh,
        "features_extractor_class": ObservationScaler,
        # Lists, not arrays: they travel inside the exported zip's JSON.
        "features_extractor_kwargs": {"mean": mean.tolist(), "scale": scale.tolist()},
    }


def sb3_export(weights: Mapping[str, torch.Tensor], env: VecEnv, path: Path) -> None:
    """Writes a specialist as a zip for `stable_baselines3.PPO.load`.

    Args:
        weights: The specialist's, scaling included.
        env: What it is to act in: only its spaces are read.
        path: The zip.
    """
    shape = shape_of(weights)
    mean, scale = (weights[f"features_extractor.{name}"].numpy() for name in ("mean", "scale"))
    arguments = policy_arguments(shape.hidden, mean, scale, shape.forecasts)
    model = PPO(MessagePolicy, env, policy_kwargs=arguments, device="cpu")
    own = model.policy.state_dict()
    copies = {
        name: tensor
        for name, tensor in own.items()
        if name.startswith(("pi_features_extractor.", "vf_features_extractor."))
    }
    model.policy.load_state_dict({**copies, **weights})
    write_atomically(path, model.save)
