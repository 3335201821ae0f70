# SPDX-License-Identifier: Apache-2.0
"""A batch as a stable-baselines3 `VecEnv`: any of its algorithms trains on it.

Infos are empty dictionaries except where an episode ended: stable-baselines3 copies them, and 256
of them filled at every step cost more than the step itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtquant.core.seeding import SeedTree
from mtquant.envs.batch import Batch, action_box, end_info, observation_box, step_batch


class MarketVecEnv(VecEnv):
    """A batch of E as E environments.

    Observations are copies: stable-baselines3 keeps the last ones while the next step is taken.
    Autoreset is SAME_STEP, as `VecEnv` asks for.

    Args:
        env: The batch.

    Attributes:
        before_step: Who hears of the actions [E, A] before every step.
    """

    def __init__(self, env: Batch) -> None:
        self.env = env
        self.before_step: Callable[[NDArray[np.float32]], None] | None = None
        self.render_mode = None  # stable-baselines3 warns where the attribute is missing
        self._actions = np.zeros((len(env), len(env.unit)), dtype=np.float32)
        super().__init__(
            num_envs=len(env),
            observation_space=observation_box(env),
            action_space=action_box(env),
        )

    def reset(self) -> NDArray[np.float32]:
        """First observations of new episodes, float32 [E, size]."""
        if self._seeds[0] is not None:
            self.env.seed(SeedTree(int(self._seeds[0])))
        self._reset_seeds()
        self._reset_options()
        return self.env.reset().copy()

    def step_async(self, actions: NDArray[np.floating[Any]]) -> None:
        """Keeps the actions [E, A] for `step_wait`."""
        self._actions[:] = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps all accounts; observations of ended episodes are the next episodes' first."""
        if self.before_step is not None:
            self.before_step(self._actions)
        ended = step_batch(self.env, self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for e, end in ended:
            infos[e] = {
                "terminal_observation": end.terminal_observation,
                "TimeLimit.truncated": end.truncated,
                "episode": {"r": end.totals["reward"], "l": int(end.totals["length"]), "t": 0.0},
                **end_info(end),
            }
        done = self.env.done.astype(np.bool_)
        return self.env.observations.copy(), self.env.rewards.copy(), done, infos

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The attribute of the batch, once per account asked for."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(
        self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None
    ) -> None:
        """Sets an attribute of the batch."""
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of the batch, once per account asked for."""
        method = getattr(self, method_name)
        return [method(*method_args, **method_kwargs) for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type, indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """Accounts are not wrapped one by one."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """There are no pictures; reports draw them."""
        return [None] * self.num_envs
