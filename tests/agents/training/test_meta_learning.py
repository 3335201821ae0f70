# SPDX-License-Identifier: Apache-2.0
"""Phase 2 where the best allocation is known: eight instruments, two regimes, free trading.

The specialists are written by hand and always right about the sign, so that only the
meta-controller can lose. Its score is exact: the expected growth of the exposures that it asks for
in each regime, over that of the best ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mtquant.agents.crew import Crew
from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.hierarchical import scaling_over
from mtquant.agents.training.loop import PPOLoop
from mtquant.core.config import load_config
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings, TrainingConfig
from mtquant.data.panel import Panel
from mtquant.data.planted import EIGHT, PlantedMarket, allocation_market
from mtquant.envs import allocation
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.envs.meta import MetaControllerBatch
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

pytestmark = pytest.mark.slow

COUNT = EIGHT.means.shape[1]
BEST = EIGHT.best_weights()
SIGNS = np.where(BEST < -1e-3, -1.0, 1.0)  # [2, N]
STEPS = 163_840
LIMITS = (
    "environment.cost_model=flat",
    "environment.transaction_cost=0",
    "environment.cost_draw_range=[1.0, 1.0]",
    "environment.stop_loss_pct=0",
    "environment.warmup_steps=0",
    f"environment.max_position_size={EIGHT.max_position_size}",
    f"environment.max_gross_exposure={EIGHT.max_gross_exposure}",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
)


def right_signs(views: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Specialists that hold the best side of the regime, which is the first entry of a view."""
    said = np.zeros((len(views[0]), COUNT, MESSAGE), dtype=np.float32)
    for n, view in enumerate(views):
        said[:, n, 0] = np.where(view[:, 0] > 0.0, SIGNS[1, n], SIGNS[0, n])
    return said


def portfolios(market: PlantedMarket, accounts: int, seeds: SeedTree) -> MetaControllerBatch:
    environment = load_config(None, LIMITS).environment
    panel = Panel.from_bars(market.bars)
    rules = Rules.from_config(environment, market.instruments, panel.symbols)
    tape, rows = Tape.from_panel(panel, rules), slice(0, len(panel))
    reward = Reward({"growth": 1.0}, reward_scale(tape, rows, 1.0))
    features, names = market.features, market.feature_names
    unit = np.ones(COUNT)
    env = MarketEnv(tape, rules, features, names, reward, rows, accounts, environment, seeds, unit)
    return MetaControllerBatch(env, right_signs)


def learnt(settings: PPOSettings, seed: int) -> float:
    """Share of the best growth after STEPS bars."""
    seeds = SeedTree(seed)
    market = allocation_market(EIGHT, 50_000, seeds.child("bars"))
    batch = portfolios(market, settings.n_envs, seeds.child("portfolios"))
    pair = scaling_over(batch, seeds.child("scaling").generator())
    shape = PolicyShape(batch.observations.shape[1], settings.hidden_units, len(batch.unit))
    stack = ActorCriticStack.fresh(shape, [seeds.child("torch").integer()])
    loop = PPOLoop([batch], stack, Scaling.of([pair], stack.parameters), settings, STEPS, [seeds])
    while not loop.done:
        loop.iterate()
    return share_of_the_best(Crew(stack, loop.scaling), batch)


def share_of_the_best(meta: Crew, batch: MetaControllerBatch) -> float:
    """Expected growth of what it asks for, over that of the best, the regimes being as likely."""
    actions = meta.act(batch.observations[None])[0]
    scales = batch.hierarchy.scales(actions, batch.messages)
    asked = allocation.exposures(scales, batch.messages[:, :, 0])
    cap = EIGHT.max_position_size
    exposures = np.clip(asked.astype(np.float64), -cap, cap)
    regime = (batch.env.observations[:, 0] > 0.0).astype(int)
    earned = [growth(exposures[regime == k], k).mean() for k in range(2)]
    return float(sum(earned) / sum(growth(BEST[k], k) for k in range(2)))


def growth(weights: NDArray[np.float64], regime: int) -> NDArray[np.float64]:
    """As `data.planted.best_weights` maximises it; weights float64 [..., N]."""
    mean = EIGHT.means[regime]
    second = EIGHT.covariance(regime) + np.outer(mean, mean)
    risk = np.einsum("...i,ij,...j->...", weights, second, weights)
    found: NDArray[np.float64] = weights @ mean - 0.5 * risk
    return found


def test_the_best_weights_are_the_best_here_too() -> None:
    """The yardstick: what the optimiser found beats its neighbours and scores 1."""
    for regime in range(2):
        best = growth(BEST[regime], regime)
        assert best > growth(0.9 * BEST[regime], regime)
        assert best > 1.5 * growth(SIGNS[regime] / COUNT, regime)


def test_the_meta_controller_finds_the_allocation() -> None:
    """Measured, seeds 1, 2, 3: 0.89, 0.88, 0.88; before what caps cut was shared out again 0.87,
    0.73, 0.84, and in rollouts as long as phase 1's 0.29, 0.27, 0.30, less than everything shared
    out evenly.
    """
    settings = TrainingConfig(preset="recommended").effective(2)
    assert learnt(settings, seed=1) > 0.75
