# SPDX-License-Identifier: Apache-2.0
"""What is verified: a policy with its features, environment, bars and, if it has one, its folder.

subject = Subject.load(Path("models/checkpoints/phase1"), config, instruments)
subject = Subject.of(my_policy, config, instruments)       # a policy of your own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.training.world import without_holes
from mtquant.core.config import Config
from mtquant.core.errors import DataError
from mtquant.core.protocols import Policy
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars, stamp_text
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars, split_bars
from mtquant.data.splits import Split
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.features.signals import configured_registry
from mtquant.features.timeframes import MARK, warmup_rows
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward
from mtquant.workflows.backtesting import Market, trained_reward
from mtquant.workflows.models import Trained, load_trained

Rows32 = NDArray[np.float32]
LEAST_ROWS = 60  # behind the warm-up: fewer tell nothing


@dataclass(frozen=True)
class Subject:
    """A policy and everything its results depend on.

    Attributes:
        name: What reports call it.
        policy: It decides.
        config, instruments: Bars, rules, reward, features.
        bars: Of all configured instruments, in the order of the policy.
        split: Train, validation and test.
        trained: What a folder says of it; None for a policy that comes from none.
        folder: The folder.
        environment: The class that trains it; a subclass of yours may be put in its place.
    """

    name: str
    policy: Policy
    config: Config
    instruments: Mapping[str, Instrument]
    bars: tuple[Bars, ...]
    split: Split
    trained: Trained | None = None
    folder: Path | None = None
    environment: type[MarketEnv] = MarketEnv

    @classmethod
    def load(cls, folder: Path, config: Config, instruments: Mapping[str, Instrument]) -> Subject:
        """What training has left in a folder of phase 1, 2 or 3.

        Raises:
            CheckpointError: The folder, as `load_trained`.
            DataError: The bars.
        """
        trained = load_trained(folder, config, instruments)
        subject = cls.of(trained.policy, config, instruments)
        return replace(subject, name=str(folder), trained=trained, folder=folder)

    @classmethod
    def of(
        cls,
        policy: Policy,
        config: Config,
        instruments: Mapping[str, Instrument],
        bars: Mapping[str, Bars] | None = None,
    ) -> Subject:
        """A policy of one's own on the configured bars, or on others.

        Raises:
            DataError: The bars cannot be read or split.
        """
        known = load_bars(config.data, instruments) if bars is None else bars
        split = split_bars(known, config.data)
        own = tuple(known.values())
        return cls(policy.name, policy, config, instruments, own, split)

    @cached_property
    def market(self) -> Market:
        """All bars."""
        return self.market_of(self.bars)

    @cached_property
    def features(self) -> Rows32:
        """The policy's features on all bars, float32 [T, N, F]."""
        return self.market.features_of(self.policy)

    @cached_property
    def first_row(self) -> int:
        """First row in which every feature of every instrument is known and a window is full.

        Raises:
            DataError: There are too few rows behind it.
        """
        first = warmup_rows(self.features) + self.policy.window_bars - 1
        if len(self.market.panel) - first < LEAST_ROWS:
            raise DataError(
                "bars",
                f"must go on for {LEAST_ROWS} rows behind the warm-up of the features",
                f"{len(self.market.panel)} rows, of which {first} are warm-up",
                "Use more bars, or features of a shorter memory.",
            )
        return first

    @cached_property
    def warmup(self) -> int:
        """Rows that the features need from the first bar of the instrument that began last."""
        began = int((self.market.panel.own_row >= 0).all(axis=1).argmax())
        return max(1, warmup_rows(self.features) - began)

    @cached_property
    def test_rows(self) -> slice:
        """Rows of the test part behind the warm-up; where those are few, the rows up to its end,
        or the first known ones.
        """
        rows = self.market.panel.rows(self.split.test)
        last = max(rows.stop, self.first_row + LEAST_ROWS // 2)
        return slice(min(max(rows.start, self.first_row), last - LEAST_ROWS // 2), last)

    @property
    def built_in_features(self) -> set[str]:
        """The policy's features that are none of the user's."""
        own = {feature.name for feature in configured_registry(self.config.features)}
        return {name for name in self.policy.feature_names if name.partition(MARK)[0] not in own}

    def market_of(self, bars: Sequence[Bars]) -> Market:
        """A market of changed bars. Bars per year, which count the calendar and no price, stay
        those of all bars: they are a constant of the data, not something that a bar tells.
        """
        market = Market.of(self.config, self.instruments, tuple(bars))
        if bars is self.bars:
            return market
        per_year = self.market.tape.bars_per_year
        return replace(market, tape=replace(market.tape, bars_per_year=per_year))

    def reward(self, tape: Tape) -> Reward:
        """The reward whose state it observes; its scale is that of the training."""
        if self.trained is not None:
            return trained_reward(self.trained, self.config, tape)
        return Reward({"growth": 1.0}, self._scale)

    @cached_property
    def _scale(self) -> float:
        market = self.market
        rows = without_holes(market.panel.rows(self.split.train), market.panel, self.split)
        return reward_scale(market.tape, rows, market.rules.max_gross_exposure) or 1.0

    def env(self, market: Market, features: Rows32, rows: slice, n_accounts: int) -> MarketEnv:
        """Accounts that live through `rows` together at the true costs."""
        changes = {
            "cost_draw_range": (1.0, 1.0),
            "episode_length": rows.stop - rows.start,
            "window_bars": self.policy.window_bars,
        }
        return self.environment(
            market.tape,
            market.rules,
            features,
            tuple(self.policy.feature_names),
            self.reward(market.tape),
            rows,
            n_accounts,
            self.config.environment.model_copy(update=changes),
            SeedTree(0),  # nothing is drawn: one length, one cost
            unit=np.ones(len(market.tape.symbols)),
        )

    def stamp(self, row: int) -> str:
        """Close of a row in UTC."""
        return stamp_text(int(self.market.panel.stamps[row]))
