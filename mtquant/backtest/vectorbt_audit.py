# SPDX-License-Identifier: Apache-2.0
"""vectorbt as the auditor: it replays our fills with its own accounting, and its equity has to
equal ours.

The replay knows only the fills (quantity, price, rate, commission), the closing prices and rates,
and the financing paid.

* One column per instrument trades at price times rate, in the account currency, with our commission
as a fixed fee. * An instrument that pays in another currency gets a second column, its loan: buying
EURJPY in a dollar account borrows yen. Opening
  borrows quantity times price of the quote currency, closing pays back the share of that loan, at
  the rates of the fills. That is where a currency account's gain really comes from, so the replay
  does not have to copy our conversion formula.
* Financing is the fee of alternately buying and selling some units of a column whose price is
always 1. * vectorbt cannot hold negative cash, so the replay starts with a constant amount more,
which is taken off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import AuditError
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules

Float = NDArray[np.float64]

TOLERANCE = 1e-9
LOAN = " loan"  # ends the name of the column that holds an instrument's loan
# Below this share of the deposit a difference is measured against the deposit: a ruined account has
# no scale of its own.
LEAST_EQUITY_FRAC = 0.01


@dataclass(frozen=True)
class Audit:
    """What the replay found.

    Attributes:
        largest_relative_difference: max |vectorbt equity - our equity| / our equity.
        bars, fills: How much was replayed.
        equity: vectorbt's equity at our closes, float64 [T].
        portfolio: The vectorbt Portfolio of the replay (offset cash included); its trades are the
        user's trades. columns: Names of the replay's columns.
    """

    largest_relative_difference: float
    bars: int
    fills: int
    equity: Float
    portfolio: Any
    columns: tuple[str, ...]


@dataclass
class _Replay:
    """Order arrays of the replay: R rows (fills and marks) by C columns."""

    close: Float
    size: Float
    price: Float
    fee: Float
    marks: NDArray[np.int64]
    stamps: NDArray[np.int64]


def audit(ledger: Ledger, rules: Rules) -> Audit:
    """Replays a ledger in vectorbt and compares equity bar by bar.

    Raises:
        AuditError: The largest relative difference is above 1e-9, or a fill has no positive price.
    """
    import vectorbt as vbt

    done = ledger.fills[ledger.fills[:, oc.FILL_QUANTITY] != 0.0]
    if not (done[:, oc.FILL_PRICE] > 0.0).all():
        raise AuditError(
            f"fills of {ledger.name!r}",
            "must have positive prices for vectorbt to replay them",
            float(done[:, oc.FILL_PRICE].min()),
            "Use bars without prices at or below zero, or audit with the second desk alone.",
        )
    foreign = [n for n, item in enumerate(rules.instruments) if _is_foreign(item.quote, rules)]
    replay = _lay_out(ledger, rules, foreign)
    offset = 10.0 * (ledger.initial_equity + _largest_book(replay))
    columns = (*ledger.symbols, *(f"{ledger.symbols[n]}{LOAN}" for n in foreign), "financing")
    index = pd.DatetimeIndex(replay.stamps.astype("datetime64[ns]"))

    def frame(values: Float) -> pd.DataFrame:
        return pd.DataFrame(values, index=index, columns=list(columns))

    portfolio = vbt.Portfolio.from_orders(
        frame(replay.close),
        size=frame(replay.size),
        price=frame(replay.price),
        fixed_fees=frame(replay.fee),
        init_cash=ledger.initial_equity + offset,
        direction="both",
        cash_sharing=True,
        group_by=True,
        freq=pd.Timedelta(np.median(np.diff(ledger.stamps)) if len(ledger) > 1 else 1, unit="ns"),
    )
    equity = np.asarray(portfolio.value())[replay.marks] - offset
    scale = np.maximum(np.abs(ledger.equity), LEAST_EQUITY_FRAC * ledger.initial_equity)
    gap = np.abs(equity - ledger.equity) / scale
    worst = float(gap.max(initial=0.0))
    if not worst <= TOLERANCE:
        bar = int(np.flatnonzero(~(gap <= TOLERANCE))[0])  # the first, where the lie began
        raise AuditError(
            f"equity of {ledger.name!r} at {ledger.index[bar]}",
            f"must equal vectorbt's to {TOLERANCE:g}",
            {"ours": float(ledger.equity[bar]), "vectorbt": float(equity[bar]), "relative": worst},
            "One of the two is wrong: keep the ledger and report it with the run card.",
        )
    return Audit(worst, len(ledger), len(done), equity, portfolio, columns)


def _is_foreign(quote: str, rules: Rules) -> bool:
    return quote != rules.account_currency


def _lay_out(ledger: Ledger, rules: Rules, foreign: list[int]) -> _Replay:
    """Rows in time order: the fills of a bar (the k-th fill of every instrument shares a row), then
    its mark.
    """
    fills = ledger.fills[ledger.fills[:, oc.FILL_QUANTITY] != 0.0]
    bar, layer = _places(ledger, fills)
    layers = np.zeros(len(ledger), dtype=np.int64)
    np.maximum.at(layers, bar, layer + 1)
    marks = np.cumsum(layers + 1) - 1
    rows = int(marks[-1]) + 1 if len(marks) else 0
    n_names, n_columns = len(ledger.symbols), len(ledger.symbols) + len(foreign) + 1
    bar_of_row = np.repeat(np.arange(len(ledger)), layers + 1)
    # Before an instrument's first bar its price is unknown and its position 0: any price values it
    # at nothing.
    value = np.nan_to_num(ledger.prices * ledger.rates, nan=1.0)
    close = np.ones((rows, n_columns))
    close[:, :n_names] = value[bar_of_row]
    size, price = np.full((rows, n_columns), np.nan), np.full((rows, n_columns), np.nan)
    fee = np.zeros((rows, n_columns))

    where = marks[bar] - layers[bar] + layer
    name = fills[:, oc.FILL_INSTRUMENT].astype(np.int64)
    multiplier = np.array([item.multiplier for item in rules.instruments])
    size[where, name] = fills[:, oc.FILL_QUANTITY] * multiplier[name]
    price[where, name] = fills[:, oc.FILL_PRICE] * fills[:, oc.FILL_RATE]
    fee[where, name] = fills[:, oc.FILL_FEE]
    for column, n in enumerate(foreign, start=n_names):
        close[:, column] = np.nan_to_num(ledger.rates[:, n], nan=1.0)[bar_of_row]
        mine = name == n
        size[where[mine], column] = _loans(fills[mine], multiplier[n])
        price[where[mine], column] = fills[mine, oc.FILL_RATE]
    financing = ledger.financing.sum(axis=1)
    paid = np.flatnonzero(financing)
    # vectorbt refuses a sale whose fee is above its proceeds: the units traded have to be worth
    # more than any fee.
    units = 1.0 + 2.0 * np.abs(financing).max(initial=0.0)
    size[marks[paid], -1] = np.where(np.arange(len(paid)) % 2 == 0, units, -units)
    price[marks[paid], -1] = 1.0
    fee[marks[paid], -1] = financing[paid]
    # Fill rows are stamped in the seconds before their bar's close, so that the index stays
    # strictly increasing.
    before = (marks[bar_of_row] - np.arange(rows)) * 1_000_000_000
    return _Replay(close, size, price, fee, marks, ledger.stamps[bar_of_row] - before)


def _places(ledger: Ledger, fills: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ledger bar that books each fill, and its number among the fills of that instrument in that
    bar.
    """
    row = fills[:, oc.FILL_ROW].astype(np.int64)
    if ledger.fill_at == "close":  # orders are dated to the close before the bar that books them
        row = row + (fills[:, oc.FILL_ORIGIN] == oc.ORIGIN_ORDER)
    bar = np.searchsorted(ledger.rows, row)
    layer = np.zeros(len(fills), dtype=np.int64)
    seen: dict[tuple[int, int], int] = {}
    for k, key in enumerate(zip(bar.tolist(), fills[:, oc.FILL_INSTRUMENT].tolist(), strict=True)):
        layer[k] = seen.get(key, 0)
        seen[key] = layer[k] + 1
    return bar, layer


def _loans(fills: Float, multiplier: float) -> Float:
    """Quote currency borrowed (negative) or paid back (positive) by each fill of one instrument."""
    loans = np.zeros(len(fills))
    q, average = 0.0, 0.0
    for k, (done, price) in enumerate(fills[:, [oc.FILL_QUANTITY, oc.FILL_PRICE]]):
        closed = min(abs(done), abs(q)) if q * done < 0.0 else 0.0
        opened = abs(done) - closed
        sign = 1.0 if done > 0.0 else -1.0
        loans[k] = -sign * multiplier * (closed * average + opened * price)
        if closed == 0.0:
            average = (average * abs(q) + price * opened) / (abs(q) + opened)
        elif opened > 0.0:
            average = price
        q += done
    return loans


def _largest_book(replay: _Replay) -> float:
    """Largest gross value that all columns together reach: the cash that they can tie up at
    once.
    """
    held = np.cumsum(np.nan_to_num(replay.size), axis=0)
    return float(np.abs(held * replay.close).sum(axis=1).max(initial=0.0))
