# SPDX-License-Identifier: Apache-2.0
"""A scenario of the curriculum laid over the training bars: prices, then accounts to trade them.

    bars, environment = lay_out(scenario, real, split, config.environment)
    env = scenario_env(world, scenario, real, split, n_accounts, seeds)

Only training rows are read: volatility, correlation and volume of the made-up bars are measured
there and real blocks are drawn from there, so validation and test stay unseen. The bars come back
with the training rows' own close stamps and start at their first price. Sessions, weekends,
financing and calendar features therefore stay what they are, and a lot costs what it costs. The
rows in which features warm up are part of it, as in the real training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.training.curriculum import Scenario
from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.calibrated import calibrated
from mtquant.data.panel import Panel
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv
from mtquant.features.signals import unpredicted
from mtquant.features.timeframes import TimeframePipeline, warmup_rows
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

Float = NDArray[np.float64]


class World(Protocol):
    """What `SpecialistWorld` and `PortfolioWorld` know that holds in a scenario too."""

    @property
    def rules(self) -> Rules: ...
    @property
    def pipeline(self) -> TimeframePipeline: ...
    @property
    def reward(self) -> Reward: ...
    @property
    def environment(self) -> EnvironmentConfig: ...

    def training_env(self, n_accounts: int, seeds: SeedTree) -> MarketEnv:
        """Accounts on the real training rows."""
        ...


def lay_out(
    scenario: Scenario, real: Mapping[str, Bars], split: Split, environment: EnvironmentConfig
) -> tuple[dict[str, Bars], EnvironmentConfig]:
    """A scenario's bars and environment.

    Args:
        scenario: What is asked for.
        real: Symbol -> bars, in the order of the portfolio. Rows outside ``split.train`` are not
            read.
        split: Train, validation and test.
        environment: The configured one.

    Returns:
        Bars of the same instruments, one row per close stamp that all share in the training rows
        but the first; and the environment with the scenario's costs and episode length.

    Raises:
        DataError: The instruments share too few training stamps, a price left what float64 can
            hold, or the training bars have holes.
    """
    if split.holes:
        rule, remedy = "must be one stretch for the curriculum", "Use another scheme of folds."
        raise DataError("training bars", rule, f"{len(split.holes)} holes", remedy)
    train = {
        symbol: bars.between(split.train.start_ns, split.train.end_ns)
        for symbol, bars in real.items()
    }
    laid_out = calibrated(
        "mixed", train, scenario.dials, scenario.seeds, mean_block_bars=scenario.mean_block_bars
    )
    return laid_out, scenario.environment(environment)


@dataclass(frozen=True)
class Stage:
    """A scenario's market, laid out for the desk; T rows, N instruments.

    Attributes:
        tape: What the desk reads.
        features: float32 [T, N, F].
        rows: Rows behind the features' warm-up.
        environment: With the scenario's costs and episode length.
    """

    tape: Tape
    features: NDArray[np.float32]
    rows: slice
    environment: EnvironmentConfig


def stage(world: World, scenario: Scenario, real: Mapping[str, Bars], split: Split) -> Stage:
    """The market of a scenario; arguments and errors as for `scenario_env`."""
    bars, environment = lay_out(scenario, real, split, world.environment)
    series = list(bars.values())
    panel = Panel.from_bars(series)
    features = unpredicted(world.pipeline.on_panel(panel, series), world.pipeline.panel_names)
    first = max(warmup_rows(features), environment.warmup_steps) + environment.window_bars - 1
    if len(panel) - first < 3:
        raise DataError(
            "training rows",
            f"must go on behind the first {first} bars, in which features warm up",
            len(panel),
            "Use more bars, or features of a shorter memory.",
        )
    tape = Tape.from_panel(panel, world.rules)
    return Stage(tape, features, slice(first, len(panel)), environment)


def scenario_env(
    world: World,
    scenario: Scenario,
    real: Mapping[str, Bars],
    split: Split,
    n_accounts: int,
    seeds: SeedTree,
    unit: Float | None = None,
) -> MarketEnv:
    """Accounts that live training episodes in a scenario.

    Rules, features' definitions and the reward with its scale are those of the real bars.

    Args:
        world: The world of the same instruments.
        scenario: What is asked for.
        real: Symbol -> bars that the world was built from.
        split: Train, validation and test.
        n_accounts: E.
        seeds: Node of the seed tree, for episodes and costs.
        unit: As for `MarketEnv`; ones for a portfolio whose actions are exposures.

    Raises:
        DataError: See `lay_out`; or no rows are left behind the features' warm-up.
    """
    own = stage(world, scenario, real, split)
    return MarketEnv(
        own.tape,
        world.rules,
        own.features,
        world.pipeline.panel_names,
        world.reward,
        own.rows,
        n_accounts,
        own.environment,
        seeds,
        unit,
    )
