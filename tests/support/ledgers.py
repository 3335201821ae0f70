# SPDX-License-Identifier: Apache-2.0
"""Small ledgers for tests of everything that reads a ledger, made without the desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

# Costs of `trading_ledger`, fractions of the notional (financing: per bar).
FEE, HALF_SPREAD, FINANCING = 1e-4, 2e-4, 1e-5


def daily_stamps(bars: int) -> NDArray[np.int64]:
    """Close stamps at 21:00 UTC on `bars` weekdays from 2018-01-02 on."""
    days = np.busday_offset(np.datetime64("2018-01-02", "D"), np.arange(bars))
    return days.astype("datetime64[ns]").astype(np.int64) + 21 * 3600 * 10**9


def ledger_from_returns(
    returns: Sequence[float] | Float,
    *,
    held: float = 1.0,
    turnover: float = 1.0,
    initial_equity: float = 100_000.0,
    **changes: Any,
) -> Ledger:
    """One instrument held with exposure `held` on every bar, with given returns; no fills listed.

    Args:
        returns: Simple return per bar.
        held: Exposure at every close.
        turnover: Turnover of every bar.
        changes: Fields of the Ledger to set otherwise.
    """
    path = np.cumprod(1.0 + np.asarray(returns, dtype=np.float64), dtype=np.float64)
    equity: Float = initial_equity * path
    outcomes = _outcomes(equity, initial_equity)
    outcomes[:, oc.TURNOVER], outcomes[:, oc.GROSS] = turnover, abs(held)
    positions = held * equity[:, None] / 100.0
    prices = np.full((len(equity), 1), 100.0)
    return _ledger(outcomes, positions, prices, initial_equity=initial_equity, **changes)


def ledger_from_fills(
    fills: Sequence[Mapping[str, float]], symbols: tuple[str, ...] = ("AAA",), bars: int = 20
) -> Ledger:
    """Given fills on quiet bars.

    Args:
        fills: Values by FILL_COLUMNS; by default rate 1, wanted what was done, the rest 0.
        symbols: The instruments.
        bars: Length of the ledger.
    """
    table = np.zeros((len(fills), len(oc.FILL_COLUMNS)))
    for line, fill in zip(table, fills, strict=True):
        for column, value in {"rate": 1.0, "wanted": fill.get("quantity", 0.0), **fill}.items():
            line[oc.FILL_COLUMNS.index(column)] = value
    flat = np.zeros((bars, len(symbols)))
    outcomes = _outcomes(np.full(bars, 100_000.0), 100_000.0)
    return _ledger(outcomes, flat, flat + 100.0, symbols=symbols, fills=table)


def trading_ledger(
    *,
    seed: int = 0,
    bars: int = 1500,
    symbols: tuple[str, ...] = ("AAA", "BBB", "CCC"),
    **changes: Any,
) -> Ledger:
    """A random policy on daily random walks, with costs, financing, stops and refusals.

    All seeds live through the same bars, as baselines do. Equity is booked from marks and all is
    flat at the end, so gains of the round trips less financing are the gain of the account.

    Args:
        seed: Seed of the decisions.
        bars: Length of the ledger.
        symbols: The instruments.
        changes: Fields of the Ledger to set otherwise.
    """
    shape, generator = (bars, len(symbols)), np.random.Generator(np.random.PCG64(seed))
    steps = np.random.Generator(np.random.PCG64(99)).normal(2e-4, 0.011, shape)
    prices = np.geomspace(1.2, 2400.0, shape[1]) * np.exp(np.cumsum(steps, axis=0))
    opens = np.vstack([prices[:1], prices[:-1]])
    # Units, not shares of equity: what is held then needs no account, and all books are arrays.
    aims = generator.choice([-0.3, 0.0, 0.0, 0.3], shape) * 100_000.0 / opens
    moved = generator.random(shape) < 0.04
    aims[-1], moved[-1] = 0.0, True
    refused = moved & (generator.random(shape) < 0.05)
    refused[-1] = False
    positions = np.zeros(shape)
    for t in range(bars):
        held = positions[t - 1] if t else np.zeros(shape[1])
        positions[t] = np.where(moved[t] & ~refused[t], np.round(aims[t], 2), held)
    before = np.vstack([np.zeros((1, shape[1])), positions[:-1]])
    wanted = np.where(moved, np.round(aims, 2) - before, 0.0)
    traded = np.abs(positions - before) * opens
    fee, slippage = FEE * traded, HALF_SPREAD * traded
    financing = FINANCING * np.abs(positions) * prices
    gains = positions * (prices - opens) - fee - slippage - financing
    outcomes = _outcomes(100_000.0 + np.cumsum(gains.sum(axis=1)), 100_000.0)
    outcomes[:, oc.FEE], outcomes[:, oc.SLIPPAGE] = fee.sum(axis=1), slippage.sum(axis=1)
    outcomes[:, oc.FINANCING] = financing.sum(axis=1)
    outcomes[:, oc.TURNOVER] = traded.sum(axis=1) / outcomes[:, oc.EQUITY_BEFORE]
    outcomes[:, oc.GROSS] = (np.abs(positions) * prices).sum(axis=1) / outcomes[:, oc.EQUITY]
    outcomes[:, oc.BINDING] = np.where(outcomes[:, oc.GROSS] > 0.55, oc.LIMIT_GROSS, 0)
    fills = _fills(generator, wanted, refused, opens)
    fields = {"symbols": symbols, "fills": fills, "financing": financing, **changes}
    return _ledger(outcomes, positions, prices, **fields)


def _fills(
    generator: np.random.Generator, wanted: Float, refused: NDArray[np.bool_], opens: Float
) -> Float:
    rows, columns = np.nonzero(wanted)
    quantity = np.where(refused, 0.0, wanted)[rows, columns]
    reference = opens[rows, columns]
    table = np.zeros((len(rows), len(oc.FILL_COLUMNS)))
    table[:, oc.FILL_ROW], table[:, oc.FILL_INSTRUMENT] = rows, columns
    table[:, oc.FILL_ORIGIN] = generator.choice(4, len(rows), p=[0.85, 0.08, 0.06, 0.01])
    table[:, oc.FILL_WANTED], table[:, oc.FILL_QUANTITY] = wanted[rows, columns], quantity
    table[:, oc.FILL_REFERENCE], table[:, oc.FILL_RATE] = reference, 1.0
    table[:, oc.FILL_PRICE] = reference * (1.0 + HALF_SPREAD * np.sign(quantity))
    table[:, oc.FILL_FEE] = FEE * np.abs(quantity) * reference
    table[:, oc.FILL_SLIPPAGE] = HALF_SPREAD * np.abs(quantity) * reference
    table[:, oc.FILL_REASON] = np.where(quantity == 0.0, oc.REASON_REFUSED_BY_MARGIN, 0)
    return table


def _outcomes(equity: Float, initial_equity: float) -> Float:
    path = np.concatenate(([initial_equity], equity))
    outcomes = np.zeros((len(equity), len(oc.OUTCOME_COLUMNS)))
    outcomes[:, oc.EQUITY_BEFORE], outcomes[:, oc.EQUITY] = path[:-1], equity
    outcomes[:, oc.GROWTH] = np.log(path[1:] / path[:-1])
    outcomes[:, oc.SIMPLE_RETURN] = path[1:] / path[:-1] - 1.0
    outcomes[:, oc.DRAWDOWN] = 1.0 - equity / np.maximum.accumulate(path)[1:]
    return outcomes


def _ledger(outcomes: Float, positions: Float, prices: Float, **changes: Any) -> Ledger:
    fields: dict[str, Any] = {
        "name": "policy",
        "symbols": ("AAA",),
        "account_currency": "USD",
        "rules_hash": "0" * 64,
        "world_hash": "0" * 64,
        "fill_at": "open",
        "initial_equity": 100_000.0,
        "rows": np.arange(len(outcomes), dtype=np.int64),
        "stamps": daily_stamps(len(outcomes)),
        "outcomes": outcomes,
        "positions": positions,
        "prices": prices,
        "rates": np.ones(prices.shape),
        "targets": np.full(prices.shape, np.nan),
        "fills": np.empty((0, len(oc.FILL_COLUMNS))),
        "financing": np.zeros(prices.shape),
    }
    fields.update(changes)
    fields.setdefault("multipliers", (1.0,) * len(fields["symbols"]))
    return Ledger(**fields)
