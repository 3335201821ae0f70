# SPDX-License-Identifier: Apache-2.0
"""Bars per second of a backtest with given targets and the ledger on, beside vectorbt and
backtesting.py; what a policy's decisions cost is told apart.

    python scripts/benchmarks/backtest.py [--quick] [--seed 0]

Before anything is timed, all of them have to come to the same equity: vectorbt is given the targets
as percentages valued at the close before, filled at the open, backtesting.py the orders in units.
Times are processor time, best of several. Exit code 1 where an equity differs or vectorbt is less
than 5 times slower on eight instruments.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from common import machine, option_parser, pin_to_one_core, print_result  # first: threads, paths

# isort: split
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mtquant.agents.specialist import load_specialist, save_specialist
from mtquant.backtest.runner import run_backtest
from mtquant.core import outcome as oc
from mtquant.core.seeding import SeedTree
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.passage import live_through
from mtquant.market.rules import Rules
from mtquant.market.tape import (
    C_ELAPSED,
    T_CLOSE,
    T_HIGH,
    T_LOW,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    TAPE_COLUMNS,
    Tape,
)
from tests.support.markets import walk_world
from tests.support.specialists import manifest_of
from tests.support.tapes import hand_rules

Float = NDArray[np.float64]
HOUR_NS = 3600 * 10**9
HALF_SPREAD_BPS, COMMISSION_BPS = 1.0, 0.5
EQUITY, VOLATILITY, GROSS = 100_000.0, 1e-3, 0.9
LOT = 1e-6  # so small that rounding to lots is no difference
TOLERANCE = 1e-8
FACTOR = 5.0  # asked for
SIZES = ((8, 20_000), (3, 20_000), (1, 50_000))
BACKTESTING_BARS, POLICY_BARS = 3_000, 500
CONSOLE = Console()


@dataclass(frozen=True)
class Market:
    """Bars, rules and targets; targets[t] is decided at the close of row t."""

    tape: Tape
    rules: Rules
    targets: Float


def market(
    instruments: int, bars: int, seed: int, lot: float = LOT, half_spread: float = HALF_SPREAD_BPS
) -> Market:
    """Random walks that gap at the open, and a fresh target for every instrument on every bar."""
    random = SeedTree(seed).child("backtest", instruments, bars).generator()
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, VOLATILITY, (bars, instruments)), axis=0))
    before = np.concatenate([close[:1], close[:-1]])
    opened = before * np.exp(random.normal(0.0, VOLATILITY / 4.0, (bars, instruments)))
    prices = np.zeros((bars, instruments, TAPE_COLUMNS))
    prices[:, :, T_OPEN], prices[:, :, T_CLOSE] = opened, close
    prices[:, :, T_HIGH] = np.maximum(opened, close) * 1.0001
    prices[:, :, T_LOW] = np.minimum(opened, close) * 0.9999
    for column in (T_RATE_OPEN, T_RATE_CLOSE, T_TRADABLE):
        prices[:, :, column] = 1.0
    clock = np.zeros((bars, 2))
    clock[1:, C_ELAPSED] = 3600.0
    symbols = tuple(f"X{n}" for n in range(instruments))
    stamps = np.arange(1, bars + 1) * HOUR_NS
    tape = Tape(prices, clock, (False,) * instruments, symbols, stamps, 8766.0, ())
    rules = hand_rules(
        instruments,
        spread_bps=2.0 * half_spread,
        commission_bps=COMMISSION_BPS,
        lot=lot,
        name_cap=1.0,
        max_gross_exposure=1.0,
        initial_equity=EQUITY,
    )
    targets = random.uniform(-GROSS, GROSS, (bars, instruments)) / instruments
    targets[0] = 0.0  # backtesting.py asks for the first time one bar later
    return Market(tape, rules, targets)


def ours(own: Market) -> Ledger:
    """The compiled loop, and the ledger."""
    desk = Desk(own.tape, own.rules, "given targets")
    live_through(desk, own.targets[:-1])
    return desk.ledger()


def bar_by_bar(own: Market) -> Ledger:
    """What a policy's backtest does around its decisions."""
    desk = Desk(own.tape, own.rules, "given targets")
    for row in own.targets[:-1]:
        desk.plan(row)
        desk.advance()
    return desk.ledger()


