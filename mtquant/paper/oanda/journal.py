# SPDX-License-Identifier: Apache-2.0
"""The account's transactions, OANDA's own ledger: what became of every order, by our name of it.

OANDA refuses a client id only while another *pending* order has it, and looks up orders with a
short delay. What is in the transactions was done, so they are asked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtquant.paper.broker import BrokerError
from mtquant.paper.oanda.client import OandaClient

Transaction = Mapping[str, Any]
DEPTH = 1_000  # transactions before the last one that are read at first
MOST_ORDERS = 5_000  # that are kept
DUPLICATE = "CLIENT_ORDER_ID_ALREADY_EXISTS"


@dataclass
class OrderFacts:
    """One order, as far as transactions tell.

    Attributes:
        client_id: Our name of it; empty for orders of others.
        created: What made it; None where that was too long ago.
        fills: What was done.
        cancelled: What ended it; None while it works or when it was filled.
        rejected: What refused it in its place; None for an order that was taken.
    """

    client_id: str
    created: Transaction | None = None
    fills: list[Transaction] = field(default_factory=list)
    cancelled: Transaction | None = None
    rejected: Transaction | None = None


class Journal:
    """Reads transactions and remembers those of orders.

    Args:
        client: Asks.

    Attributes:
        last: All transactions from `DEPTH` before the beginning up to this number were read; 0
            before `update`.
    """

    def __init__(self, client: OandaClient) -> None:
        self._client = client
        self.last = 0
        self._orders: dict[str, OrderFacts] = {}  # by OANDA's number
        self._names: dict[str, OrderFacts] = {}  # by ours

    def since(self, number: int) -> list[Transaction]:
        """All transactions after one, oldest first, and remembers them.

        Raises:
            BrokerTimeout, BrokerError: As `OandaClient.demand`.
        """
        found: list[Transaction] = []
        while True:
            page = self._client.demand("/transactions/sinceid", id=str(number))
            rows = page.get("transactions")
            if not isinstance(rows, list):
                rule, remedy = "must be a page of transactions", "See docs/oanda.md."
                raise BrokerError("OANDA /transactions/sinceid", rule, sorted(page), remedy)
            new = sorted((row for row in rows if number_of(row) > number), key=number_of)
            self.take(new)
            found += new
            if new and number <= self.last:
                self.last = max(self.last, number_of(new[-1]))
            # However long OANDA makes its pages: the next one begins behind this one.
            if not new or number_of(new[-1]) >= last_number(page):
                return found
            number = number_of(new[-1])

    def update(self) -> None:
        """Reads what is new; at first the last thousand."""
        if self.last == 0:
            self.last = max(1, last_number(self._client.demand("/summary")) - DEPTH)
        self.since(self.last)

    def named(self, client_id: str) -> OrderFacts | None:
        """An order by our name, from what was read."""
        return self._names.get(client_id)

    def order_of(self, transaction: Transaction) -> OrderFacts:
        """The order that a fill or a cancellation is of; one of ours that was made before our
        memory is asked for.

        Raises:
            BrokerTimeout, BrokerError: As `OandaClient.demand`.
        """
        number = str(transaction.get("orderID", ""))
        facts = self._orders.get(number)
        if facts is None:
            facts = self._orders[number] = OrderFacts(str(transaction.get("clientOrderID", "")))
        if facts.created is None and facts.client_id:
            # An order has the number of the transaction that made it.
            reply = self._client.get(f"/transactions/{number}")
            if reply.good:
                facts.created = reply.body.get("transaction")
        return facts

    def take(self, transactions: Sequence[Transaction]) -> None:
        """Remembers transactions, in their order; known ones change nothing."""
        for row in transactions:
            self._take(row, str(number_of(row)))
        for known in (self._orders, self._names):
            while len(known) > MOST_ORDERS:
                del known[next(iter(known))]

    def _take(self, row: Transaction, number: str) -> None:
        kind, name = str(row.get("type", "")), client_name(row)
        if kind.endswith("_ORDER_REJECT"):
            if name and row.get("rejectReason") != DUPLICATE:
                self._names.setdefault(name, OrderFacts(name)).rejected = row
        elif kind == "ORDER_FILL":
            fills = self._facts(row).fills
            if all(number_of(own) != int(number) for own in fills):
                fills.append(row)
        elif kind == "ORDER_CANCEL":
            self._facts(row).cancelled = row
        elif kind.endswith("_ORDER"):
            facts = self._orders.setdefault(number, OrderFacts(name))
            facts.created, facts.client_id = row, name
            self._name(name, facts)

    def _facts(self, row: Transaction) -> OrderFacts:
        name = client_name(row)
        facts = self._orders.setdefault(str(row.get("orderID", "")), OrderFacts(name))
        self._name(name, facts)
        return facts

    def _name(self, name: str, facts: OrderFacts) -> None:
        """One that was filled keeps its name, whatever came under it later."""
        known = self._names.get(name)
        if name and (known is None or not known.fills):
            self._names[name] = facts


def number_of(transaction: Transaction) -> int:
    """Its number.

    Raises:
        BrokerError: It has none.
    """
    return _number(transaction, "id")


def last_number(body: Mapping[str, Any]) -> int:
    """Number of the account's last transaction when an answer was made.

    Raises:
        BrokerError: It does not say.
    """
    return _number(body, "lastTransactionID")


def _number(record: Mapping[str, Any], key: str) -> int:
    try:
        return int(record[key])
    except (KeyError, TypeError, ValueError):
        raise BrokerError(
            "OANDA's answer", f"must have {key}", record, "See docs/oanda.md."
        ) from None


def client_name(transaction: Transaction) -> str:
    """Our name of the order that a transaction is about; empty for others'."""
    extensions = transaction.get("clientExtensions")
    name = extensions.get("id", "") if isinstance(extensions, Mapping) else ""
    return str(transaction.get("clientOrderID") or name)
