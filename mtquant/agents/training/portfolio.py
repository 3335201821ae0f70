# SPDX-License-Identifier: Apache-2.0
"""What a portfolio is trained in: the bars of all instruments on one clock, phases 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.training.world import behind, known_from, without_holes
from mtquant.core.config import Config, EnvironmentConfig
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

GROWTH = {"growth": 1.0}


@dataclass(frozen=True)
class PortfolioWorld:
    """Several instruments' bars, laid out for training and validation; T rows, N instruments.

    Attributes:
        tape, rules: What the desk reads.
        pipeline: The features.
        features: float32 [T, N, F].
        reward: The portfolio's reward.
        rows: Rows per part, behind the warm-up of every instrument.
        stretches: The training rows without the split's holes.
        environment: The environment section of the config.
    """

    tape: Tape
    rules: Rules
    pipeline: TimeframePipeline
    features: NDArray[np.float32]
    reward: Reward
    rows: Mapping[str, slice]
    stretches: tuple[slice, ...]
    environment: EnvironmentConfig

    @classmethod
    def build(
        cls,
        bars: Mapping[str, Bars],
        split: Split,
        config: Config,
        instruments: Mapping[str, Instrument],
        terms: Mapping[str, float] = GROWTH,
    ) -> PortfolioWorld:
        """Computes everything from the bars of all instruments.

        Args:
            bars: Symbol -> bars, in the order of the portfolio.
            split: Train, validation and test.
            config: The configuration.
            instruments: Costs, lots and sessions.
            terms: Reward terms and their weights.

        Raises:
            DataError: A part has no rows behind the features' warm-up.
            RulesError: A quote currency has no path to the account currency.
        """
        series, environment = list(bars.values()), config.environment
        panel = Panel.from_bars(series)
        rules = Rules.from_config(environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        pipeline = TimeframePipeline.from_config(config, instruments, panel.symbols)
        features = pipeline.on_panel(panel, series)
        first = known_from(panel, features, environment)
        parts = (("train", split.train), ("validation", split.validation), ("test", split.test))
        rows = {
            part: behind(panel.rows(own), first, f"{part} rows of the portfolio")
            for part, own in parts
        }
        stretches = without_holes(rows["train"], panel, split)
        scale = reward_scale(tape, stretches, rules.max_gross_exposure)
        reward = Reward.from_config(config.reward, terms, scale, tape.bars_per_year)
        return cls(tape, rules, pipeline, features, reward, rows, stretches, environment)

    def training_env(self, n_accounts: int, seeds: SeedTree) -> MarketEnv:
        """Portfolios that live random training episodes at randomly scaled costs; their actions are
        exposures.
        """
        return self._env("train", n_accounts, seeds, self.environment)

    def evaluation_env(self, seeds: SeedTree, part: str = "validation") -> MarketEnv:
        """One portfolio that lives through the whole of another part at the true costs."""
        rows = self.rows[part]
        changes = {"cost_draw_range": (1.0, 1.0), "episode_length": rows.stop - rows.start}
        return self._env(part, 1, seeds, self.environment.model_copy(update=changes))

    def episode_env(self, n_accounts: int, seeds: SeedTree, part: str = "validation") -> MarketEnv:
        """Portfolios that live random episodes of another part at the true costs."""
        rows = self.rows[part]
        # At most half of the part, so that random starts differ.
        length = min(self.environment.episode_length, (rows.stop - rows.start) // 2)
        changes = {"cost_draw_range": (1.0, 1.0), "episode_length": length}
        return self._env(part, n_accounts, seeds, self.environment.model_copy(update=changes))

    def _env(
        self, part: str, n_accounts: int, seeds: SeedTree, environment: EnvironmentConfig
    ) -> MarketEnv:
        return MarketEnv(
            self.tape,
            self.rules,
            self.features,
            self.pipeline.panel_names,
            self.reward,
            self.stretches if part == "train" else self.rows[part],
            n_accounts,
            environment,
            seeds,
            unit=np.ones(len(self.tape.symbols)),
        )
