# SPDX-License-Identifier: Apache-2.0
"""Orders that are under way, and how a broker's executions become rows that the desk books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.live_tape import LAST
from mtquant.market.rules import Rules
from mtquant.market.tape import T_CLOSE, T_OPEN, T_RATE_CLOSE, T_RATE_OPEN, Tape
from mtquant.paper.orders import (
    ENDED,
    FILLED,
    INTENDED,
    PARTIAL,
    REJECTED,
    Execution,
    Holdings,
    Order,
    fill_row,
)

Float = NDArray[np.float64]
SAME = 1e-9  # of a quantity: sums of parts round


@dataclass
class Pending:
    """An order that has not ended.

    Attributes:
        order: It.
        instrument: Its column.
        bar: Whose close it was decided at.
        good_until_ns: Until when it may be sent.
        status: Where it stands (`orders.py`).
        done: Quantity done so far.
    """

    order: Order
    instrument: int
    bar: int
    good_until_ns: int
    status: str = INTENDED
    done: float = 0.0


@dataclass
class OrderBook:
    """All orders that have not ended, and the changes of their status that the ledger still has to
    be told.

    Attributes:
        pending: Client id -> order.
        events: Client id, status, detail.
    """

    pending: dict[str, Pending] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def move(self, client_id: str, status: str, detail: str = "") -> None:
        """An order's status changes; one that has ended leaves."""
        own = self.pending.get(client_id)
        if own is None or own.status == status:
            return
        own.status = status
        self.events.append((client_id, status, detail))
        if status in ENDED:
            del self.pending[client_id]

    def take(self, execution: Execution) -> None:
        """What an execution says about its order."""
        own = self.pending.get(execution.client_id)
        if own is None:
            return
        own.done += execution.quantity
        if execution.quantity == 0.0:
            detail = oc.REASON_TEXTS.get(execution.reason, "")
            self.move(execution.client_id, REJECTED, detail)
        elif abs(own.done - own.order.quantity) <= SAME * abs(own.order.quantity):
            self.move(execution.client_id, FILLED)
        else:
            self.move(execution.client_id, PARTIAL, f"{own.done:g} of {own.order.quantity:g}")

    def busy(self, n_instruments: int) -> NDArray[np.bool_]:
        """Instruments with an order under way, bool [N]: they get no second one."""
        found = np.zeros(n_instruments, dtype=bool)
        for own in self.pending.values():
            found[own.instrument] = True
        return found


def executions_matrix(executions: Sequence[Execution], tape: Tape, rules: Rules, bar: int) -> Float:
    """Executions as rows of fills, float64 [M, len(FILL_COLUMNS)]; what a broker does not say
    (reference, rate, slippage) is measured against the bar's own open, for stops against the price.

    Args:
        executions: In the broker's order.
        tape: Its last row is the bar.
        rules: Of the instruments.
        bar: Number of the bar.
    """
    rows = np.zeros((len(executions), len(oc.FILL_COLUMNS)))
    for k, execution in enumerate(executions):
        n = rules.symbols.index(execution.symbol)
        row = fill_row(execution, n, bar)
        prices = tape.prices[LAST, n]
        adopted = execution.origin == oc.ORIGIN_ADOPTED
        if np.isnan(row[oc.FILL_RATE]):
            row[oc.FILL_RATE] = prices[T_RATE_CLOSE if adopted else T_RATE_OPEN]
        if np.isnan(row[oc.FILL_REFERENCE]):
            ordered = execution.origin == oc.ORIGIN_ORDER
            row[oc.FILL_REFERENCE] = prices[T_OPEN] if ordered else execution.price
        if np.isnan(row[oc.FILL_SLIPPAGE]):
            away = execution.price - row[oc.FILL_REFERENCE]
            worth = rules.instruments[n].multiplier * row[oc.FILL_RATE]
            row[oc.FILL_SLIPPAGE] = execution.quantity * away * worth
        rows[k] = row
    return rows


def adoptions(
    own: Float, venue: Float, averages: Sequence[float], tape: Tape, rules: Rules, bar: int
) -> list[Execution]:
    """Executions that bring the book to what the broker says it holds, at the last close: the
    equity does not move, the difference is in the ledger by name.

    Args:
        own: Positions of the book, float64 [N].
        venue: The broker's, float64 [N].
        averages: Average prices that the broker gives; NaN for the close.
        tape: Its last row is the bar.
        rules: Of the instruments.
        bar: Number of the bar.
    """
    found = []
    for n, symbol in enumerate(rules.symbols):
        missing = float(venue[n] - own[n])
        if abs(missing) < rules.instruments[n].lot / 2.0:
            continue
        opened = own[n] == 0.0 and np.isfinite(averages[n])
        price = averages[n] if opened else float(tape.prices[LAST, n, T_CLOSE])
        found.append(
            Execution(
                trade_id=f"adopted-{bar:08d}-{n:03d}",
                symbol=symbol,
                quantity=missing,
                price=price,
                fee=0.0,
                origin=oc.ORIGIN_ADOPTED,
                reference=price,
                rate=float(tape.prices[LAST, n, T_RATE_CLOSE]),
                slippage=0.0,
            )
        )
    return found


def missing_cash(
    holdings: Holdings, cash: float, positions: Float, averages: Float, rates: Float, rules: Rules
) -> float:
    """What the book lacks of the broker's money, account currency; NaN where that cannot be known.

    Realised money alone cannot be compared while positions are open: a broker that closes the
    oldest trades first realises another gain than a book that closes at the average, and its open
    positions have another average in return. Cash c, quantity q and average a of both are worth the
    same at every price p if c + sum q m (p - a) r is the same, from which p falls out.

    Args:
        holdings: The broker's, with the same positions as the book.
        cash: Of the book.
        positions, averages: Of the book, float64 [N].
        rates: Account currency per unit of quote currency, float64 [N].
        rules: Of the instruments.
    """
    missing = holdings.cash - cash
    for n, symbol in enumerate(rules.symbols):
        if positions[n] == 0.0:
            continue
        theirs = holdings.averages.get(symbol, np.nan)
        worth = positions[n] * rules.instruments[n].multiplier * rates[n]
        missing -= worth * (theirs - averages[n])
    return float(missing)
