# SPDX-License-Identifier: Apache-2.0
"""The market that the simulator benchmark trades in, and the proof that a batch is its singles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import EnvironmentConfig
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS, Bars, check_bars
from mtquant.data.instruments import load_instruments
from mtquant.data.panel import Panel
from mtquant.envs.market_env import MarketEnv
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import T_CLOSE, Tape
from mtquant.rewards.compose import Reward

Float32 = NDArray[np.float32]

START_PRICES = {
    "SPX500": 1500.0,
    "NAS100": 3000.0,
    "US30": 12_000.0,
    "EURUSD": 1.2,
    "GBPUSD": 1.5,
    "USDJPY": 110.0,
    "XAUUSD": 1300.0,
    "WTIUSD": 70.0,
}
FEATURES = 32
DAY_ROWS, HOUR_ROWS = 5_000, 50_000  # the bundled daily series has 5,031 rows
DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
EPISODE_LENGTH = 1_000
MAX_VAR = 0.02  # the spec's max_portfolio_var
REWARD = Reward(
    weights={"growth": 0.5, "differential_sharpe": 1.0, "drawdown": 0.5, "cost": 0.5}, scale=0.01
)


@dataclass(frozen=True)
class Market:
    """Bars, rules with every rule on, features, and the exposure that an action of 1 asks for."""

    tape: Tape
    rules: Rules
    features: Float32
    unit: NDArray[np.float64]
    environment: EnvironmentConfig

    def env(self, n_accounts: int, seeds: SeedTree) -> MarketEnv:
        """A batch of accounts in this market, not yet reset."""
        names = tuple(f"feature_{f}" for f in range(self.features.shape[2]))
        return MarketEnv(
            self.tape,
            self.rules,
            self.features,
            names,
            REWARD,
            slice(0, len(self.tape.stamps)),
            n_accounts,
            self.environment,
            seeds,
            self.unit,
        )

    def closes(self) -> NDArray[np.float64]:
        """Closes of the first instrument, float64 [T]."""
        return self.tape.prices[:, 0, T_CLOSE].copy()


def make_market(
    instruments: int,
    rows: int,
    seconds: int,
    seeds: SeedTree,
    leverage: float = 1.0,
    episode_length: int = EPISODE_LENGTH,
    var_method: str | None = None,
) -> Market:
    """A market of the first `instruments` of START_PRICES on random walks.

    Costs, lots, margins and financing are those of config/instruments.yaml, and half a basis point
    of commission; stop-loss 2 %, take-profit 4 %. Actions reach up to `leverage` in one instrument
    (or 4 x leverage / N in each of N), the name cap cuts them at 0.8 of that, and the gross cap is
    `leverage`: limits bind often. With leverage there is no stop-loss, so that the margin is what
    ends positions.
    """
    symbols = list(START_PRICES)[:instruments]
    generator = seeds.child("market", instruments, rows).generator()
    deviation = 0.012 * np.sqrt(seconds / DAY_SECONDS)
    bars = [_random_walk(symbol, rows, seconds, deviation, generator) for symbol in symbols]
    unit = leverage * min(1.0, 4.0 / instruments)
    environment = EnvironmentConfig(
        episode_length=episode_length,
        stop_loss_pct=0.02 if leverage <= 1.0 else 0.0,
        take_profit_pct=0.04,
        max_position_size=0.8 * unit,
        max_gross_exposure=leverage,
        window_bars=1,
        # Name and gross caps alone, unless the risk limits are what is looked at.
        max_sector_allocation=None,
        max_correlation_exposure=None,
        max_portfolio_var=None if var_method is None else MAX_VAR,
        var_method=var_method or "ewma",
    )
    rules = Rules.from_config(environment, load_instruments(), symbols)
    charged = tuple(replace(item, commission_bps=0.5) for item in rules.instruments)
    rules = replace(rules, instruments=charged)
    features = generator.standard_normal((rows, instruments, FEATURES), dtype=np.float32)
    units = np.full(instruments, unit)
    tape = Tape.from_panel(Panel.from_bars(bars), rules)
    return Market(tape, rules, features, units, environment)


def _random_walk(
    symbol: str, rows: int, seconds: int, deviation: float, generator: np.random.Generator
) -> Bars:
    """Bars with gaps between close and open and wicks on both sides."""
    instrument = load_instruments()[symbol]
    gap, body = generator.normal(0.0, (0.3 * deviation, deviation), (rows, 2)).T
    wick = np.abs(generator.normal(0.0, 0.4 * deviation, (2, rows)))
    # Pulled home a little: 50,000 bars of a free walk end at absurd prices.
    level, logs = 0.0, np.empty(rows)
    for t, step in enumerate(gap + body):
        level = 0.999 * level + step
        logs[t] = level
    close = START_PRICES[symbol] * np.exp(logs)
    opened = close * np.exp(-body)
    bars = Bars(
        symbol=symbol,
        stamps=(1 + np.arange(rows, dtype=np.int64)) * seconds * NANOSECONDS,
        open=opened,
        high=np.maximum(opened, close) * np.exp(wick[0]),
        low=np.minimum(opened, close) * np.exp(-wick[1]),
        close=close,
        volume=np.ones(rows),
        quote=instrument.quote,
        bar_seconds=seconds,
        notes=(),
    )
    check_bars(bars)
    return bars


def random_actions(env: MarketEnv, count: int, seeds: SeedTree) -> list[Float32]:
    """`count` different arrays of uniform actions in [-1, 1], float32 [E, N] each."""
    shape = (count, len(env), len(env.unit))
    drawn = seeds.child("actions").generator().random(shape, dtype=np.float32)
    return list(2.0 * drawn - 1.0)


def stagger(env: MarketEnv, seeds: SeedTree) -> None:
    """Ends the first episodes at random times, so that every stretch of steps has its share of
    ends. A fresh batch would end all of them at once, outside most measurements.
    """
    simulator = env.simulator
    generator = seeds.child("stagger").generator()
    left = generator.integers(1, simulator.episode_length + 1, len(env))
    np.minimum(simulator.end, simulator.row + left, out=simulator.end)


def random_ledger(market: Market, bars: int, seeds: SeedTree) -> Ledger:
    """What random actions lead to in this market, with the ledger on."""
    desk = Desk(market.tape, market.rules, "random")
    actions = seeds.child("ledger").generator().uniform(-1.0, 1.0, (bars, len(market.unit)))
    for action in actions:
        desk.plan(action * market.unit)
        desk.advance()
        if desk.bankrupt:
            break
    return desk.ledger()


@dataclass(frozen=True)
class _OnlyAccount(SeedTree):
    """Seeds of a batch of one that lives what account `account` of a larger batch lives."""

    account: int = 0

    def child(self, *names: str | int) -> SeedTree:
        return SeedTree(self.root, self.path).child(self.account)


def batch_equals_singles(
    market: Market, n_accounts: int, accounts: list[int], steps: int, seeds: SeedTree
) -> tuple[bool, int]:
    """Whether accounts of a batch and batches of one say the same bytes: observations, rewards,
    ends of episodes and terminal observations. Also how many episodes ended meanwhile.
    """
    batch = market.env(n_accounts, seeds)
    singles = [market.env(1, _OnlyAccount(seeds.root, seeds.path, e)) for e in accounts]
    first = batch.reset()
    same, ends = True, 0
    for e, single in zip(accounts, singles, strict=True):
        same &= first[e].tobytes() == single.reset()[0].tobytes()
    for actions in random_actions(batch, steps, seeds):
        ended = {e: batch.episode_end(e) for e in batch.step(actions).tolist()}
        for e, single in zip(accounts, singles, strict=True):
            alone = {k: single.episode_end(k) for k in single.step(actions[e : e + 1]).tolist()}
            same &= batch.observations[e].tobytes() == single.observations[0].tobytes()
            same &= batch.rewards[e].tobytes() == single.rewards[0].tobytes()
            same &= bool(batch.done[e] == single.done[0]) and (e in ended) == (0 in alone)
            if e in ended and 0 in alone:
                ours, theirs = ended[e], alone[0]
                ends += 1
                same &= ours.terminal_observation.tobytes() == theirs.terminal_observation.tobytes()
    return same, ends
