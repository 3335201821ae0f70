# SPDX-License-Identifier: Apache-2.0
"""A batch of one as a Gymnasium `Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.batch import Batch, action_box, end_info, observation_box, step_batch


class MarketGymEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Observation and action as in the batch; one episode at a time.

    Terminated: the account is bankrupt. Truncated: the episode's time or the data ended.
    ``reset(seed=s)`` starts the stream of episodes anew; without a seed the stream goes on, so that
    the episodes are those of the batch.

    Args:
        env: A batch of one.

    Raises:
        ConfigError: The batch holds more than one.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - declared so by Gymnasium

    def __init__(self, env: Batch) -> None:
        if len(env) != 1:
            remedy = "Use MarketVecEnv or MarketVectorEnv for batches."
            raise ConfigError("n_accounts", "must be 1 for a Gymnasium Env", len(env), remedy)
        self.env = env
        self.observation_space = observation_box(env)
        self.action_space = action_box(env)
        self._begun = False  # whether the batch stands at the start of an episode nobody has seen

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode at a random bar."""
        super().reset(seed=seed)
        if seed is not None:
            self.env.seed(SeedTree(seed))
        if seed is not None or not self._begun:
            self.env.reset()
        self._begun = False
        return self.env.observations[0].copy(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Lives through one bar."""
        ended = step_batch(self.env, np.asarray(action, dtype=np.float32).reshape(1, -1))
        reward = float(self.env.rewards[0])
        if not ended:
            return self.env.observations[0].copy(), reward, False, False, {}
        self._begun = True
        end = ended[0][1]
        return end.terminal_observation, reward, not end.truncated, end.truncated, end_info(end)
