# SPDX-License-Identifier: Apache-2.0
"""One account of the simulator as a Gymnasium `Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.market_env import MarketEnv


class MarketGymEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Observation and action as in `MarketEnv`; one episode at a time.

    Terminated: the account is bankrupt. Truncated: the episode's time or the data ended.
    ``reset(seed=s)`` starts the stream of episodes anew; without a seed the stream goes on.

    Args:
        env: A batch of one account.

    Raises:
        ConfigError: The batch holds more than one.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - declared so by Gymnasium

    def __init__(self, env: MarketEnv) -> None:
        if len(env) != 1:
            remedy = "Use MarketVecEnv for batches."
            raise ConfigError("n_accounts", "must be 1 for a Gymnasium Env", len(env), remedy)
        self.env = env
        size = env.layout.size
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (len(env.unit),), dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode at a random bar."""
        super().reset(seed=seed)
        if seed is not None:
            self.env.seed(SeedTree(seed))
        return self.env.reset()[0].copy(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Lives through one bar."""
        ended = self.env.step(np.asarray(action, dtype=np.float32).reshape(1, -1))
        reward = float(self.env.rewards[0])
        if not len(ended):
            return self.env.observations[0].copy(), reward, False, False, {}
        end = self.env.episode_end(0)
        info = {"totals": end.totals, "drawdown": end.drawdown}
        return end.terminal_observation, reward, not end.truncated, end.truncated, info
