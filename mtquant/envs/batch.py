# SPDX-License-Identifier: Apache-2.0
"""What an interface to a library needs to know of a batch of environments.

`MarketEnv` is one, and so is `MetaControllerBatch`; `gym.py`, `gym_vector.py` and `sb3.py` wrap
either. Autoreset is SAME_STEP in all of them.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays
from mtquant.envs.market_env import EpisodeEnd

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Batch(Protocol):
    """E environments stepped together.

    Attributes:
        observations: float32 [E, size], rewritten by every step.
        rewards: float32 [E].
        done: uint8 [E], not 0 where an episode ended in the last step.
        unit: float64 [A], what each entry of an action of 1 asks for.
    """

    observations: Float32
    rewards: Float32
    done: NDArray[np.uint8]
    unit: Float

    def __len__(self) -> int: ...

    def seed(self, seeds: SeedTree) -> None:
        """Starts every stream of episodes anew; takes effect at the next reset."""

    def reset(self) -> Float32:
        """Starts a new episode everywhere; the observations."""
        ...

    def charge(self, share: float) -> None:
        """Lets all pay this share of the trading costs they have drawn, until told otherwise."""

    def state(self) -> Arrays:
        """Copies of everything that a run which goes on has to know."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Goes on from an earlier `state`."""

    def step(self, actions: Float32) -> NDArray[np.int64]:
        """Steps all by one bar, actions float32 [E, A]; the environments whose episode ended."""
        ...

    def episode_end(self, e: int) -> EpisodeEnd:
        """What environment e's episode that ended in the last step left behind."""
        ...


def step_batch(batch: Batch, actions: Float32) -> list[tuple[int, EpisodeEnd]]:
    """Steps a batch by one bar.

    Returns:
        For each episode that ended: which environment's, and what it left behind.
    """
    return [(e, batch.episode_end(e)) for e in batch.step(actions).tolist()]


def observation_box(batch: Batch) -> spaces.Box[np.float32]:
    """Observations of one environment: raw, so without bounds."""
    return spaces.Box(-np.inf, np.inf, batch.observations.shape[1:], dtype=np.float32)


def action_box(batch: Batch) -> spaces.Box[np.float32]:
    """Actions of one environment."""
    return spaces.Box(-1.0, 1.0, batch.unit.shape, dtype=np.float32)


def end_info(end: EpisodeEnd) -> dict[str, Any]:
    """What `info` says where an episode ended: sums over it, the reward by term among them, and its
    last drawdown.
    """
    return {"totals": end.totals, "rewards": end.rewards, "drawdown": end.drawdown}
