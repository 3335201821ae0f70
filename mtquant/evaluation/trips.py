# SPDX-License-Identifier: Apache-2.0
"""Round trips: what was made from opening a position to closing it, per instrument.

A trip runs from flat to flat. A fill that changes the side closes one trip and opens the next; its
fee is shared by quantity. Profit is booked by average price, as the account does: closing q units
of a position entered at average price a earns ``q * (price - a) * side * multiplier * rate``, with
the price that was paid (half spread and slippage inside) and the conversion rate of the closing
fill, less the fees of every fill of the trip. Financing belongs to the account and is not in it. A
trip still open at the end is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger

TRIP_COLUMNS = (
    "symbol",
    "side",
    "opened",
    "closed",
    "bars",
    "quantity",
    "entry",
    "exit",
    "fees",
    "profit",
    "return",
)
# A position built from many lots returns to zero only up to rounding.
DUST = 1e-9


@dataclass
class _Open:
    """The trip under way: units, prices in quote currency, money in account currency.

    `average` is that of what is held, which gains are booked by; `entry` that of all that was ever
    entered.
    """

    side: float
    opened: pd.Timestamp
    row: float
    held: float = 0.0
    entered: float = 0.0
    average: float = 0.0
    entry: float = 0.0
    exited: float = 0.0
    exit: float = 0.0
    fees: float = 0.0
    gross: float = 0.0
    notional: float = 0.0

    def grow(self, quantity: float, price: float, rate: float, fee: float) -> None:
        self.average = (self.average * self.held + price * quantity) / (self.held + quantity)
        self.entry = (self.entry * self.entered + price * quantity) / (self.entered + quantity)
        self.held += quantity
        self.entered += quantity
        self.notional += quantity * abs(price) * rate
        self.fees += fee

    def shrink(self, quantity: float, price: float, rate: float, fee: float) -> None:
        self.gross += quantity * (price - self.average) * self.side * rate
        self.exit = (self.exit * self.exited + price * quantity) / (self.exited + quantity)
        self.held -= quantity
        self.exited += quantity
        self.fees += fee

    def closed(self, symbol: str, stamp: pd.Timestamp, row: float) -> dict[str, Any]:
        profit = self.gross - self.fees
        return {
            "symbol": symbol,
            "side": "long" if self.side > 0 else "short",
            "opened": self.opened,
            "closed": stamp,
            "bars": int(row - self.row),
            "quantity": self.entered,
            "entry": self.entry,
            "exit": self.exit,
            "fees": self.fees,
            "profit": profit,
            "return": profit / self.notional if self.notional > 0 else float("nan"),
        }


def round_trips(ledger: Ledger) -> pd.DataFrame:
    """Closed round trips of a ledger, in order of closing.

    Returns:
        One row per trip, columns `TRIP_COLUMNS`: symbol; ``"long"`` or ``"short"``; close stamps of
        the bars of the first and the last fill; panel rows between them; units entered; average
        entry and exit price in quote currency; fees and profit in account currency, net of fee and
        slippage; profit over the notional entered, a fraction.
    """
    stamps = ledger.fills_frame()["stamp"]
    underway: dict[int, _Open] = {}
    rows: list[dict[str, Any]] = []
    for fill, stamp in zip(ledger.fills, stamps, strict=True):
        n, quantity = int(fill[oc.FILL_INSTRUMENT]), float(fill[oc.FILL_QUANTITY])
        if quantity == 0.0:
            continue
        price, row = float(fill[oc.FILL_PRICE]), float(fill[oc.FILL_ROW])
        rate = float(fill[oc.FILL_RATE]) * ledger.multipliers[n]
        left, fee_per_unit = abs(quantity), float(fill[oc.FILL_FEE]) / abs(quantity)
        side = 1.0 if quantity > 0.0 else -1.0
        trip = underway.get(n)
        if trip is not None and side != trip.side:
            closing = min(left, trip.held)
            trip.shrink(closing, price, rate, closing * fee_per_unit)
            left -= closing
            if trip.held <= DUST * trip.entered:
                rows.append(trip.closed(ledger.symbols[n], stamp, row))
                del underway[n]
            if left <= DUST * trip.entered:
                continue
        trip = underway.setdefault(n, _Open(side, stamp, row))
        trip.grow(left, price, rate, left * fee_per_unit)
    return pd.DataFrame(rows, columns=list(TRIP_COLUMNS))
