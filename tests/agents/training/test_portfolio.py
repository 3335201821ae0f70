# SPDX-License-Identifier: Apache-2.0
"""The portfolio's world: rows, rules and accounts whose actions are exposures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtquant.agents.training.portfolio import PortfolioWorld
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.sources import split_bars
from mtquant.envs.pettingzoo import JointTrainingEnv
from tests.support.builders import START_NS, make_bars
from tests.support.markets import DAY, INSTRUMENTS, SYMBOLS, tiny_config


def portfolio(bars: dict[str, Bars], *overrides: str) -> PortfolioWorld:
    config = tiny_config(Path("unread"), *overrides)
    return PortfolioWorld.build(bars, split_bars(bars, config.data), config, INSTRUMENTS)


def walks(late: int = 0) -> dict[str, Bars]:
    """600 daily bars each; the second begins `late` days after the first."""
    starts = (START_NS, START_NS + late * DAY * 10**9)
    return {
        symbol: make_bars(symbol, 600, n, DAY, volatility=0.01, start_ns=start)
        for n, (symbol, start) in enumerate(zip(SYMBOLS, starts, strict=True))
    }


def test_rows_begin_when_every_instrument_is_known() -> None:
    world = portfolio(walks(late=100))
    known = np.isfinite(world.features).all(axis=(1, 2))
    first = world.rows["train"].start
    assert known[first:].all() and not known[first - 1]
    # The second instrument begins at row 100, its longest feature remembers 60 bars.
    assert first == 160
    assert list(world.rows) == ["train", "validation", "test"]


def test_its_actions_are_exposures() -> None:
    world = portfolio(walks(), "environment.max_gross_exposure=0.15")
    env = world.training_env(2, SeedTree(0))
    env.reset()
    # 0.3 and 0.1 are asked for; the name cap of 0.1 and the gross cap of 0.15 leave 0.075 each
    # (the nearest book: both are cut by the same amount from 0.1).
    for _ in range(2):
        env.step(np.tile(np.array([0.3, 0.1], dtype=np.float32), (2, 1)))
    names = env.layout.names()
    held = env.observations[0, [names.index(f"{symbol}.exposure") for symbol in SYMBOLS]]
    assert held.sum() == pytest.approx(0.15, rel=0.05)
    assert held[0] > held[1]


def test_an_evaluation_is_one_episode_over_the_whole_part() -> None:
    world = portfolio(walks())
    rows = world.rows["validation"]
    env = JointTrainingEnv(world.evaluation_env(SeedTree(0)))
    env.reset()
    for agent in env.agent_iter():
        *_, truncated, _ = env.last()
        env.step(None if truncated else np.zeros(env.action_space(agent).shape, dtype=np.float32))
    assert env.ledger().rows.tolist() == list(range(rows.start + 1, rows.stop))


def test_the_same_seed_gives_the_same_episodes() -> None:
    world = portfolio(walks())
    first, second = (world.training_env(3, SeedTree(5)).reset() for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_bars_that_end_before_features_are_known_are_refused() -> None:
    with pytest.raises(DataError, match=r"train rows of the portfolio must go on behind the first"):
        portfolio(walks(), "environment.warmup_steps=500")
