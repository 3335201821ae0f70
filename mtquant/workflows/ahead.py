# SPDX-License-Identifier: Apache-2.0
"""Compiling on two cores what a first run would compile on one.

Numba compiles one kernel at a time in a process. Here the simulator's step is compiled in this
process while another one compiles what is needed next, in the order in which it is: features, plans
for luck, the desk of one account, and vectorbt's kernels for the report. It goes on with that while
this one trains (and compiles difference rewards, which makes the two about as long). Both leave
their work in the cache on disk.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mtquant.agents.baselines import Cash
from mtquant.backtest.runner import run_backtest
from mtquant.backtest.vectorbt_audit import audit
from mtquant.backtest.vectorbt_views import vectorbt_figures, vectorbt_tables
from mtquant.core import outcome as oc
from mtquant.core.compiled import cache_folder
from mtquant.core.config import Config
from mtquant.core.seeding import SeedTree
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import MarketEnv
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

DONE = "compiled-ahead"  # a file in the cache folder
BARS, TURN = 60, 5  # of the made-up account, and of one of its trades
DAY_NS = 86_400 * 10**9
Instruments = Mapping[str, Instrument]


def marker() -> Path | None:
    """The file that says that this version's kernels are compiled; None where nothing is kept."""
    folder = cache_folder()
    return None if folder is None else folder / DONE


@contextlib.contextmanager
def compiled_ahead(config: Config, instruments: Instruments) -> Iterator[None]:
    """Compiles the simulator's step before the block, and the rest beside it; the block ends when
    both have. Does nothing where an earlier run did it, or where nothing can be kept.
    """
    done = marker()
    if done is None or done.exists():
        yield
        return
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_beside, args=(config, dict(instruments)), daemon=True)
    other.start()
    try:
        compile_step(config, instruments)
        yield
        other.join()
        if other.exitcode == 0:
            done.touch()
    finally:
        other.terminate()
        other.join()


def _beside(config: Config, instruments: Instruments) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this ends it
    compile_features(config, instruments)
    compile_luck(config, instruments)
    compile_desk(config, instruments)
    compile_report(config, instruments)


def compile_step(config: Config, instruments: Instruments) -> None:
    """Lets two accounts live through one bar."""
    env = two_accounts(config, instruments)
    env.reset()
    env.step(np.zeros((2, len(env.unit)), dtype=np.float32))


def compile_luck(config: Config, instruments: Instruments) -> None:
    """Lets two accounts plan once more, as they do where rewards leave luck out."""
    if config.training.effective().surprise < 1.0:
        env = two_accounts(config, instruments)
        Luck(env).planned(np.zeros((2, len(env.unit)), dtype=np.float32))


def compile_desk(config: Config, instruments: Instruments) -> None:
    """Lets one account live through two bars with the ledger on."""
    env = two_accounts(config, instruments)
    tape, rules = env.simulator.tape, env.simulator.rules
    middle = len(tape.stamps) // 2
    run_backtest(Cash(), tape, rules, env.features, slice(middle, middle + 3), env.reward)


def two_accounts(config: Config, instruments: Instruments) -> MarketEnv:
    """Two accounts in the configured world, with a feature that says nothing."""
    bars = load_bars(config.data, instruments)
    panel = Panel.from_bars(list(bars.values()))
    rules = Rules.from_config(config.environment, instruments, panel.symbols)
    tape = Tape.from_panel(panel, rules)
    return MarketEnv(
        tape,
        rules,
        np.zeros((len(panel), len(panel.symbols), 1), dtype=np.float32),
        ("log_return_1",),
        Reward.from_config(config.reward, config.reward.phase_1, 1.0, tape.bars_per_year),
        slice(len(panel) // 2, len(panel)),
        2,
        config.environment,
        SeedTree(0),
    )


def compile_features(config: Config, instruments: Instruments) -> None:
    """Computes the configured features once."""
    bars = load_bars(config.data, instruments)
    panel = Panel.from_bars(list(bars.values()))
    pipeline = TimeframePipeline.from_config(config, instruments, panel.symbols)
    pipeline.on_panel(panel, tuple(bars.values()))


def compile_report(config: Config, instruments: Instruments) -> None:
    """Lets vectorbt replay a made-up account and show all that a report shows."""
    bars = load_bars(config.data, instruments)
    rules = Rules.from_config(config.environment, instruments, tuple(bars)[:2])
    ledger = made_up_ledger(rules)
    found = audit(ledger, rules)
    vectorbt_tables(found, ledger, 252.0)
    vectorbt_figures(found, ledger, 252.0)


def made_up_ledger(rules: Rules) -> Ledger:
    """An account that buys and sells one unit of everything by turns, without costs but financing,
    under prices that swing.
    """
    n = len(rules.symbols)
    multipliers = np.array([item.multiplier for item in rules.instruments])
    prices = 100.0 + np.sin(np.arange(BARS)[:, None] * np.arange(1, n + 1)) * 3.0
    positions = np.where(np.arange(BARS) // TURN % 2 == 0, 1.0, -1.0)[:, None].repeat(n, axis=1)
    before = np.vstack([np.zeros((1, n)), positions[:-1]])
    row, column = np.nonzero(positions != before)
    fills = np.zeros((len(row), len(oc.FILL_COLUMNS)))
    fills[:, oc.FILL_ROW], fills[:, oc.FILL_INSTRUMENT] = row, column
    fills[:, oc.FILL_QUANTITY] = (positions - before)[row, column]
    fills[:, oc.FILL_PRICE], fills[:, oc.FILL_RATE] = prices[row, column], 1.0
    financing = np.full((BARS, n), 0.01)
    moves = np.diff(prices, axis=0, prepend=prices[:1])
    gains = (before * moves * multipliers - financing).sum(axis=1)
    path = rules.initial_equity + np.concatenate([[0.0], gains.cumsum()])
    outcomes = np.zeros((BARS, len(oc.OUTCOME_COLUMNS)))
    outcomes[:, oc.EQUITY_BEFORE], outcomes[:, oc.EQUITY] = path[:-1], path[1:]
    outcomes[:, oc.GROWTH] = np.log(path[1:] / path[:-1])
    outcomes[:, oc.SIMPLE_RETURN] = path[1:] / path[:-1] - 1.0
    return Ledger(
        name="made up",
        symbols=rules.symbols,
        multipliers=tuple(multipliers.tolist()),
        account_currency=rules.account_currency,
        rules_hash=rules.hash(),
        world_hash=rules.without_stops().hash(),
        fill_at=rules.fill_at,
        initial_equity=rules.initial_equity,
        rows=np.arange(BARS),
        stamps=np.arange(1, BARS + 1) * DAY_NS,
        outcomes=outcomes,
        positions=positions,
        prices=prices,
        rates=np.ones((BARS, n)),
        targets=np.full((BARS, n), np.nan),
        fills=fills,
        financing=financing,
    )
