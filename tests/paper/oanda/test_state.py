# SPDX-License-Identifier: Apache-2.0
"""Whatever the network does: no order is doubled, and executions add up to what is held."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtquant.paper.broker import BrokerTimeout
from mtquant.paper.oanda.broker import OandaBroker
from mtquant.paper.orders import ENDED, Answer, Order
from tests.support.oanda_server import QUICK, Fault, OandaServer

SOON = {"Retry-After": "0"}
FAULTS = ("lost", "early", "cut", 429, 500, 503, "500 done")
SHARE = 0.15  # of requests that meet one
ORDERS = st.tuples(
    st.sampled_from(["EURUSD", "USDJPY"]),
    st.sampled_from([-3_000.0, -1_000.0, -100.0, 100.0, 1_000.0, 3_000.0]),
    st.booleans(),  # the market moves
    st.booleans(),  # the loop is killed and starts again
)


def insist(broker: OandaBroker, order: Order) -> Answer:
    """What the loop does: tell, and where nobody answers, ask before telling again."""
    told = False
    while True:
        try:
            if told:
                known = broker.order(order.client_id)
                if known is not None:
                    return known
            told = True
            return broker.submit(order)
        except BrokerTimeout:
            pass


def patiently(question):
    while True:
        try:
            return question()
        except BrokerTimeout:
            pass


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ORDERS, min_size=1, max_size=5), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_no_order_is_doubled_and_executions_are_the_holdings(asked, seed, page):
    draw, book, cursor = np.random.default_rng(seed), defaultdict(float), ""
    config = QUICK.model_copy(update={"time_in_force": "IOC"})
    with OandaServer() as server:
        server.page = page
        server.quote("EUR_USD", 1.1)
        server.quote("USD_JPY", 150.0)

        def fate(method: str, path: str) -> Fault | None:
            server.liquidity = draw.choice([500.0, 5_000.0])
            kind = FAULTS[draw.integers(len(FAULTS))]
            return Fault(kind, headers=SOON) if draw.random() < SHARE else None

        server.fate = fate
        broker = server.broker(config, sleep=lambda seconds: None)
        for k, (symbol, quantity, moves, killed) in enumerate(asked):
            if moves:
                server.quote("EUR_USD", 1.1 * float(draw.uniform(0.95, 1.05)))
            if killed:
                broker = server.broker(config, sleep=lambda seconds: None)
            order = Order(f"a-{k}", symbol, quantity, 1, stop_loss_frac=0.02)
            assert insist(broker, order).status in ENDED
            assert abs(server.filled(f"a-{k}")) <= abs(quantity)
            for behind, own in patiently(partial(broker.executions, cursor)):
                book[own.symbol] += own.quantity
                cursor = behind
        held = patiently(broker.holdings)
        names = [own.get("clientOrderID") for own in server.transactions]
        assert all(names.count(f"a-{k}") == 1 for k in range(len(asked)))
    for symbol, name in (("EURUSD", "EUR_USD"), ("USDJPY", "USD_JPY")):
        assert book[symbol] == pytest.approx(server.held(name), abs=1e-9)
        assert held.positions.get(symbol, 0.0) == pytest.approx(server.held(name), abs=1e-9)
    assert held.cash == pytest.approx(server.balance, abs=1e-3)
