# SPDX-License-Identifier: Apache-2.0
"""Random tapes and rules with every ugly case: gaps, closed markets, foreign currency, wide bars,
tight margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.market.rules import InstrumentRules, Rules
from mtquant.market.tape import (
    C_ELAPSED,
    NO_LOT,
    T_CLOSE,
    T_EXTRA_COST,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    TAPE_COLUMNS,
    Tape,
)

DAY = 86_400.0


def random_tape(
    generator: np.random.Generator,
    rows: int = 60,
    instruments: int = 3,
    volatility: float = 0.02,
    closed_frac: float = 0.1,
    foreign: bool = True,
) -> Tape:
    """A tape whose bars gap, have long wicks, miss sessions and (for some instruments) pay in
    another currency.

    Instrument 0 always trades in the account currency; with `foreign`, instrument 1 converts itself
    (own_rate) and instrument 2 pays in a currency with a rate of its own.
    """
    prices = np.zeros((rows, instruments, TAPE_COLUMNS))
    own_rate = []
    for n in range(instruments):
        shocks = generator.normal(0.0, volatility, (rows, 4))
        close = 100.0 * np.exp(np.cumsum(shocks[:, 0]))
        opened = np.concatenate([close[:1], close[:-1]]) * np.exp(0.5 * shocks[:, 1])
        traded = generator.random(rows) >= closed_frac
        traded[0] = True
        last = close[0]
        for t in range(rows):
            if traded[t]:
                top, bottom = max(opened[t], close[t]), min(opened[t], close[t])
                high = top * np.exp(abs(shocks[t, 2]))
                low = bottom * np.exp(-abs(shocks[t, 3]))
                prices[t, n, : T_CLOSE + 1] = opened[t], high, low, close[t]
                last = close[t]
            else:
                prices[t, n, : T_CLOSE + 1] = last
        prices[:, n, T_TRADABLE] = traded
        own = foreign and n == 1
        own_rate.append(own)
        if own:
            prices[:, n, T_RATE_OPEN] = 1.0 / prices[:, n, T_OPEN]
            prices[:, n, T_RATE_CLOSE] = 1.0 / prices[:, n, T_CLOSE]
        elif foreign and n == 2:
            rates = 1.2 * np.exp(np.cumsum(generator.normal(0.0, 0.005, 2 * rows)))
            prices[:, n, T_RATE_OPEN], prices[:, n, T_RATE_CLOSE] = rates[::2], rates[1::2]
        else:
            prices[:, n, T_RATE_OPEN] = prices[:, n, T_RATE_CLOSE] = 1.0
    elapsed = generator.choice([DAY, 3.0 * DAY], rows)
    elapsed[0] = 0.0
    stamps = (np.cumsum(elapsed) * 1e9).astype(np.int64)
    symbols = tuple(f"X{n}" for n in range(instruments))
    clock = np.column_stack([elapsed, np.zeros(rows)])
    return Tape(prices, clock, tuple(own_rate), symbols, stamps, 252.0, ())


def random_rules(
    generator: np.random.Generator, instruments: int = 3, free: bool = False, **changes: object
) -> Rules:
    """Rules drawn over their whole range; `free` sets every cost to zero."""

    def draw(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    names = tuple(
        InstrumentRules(
            symbol=f"X{n}",
            quote="USD",
            sector="equity",
            spread_bps=0.0 if free else draw(0.0, 20.0),
            commission_bps=0.0 if free else draw(0.0, 10.0),
            slippage_bps=0.0 if free else draw(0.0, 5.0),
            lot=float(generator.choice([0.01, 0.1, 1.0, 5.0])),
            multiplier=float(generator.choice([1.0, 1.0, 10.0])),
            margin_frac=float(generator.choice([0.02, 0.1, 0.5])),
            financing_long_bps=0.0 if free else draw(-100.0, 600.0),
            financing_short_bps=0.0 if free else draw(-100.0, 600.0),
            stop_loss_frac=float(generator.choice([0.0, 0.02, 0.05])),
            take_profit_frac=float(generator.choice([0.0, 0.03])),
            name_cap=draw(0.5, 8.0),
        )
        for n in range(instruments)
    )
    settings: dict[str, object] = {
        "account_currency": "USD",
        "fill_at": str(generator.choice(["open", "close"])),
        "initial_equity": 100_000.0,
        "max_gross_exposure": draw(1.0, 10.0),
        "limit_method": str(generator.choice(["project", "scale"])),
        "maintenance_margin_frac": float(generator.choice([0.0, 0.5, 1.0])),
        "bankruptcy_equity_frac": 0.01,
    }
    return Rules(instruments=names, **{**settings, **changes})  # type: ignore[arg-type]


def random_targets(
    generator: np.random.Generator, rows: int, instruments: int
) -> NDArray[np.float64]:
    """Exposures that hold, flip, go flat, ask for far too much, or leave positions alone (NaN)."""
    targets = generator.normal(0.0, 2.0, (rows, instruments))
    targets[generator.random((rows, instruments)) < 0.2] = 0.0
    targets[generator.random((rows, instruments)) < 0.3] = np.nan
    held = generator.random(rows) < 0.3
    for t in range(1, rows):
        if held[t]:
            targets[t] = targets[t - 1]
    return targets


@dataclass(frozen=True)
class World:
    """Everything that decides what an account lives through."""

    tape: Tape
    rules: Rules
    targets: NDArray[np.float64]
    cost_scale: float


def random_world(
    seed: int,
    rows: int = 30,
    instruments: int | None = None,
    foreign: bool | None = None,
    ugly: bool = True,
    free: bool = False,
    realistic: bool = False,
    **changes: object,
) -> World:
    """A world of 1 to 4 instruments, calm or wild, drawn from one seed.

    Args:
        foreign: Whether instruments 1 and 2 pay in another currency; drawn when None.
        ugly: Let some worlds hold an instrument that begins late or whose price crosses zero.
        free: No cost and no financing.
        realistic: Thin volume, spreads that depend on the bar, half the time latency and a band
            around what is held.
        changes: Fields of the Rules to set otherwise.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    count = int(generator.integers(1, 5)) if instruments is None else instruments
    abroad = bool(generator.random() < 0.6) if foreign is None else foreign
    volatility = float(generator.choice([0.005, 0.02, 0.1]))
    tape = random_tape(generator, rows, count, volatility=volatility, foreign=abroad)
    rules = random_rules(generator, count, free=free, **changes)
    # The audit reads from the quote who pays in another currency.
    quotes = ("USD", "JPY", "EUR", "USD") if abroad else ("USD",) * 4
    names = zip(rules.instruments, quotes, strict=False)
    rules = replace(rules, instruments=tuple(replace(item, quote=q) for item, q in names))
    targets = random_targets(generator, rows, count)
    if ugly and generator.random() < 0.2:
        tape = beginning_late(tape, count - 1, rows // 3)
    elif ugly and generator.random() < 0.2:
        tape = crossing_zero(tape)
    world = World(tape, rules, targets, float(generator.choice([0.5, 1.0, 2.0])))
    return made_realistic(world, generator) if realistic else world


def made_realistic(world: World, generator: np.random.Generator) -> World:
    """The world with orders limited on most bars, by anything from no lot to a usual order, and a
    spread that is up to five times wider, or narrower by up to half of it, from bar to bar.
    """
    prices = world.tape.prices.copy()
    shape = prices.shape[:2]
    lots = np.array([item.lot for item in world.rules.instruments])
    most = np.floor(10.0 ** generator.uniform(-1.0, 4.0, shape) / lots)
    limit = np.where(most >= 1.0, 1.0 + most, NO_LOT)
    limited = (prices[:, :, T_TRADABLE] > 0.0) & (generator.random(shape) < 0.8)
    prices[:, :, T_TRADABLE] = np.where(limited, limit, prices[:, :, T_TRADABLE])
    half = np.array([item.spread_bps for item in world.rules.instruments]) / 2.0 / 10_000.0
    prices[:, :, T_EXTRA_COST] = half * generator.uniform(-0.5, 4.0, shape)
    rules = replace(
        world.rules,
        latency_bars=int(generator.integers(0, 2)),
        rebalance_band=float(max(generator.uniform(-0.3, 0.3), 0.0)),
    )
    return replace(world, tape=replace(world.tape, prices=prices), rules=rules)


def beginning_late(tape: Tape, n: int, row: int) -> Tape:
    """The tape with instrument n's first bar at `row`."""
    prices = tape.prices.copy()
    prices[:row, n, :T_TRADABLE] = np.nan
    prices[:row, n, T_TRADABLE] = 0.0
    prices[row, n, T_TRADABLE] = 1.0
    return replace(tape, prices=prices)


def crossing_zero(tape: Tape) -> Tape:
    """The tape with instrument 0's prices moved down until half its closes are negative, as oil's
    were in 2020."""
    prices = tape.prices.copy()
    prices[:, 0, : T_CLOSE + 1] -= np.median(prices[:, 0, T_CLOSE])
    return replace(tape, prices=prices)


def hand_tape(
    bars: Sequence[tuple[float, float, float, float]],
    rates: Sequence[tuple[float, float]] | None = None,
    elapsed: float = DAY,
) -> Tape:
    """One instrument with given (open, high, low, close) and (rate_open, rate_close); every bar
    lasts `elapsed` seconds."""
    prices = np.ones((len(bars), 1, TAPE_COLUMNS))
    prices[:, :, T_EXTRA_COST] = 0.0
    prices[:, 0, : T_CLOSE + 1] = bars
    if rates is not None:
        prices[:, 0, T_RATE_OPEN : T_RATE_CLOSE + 1] = rates
    clock = np.zeros((len(bars), 2))
    clock[1:, C_ELAPSED] = elapsed
    stamps = (np.cumsum(clock[:, C_ELAPSED]) * 1e9).astype(np.int64)
    return Tape(prices, clock, (False,), ("X0",), stamps, 252.0, ())


def hand_rules(instruments: int = 1, **changes: object) -> Rules:
    """Rules without costs, stops or binding limits, under which lots are single units.

    `changes` may name fields of the instruments (set for each) or of the Rules.
    """
    each: dict[str, object] = {
        "quote": "USD",
        "sector": "equity",
        "spread_bps": 0.0,
        "commission_bps": 0.0,
        "slippage_bps": 0.0,
        "lot": 1.0,
        "multiplier": 1.0,
        "margin_frac": 0.1,
        "financing_long_bps": 0.0,
        "financing_short_bps": 0.0,
        "stop_loss_frac": 0.0,
        "take_profit_frac": 0.0,
        "name_cap": 100.0,
    }
    settings: dict[str, object] = {
        "account_currency": "USD",
        "fill_at": "open",
        "initial_equity": 1000.0,
        "max_gross_exposure": 100.0,
        "limit_method": "project",
        "maintenance_margin_frac": 0.0,
        "bankruptcy_equity_frac": 0.01,
    }
    for name, value in changes.items():
        (each if name in each else settings)[name] = value
    names = tuple(InstrumentRules(symbol=f"X{n}", **each) for n in range(instruments))  # type: ignore[arg-type]
    return Rules(instruments=names, **settings)  # type: ignore[arg-type]
