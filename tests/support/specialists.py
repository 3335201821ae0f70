# SPDX-License-Identifier: Apache-2.0
"""Specialists without training: given answers, given weights, and what they were shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import Config
from mtquant.core.protocols import Observation
from mtquant.data.instruments import load_instruments
from mtquant.data.sources import load_bars, split_bars


def constant_weights(size: int, action: float) -> dict[str, torch.Tensor]:
    """Weights of a policy for observations of `size` entries that always answers `action`."""
    return {
        "features_extractor.mean": torch.zeros(size),
        "features_extractor.scale": torch.ones(size),
        "mlp_extractor.policy_net.0.weight": torch.zeros(2, size),
        "mlp_extractor.policy_net.0.bias": torch.zeros(2),
        "action_net.weight": torch.zeros(1, 2),
        "action_net.bias": torch.full((1,), action),
        "mlp_extractor.value_net.0.weight": torch.zeros(2, size),
        "mlp_extractor.value_net.0.bias": torch.zeros(2),
        "value_net.weight": torch.zeros(1, 2),
        "value_net.bias": torch.zeros(1),
        "log_std": torch.zeros(1),
    }


def manifest_of(world: SpecialistWorld, **changes: Any) -> dict[str, Any]:
    """A manifest for a specialist of `world`, as `save_specialist` takes it."""
    return {**world.manifest(), "config_hash": "0" * 64, "seed": 0, "timesteps": 0, **changes}


class StubSpecialist:
    """What an ensemble needs to know of a specialist; it always says `answer`
    and counts how often it was asked.

    Attributes:
        seen: The observations it was shown.
    """

    def __init__(
        self,
        features: tuple[str, ...],
        answer: float = 1.0,
        unit: float = 1.0,
        window: int = 1,
        symbols: tuple[str, ...] = ("EURUSD",),
    ) -> None:
        self.feature_names, self.window_bars, self.answer = features, window, answer
        self.manifest = SimpleNamespace(
            unit=unit, reward_scale=0.01, weights_sha256="0" * 64, symbols=symbols
        )
        self.seen: list[NDArray[np.float32]] = []

    def initial_state(self) -> int:
        return 0

    def decide(self, values: NDArray[np.float32], state: int) -> tuple[NDArray[np.float64], int]:
        self.seen.append(values)
        return np.full(len(self.manifest.symbols), self.answer), state + 1


class Replay:
    """A policy that asks for fixed targets, one row per bar, and keeps what it was shown.

    Args:
        targets: float64 [T, N].
        features: Features it observes.
    """

    name = "replay"

    def __init__(
        self,
        targets: NDArray[np.float64],
        features: tuple[str, ...] = ("log_return_1",),
        window: int = 1,
    ) -> None:
        self.targets, self.feature_names, self.window_bars = targets, features, window
        self.seen: list[Observation] = []

    def initial_state(self) -> int:
        return 0

    def act(self, observation: Observation, state: int) -> tuple[NDArray[np.float64], int]:
        self.seen.append(observation)
        return self.targets[state], state + 1


def world_of(config: Config, symbol: str) -> SpecialistWorld:
    """One configured instrument's world, with its bars read and split as a trainer does it."""
    instruments = load_instruments(None)
    bars = load_bars(config.data, instruments)
    split, own = split_bars(bars, config.data), {symbol: bars[symbol]}
    return SpecialistWorld.build(symbol, own, split, config, instruments)
