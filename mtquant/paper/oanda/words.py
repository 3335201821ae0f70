# SPDX-License-Identifier: Apache-2.0
"""OANDA's words and ours: units, order requests, fills and refusals.

OANDA writes numbers as decimal text. Its units are ours (multiplier 1), signed; `pl`, fees and
balance are in the account's currency.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import numpy as np

from mtquant.core import outcome as oc
from mtquant.paper.broker import BrokerError
from mtquant.paper.oanda.journal import OrderFacts, Transaction, number_of
from mtquant.paper.orders import Execution, Order

NOISE_DIGITS = 6  # digits behind the last one that counts, where float arithmetic leaves its dirt
ORIGINS = {
    "STOP_LOSS_ORDER": oc.ORIGIN_STOP_LOSS,
    "GUARANTEED_STOP_LOSS_ORDER": oc.ORIGIN_STOP_LOSS,
    "TRAILING_STOP_LOSS_ORDER": oc.ORIGIN_STOP_LOSS,
    "TAKE_PROFIT_ORDER": oc.ORIGIN_TAKE_PROFIT,
    "MARKET_ORDER_MARGIN_CLOSEOUT": oc.ORIGIN_LIQUIDATION,
}
REASONS = {
    "INSUFFICIENT_MARGIN": oc.REASON_REFUSED_BY_MARGIN,
    "MARKET_HALTED": oc.REASON_MARKET_CLOSED,
    "INSTRUMENT_BID_HALTED": oc.REASON_MARKET_CLOSED,
    "INSTRUMENT_ASK_HALTED": oc.REASON_MARKET_CLOSED,
    "INSUFFICIENT_LIQUIDITY": oc.REASON_REFUSED_BY_VOLUME,
}


@dataclass(frozen=True)
class Contract:
    """What OANDA lets this account trade of an instrument.

    Attributes:
        name: OANDA's.
        units_digits: Digits of a quantity behind the point.
        price_digits: The same of a price.
        least_units, most_units: Of one order.
    """

    name: str
    units_digits: int
    price_digits: int
    least_units: Decimal
    most_units: Decimal

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Contract:
        """From a row of /instruments.

        Raises:
            BrokerError: Something is missing.
        """
        try:
            return cls(
                str(row["name"]),
                int(row["tradeUnitsPrecision"]),
                int(row["displayPrecision"]),
                Decimal(row["minimumTradeSize"]),
                Decimal(row.get("maximumOrderUnits", "Infinity")),
            )
        except (KeyError, TypeError, ValueError, ArithmeticError):
            rule, remedy = "must say precision and least size", "See docs/oanda.md."
            raise BrokerError("instrument of OANDA", rule, row, remedy) from None

    def units(self, quantity: float) -> Decimal:
        """A quantity in digits that OANDA takes, rounded towards zero: never more than wanted.

        Raises:
            BrokerError: It is no number, or has too many digits for anybody.
        """
        step = Decimal(1).scaleb(-self.units_digits)
        clean = Decimal("NaN")
        with contextlib.suppress(InvalidOperation):
            clean = Decimal(quantity).quantize(step.scaleb(-NOISE_DIGITS), ROUND_HALF_EVEN)
        if not clean.is_finite():
            rule, remedy = "must be a finite number of units", "Look at what the model asked for."
            raise BrokerError(f"quantity of {self.name}", rule, quantity, remedy)
        return clean.quantize(step, ROUND_DOWN)

    def refuses(self, units: Decimal) -> str:
        """Why an order of so many units cannot be; empty if it can."""
        if abs(units) < self.least_units or units == 0:
            return f"smaller than the least trade of {self.least_units} {self.name}"
        if abs(units) > self.most_units:
            return f"larger than the largest order of {self.most_units} {self.name}"
        return ""

    def price(self, price: float) -> str:
        """A price or a distance in OANDA's digits, at least one step."""
        step = Decimal(1).scaleb(-self.price_digits)
        return str(max(step, Decimal(price).quantize(step, ROUND_HALF_EVEN)))


def market_order(
    order: Order, contract: Contract, units: Decimal, time_in_force: str, mid: float
) -> dict[str, Any]:
    """The request that places an order.

    Args:
        order: Ours.
        contract: Of its instrument.
        units: What is asked for.
        time_in_force: ``"FOK"`` or ``"IOC"``.
        mid: Price that the take-profit is measured from; NaN where there are no stops.
    """
    name = {"id": order.client_id}
    request: dict[str, Any] = {
        "type": "MARKET",
        "instrument": contract.name,
        "units": format(units, "f"),
        "timeInForce": time_in_force,
        "positionFill": "REDUCE_FIRST",  # one net position, also where the account could hedge
        "clientExtensions": name,
        # A second lock: while a trade of this name is open, OANDA opens no other.
        "tradeClientExtensions": name,
    }
    if order.stop_loss_frac:
        distance = contract.price(order.stop_loss_frac * mid)
        request["stopLossOnFill"] = {"distance": distance, "timeInForce": "GTC"}
    if order.take_profit_frac:
        side = math.copysign(1.0, order.quantity)
        price = contract.price(mid * (1.0 + side * order.take_profit_frac))
        request["takeProfitOnFill"] = {"price": price, "timeInForce": "GTC"}
    return {"order": request}