def vectorbt(own: Market) -> Float:
    """Equity at every close but the first, by `from_orders`."""
    import vectorbt as vbt

    index = pd.DatetimeIndex(own.tape.stamps.astype("datetime64[ns]"))
    frame = pd.DataFrame(own.tape.prices[:, :, T_CLOSE], index=index, columns=own.tape.symbols)
    asked = np.concatenate([np.full((1, len(own.tape.symbols)), np.nan), own.targets[:-1]])
    valued = np.concatenate([frame.to_numpy()[:1], frame.to_numpy()[:-1]])
    portfolio = vbt.Portfolio.from_orders(
        frame,
        size=asked,
        size_type="targetpercent",
        price=own.tape.prices[:, :, T_OPEN],
        val_price=valued,
        slippage=HALF_SPREAD_BPS / 1e4,
        fees=COMMISSION_BPS / 1e4,
        init_cash=EQUITY,
        cash_sharing=True,
        group_by=True,
        freq="h",
    )
    equity: Float = np.asarray(portfolio.value())[1:]
    return equity


def backtesting_run(own: Market, ledger: Ledger) -> Callable[[], Float]:
    """A run of backtesting.py under the orders of our ledger, in whole units."""
    from backtesting import Backtest, Strategy

    orders = np.zeros(len(own.tape.stamps), dtype=np.int64)
    orders[ledger.fills[:, oc.FILL_ROW].astype(int) - 1] = ledger.fills[:, oc.FILL_QUANTITY]

    class Given(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            units = int(orders[len(self.data) - 1])
            if units > 0:
                self.buy(size=units)
            elif units < 0:
                self.sell(size=-units)

    names = {"Open": T_OPEN, "High": T_HIGH, "Low": T_LOW, "Close": T_CLOSE}
    frame = pd.DataFrame({name: own.tape.prices[:, 0, k] for name, k in names.items()})
    frame.index = pd.DatetimeIndex(own.tape.stamps.astype("datetime64[ns]"))

    def run() -> Float:
        test = Backtest(
            frame,
            Given,
            cash=EQUITY,
            commission=lambda size, price: abs(size) * price * COMMISSION_BPS / 1e4,
            margin=0.1,
        )
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")  # a position is open at the end; progress bar
            equity: Float = test.run()["_equity_curve"]["Equity"].to_numpy()[1:]
        return equity

    return run


def gap(equity: Float, expected: Float) -> float:
    """Largest relative difference."""
    return float(np.max(np.abs(equity / expected - 1.0)))


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Processor time of the quickest of several runs behind a first one, which compiles."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def decision_seconds(seed: int) -> tuple[float, float]:
    """Seconds per bar of a backtest with a network of 64 x 64, and of its decisions alone."""
    world = walk_world("training.hidden_units=[64, 64]", bars=POLICY_BARS + 200)
    layout = world.training_env(1, SeedTree(seed)).layout
    generator = torch.Generator().manual_seed(seed)
    shapes = ((64, layout.size), (64, 64), (1, 64))
    weights: dict[str, torch.Tensor] = {
        "features_extractor.mean": torch.zeros(layout.size),
        "features_extractor.scale": torch.ones(layout.size),
        "log_std": torch.zeros(1),
    }
    for tower, head in (("policy_net", "action_net"), ("value_net", "value_net")):
        names = (f"mlp_extractor.{tower}.0", f"mlp_extractor.{tower}.2", head)
        for name, shape in zip(names, shapes, strict=True):
            weights[f"{name}.weight"] = 0.1 * torch.randn(shape, generator=generator)
            weights[f"{name}.bias"] = torch.zeros(shape[0])
    with tempfile.TemporaryDirectory() as folder:
        save_specialist(Path(folder), weights, manifest_of(world))
        policy = load_specialist(Path(folder))
    rows = slice(150, 150 + POLICY_BARS)
    spent = 0.0
    act = policy.act

    def timed(observation: Any, state: Any) -> Any:
        nonlocal spent
        begin = time.process_time()
        answer = act(observation, state)
        spent += time.process_time() - begin
        return answer

    def run() -> Ledger:
        return run_backtest(policy, world.tape, world.rules, world.features, rows, world.reward)

    whole = seconds(run, 2)
    policy.act = timed  # type: ignore[method-assign]
    run()
    return whole / POLICY_BARS, spent / POLICY_BARS


def main() -> int:
    """Checks, times, prints; 0 when all agree and the factor is reached."""
    parser = option_parser("Backtest of given targets beside vectorbt and backtesting.py.")
    arguments = parser.parse_args()
    core = pin_to_one_core()
    repeats, share = (2, 4) if arguments.quick else (5, 1)
    table = Table(title=f"Given targets, ledger on, seed {arguments.seed}; {machine(core)}")
    for heading in ("instruments", "bars", "engine", "bars/s", "times slower", "equity differs by"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    speeds: dict[tuple[int, str], float] = {}
    worst = 0.0
    for instruments, bars in SIZES:
        own = market(instruments, bars // share, arguments.seed)
        expected = ours(own).equity
        engines: dict[str, Callable[[], Any]] = {
            "mtquant": lambda own=own: ours(own),  # type: ignore[misc]
            "mtquant, bar by bar": lambda own=own: bar_by_bar(own),  # type: ignore[misc]
            "vectorbt": lambda own=own: vectorbt(own),  # type: ignore[misc]
        }
        found = {name: run() for name, run in engines.items()}
        for name, run in engines.items():
            equity = found[name].equity if isinstance(found[name], Ledger) else found[name]
            difference = gap(equity, expected)
            worst = max(worst, difference)
            speeds[instruments, name] = len(expected) / seconds(run, repeats)
            row = (str(instruments), f"{len(expected):,}", name)
            _add(table, row, speeds[instruments, name], speeds[instruments, "mtquant"], difference)
    worst = max(worst, _add_backtesting(table, arguments.seed, repeats, speeds))
    CONSOLE.print(table)
    whole, deciding = decision_seconds(arguments.seed)
    CONSOLE.print(
        f"A policy of 64 x 64 units: {1.0 / whole:,.0f} bars/s in all, of which its decisions take "
        f"{deciding / whole:.0%} ({1e6 * deciding:,.0f} of {1e6 * whole:,.0f} us a bar)."
    )
    factor = speeds[8, "mtquant"] / speeds[8, "vectorbt"]
    print_result(
        {
            "vs_vectorbt": round(factor, 2),
            "bars_per_s": round(speeds[8, "mtquant"]),
            "vs_vectorbt_3": round(speeds[3, "mtquant"] / speeds[3, "vectorbt"], 2),
            "vs_vectorbt_1": round(speeds[1, "mtquant"] / speeds[1, "vectorbt"], 2),
            "vs_backtesting": round(speeds[1, "mtquant"] / speeds[1, "backtesting.py"], 1),
            "bars_per_s_bar_by_bar": round(speeds[8, "mtquant, bar by bar"]),
            "policy_bars_per_s": round(1.0 / whole),
            "policy_decision_us": round(1e6 * deciding, 1),
            "largest_difference": worst,
        }
    )
    return 0 if worst <= TOLERANCE and factor >= FACTOR else 1


def _add(
    table: Table, what: tuple[str, str, str], speed: float, best: float, difference: float
) -> None:
    table.add_row(*what, f"{speed:,.0f}", f"{best / speed:,.1f}", f"{difference:.1e}")


def _add_backtesting(
    table: Table, seed: int, repeats: int, speeds: dict[tuple[int, str], float]
) -> float:
    """backtesting.py has one instrument, whole units, and takes a spread on the way in alone: it is
    compared without one. Its difference comes back.
    """
    own = market(1, BACKTESTING_BARS, seed, lot=1.0, half_spread=0.0)
    ledger = ours(own)
    run = backtesting_run(own, ledger)
    difference = gap(run(), ledger.equity)
    speeds[1, "backtesting.py"] = len(ledger) / seconds(run, repeats)
    row = ("1", f"{len(ledger):,}", "backtesting.py")
    _add(table, row, speeds[1, "backtesting.py"], speeds[1, "mtquant"], difference)
    return difference


if __name__ == "__main__":
    sys.exit(main())
