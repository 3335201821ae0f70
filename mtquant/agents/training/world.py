# SPDX-License-Identifier: Apache-2.0
"""What one specialist is trained in: bars, tape, features, split, rules and reward.

It lives through the union of its instruments' bars; of one instrument, that is its own bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.scaling import observation_scaling
from mtquant.agents.specialist import bars_digest
from mtquant.core.config import Config, EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.features.pipeline import Scaler
from mtquant.features.timeframes import TimeframePipeline, warmup_rows
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

LEAST_ROWS = 3


@dataclass(frozen=True)
class SpecialistWorld:
    """A specialist's bars, laid out for training and validation; T rows, N instruments.

    Attributes:
        name: What the specialist is called.
        bars: Symbol -> bars, in the order of its observation.
        split: Train, validation and test.
        tape, rules: What the desk reads.
        pipeline: The features.
        features: float32 [T, N, F].
        scalers: Of every instrument's features, fitted on the training rows.
        reward: The phase 1 reward.
        rows: Rows per part, behind the warm-up of every instrument.
        stretches: The training rows without the split's holes.
        environment: The environment section of the config.
    """

    name: str
    bars: Mapping[str, Bars]
    split: Split
    tape: Tape
    rules: Rules
    pipeline: TimeframePipeline
    features: NDArray[np.float32]
    scalers: tuple[Scaler, ...]
    reward: Reward
    rows: Mapping[str, slice]
    stretches: tuple[slice, ...]
    environment: EnvironmentConfig

    @classmethod
    def build(
        cls,
        name: str,
        bars: Mapping[str, Bars],
        split: Split,
        config: Config,
        instruments: Mapping[str, Instrument],
    ) -> SpecialistWorld:
        """Computes everything from the bars of the specialist's instruments.

        Args:
            name: What it is called.
            bars: Symbol -> bars, in the order of its observation.
            split: Train, validation and test.
            config: The configuration.
            instruments: Costs, lots and sessions.

        Raises:
            DataError: A part has no rows behind the features' warm-up.
            RulesError: A quote currency has no path to the account currency. A currency pair that
                converts another instrument has to be traded with it: by the same specialist, or
                in phases 2 and 3.
        """
        series = list(bars.values())
        panel = Panel.from_bars(series)
        rules = Rules.from_config(config.environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        pipeline = TimeframePipeline.from_config(config, instruments, panel.symbols)
        features = pipeline.on_panel(panel, series)
        warm = known_from(panel, features, config.environment)
        parts = (("train", split.train), ("validation", split.validation), ("test", split.test))
        rows = {
            part: behind(panel.rows(own), warm, f"{part} rows of {name}") for part, own in parts
        }
        unit = config.environment.max_position_size
        stretches = without_holes(rows["train"], panel, split)
        scale = reward_scale(tape, stretches, unit)
        reward = Reward.from_config(config.reward, config.reward.phase_1, scale, tape.bars_per_year)
        scalers = [
            Scaler.fit(np.concatenate([features[own, n] for own in stretches]))
            for n in range(len(series))
        ]
        return cls(
            name,
            dict(bars),
            split,
            tape,
            rules,
            pipeline,
            features,
            tuple(scalers),
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

    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and scale of every entry of the observation, float32 [size] each."""
        layout = self.evaluation_env(1, SeedTree(0)).layout
        return observation_scaling(layout, self.scalers, self.environment.max_position_size)

    def manifest(self) -> dict[str, Any]:
        """What the specialist has to remember of its world (see `SpecialistManifest`)."""
        layout = self.evaluation_env(1, SeedTree(0)).layout
        alone = f"{layout.symbols[0]}." if len(self.bars) == 1 else ""
        until = self.split.known_until_ns
        return {
            "name": self.name,
            "symbols": layout.symbols,
            "feature_names": layout.feature_names,
            "window_bars": layout.window_bars,
            "observation_names": tuple(name.removeprefix(alone) for name in layout.names()),
            "unit": self.environment.max_position_size,
            "reward_scale": self.reward.scale,
            "rules_hash": self.rules.hash(),
            "features_hash": self.pipeline.hash(),
            "bars_sha256": {own: bars_digest(bars, until) for own, bars in self.bars.items()},
            "known_until_ns": until,
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


def known_from(panel: Panel, features: NDArray[np.float32], environment: EnvironmentConfig) -> int:
    """First row in which a decision may be taken: every instrument has had its warm-up of bars,
    all features are known, and a window is full.
    """
    # Markets keep different hours: every instrument counts its own bars.
    known = (panel.own_row >= environment.warmup_steps).all(axis=1)
    first = int(known.argmax()) if known.any() else len(panel)
    return max(first, warmup_rows(features)) + environment.window_bars - 1


def behind(rows: slice, first: int, what: str) -> slice:
    """Rows of a part from `first` on.

    Raises:
        DataError: Less than `LEAST_ROWS` of them.
    """
    rows = slice(max(rows.start, first), rows.stop)
    if rows.stop - rows.start < LEAST_ROWS:
        raise DataError(
            what,
            f"must go on behind the first {first} bars, in which features warm up",
            (rows.start, rows.stop),
            "Use more bars, features of a shorter memory, or other split fractions.",
        )
    return rows
