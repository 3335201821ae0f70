# SPDX-License-Identifier: Apache-2.0
"""Joint training as PettingZoo environments; `joint.py` says what agents do and are paid.

Agents are ``specialist_0``, ``specialist_1``, ... in the order of the domains, and ``meta_0``. In
`JointTrainingEnv` the specialists speak one after the other, then the meta-controller acts on what
they said, then the market moves. In `JointParallelEnv` all act at once, so that what is said at one
bar reaches the meta-controller (and the exposures) at the next. That is the only difference.

Terminated: the account is bankrupt. Truncated: the episode's time or the data ended. Both end the
episode for all agents. The meta-controller's last info holds the sums over the episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv

from mtquant.envs.allocation import EXTRA_ENTRIES
from mtquant.envs.batch import end_info
from mtquant.envs.joint import JointMarket, Moved
from mtquant.envs.market_env import MarketEnv
from mtquant.market.ledger import Ledger

Float32 = NDArray[np.float32]
META = "meta_0"


class _Joint:
    """What both environments share: agents, spaces, seeds and pay."""

    possible_agents: list[str]

    def __init__(self, env: MarketEnv, domains: Mapping[str, Sequence[str]] | None = None) -> None:
        self.market = JointMarket(env, domains)
        hierarchy = self.market.hierarchy
        self.render_mode = None  # reports draw the pictures
        self.possible_agents = [f"specialist_{k}" for k in range(len(hierarchy))] + [META]
        self.agents: list[str] = []
        sizes = [*hierarchy.view_sizes, len(hierarchy.meta_names())]
        boxes = [hierarchy.message_box(k) for k in range(len(hierarchy))]
        boxes.append(spaces.Box(-1.0, 1.0, (len(hierarchy) + EXTRA_ENTRIES,), dtype=np.float32))
        self.observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (size,), dtype=np.float32)
            for agent, size in zip(self.possible_agents, sizes, strict=True)
        }
        self.action_spaces = dict(zip(self.possible_agents, boxes, strict=True))
        state = (hierarchy.layout.size + self.market.messages.size,)
        self.state_space = spaces.Box(-np.inf, np.inf, state, dtype=np.float32)

    def observation_space(self, agent: str) -> spaces.Box:
        """Always the same object for one agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Box:
        """Always the same object for one agent."""
        return self.action_spaces[agent]

    def observe(self, agent: str) -> Float32:
        """What an agent sees now."""
        if agent == META:
            return self.market.meta_observation()
        return self.market.view(self.possible_agents.index(agent))

    def state(self) -> Float32:
        """A global view for centralised critics: portfolio observation and messages, flat."""
        return self.market.state()

    def ledger(self) -> Ledger:
        """The ledger of the episode so far."""
        return self.market.ledger()

    def _pay(self, moved: Moved) -> dict[str, float]:
        return dict(zip(self.possible_agents, [*moved.differences.tolist(), moved.reward]))

    def _flags(self, happened: bool) -> dict[str, bool]:
        return dict.fromkeys(self.possible_agents, happened)

    def _infos(self, moved: Moved | None = None) -> dict[str, dict[str, Any]]:
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.possible_agents}
        if moved is not None and moved.end is not None:
            infos[META] = end_info(moved.end)
        return infos


class JointTrainingEnv(_Joint, AECEnv[str, Float32, Float32]):
    """Specialists speak, then the meta-controller acts, then the market moves.

    Args:
        env: A batch of one portfolio whose actions are exposures (`unit` all 1).
        domains: Specialist -> symbols; one specialist per instrument when None.

    Attributes:
        market: The `JointMarket`.

    Raises:
        ConfigError: More than one portfolio, actions that are not exposures, or domains that do
            not share out the instruments.
    """

    metadata = {  # noqa: RUF012 - declared so by PettingZoo
        "name": "mtquant_joint_v0",
        "render_modes": [],
        "is_parallelizable": False,
    }

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts an episode; with a seed the stream of episodes starts anew."""
        self.market.reset(seed)
        self.agents = self.possible_agents[:]
        self.agent_selection = self.agents[0]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = self._flags(False), self._flags(False)
        self.infos = self._infos()
        self._skip_agent_selection = None

    def step(self, action: Float32 | None) -> None:
        """The agent whose turn it is says or does something."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        turn = self.possible_agents.index(agent)
        if agent == META:
            self._move(np.asarray(action, dtype=np.float32))
        else:
            self.market.tell(turn, np.asarray(action, dtype=np.float32))
        self.agent_selection = self.possible_agents[(turn + 1) % len(self.possible_agents)]
        self._accumulate_rewards()

    def _move(self, action: Float32) -> None:
        moved = self.market.move(self.market.decide(action))
        self.rewards = self._pay(moved)
        if moved.end is not None:
            self.truncations = self._flags(moved.end.truncated)
            self.terminations = self._flags(not moved.end.truncated)
            self.infos = self._infos(moved)


class JointParallelEnv(_Joint, ParallelEnv[str, Float32, Float32]):
    """All agents act at once; what specialists say reaches the meta-controller one bar later.

    Arguments, attributes and errors as in `JointTrainingEnv`.
    """

    metadata = {"name": "mtquant_joint_parallel_v0", "render_modes": []}  # noqa: RUF012 - as above

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Float32], dict[str, dict[str, Any]]]:
        """Starts an episode; with a seed the stream of episodes starts anew."""
        self.market.reset(seed)
        self.agents = self.possible_agents[:]
        return self._observations(), self._infos()

    def step(
        self, actions: dict[str, Float32]
    ) -> tuple[
        dict[str, Float32],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Lives through one bar."""
        # What was said one bar ago is what the meta-controller saw and acts on.
        targets = self.market.decide(np.asarray(actions[META], dtype=np.float32))
        for k, agent in enumerate(self.possible_agents[:-1]):
            self.market.tell(k, np.asarray(actions[agent], dtype=np.float32))
        moved = self.market.move(targets)
        ended, truncated = moved.end is not None, moved.end is not None and moved.end.truncated
        if ended:
            self.agents = []
        return (
            self._observations(),
            self._pay(moved),
            self._flags(ended and not truncated),
            self._flags(truncated),
            self._infos(moved),
        )

    def _observations(self) -> dict[str, Float32]:
        return {agent: self.observe(agent) for agent in self.possible_agents}
