# SPDX-License-Identifier: Apache-2.0
"""Random tapes and rules with every ugly case: gaps, closed markets, foreign currency, wide bars,
tight margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.market.rules import InstrumentRules, Rules
from mtquant.market.tape import (
    T_CLOSE,
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
    prices = np.empty((rows, instruments, TAPE_COLUMNS))
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
