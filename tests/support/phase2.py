# SPDX-License-Identifier: Apache-2.0
"""Phase 2 on a planted market: portfolios under hand-written specialists, and a meta-controller
that learns to share out among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.crew import Crew
from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.hierarchical import scaling_over
from mtquant.agents.training.loop import PPOLoop
from mtquant.core.config import load_config
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.data.panel import Panel
from mtquant.data.planted import PlantedMarket
from mtquant.envs.hierarchy import MESSAGE, SIGNAL
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.envs.meta import MetaControllerBatch
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

Float32 = NDArray[np.float32]
Signals = Callable[[int, Float32], NDArray[np.floating]]
"""Number of a specialist and what it sees, float32 [E, inputs] -> its signals [E]."""

WORLD = (
    "environment.cost_model=flat",
    "environment.cost_draw_range=[1.0, 1.0]",
    "environment.stop_loss_pct=0",
    "environment.warmup_steps=0",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
)


def portfolios(
    market: PlantedMarket,
    signals: Signals,
    cost: float,
    caps: tuple[float, float],
    accounts: int,
    seeds: SeedTree,
) -> MetaControllerBatch:
    """Accounts in a market with a flat cost, a name cap and a gross cap, under specialists that say
    nothing but their signals.
    """
    own = ("transaction_cost", "max_position_size", "max_gross_exposure")
    asked = (f"environment.{key}={value!r}" for key, value in zip(own, (cost, *caps), strict=True))
    environment = load_config(None, (*WORLD, *asked)).environment
    panel = Panel.from_bars(market.bars)
    rules = Rules.from_config(environment, market.instruments, panel.symbols)
    tape, rows = Tape.from_panel(panel, rules), slice(0, len(panel))
    reward = Reward({"growth": 1.0}, reward_scale(tape, rows, 1.0))
    features, names = market.features, market.feature_names
    unit = np.ones(len(market.bars))
    env = MarketEnv(tape, rules, features, names, reward, rows, accounts, environment, seeds, unit)

    def speak(views: Sequence[Float32]) -> Float32:
        said = np.zeros((len(views[0]), len(views), MESSAGE), dtype=np.float32)
        for n, view in enumerate(views):
            said[:, n, SIGNAL] = signals(n, view)
        return said

    return MetaControllerBatch(env, speak)


def trained(batch: MetaControllerBatch, settings: PPOSettings, steps: int, seeds: SeedTree) -> Crew:
    """A meta-controller after `steps` bars in the portfolios."""
    pair = scaling_over(batch, seeds.child("scaling").generator())
    shape = PolicyShape(batch.observations.shape[1], settings.hidden_units, len(batch.unit))
    stack = ActorCriticStack.fresh(shape, [seeds.child("torch").integer()])
    loop = PPOLoop([batch], stack, Scaling.of([pair], stack.parameters), settings, steps, [seeds])
    while not loop.done:
        loop.iterate()
    return Crew(stack, loop.scaling)
