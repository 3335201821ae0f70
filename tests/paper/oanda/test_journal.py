# SPDX-License-Identifier: Apache-2.0
"""What the account's transactions say of orders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mtquant.paper.broker import BrokerError
from mtquant.paper.oanda import journal as module
from mtquant.paper.oanda.journal import Journal, client_name, number_of
from tests.support.oanda_server import OandaServer


class Told:
    """A client that answers what it is told to."""

    def __init__(self, *pages: dict) -> None:
        self.pages, self.asked = list(pages), []

    def demand(self, path: str, **query: str) -> dict:
        self.asked.append((path, query.get("id", "")))
        return self.pages.pop(0)


def row(number: int, kind: str = "MARKET_ORDER", **more) -> dict:
    return {"id": str(number), "type": kind, **more}


def placed(number: int, name: str) -> dict:
    return row(number, clientExtensions={"id": name}, units="5", instrument="EUR_USD")


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer() as made:
        made.quote("EUR_USD", 1.1)
        yield made


def test_pages_are_put_together_whatever_their_length_and_order():
    pages = [
        {"transactions": [row(7), row(6)], "lastTransactionID": "9"},
        {"transactions": [row(8)], "lastTransactionID": "9"},
        {"transactions": [row(9), row(10)], "lastTransactionID": "10"},
    ]
    client = Told(*pages)
    found = Journal(client).since(5)
    assert [number_of(own) for own in found] == [6, 7, 8, 9, 10]
    assert [after for _, after in client.asked] == ["5", "7", "8"]


def test_a_page_that_does_not_go_on_ends_the_reading():
    client = Told({"transactions": [], "lastTransactionID": "99"})
    assert Journal(client).since(5) == []


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"transactions": None, "lastTransactionID": "9"},
        {"transactions": [row(9)]},
        {"transactions": [{"type": "ORDER_FILL"}], "lastTransactionID": "9"},
        {"transactions": ["nonsense"], "lastTransactionID": "9"},
        {"transactions": [row(9)], "lastTransactionID": "x"},
    ],
)
def test_a_page_that_makes_no_sense_is_an_error(page):
    with pytest.raises(BrokerError):
        Journal(Told(page)).since(5)


def test_only_the_last_thousand_are_read_at_first_and_then_what_is_new():
    client = Told(
        {"lastTransactionID": "5000"},
        {"transactions": [placed(4999, "a")], "lastTransactionID": "4999"},
        {"transactions": [row(5001)], "lastTransactionID": "5001"},
    )
    journal = Journal(client)
    journal.update()
    journal.update()
    assert [after for _, after in client.asked] == ["", "4000", "4999"]
    assert journal.named("a").created["units"] == "5"
    assert journal.last == 5001


def test_executions_that_were_read_do_not_stand_for_those_before():
    """A cursor near the end is no reason to believe that nothing came earlier."""
    client = Told(
        {"transactions": [row(5000)], "lastTransactionID": "5000"},
        {"lastTransactionID": "5000"},
        {"transactions": [placed(4500, "a")], "lastTransactionID": "4500"},
    )
    journal = Journal(client)
    journal.since(4999)
    journal.update()
    assert journal.named("a") is not None


def test_memory_does_not_grow(monkeypatch):
    monkeypatch.setattr(module, "MOST_ORDERS", 10)
    journal = Journal(Told())
    for number in range(1, 100):
        journal.take([placed(number, f"a-{number}")])
    assert journal.named("a-99") is not None
    assert journal.named("a-50") is None
    assert len(journal._orders) == len(journal._names) == 10


def test_a_name_is_that_of_the_order_that_was_filled():
    journal = Journal(Told())
    journal.take([placed(1, "a"), row(2, "ORDER_FILL", orderID="1", clientOrderID="a")])
    journal.take([placed(3, "a"), row(4, "ORDER_CANCEL", orderID="3", clientOrderID="a")])
    facts = journal.named("a")
    assert [number_of(own) for own in facts.fills] == [2]
    assert facts.cancelled is None


def test_what_is_read_twice_counts_once():
    journal, fill = Journal(Told()), row(2, "ORDER_FILL", orderID="1", clientOrderID="a")
    journal.take([placed(1, "a"), fill])
    journal.take([placed(1, "a"), fill])
    assert len(journal.named("a").fills) == 1


@pytest.mark.parametrize("extensions", [None, "a", {}, {"id": ""}])
def test_orders_of_others_have_no_name(extensions):
    assert client_name(row(1, clientExtensions=extensions)) == ""


def test_an_order_that_was_forgotten_is_asked_for(server):
    server.parked = True
    broker = server.broker()
    made = server.answer("POST", "/orders", {}, {"order": _order("a")})[1]
    facts = Journal(broker.client).order_of(
        row(99, "ORDER_CANCEL", orderID=made["orderCreateTransaction"]["id"], clientOrderID="a")
    )
    assert facts.created["units"] == "7"


def _order(name: str) -> dict:
    return {
        "type": "MARKET",
        "instrument": "EUR_USD",
        "units": "7",
        "timeInForce": "FOK",
        "clientExtensions": {"id": name},
    }
