# SPDX-License-Identifier: Apache-2.0
"""Luck is measured by what the desk will hold, whatever was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.seeding import SeedTree
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import MarketEnv
from tests.support.markets import momentum_bars, tiny_config, tiny_world

ACCOUNTS = 19  # more than one block
FREE = (
    "environment.cost_model=flat",
    "environment.transaction_cost=0",
    "environment.stop_loss_pct=0",
    "environment.max_position_size=1",
    "environment.max_gross_exposure=1",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
    "reward.phase_1={growth: 1.0, differential_sharpe: 0}",
)


def accounts(*overrides: str) -> MarketEnv:
    """On bars that open at the close before them, at no cost."""
    bars = momentum_bars(600, seed=1, persistence=0.3, noise=0.01)
    env = tiny_world(tiny_config("unread", *FREE, *overrides), bars).training_env(
        ACCOUNTS, SeedTree(3)
    )
    env.reset()
    return env


@pytest.mark.parametrize(
    "limits",
    [
        (),
        ("environment.max_portfolio_var=0.004",),
        ("environment.max_position_size=0.3",),
        ("environment.latency_bars=1",),
        ("environment.rebalance_band=0.3",),
    ],
)
def test_what_is_planned_is_held_after_the_next_open(limits: tuple[str, ...]) -> None:
    """Worked back from the exposure at the close: e = p (1 + r) / (1 + p r)."""
    env, generator = accounts(*limits), np.random.default_rng(5)
    luck, column = Luck(env), env.layout.names().index("EURUSD.exposure")
    cut = 0.0
    for _ in range(30):
        targets = generator.uniform(-1.0, 1.0, (ACCOUNTS, 1)).astype(np.float32)
        before = env.simulator.blocks.copy()
        planned = luck.planned(targets).copy()
        assert env.simulator.blocks.tobytes() == before.tobytes()
        rise = np.expm1(env.next_returns(np.ones(1)))
        ended = env.step(targets / env.unit.astype(np.float32))
        lived = np.setdiff1d(np.arange(ACCOUNTS), ended)
        held = env.observations[:, column : column + 1]
        worked_back = held / (1.0 + rise - held * rise)
        np.testing.assert_allclose(planned[lived], worked_back[lived], atol=2e-3)
        cut = max(cut, float(np.abs(targets - planned).max()))
    assert (cut > 0.1) == bool(limits)


def test_rewards_less_their_luck_are_what_was_foreseen() -> None:
    """Nothing is foreseen: without costs nothing but second-order terms is left, though the limits
    halve what is asked for.
    """
    env, generator = accounts("environment.max_portfolio_var=0.004"), np.random.default_rng(6)
    luck, whole, left = Luck(env), [], []
    for _ in range(40):
        targets = generator.uniform(-1.0, 1.0, (ACCOUNTS, 1)).astype(np.float32)
        came = env.next_returns()
        unpaid = luck.gains(targets, came, np.zeros_like(came)).sum(1) * env.worth_of_gain()
        env.step(targets)
        whole.append(env.rewards.copy())
        left.append(env.rewards - unpaid)
    assert np.var(left) < 0.01 * np.var(whole)


def test_a_gain_is_worth_what_each_account_has_lived_through() -> None:
    """A Sharpe ratio's state differs by account, in every block and lane."""
    env = accounts("reward.phase_1={differential_sharpe: 1.5, growth: 0.5}")
    for e in range(ACCOUNTS):
        env.book(e)[:2] = 0.01 * e, 0.5 + 0.1 * e
    states = np.array([env.book(e)[:3] for e in range(ACCOUNTS)]).T
    first, second = states[0], states[1]
    expected = 0.5 + 1.5 * second / (second - first**2) ** 1.5
    np.testing.assert_allclose(env.worth_of_gain(), expected)
    assert len(set(env.worth_of_gain().tolist())) == ACCOUNTS
