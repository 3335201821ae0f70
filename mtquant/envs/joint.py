# SPDX-License-Identifier: Apache-2.0
"""Phase 3: one portfolio in which the specialists and the meta-controller all learn.

`JointMarket` is what happens in one bar, cut into its parts; `pettingzoo.py` puts them in order:

    tell(k, message)      a specialist speaks about the bar just closed
    decide(action)        the meta-controller turns what was said into target exposures
    move(targets)         the market moves by one bar, and everybody is paid

The meta-controller is paid the portfolio's reward. Specialist k is paid the **difference reward**,

    (growth of the portfolio - growth without it) / reward scale,

where the growth without it is that of a copy of the account which is asked for exposure 0 in its
instruments and for the same as the real one in all others, through the same limits, for this one
bar (Wolpert & Tumer 2002, "Optimal payoff functions for members of collectives", eq. 4, with doing
nothing as the default action). Leaving a position costs the copy its spread, as it would in truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.envs import allocation
from mtquant.envs.batch import step_batch
from mtquant.envs.hierarchy import MESSAGE, Hierarchy, heard, require_decision
from mtquant.envs.market_env import EpisodeEnd, MarketEnv
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Moved:
    """What one bar brought.

    Attributes:
        reward: The portfolio's.
        differences: Difference reward of each specialist, float64 [K].
        end: Set when the episode ended.
    """

    reward: float
    differences: Float
    end: EpisodeEnd | None


class Shadow:
    """The growth that other targets would have brought the same account in the next bar.

    It lives on a desk of its own that takes over the real account's state each time, so the real
    one is never touched.
    """

    def __init__(self, real: Desk) -> None:
        self._desk = Desk(real.tape, real.rules, "shadow", start_row=real.row)

    def growth(self, real: Desk, targets: Float) -> float:
        """Growth of the next bar under `targets`, float64 [N], from where `real` stands."""
        self._desk.row = real.row
        self._desk.account[:] = real.account
        self._desk.plan(targets)
        return float(self._desk.advance()[oc.GROWTH])


class JointMarket:
    """One portfolio traded by K specialists and a meta-controller.

    Args:
        env: A batch of one portfolio whose actions are exposures.
        domains: Specialist -> symbols; one specialist per instrument when None.

    Attributes:
        hierarchy: Who trades what.
        messages: float32 [1, N, MESSAGE], the latest of each instrument.
        seen: float32 [1, layout.size], the portfolio's observation at the bar just closed; at the
            end of an episode its last one.

    Raises:
        ConfigError: More than one portfolio, or as `Hierarchy`.
    """

    def __init__(self, env: MarketEnv, domains: Mapping[str, Sequence[str]] | None = None) -> None:
        if len(env) != 1:
            remedy = "Use one environment per portfolio."
            raise ConfigError("n_accounts", "must be 1 in joint training", len(env), remedy)
        self.env = env
        self.hierarchy = Hierarchy.of(env, domains)
        self.messages = np.zeros((1, len(env.unit), MESSAGE), dtype=np.float32)
        self.seen = env.observations.copy()
        self._scales = np.zeros((1, len(env.unit)))

    def reset(self, seed: int | None = None) -> None:
        """Starts a new episode; with a seed the stream of episodes starts anew."""
        env, simulator = self.env, self.env.simulator
        if seed is not None:
            env.seed(SeedTree(seed))
        cost_scale = float(simulator.scales[0, simulator.cursor[0]])  # of the episode to come
        self.seen = env.reset().copy()
        # The same account once more with the ledger on; copies of it answer what might have been.
        self._desk = Desk(
            simulator.tape,
            simulator.rules,
            "hierarchy",
            start_row=int(simulator.row[0]),
            cost_scale=cost_scale,
        )
        self._shadows = [Shadow(self._desk) for _ in range(len(self.hierarchy))]
        self.messages[:] = 0.0
        self._scales[:] = 0.0

    def view(self, k: int) -> Float32:
        """What specialist k sees, float32 [view_sizes[k]]."""
        return self.hierarchy.views(self.seen, self._scales)[k][0]

    def meta_observation(self) -> Float32:
        """What the meta-controller sees with the messages that have reached it."""
        return self.hierarchy.observe(self.seen, self.messages)[0]

    def state(self) -> Float32:
        """Everything there is to see: the portfolio's observation and all messages, flat."""
        return np.concatenate([self.seen[0], self.messages.ravel()])

    def tell(self, k: int, message: Float32) -> None:
        """Specialist k speaks about the bar just closed; nothing changes about closed markets.

        Args:
            k: The specialist.
            message: float32 [n * MESSAGE] for the n instruments of its domain.

        Raises:
            PolicyError: Another size, or not finite.
        """
        own = self.hierarchy.instruments[k]
        said = heard(message, (len(own) * MESSAGE,)).reshape(-1, MESSAGE)
        awake = self.hierarchy.tradable(self.seen)[0, own]
        self.messages[0, own[awake]] = said[awake]

    def decide(self, action: Float32) -> Float32:
        """Target exposures, float32 [1, N], by the messages that have reached the meta-controller.

        Args:
            action: float32 [K + 2] in [-1, 1].

        Raises:
            PolicyError: Another shape, or not finite.
        """
        require_decision(action, (len(self.hierarchy) + allocation.EXTRA_ENTRIES,))
        self._scales[:] = self.hierarchy.scales(action[None], self.messages)
        return allocation.exposures(self._scales, self.messages[:, :, 0])

    def move(self, targets: Float32) -> Moved:
        """Lives through one bar under target exposures float32 [1, N]."""
        asked = targets[0].astype(np.float64)
        without = np.array([self._growth_without(k, asked) for k in range(len(self.hierarchy))])
        self._desk.plan(asked)
        growth = float(self._desk.advance()[oc.GROWTH])
        ended = step_batch(self.env, targets)
        end = ended[0][1] if ended else None
        self.seen = (
            self.env.observations if end is None else end.terminal_observation[None]
        ).copy()
        differences = (growth - without) / self.env.reward.scale
        return Moved(float(self.env.rewards[0]), differences, end)

    def ledger(self) -> Ledger:
        """Everything since the last reset, as an immutable ledger."""
        return self._desk.ledger()

    def _growth_without(self, k: int, targets: Float) -> float:
        """Growth of the next bar with specialist k asking for nothing."""
        others = targets.copy()
        others[self.hierarchy.instruments[k]] = 0.0
        return self._shadows[k].growth(self._desk, others)
