# SPDX-License-Identifier: Apache-2.0
"""Trained policies and baselines on bars they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.baselines import Chance, baselines
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.protocols import Policy
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars, split_bars
from mtquant.features.timeframes import TimeframePipeline, warmup_rows, without_ages
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward
from mtquant.workflows.models import Trained

TRADING_DAYS_PER_YEAR = 252
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Market:
    """All configured instruments on one panel, as a portfolio policy meets them."""

    config: Config
    instruments: Mapping[str, Instrument]
    bars: tuple[Bars, ...]
    panel: Panel
    rules: Rules
    tape: Tape
    rows: slice

    @classmethod
    def build(cls, config: Config, instruments: Mapping[str, Instrument], part: str) -> Market:
        """Loads the configured bars and finds the rows of ``"validation"`` or ``"test"``."""
        by_symbol = load_bars(config.data, instruments)
        part_of_time = getattr(split_bars(by_symbol, config.data), part)
        whole = cls.of(config, instruments, tuple(by_symbol.values()))
        return replace(whole, rows=whole.panel.rows(part_of_time))

    @classmethod
    def of(
        cls, config: Config, instruments: Mapping[str, Instrument], bars: tuple[Bars, ...]
    ) -> Market:
        """A market of these bars, all rows of it."""
        panel = Panel.from_bars(list(bars))
        rules = Rules.from_config(config.environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        return cls(config, instruments, bars, panel, rules, tape, slice(0, len(panel)))

    def features_for(self, policy: Policy) -> NDArray[np.float32]:
        """The policy's own features on this panel, float32 [T, N, F] in its order.

        Raises:
            DataError: They are not yet known where trading begins.
        """
        features = self.features_of(policy)
        if not np.isfinite(features[self.rows.start]).all():
            raise DataError(
                f"features of {policy.name}",
                f"must be known where trading begins: they need {warmup_rows(features)} bars",
                f"row {self.rows.start}",
                "Use bars that begin earlier, or other split fractions.",
            )
        return features

    def features_of(self, policy: Policy) -> NDArray[np.float32]:
        """`features_for`, also where they are not yet known."""
        pipeline = TimeframePipeline.from_config(
            self.config, self.instruments, self.panel.symbols, without_ages(policy.feature_names)
        )
        computed = pipeline.on_panel(self.panel, self.bars)
        columns = [pipeline.panel_names.index(name) for name in policy.feature_names]
        features: NDArray[np.float32] = computed[:, :, columns]
        return features


def trade(
    trained: Trained,
    market: Market,
    progress: Progress | None = None,
    *,
    cost_scale: float = 1.0,
    name: str = "",
) -> Ledger:
    """A trained policy's ledger on the rows of a market.

    Args:
        trained, market: Who trades where.
        progress: Called with the name, bars done and bars in all.
        cost_scale: Multiplies spread, slippage and commission.
        name: What progress calls it; the policy's own when empty.
    """
    reward = trained_reward(trained, market.config, market.tape)
    return _trade(trained.policy, market, market.rules, reward, progress, cost_scale, name)


def trained_reward(trained: Trained, config: Config, tape: Tape) -> Reward:
    """The reward whose state a trained policy observes."""
    return Reward.from_config(
        config.reward, trained.terms(config), trained.reward_scale, tape.bars_per_year
    )


def check_unseen(trained: Trained, market: Market, part: str, models: Path) -> None:
    """Refuses other bars than those of the training, and a test that begins inside them. Of a table
    neither is known.
    """
    if trained.from_table:
        return
    for bars in market.bars:
        trained.check_bars(bars, models)
        begin = int(market.panel.stamps[market.rows.start])
        if part == "test" and begin < trained.known_until_ns[bars.symbol]:
            raise CheckpointError(
                "start of the test part",
                f"must lie behind the bars that {bars.symbol} was trained and chosen on",
                str(np.datetime64(begin, "ns")),
                "Use the split of the training (the default without --config).",
            )


def baselines_of(market: Market) -> list[Policy]:
    """What is to be beaten on a market, all but chance."""
    # Windows count an instrument's own bars: the panel has more rows where hours differ.
    per_year = float(np.median([bars.bars_per_year for bars in market.bars]))
    environment = market.config.environment
    caps = environment.max_position_size, environment.max_gross_exposure
    return baselines(max(1, round(per_year / TRADING_DAYS_PER_YEAR)), *caps)


def baseline_ledgers(
    market: Market, ledger: Ledger, progress: Progress | None = None
) -> list[Ledger]:
    """What is to be beaten, in the same world without stops; chance trades as much as `ledger`."""
    environment, seed = market.config.environment, market.config.training.seed
    caps = environment.max_position_size, environment.max_gross_exposure
    turnover = float(np.mean(ledger.column("turnover")))
    chance = Chance.matching(turnover, len(ledger.symbols), *caps, seed)
    reward = Reward({"growth": 1.0}, 1.0)  # baselines do not look at its state
    rules = market.rules.without_stops()
    return [
        _trade(policy, market, rules, reward, progress)
        for policy in (*baselines_of(market), chance)
    ]


def _trade(
    policy: Policy,
    market: Market,
    rules: Rules,
    reward: Reward,
    progress: Progress | None,
    cost_scale: float = 1.0,
    name: str = "",
) -> Ledger:
    bars = market.rows.stop - market.rows.start - 1
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(name or policy.name, done, bars)

    features, rows = market.features_for(policy), market.rows
    return run_backtest(policy, market.tape, rules, features, rows, reward, advance, cost_scale)
