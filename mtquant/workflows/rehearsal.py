# SPDX-License-Identifier: Apache-2.0
"""One hierarchy, many accounts: what would have come of other allocations or other messages.

    stage = Rehearsal(trained, market)
    passage = stage.run(decide, n_accounts)

Every account lives through the same rows under the same rules, limits and costs, and is told the
true signals of its specialists; `decide` says how large they are traded. The accounts share one
compiled batch, so that thirty of them cost little more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.hierarchy import HierarchyPolicy, Memory
from mtquant.core import outcome as oc
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.envs import allocation
from mtquant.envs.hierarchy import MESSAGE, Hierarchy
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.shadow import Shadows
from mtquant.market.account import A_EQUITY, ACCOUNT
from mtquant.workflows.backtesting import Market, trained_reward
from mtquant.workflows.models import Trained

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """What is known at one decision of E accounts.

    Attributes:
        t: Number of the decision, from 0.
        row: Row of the panel.
        seen: Their observations, float32 [E, size].
        messages: float32 [E, N, MESSAGE].
    """

    t: int
    row: int
    seen: Float32
    messages: Float32


Decide = Callable[[Moment], Float]
"""The exposure that a signal of 1 asks for, float64 [E, N]."""


@dataclass(frozen=True, eq=False)
class Passage:
    """What E accounts lived through in T bars.

    Attributes:
        growth: float64 [T, E], log growth of each bar. Behind a bankruptcy it is 0, and so is all
            that follows here; contributions are NaN there.
        scales: float64 [T, E, N], what was decided.
        seen, messages: float32 [T, size] and [T, N, MESSAGE], of account 0.
        before: float64 [T, N], scales of account 0's decision before.
        own: bool [T, N], whether the bar decided at was the instrument's own.
        contributions: float64 [T, K], what each specialist added to the log growth of account 0
            (its difference reward); NaN where nobody asked.
    """

    growth: Float
    scales: Float
    seen: Float32
    messages: Float32
    before: Float
    own: NDArray[np.bool_]
    contributions: Float

    def __len__(self) -> int:
        return len(self.growth)


class Rehearsal:
    """A hierarchy in front of a market's rows.

    Args:
        trained: A hierarchy.
        market: Where it trades.

    Attributes:
        policy: The hierarchy.
        market: Where it trades.
        stamps: int64 [T], close of every bar lived through.
    """

    def __init__(self, trained: Trained, market: Market) -> None:
        if not isinstance(trained.policy, HierarchyPolicy):
            raise TypeError(f"no hierarchy: {type(trained.policy).__name__}")
        self.policy, self.market = trained.policy, market
        self._reward = trained_reward(trained, market.config, market.tape)
        self._features = market.features_for(self.policy)
        self.stamps = market.panel.stamps[market.rows.start + 1 : market.rows.stop]

    @property
    def hierarchy(self) -> Hierarchy:
        """Who trades what."""
        return self.policy.hierarchy

    def run(self, decide: Decide, n_accounts: int, contributions: bool = False) -> Passage:
        """Lives through all rows once.

        Args:
            decide: Says the scales of all accounts.
            n_accounts: E.
            contributions: Measure what each specialist adds; account 0 pays for the time of all.
        """
        env, hierarchy = self._env(n_accounts), self.hierarchy
        passage = self._empty(n_accounts, env.layout.size)
        shadows = Shadows(env, hierarchy.owner) if contributions else None
        n = len(hierarchy.owner)
        memory = Memory(np.zeros((n_accounts, n, MESSAGE), np.float32), np.zeros((n_accounts, n)))
        seen, alive = env.reset(), np.ones(n_accounts, dtype=bool)
        for t in range(len(passage)):
            messages = self.policy.listen(seen, memory)
            scales = decide(Moment(t, self.market.rows.start + t, seen, messages))
            passage.scales[t] = scales
            targets = allocation.exposures(scales, messages[:, :, 0])
            if alive[0]:
                passage.seen[t], passage.messages[t] = seen[0], messages[0]
                passage.before[t] = memory.scales[0]
                passage.own[t] = hierarchy.tradable(seen[:1])[0]
            if alive[0] and shadows is not None:
                passage.contributions[t] = shadows.differences(targets)[0] * env.reward.scale
            passage.growth[t] = _advance(env, targets, alive)
            seen, memory = env.observations, Memory(messages, scales)
        return passage

    def _env(self, n_accounts: int) -> MarketEnv:
        """Accounts that live through all rows together, at the true costs."""
        market, rows = self.market, self.market.rows
        whole = {
            "cost_draw_range": (1.0, 1.0),
            "episode_length": rows.stop - rows.start,
            "window_bars": self.policy.window_bars,
        }
        return MarketEnv(
            market.tape,
            market.rules,
            self._features,
            self.policy.feature_names,
            self._reward,
            rows,
            n_accounts,
            market.config.environment.model_copy(update=whole),
            SeedTree(0),  # nothing is drawn: one length, one cost
            unit=np.ones(len(market.tape.symbols)),
        )

    def _empty(self, n_accounts: int, size: int) -> Passage:
        bars, n = len(self.stamps), len(self.hierarchy.owner)
        return Passage(
            growth=np.zeros((bars, n_accounts)),
            scales=np.zeros((bars, n_accounts, n)),
            seen=np.zeros((bars, size), dtype=np.float32),
            messages=np.zeros((bars, n, MESSAGE), dtype=np.float32),
            before=np.zeros((bars, n)),
            own=np.zeros((bars, n), dtype=bool),
            contributions=np.full((bars, len(self.hierarchy)), np.nan),
        )


def _advance(env: MarketEnv, targets: Float32, alive: NDArray[np.bool_]) -> Float:
    """Log growth of the next bar, float64 [E]; `alive` turns off where an episode ends."""
    before = _equity(env)
    ended = env.step(targets)
    growth = np.log(np.maximum(_equity(env), np.finfo(float).tiny) / before)
    for e in ended.tolist():  # the account shows its next episode already
        growth[e] = env.episode_end(e).outcome[oc.GROWTH] if alive[e] else 0.0
    found: Float = np.where(alive, growth, 0.0)
    alive[ended] = False
    return found


def _equity(env: MarketEnv) -> Float:
    """Of every account, float64 [E]."""
    first = A_EQUITY - ACCOUNT
    equity: Float = env.simulator.blocks[:, first : first + LANES].reshape(-1)[: len(env)].copy()
    return equity
