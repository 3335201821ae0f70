# SPDX-License-Identifier: Apache-2.0
"""Small portfolios for the hierarchy's environments, and specialists that follow a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import EnvironmentConfig
from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.market_env import MarketEnv
from mtquant.market.rules import Rules
from mtquant.market.tape import T_TRADABLE
from mtquant.rewards.compose import Reward
from tests.support.tapes import World, random_world

Float32 = NDArray[np.float32]
FEATURES = ("noise", "trend")
SECTORS = ("forex", "equity", "forex", "commodities")


@dataclass(frozen=True)
class OneBranch(SeedTree):
    """A seed tree whose first account gets the stream of account `account`."""

    account: int = 0

    def child(self, *names: str | int) -> SeedTree:
        assert names == (0,)
        return SeedTree(self.root, self.path).child(self.account)


def calm_world(seed: int, instruments: int = 3, rows: int = 40, **changes: object) -> World:
    """A random world of several sectors whose prices are always positive and known."""
    world = random_world(seed, rows, instruments, ugly=False, **changes)
    rules = world.rules
    named = zip(rules.instruments, SECTORS, strict=False)
    sectors = tuple(replace(item, sector=sector) for item, sector in named)
    return replace(world, rules=replace(rules, instruments=sectors))


def always_open(world: World) -> World:
    """The same world without closed markets."""
    prices = world.tape.prices.copy()
    prices[:, :, T_TRADABLE] = 1.0
    return replace(world, tape=replace(world.tape, prices=prices))


def portfolio_env(
    world: World,
    n_accounts: int = 1,
    seeds: SeedTree | None = None,
    rules: Rules | None = None,
    scale: float = 0.02,
    **environment: object,
) -> MarketEnv:
    """Accounts whose actions are exposures, rewarded by growth over `scale`."""
    tape = world.tape
    generator = np.random.Generator(np.random.PCG64(0))
    shape = (len(tape.stamps), len(tape.symbols), len(FEATURES))
    features = generator.normal(size=shape).astype(np.float32)
    settings = {"episode_length": 12, "cost_draw_range": (0.5, 2.0), **environment}
    return MarketEnv(
        tape,
        world.rules if rules is None else rules,
        features,
        FEATURES,
        Reward({"growth": 1.0}, scale),
        slice(2, len(tape.stamps)),
        n_accounts,
        EnvironmentConfig(**settings),  # type: ignore[arg-type]
        SeedTree(0) if seeds is None else seeds,
        unit=np.ones(len(tape.symbols)),
    )


class Followers:
    """One specialist per instrument that says what its first feature is, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[list[Float32]] = []

    def __call__(self, views: Sequence[Float32]) -> Float32:
        self.seen.append([view.copy() for view in views])
        messages = np.zeros((len(views[0]), len(views), MESSAGE), dtype=np.float32)
        for n, view in enumerate(views):
            messages[:, n] = view[:, :1] * np.array([1.0, 0.5, 2.0, -1.0, 0.3], dtype=np.float32)
        return messages


def decisions(seed: int, steps: int, accounts: int, specialists: int) -> Float32:
    """Random actions of the meta-controller, float32 [steps, accounts, K + 2]."""
    generator = np.random.Generator(np.random.PCG64(seed))
    shape = (steps, accounts, specialists + 2)
    return generator.uniform(-1.2, 1.2, shape).astype(np.float32)