def fill(row: Transaction, facts: OrderFacts, symbol: str) -> Execution:
    """An ORDER_FILL as an execution.

    The fee is commission and guaranteed execution. Financing is left out: the desk books its own,
    and what OANDA's differs by is adopted with the cash (docs/oanda.md).

    Raises:
        BrokerError: It has no numbers.
    """
    try:
        quantity = float(row["units"])
        price = _price(row, quantity)
        fee = float(row.get("commission", 0.0)) + float(row.get("guaranteedExecutionFee", 0.0))
        gain = float(row.get("pl", 0.0))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        rule, remedy = "must have units and prices", "See docs/oanda.md."
        raise BrokerError("fill of OANDA", rule, row, remedy) from None
    kind, named = str(row.get("reason", "")), facts.client_id
    wanted = _units(facts)
    partial = np.isfinite(wanted) and abs(quantity) < abs(wanted)
    return Execution(
        trade_id=trade_id(row),
        symbol=symbol,
        quantity=quantity,
        price=price,
        fee=fee,
        # Somebody traded by hand, or OANDA closed something: found at the broker.
        origin=oc.ORIGIN_ORDER if named else ORIGINS.get(kind, oc.ORIGIN_ADOPTED),
        client_id=named,
        wanted=wanted if named else np.nan,
        reason=oc.REASON_PARTIAL if named and partial else oc.REASON_DONE,
        reference=_mid(row),
        rate=_rate(row, gain),
    )


def refusal(row: Transaction, facts: OrderFacts, symbol: str) -> Execution:
    """A cancelled or rejected order as an execution of nothing."""
    return Execution(
        trade_id=trade_id(row),
        symbol=symbol,
        quantity=0.0,
        price=0.0,
        fee=0.0,
        client_id=facts.client_id,
        wanted=_units(facts),
        reason=REASONS.get(why(row), oc.REASON_REJECTED),
    )


def mid_of(body: Mapping[str, Any]) -> float:
    """Mid of an answer of /pricing; of the closing prices where nobody quotes; NaN without both."""
    prices = body.get("prices")
    price = prices[0] if isinstance(prices, list) and prices else {}
    quoted = _mid({"fullPrice": price})
    if not math.isnan(quoted):
        return quoted
    try:
        return (float(price["closeoutBid"]) + float(price["closeoutAsk"])) / 2.0
    except (KeyError, TypeError, ValueError):
        return float("nan")


def trade_id(row: Transaction) -> str:
    """The venue's name of an execution."""
    return f"oanda-{number_of(row)}"


def why(row: Transaction) -> str:
    """OANDA's reason for a cancellation or a rejection."""
    return str(row.get("rejectReason") or row.get("reason") or "")


def instrument_of(row: Transaction, facts: OrderFacts) -> str:
    """OANDA's name of what a transaction is about; empty where nobody says."""
    made = facts.created or facts.rejected or {}
    return str(row.get("instrument") or made.get("instrument") or "")


def _units(facts: OrderFacts) -> float:
    """Units that an order asked for; NaN where that is not known."""
    made = facts.created or facts.rejected or {}
    try:
        return float(made["units"])
    except (KeyError, TypeError, ValueError):
        return float("nan")


def _price(row: Transaction, quantity: float) -> float:
    """Mean price of all units: `price` of the fill itself is deprecated."""
    parts = [*(row.get("tradesClosed") or ()), row.get("tradeReduced"), row.get("tradeOpened")]
    known = [
        (abs(float(part["units"])), float(part["price"]))
        for part in parts
        if part and "price" in part
    ]
    done = sum(size for size, _ in known)
    if known and math.isclose(done, abs(quantity), rel_tol=1e-9):
        return sum(size * price for size, price in known) / done
    return float(row["fullVWAP"] if "fullVWAP" in row else row["price"])


def _mid(row: Transaction) -> float:
    """Mid of the quotes that it was filled against; NaN where there is only one side or none."""
    quotes = row.get("fullPrice") or {}
    try:
        bid, ask = (float(quotes[side][0]["price"]) for side in ("bids", "asks"))
    except (KeyError, IndexError, TypeError, ValueError):
        return float("nan")
    return (bid + ask) / 2.0


def _rate(row: Transaction, gain: float) -> float:
    """Account currency per unit of quote currency that OANDA converted with; NaN where unknown."""
    side = "gain" if gain >= 0.0 else "loss"
    factors = row.get("homeConversionFactors") or {}
    older = f"{side}QuoteHomeConversionFactor"  # deprecated by OANDA, and still sent
    try:
        return float(factors[f"{side}QuoteHome"]["factor"] if factors else row[older])
    except (KeyError, TypeError, ValueError):
        return float("nan")
