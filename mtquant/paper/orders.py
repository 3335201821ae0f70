# SPDX-License-Identifier: Apache-2.0
"""Orders and what becomes of them: the words that the loop and every broker share.

    intended   written into the ledger; nobody was told
    sent       the broker said that it took it
    unknown    the broker was told and did not answer: neither filled nor flat, and never sent twice
    partial    some of it is done, the rest is working
    filled     all of it is done, or all that ever will be
    rejected   the broker refused it
    expired    it never reached the broker, and is too old to send

The last three end an order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc

INTENDED, SENT, UNKNOWN, PARTIAL = "intended", "sent", "unknown", "partial"
FILLED, REJECTED, EXPIRED = "filled", "rejected", "expired"
ENDED = frozenset({FILLED, REJECTED, EXPIRED})
STATUSES = frozenset({INTENDED, SENT, UNKNOWN, PARTIAL}) | ENDED


@dataclass(frozen=True)
class Order:
    """One order.

    Attributes:
        client_id: Our own name of it, made from what it is (`client_id`), so that a restart gives
            it the same one; brokers take each name once.
        symbol: The instrument.
        quantity: Signed units.
        stamp_ns: Close stamp of the bar it was decided at.
        stop_loss_frac, take_profit_frac: Distances from the average price at which the broker is to
            close the position by itself; 0 for none.
    """

    client_id: str
    symbol: str
    quantity: float
    stamp_ns: int
    stop_loss_frac: float = 0.0
    take_profit_frac: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What a broker says about one order.

    Attributes:
        client_id: Which.
        status: SENT, PARTIAL, FILLED or REJECTED.
        detail: The broker's own words.
    """

    client_id: str
    status: str
    detail: str = ""


@dataclass(frozen=True)
class Execution:
    """Something that a broker did: a fill, or a refusal (quantity 0).

    Attributes:
        trade_id: The broker's name of it; booked once, however often it is reported.
        symbol: The instrument.
        quantity: Signed units done; 0 for a refusal.
        price: Price paid or received, quote currency.
        fee: Commission, account currency.
        origin: ORIGIN_* of `mtquant.core.outcome`: an order, or a stop that the broker triggered.
        client_id: The order; empty for what no order asked for.
        wanted: Quantity of the order; `quantity` where there was none.
        reason: REASON_*.
        reference: Mid price it was filled against; NaN where the broker does not say.
        rate: Account currency per unit of quote currency; NaN where the broker does not say.
        slippage: Half spread and slippage paid, account currency; NaN where it does not say.
    """

    trade_id: str
    symbol: str
    quantity: float
    price: float
    fee: float
    origin: int = oc.ORIGIN_ORDER
    client_id: str = ""
    wanted: float = np.nan
    reason: int = oc.REASON_DONE
    reference: float = np.nan
    rate: float = np.nan
    slippage: float = np.nan


@dataclass(frozen=True)
class Holdings:
    """What a broker says the account holds.

    Attributes:
        positions: Symbol -> signed units; a symbol left out is flat.
        averages: Symbol -> average price of the open position, where known.
        cash: Realised money, account currency; NaN where the broker does not say.
    """

    positions: dict[str, float]
    averages: dict[str, float]
    cash: float = np.nan


def client_id(account: str, bar: int, instrument: int) -> str:
    """Name of the order that a decision makes for an instrument: one decision, one order."""
    return f"{account}-{bar:08d}-{instrument:03d}"


def fill_row(execution: Execution, instrument: int, row: int) -> NDArray[np.float64]:
    """An execution as a row of fills, float64 [len(FILL_COLUMNS)]."""
    values = np.zeros(len(oc.FILL_COLUMNS))
    values[oc.FILL_ROW], values[oc.FILL_INSTRUMENT] = row, instrument
    values[oc.FILL_ORIGIN], values[oc.FILL_REASON] = execution.origin, execution.reason
    wanted = execution.quantity if np.isnan(execution.wanted) else execution.wanted
    values[oc.FILL_WANTED], values[oc.FILL_QUANTITY] = wanted, execution.quantity
    values[oc.FILL_REFERENCE], values[oc.FILL_PRICE] = execution.reference, execution.price
    values[oc.FILL_RATE], values[oc.FILL_FEE] = execution.rate, execution.fee
    values[oc.FILL_SLIPPAGE] = execution.slippage
    return values
