# SPDX-License-Identifier: Apache-2.0
"""A batch as a Gymnasium `VectorEnv`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs.batch import Batch, action_box, end_info, observation_box, step_batch

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Flags = NDArray[np.bool_]


class MarketVectorEnv(VectorEnv[Float32, Float32, NDArray[Any]]):
    """E environments in the shape that Gymnasium's vector wrappers and CleanRL-like loops expect.

    Autoreset is SAME_STEP: where an episode ended, the observation is the first one of the next
    and ``infos["final_obs"]`` and ``infos["final_info"]`` hold what Gymnasium's `SyncVectorEnv`
    holds there. Episodes are those of a `SyncVectorEnv` of `MarketGymEnv`, byte for byte.
    ``reset(seed=s)`` starts all streams of episodes anew; one seed decides all of them.

    Args:
        env: The batch.
    """

    metadata = {  # noqa: RUF012 - declared so by Gymnasium
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, env: Batch) -> None:
        self.env = env
        self.num_envs = len(env)
        self.single_observation_space = observation_box(env)
        self.single_action_space = action_box(env)
        self.observation_space = batch_space(self.single_observation_space, len(env))
        self.action_space = batch_space(self.single_action_space, len(env))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32, dict[str, Any]]:
        """Starts a new episode in every environment.

        Raises:
            ConfigError: ``options`` asks for a part of them.
        """
        if options and "reset_mask" in options:
            raise ConfigError(
                "options.reset_mask",
                "must be left out, since ended episodes are reset in the same step",
                options["reset_mask"],
                "Step on, or reset all.",
            )
        super().reset(seed=seed)
        if seed is not None:
            self.env.seed(SeedTree(seed))
        return self.env.reset().copy(), {}

    def step(self, actions: Float32) -> tuple[Float32, Float, Flags, Flags, dict[str, Any]]:
        """Lives through one bar everywhere; actions [E, A]."""
        ended = step_batch(self.env, np.asarray(actions, dtype=np.float32))
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {}
        for e, end in ended:
            truncated[e] = end.truncated
            final = {"final_obs": end.terminal_observation, "final_info": end_info(end)}
            infos = self._add_info(infos, final, e)
        terminated = (self.env.done > 0) & ~truncated
        rewards = self.env.rewards.astype(np.float64)
        return self.env.observations.copy(), rewards, terminated, truncated, infos
