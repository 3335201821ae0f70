# SPDX-License-Identifier: Apache-2.0
"""Phase 2: the meta-controller's environment, with specialists that are frozen.

batch = MetaControllerBatch(world.training_env(64, SeedTree(7)), speak)
MarketVecEnv(batch)                                    # stable-baselines3, `envs/sb3.py`
MarketVectorEnv(batch)                                 # Gymnasium, `envs/gym_vector.py`
MetaControllerTrainingEnv(world.training_env(1, SeedTree(7)), speak)  # Gymnasium, one account
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, fill, part
from mtquant.envs import allocation
from mtquant.envs.batch import step_batch
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.hierarchy import MESSAGE, Hierarchy, Speak, heard, require_decision
from mtquant.envs.market_env import EpisodeEnd, MarketEnv
from mtquant.market.simulator import Simulator

Float32 = NDArray[np.float32]


class MetaControllerBatch:
    """A `Batch` in which a step is one decision of the meta-controller.

    Args:
        env: E portfolios whose actions are exposures.
        speak: The frozen specialists.
        domains: Specialist -> symbols; one specialist per instrument when None.

    Attributes:
        hierarchy: Who trades what, and how observations are laid out.
        observations: float32 [E, len(hierarchy.meta_names())], rewritten by every step.
        messages: float32 [E, N, MESSAGE], what the meta-controller has before it.
        scales: float64 [E, N], the exposures that a signal of 1 asked for in the last decision; 0
            before the first.
        rewards, done: Those of `env`.
        unit: float64 [K + 2], what an action of 1 moves (`allocation.py`).

    Raises:
        ConfigError: As `Hierarchy`.
    """

    def __init__(
        self, env: MarketEnv, speak: Speak, domains: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.env, self.speak = env, speak
        self.hierarchy = Hierarchy.of(env, domains)
        n = len(env.unit)
        self.unit = allocation.action_unit(len(self.hierarchy))
        self.messages = np.zeros((len(env), n, MESSAGE), dtype=np.float32)
        self.scales = np.zeros((len(env), n))
        size = len(self.hierarchy.meta_names())
        self.observations = np.zeros((len(env), size), dtype=np.float32)
        self.rewards, self.done = env.rewards, env.done
        self._ends: dict[int, EpisodeEnd] = {}

    def __len__(self) -> int:
        return len(self.env)

    def seed(self, seeds: SeedTree) -> None:
        """Starts every portfolio's stream of episodes anew; takes effect at the next reset."""
        self.env.seed(seeds)

    def charge(self, share: float) -> None:
        """As `MarketEnv.charge`."""
        self.env.charge(share)

    def reset(self) -> Float32:
        """Starts a new episode everywhere; the observations."""
        self.messages[:] = 0.0
        self.scales[:] = 0.0
        self._listen(self.env.reset())
        return self.observations

    def step(self, actions: Float32) -> NDArray[np.int64]:
        """One decision and one bar everywhere.

        Args:
            actions: float32 [E, K + 2] in [-1, 1].

        Returns:
            The portfolios whose episode ended, int64; `episode_end` tells what it left behind.

        Raises:
            PolicyError: Actions or messages of another shape, or not finite.
        """
        require_decision(actions, (len(self), len(self.unit)))
        self.scales[:] = self.hierarchy.scales(actions, self.messages)
        ended = step_batch(self.env, allocation.exposures(self.scales, self.messages[:, :, 0]))
        self._ends = {e: self._last_words(e, end) for e, end in ended}
        accounts = np.array([e for e, _ in ended], dtype=np.int64)
        self.messages[accounts] = 0.0
        self.scales[accounts] = 0.0
        self._listen(self.env.observations)
        return accounts

    @property
    def simulator(self) -> Simulator:
        """Of the portfolios."""
        return self.env.simulator

    def outcome(self, e: int) -> NDArray[np.float64]:
        """Portfolio e's ledger row of the last bar (`MarketEnv.outcome`)."""
        return self.env.outcome(e)

    def state(self) -> Arrays:
        """Copies of everything that a run which goes on has to know."""
        own = {name: array.copy() for name, array in self._arrays().items()}
        return {**own, **below("env", self.env.state())}

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of such a batch.

        Raises:
            CheckpointError: It is of another shape.
        """
        fill(self._arrays(), state)
        self.env.load_state(part("env", state))

    def _arrays(self) -> Arrays:
        return {
            "messages": self.messages,
            "scales": self.scales,
            "observations": self.observations,
        }

    def episode_end(self, e: int) -> EpisodeEnd:
        """What the episode of portfolio e that ended in the last step left behind."""
        return self._ends[e]

    def _listen(self, seen: Float32) -> None:
        """Lets the specialists speak about what is to be seen now."""
        self.messages[:] = self._heard(seen, self.scales, self.messages)
        self.observations[:] = self.hierarchy.observe(seen, self.messages)

    def _last_words(self, e: int, end: EpisodeEnd) -> EpisodeEnd:
        """The end as the meta-controller sees it."""
        seen, one = end.terminal_observation[None], slice(e, e + 1)
        messages = self._heard(seen, self.scales[one], self.messages[one])
        return replace(end, terminal_observation=self.hierarchy.observe(seen, messages)[0])

    def _heard(self, seen: Float32, scales: NDArray[np.float64], standing: Float32) -> Float32:
        """Messages about `seen`; where a market is closed the standing ones."""
        said = heard(self.speak(self.hierarchy.views(seen, scales)), standing.shape)
        own = self.hierarchy.tradable(seen)
        messages: Float32 = np.where(own[:, :, None], said, standing)
        return messages


class MetaControllerTrainingEnv(MarketGymEnv):
    """The meta-controller's environment as a Gymnasium `Env`.

    Args:
        env: One portfolio whose actions are exposures.
        speak: The frozen specialists.
        domains: Specialist -> symbols; one specialist per instrument when None.

    Attributes:
        env: The `MetaControllerBatch`.

    Raises:
        ConfigError: More than one portfolio, or as `Hierarchy`.
    """

    env: MetaControllerBatch

    def __init__(
        self, env: MarketEnv, speak: Speak, domains: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(MetaControllerBatch(env, speak, domains))
