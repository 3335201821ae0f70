# SPDX-License-Identifier: Apache-2.0
"""What one specialist is trained in: bars, tape, features, split, rules and reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.specialist import bars_digest
from mtquant.core.config import Config, EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.splits import Part, Split
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.features.pipeline import Scaler
from mtquant.features.timeframes import TimeframePipeline, warmup_rows
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

LEAST_ROWS = 3


@dataclass(frozen=True)
class SpecialistWorld:
    """One instrument's bars, laid out for training and validation.

    Attributes:
        bars: The bars.
        split: Train, validation and test.
        tape, rules: What the desk reads.
        pipeline: The features.
        features: float32 [T, 1, F].
        scaler: Fitted on the training rows.
        reward: The phase 1 reward.
        rows: Rows per part, behind the warm-up.
        stretches: The training rows without the split's holes.
        environment: The environment section of the config.
    """

    bars: Bars
    split: Split
    tape: Tape
    rules: Rules
    pipeline: TimeframePipeline
    features: NDArray[np.float32]
    scaler: Scaler
    reward: Reward
    rows: Mapping[str, slice]
    stretches: tuple[slice, ...]
    environment: EnvironmentConfig

    @classmethod
    def build(
        cls, bars: Bars, split: Split, config: Config, instruments: Mapping[str, Instrument]
    ) -> SpecialistWorld:
        """Computes everything from one instrument's bars.

        Raises:
            DataError: A part has no rows behind the features' warm-up.
            RulesError: Its quote currency has no path to the account currency. A currency pair
                that converts another instrument has to be traded with it, in phases 2 and 3.
        """
        panel = Panel.from_bars([bars])
        rules = Rules.from_config(config.environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        pipeline = TimeframePipeline.from_config(config, instruments, panel.symbols)
        features = pipeline.on_panel(panel, [bars])
        warm = max(warmup_rows(features), config.environment.warmup_steps)
        warm += config.environment.window_bars - 1
        rows = {
            name: _behind(panel, part, warm, bars.symbol, name)
            for name, part in (
                ("train", split.train),
                ("validation", split.validation),
                ("test", split.test),
            )
        }
        unit = config.environment.max_position_size
        stretches = without_holes(rows["train"], panel, split)
        scale = reward_scale(tape, stretches, unit)
        reward = Reward.from_config(config.reward, config.reward.phase_1, scale, tape.bars_per_year)
        scaler = Scaler.fit(np.concatenate([features[own, 0] for own in stretches]))
        return cls(
            bars,
            split,
            tape,
            rules,
            pipeline,
            features,
            scaler,
            reward,
            rows,
            stretches,
            config.environment,
        )

    def training_env(self, n_accounts: int, seeds: SeedTree) -> MarketEnv:
        """Accounts that live random training episodes at randomly scaled costs."""
        return self._env("train", n_accounts, seeds, self.environment)

    def evaluation_env(
        self, n_accounts: int, seeds: SeedTree, part: str = "validation", whole: bool = False
    ) -> MarketEnv:
        """Accounts on another part at the true costs; `whole`: one episode over all of it."""
        rows = self.rows[part]
        length = rows.stop - rows.start
        if not whole:  # at most half of the part, so that random starts differ
            length = min(self.environment.episode_length, length // 2)
        changes = {"cost_draw_range": (1.0, 1.0), "episode_length": length}
        return self._env(part, n_accounts, seeds, self.environment.model_copy(update=changes))

    def manifest(self) -> dict[str, Any]:
        """What the specialist has to remember of its world (see `SpecialistManifest`)."""
        layout = self.evaluation_env(1, SeedTree(0)).layout
        prefix = f"{self.bars.symbol}."
        return {
            "symbol": self.bars.symbol,
            "feature_names": layout.feature_names,
            "window_bars": layout.window_bars,
            "observation_names": tuple(name.removeprefix(prefix) for name in layout.names()),
            "unit": self.environment.max_position_size,
            "reward_scale": self.reward.scale,
            "rules_hash": self.rules.hash(),
            "features_hash": self.pipeline.hash(),
            "bars_sha256": bars_digest(self.bars, self.split.known_until_ns),
            "known_until_ns": self.split.known_until_ns,
        }

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
        )


def without_holes(rows: slice, panel: Panel, split: Split) -> tuple[slice, ...]:
    """Training rows without the split's holes, as stretches of 3 rows or more."""
    own = [panel.rows(part) for part in split.stretches]
    found = [slice(max(part.start, rows.start), min(part.stop, rows.stop)) for part in own]
    return tuple(part for part in found if part.stop - part.start >= LEAST_ROWS)


def _behind(panel: Panel, part: Part, warm: int, symbol: str, name: str) -> slice:
    """Rows of a part whose features are known."""
    rows = panel.rows(part)
    rows = slice(max(rows.start, warm), rows.stop)
    if rows.stop - rows.start < LEAST_ROWS:
        raise DataError(
            f"{name} rows of {symbol}",
            f"must go on behind the first {warm} bars, in which features warm up",
            (rows.start, rows.stop),
            "Use more bars, features of a shorter memory, or other split fractions.",
        )
    return rows
