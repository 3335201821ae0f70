# SPDX-License-Identifier: Apache-2.0
"""Tiny markets on disk and tiny specialists trained on them: a phase 1 run in a second or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config, load_config
from mtquant.core.protocols import Policy
from mtquant.data.bars import Bars
from mtquant.data.files import read_parquet, write_parquet
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.data.sources import split_bars
from mtquant.features.pipeline import AGE_NAME, FeaturePipeline
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward
from tests.support.builders import bars_from_closes, make_bars

DAY = 86_400
SYMBOLS = ("EURUSD", "GBPUSD")  # both pay in dollars, so that no conversion is needed
INSTRUMENTS = load_instruments(None)
# 600 daily bars: 360 for training, 120 for validation, 120 for the test; the longest memory that a
# policy or a baseline asks for is 120 bars.
BARS = 600
# Three instruments and two specialists, whose instruments are mixed up in the portfolio.
DOMAIN_SYMBOLS = ("EURUSD", "XAUUSD", "GBPUSD")
DOMAINS = {"forex": SYMBOLS, "metals": ("XAUUSD",)}
SHARED_OUT = "training.specialists={metals: [XAUUSD], forex: [EURUSD, GBPUSD]}"
FEATURES = ("log_return_1", "zscore_20", "volatility_60")
TINY = (
    f"features.catalog=[{', '.join(FEATURES)}]",
    "environment.warmup_steps=0",
    "environment.episode_length=50",
    "training.n_envs=4",
    "training.n_steps=64",
    "training.batch_size=64",
    "training.n_epochs=2",
    "training.hidden_units=[8, 8]",
    "training.checkpoint_every_updates=2",
    "training.device=cpu",
)
TINY_STEPS = 1_024  # four rollouts of 4 x 64


def write_market(
    folder: Path, symbols: Sequence[str] = SYMBOLS, bars: int = BARS, seed: int = 0
) -> Path:
    """Writes one random walk per symbol, daily, and returns the folder."""
    for n, symbol in enumerate(symbols, start=seed):
        quote = INSTRUMENTS[symbol].quote
        walk = make_bars(symbol, bars, n, DAY, quote, volatility=0.01)
        write_parquet(walk, folder / f"{symbol}.parquet")
    return folder


def drop_bars(market: Path, symbol: str, share: float) -> None:
    """Takes a share of an instrument's bars out of a folder of `write_market`."""
    path = market / f"{symbol}.parquet"
    own = read_parquet(path)
    kept = np.random.default_rng(0).random(len(own)) >= share
    write_parquet(own.rows(np.flatnonzero(kept)), path)


def market_settings(folder: Path, symbols: Sequence[str] = SYMBOLS) -> list[str]:
    """``--set`` texts for the files of `write_market`."""
    return [
        "data.source=parquet",
        f"data.folder={folder}",
        f"data.instruments=[{', '.join(symbols)}]",
        "data.stamped=close",
    ]


def tiny_config(folder: Path, *overrides: str, symbols: Sequence[str] = SYMBOLS) -> Config:
    """The configuration of a tiny run over the files of `folder`."""
    return load_config(None, [*market_settings(folder, symbols), *TINY, *overrides])


def tiny_trainer(config: Config, folder: Path, timesteps: int = TINY_STEPS) -> Phase1Trainer:
    """A trainer that writes below `folder`."""
    models, logs = folder / "models", folder / "logs"
    return Phase1Trainer(config, models, logs, INSTRUMENTS, timesteps=timesteps)


def tiny_world(config: Config, bars: Bars) -> SpecialistWorld:
    """One instrument's world without a file."""
    return domain_world(config, [bars])


def domain_world(config: Config, bars: Sequence[Bars]) -> SpecialistWorld:
    """The world of several instruments, called after the first, without a file."""
    own = {each.symbol: each for each in bars}
    split = split_bars(own, config.data)
    return SpecialistWorld.build(bars[0].symbol, own, split, config, INSTRUMENTS)


def walk_world(*overrides: str, seed: int = 0, bars: int = BARS) -> SpecialistWorld:
    """The tiny world of a random walk of EURUSD."""
    walk = make_bars("EURUSD", bars, seed, DAY, volatility=0.01)
    return tiny_world(tiny_config(Path("unread"), *overrides), walk)


def momentum_bars(
    bars: int, seed: int, persistence: float, noise: float, symbol: str = "EURUSD"
) -> Bars:
    """Daily closes whose log return follows r' = persistence * r + noise * N(0, 1).

    Bars open at the previous close, so an order filled there earns the whole next return.
    """
    shocks = noise * np.random.Generator(np.random.PCG64(seed)).standard_normal(bars)
    returns: NDArray[np.float64] = np.zeros(bars)
    for t in range(1, bars):
        returns[t] = persistence * returns[t - 1] + shocks[t]
    closes = 1.1 * np.exp(np.cumsum(returns - returns.mean()))
    return bars_from_closes(closes, symbol, bar_seconds=DAY)


@dataclass(frozen=True)
class Portfolio:
    """Several instruments' bars as a portfolio policy meets them."""

    bars: tuple[Bars, ...]
    panel: Panel
    rules: Rules
    tape: Tape

    @classmethod
    def build(cls, bars: Sequence[Bars], *overrides: str) -> Portfolio:
        """Lays bars out under the default environment and `overrides` of it."""
        environment = load_config(None, overrides).environment
        panel = Panel.from_bars(bars)
        rules = Rules.from_config(environment, INSTRUMENTS, panel.symbols)
        return cls(tuple(bars), panel, rules, Tape.from_panel(panel, rules))

    def run(self, policy: Policy, rows: slice | None = None) -> Ledger:
        """A backtest of `policy`, over all rows unless told otherwise."""
        pipeline = FeaturePipeline([name for name in policy.feature_names if name != AGE_NAME])
        columns = [pipeline.panel_names.index(name) for name in policy.feature_names]
        features = pipeline.on_panel(self.panel, self.bars)[:, :, columns]
        reward = Reward({"growth": 1.0}, 0.01)
        rows = slice(policy.window_bars - 1, len(self.panel)) if rows is None else rows
        return run_backtest(policy, self.tape, self.rules, features, rows, reward)
