# SPDX-License-Identifier: Apache-2.0
"""The adapter of OANDA against a venue that acts as OANDA's documentation says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.errors import ConfigError
from mtquant.core.paper_config import OandaConfig, PaperConfig
from mtquant.data.instruments import load_instruments
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.broker_check import check_broker
from mtquant.paper.oanda.broker import oanda_broker
from mtquant.paper.orders import FILLED, REJECTED, SENT, Execution, Order
from tests.support.oanda_server import ACCOUNT, QUICK, TOKEN, Fault, OandaServer

MIDS = {"EUR_USD": 1.1, "USD_JPY": 150.0, "XAU_USD": 2_000.0, "SPX500_USD": 5_000.0}
IMPATIENT = QUICK.model_copy(update={"timeout_seconds": 1.0})


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer() as made:
        for name, mid in {**MIDS, "AUD_USD": 0.65}.items():
            made.quote(name, mid)
        yield made


def order(name: str = "a", quantity: float = 1_000.0, symbol: str = "EURUSD", **more) -> Order:
    return Order(name, symbol, quantity, 1, **more)


def done(broker, after: str = "") -> list[Execution]:
    return [own for _, own in broker.executions(after)]


@pytest.mark.parametrize(
    ("symbol", "lot"), [("EURUSD", 100.0), ("USDJPY", 1.0), ("XAUUSD", 1.0), ("SPX500", 0.1)]
)
def test_the_adapter_keeps_every_rule(server, symbol, lot):
    report = check_broker(server.broker, symbol, lot, lambda: None)
    assert report.passed, str(report)
    assert len(report.checked) > 12


def test_the_adapter_keeps_every_rule_where_the_venue_is_busy_and_fills_in_part(server):
    server.commission, server.page = 0.00002, 2
    soon = {"Retry-After": "0"}
    busy = iter([Fault(429, headers=soon), None, None, Fault(503, headers=soon), None] * 100)
    server.fate = lambda method, path: next(busy) if method == "GET" else None
    config = QUICK.model_copy(update={"time_in_force": "IOC"})
    report = check_broker(lambda: server.broker(config), "EURUSD", 100.0, lambda: None)
    assert report.passed, str(report)


# One name, one order


@pytest.mark.parametrize("kind", ["lost", "cut", "slow", "drip", "500 done"])
def test_an_order_whose_answer_is_lost_is_found_again_and_not_doubled(server, kind):
    broker = server.broker(IMPATIENT)
    server.faults.append(Fault(kind, "POST", "/orders"))
    with pytest.raises(BrokerTimeout):
        broker.submit(order())
    assert broker.order("a").status == FILLED
    assert broker.submit(order()).status == FILLED
    assert server.broker().submit(order()).status == FILLED
    assert server.held("EUR_USD") == 1_000.0
    assert [own.quantity for own in done(broker)] == [1_000.0]


@pytest.mark.parametrize("kind", ["early", 500, 502, 503])
def test_an_order_that_never_arrived_is_unknown_and_may_be_sent_again(server, kind):
    broker = server.broker()
    server.faults.append(Fault(kind, "POST", "/orders"))
    with pytest.raises(BrokerTimeout):
        broker.submit(order())
    assert len([own for own in server.requests if own[0] == "POST"]) == 1  # nobody insisted
    assert broker.order("a") is None
    assert broker.submit(order()).status == FILLED
    assert server.held("EUR_USD") == 1_000.0


def test_the_venue_itself_would_take_a_name_twice(server):
    """What makes the question before every order necessary."""
    body = {
        "order": {
            "type": "MARKET",
            "instrument": "EUR_USD",
            "units": "1000",
            "timeInForce": "FOK",
            "clientExtensions": {"id": "a"},
        }
    }
    client = server.broker().client
    assert [client.post("/orders", body, "a").status for _ in range(2)] == [201, 201]
    assert server.held("EUR_USD") == 2_000.0


def test_an_order_that_is_shown_late_is_waited_for(server):
    server.lag_seconds = 0.5
    broker = server.broker(QUICK.model_copy(update={"doubt_seconds": 1.0}))
    server.faults.append(Fault("lost", "POST", "/orders"))
    with pytest.raises(BrokerTimeout):
        broker.submit(order())
    assert broker.order("a").status == FILLED
    assert server.held("EUR_USD") == 1_000.0


def test_the_second_lock_holds_where_an_order_is_shown_too_late(server):
    server.lag_seconds = 3_600.0
    broker = server.broker()  # that does not wait
    server.faults.append(Fault("lost", "POST", "/orders"))
    with pytest.raises(BrokerTimeout):
        broker.submit(order())
    assert broker.order("a") is None
    assert broker.submit(order()).detail == "CLIENT_TRADE_ID_ALREADY_EXISTS"
    assert server.held("EUR_USD") == 1_000.0
    server.lag_seconds = 0.0
    assert [own.quantity for own in done(server.broker())] == [1_000.0]
    assert server.broker().order("a").status == FILLED


def test_a_name_that_is_pending_is_not_taken_twice(server):
    server.parked, server.lag_seconds = True, 3_600.0
    assert server.broker().submit(order()).status == SENT
    with pytest.raises(BrokerTimeout, match="must be found"):  # taken, and not shown yet
        server.broker().submit(order())
    server.lag_seconds = 0.0
    assert server.broker().submit(order()).status == SENT
    kinds = [row["type"] for row in server.transactions]
    assert kinds.count("MARKET_ORDER") == 1
    assert kinds.count("MARKET_ORDER_REJECT") == 1
    assert done(server.broker()) == []  # the duplicate's refusal is not the order's


def test_an_order_that_waits_can_be_cancelled(server):
    server.parked = True
    broker = server.broker()
    assert broker.submit(order()).status == SENT
    answer = broker.cancel("a")
    assert (answer.status, answer.detail) == (REJECTED, "CLIENT_REQUEST")
    (refused,) = done(broker)
    assert (refused.quantity, refused.wanted, refused.client_id) == (0.0, 1_000.0, "a")
    assert broker.cancel("a").status == REJECTED
    assert broker.cancel("never") is None


def test_a_filled_order_cannot_be_cancelled(server):
    broker = server.broker()
    broker.submit(order())
    assert broker.cancel("a").status == FILLED


# Refusals


@pytest.mark.parametrize(
    ("spoil", "why", "reason"),
    [
        ({"halted": {"EUR_USD"}}, "MARKET_HALTED", oc.REASON_MARKET_CLOSED),
        ({"margin_rate": 500.0}, "INSUFFICIENT_MARGIN", oc.REASON_REFUSED_BY_MARGIN),
        ({"liquidity": 10.0}, "INSUFFICIENT_LIQUIDITY", oc.REASON_REFUSED_BY_VOLUME),
    ],
)
def test_a_refusal_is_an_execution_of_nothing(server, spoil, why, reason):
    for name, value in spoil.items():
        setattr(server, name, value)
    broker = server.broker()
    answer = broker.submit(order())
    assert (answer.status, answer.detail) == (REJECTED, why)
    assert server.broker().order("a").status == REJECTED
    (refused,) = done(server.broker())
    assert (refused.quantity, refused.fee, refused.reason) == (0.0, 0.0, reason)
    assert (refused.client_id, refused.wanted, refused.symbol) == ("a", 1_000.0, "EURUSD")
    assert broker.submit(order()).status == REJECTED  # the name is used up
    assert len([own for own in server.requests if own[0] == "POST"]) == 1


def test_an_order_below_the_least_trade_is_refused_and_stays_so(server):
    broker = server.broker()
    answer = broker.submit(order("a", 0.07, "SPX500"))
    assert answer.status == REJECTED
    assert answer.detail == "smaller than the least trade of 0.1 SPX500_USD"
    assert server.broker().order("a").status == REJECTED
    (refused,) = done(server.broker())
    assert (refused.quantity, refused.client_id, refused.symbol) == (0.0, "a", "SPX500")


def test_an_order_that_the_venue_cannot_even_read_is_refused_by_name(server):
    broker = server.broker()
    server.faults.append(Fault(400, "POST", "/orders"))
    assert broker.submit(order("a", 0.07, "SPX500")).status == REJECTED
    assert broker.order("a").status == REJECTED
    server.faults.append(Fault(400, "POST", "/orders"))
    with pytest.raises(BrokerError) as caught:
        broker.submit(order("b"))
    assert not isinstance(caught.value, BrokerTimeout)


def test_quantities_are_rounded_towards_zero(server):
    broker = server.broker()
    assert broker.submit(order("a", 1_000.9)).detail == "rounded to 1000 units"
    assert broker.submit(order("b", -0.29 - 0.05, "SPX500")).detail == "rounded to -0.3 units"
    assert broker.submit(order("c", 0.1 + 0.2, "SPX500")).status == FILLED
    assert broker.holdings().positions == {"EURUSD": 1_000.0}


@pytest.mark.parametrize("quantity", [np.nan, np.inf, -np.inf, 1e30])
def test_a_quantity_that_is_none_never_leaves(server, quantity):
    with pytest.raises(BrokerError, match="finite"):
        server.broker().submit(order("a", quantity))
    assert not [own for own in server.requests if own[0] == "POST"]


def test_an_order_with_stops_needs_a_price(server):
    """At night there are no quotes, but closing prices; without them there are no stops."""
    broker, stops = server.broker(), {"stop_loss_frac": 0.01}
    server.quoted = False
    assert broker.submit(order("a", **stops)).status == FILLED
    assert server.trades[0].stop_loss == pytest.approx(server.trades[0].price * 0.99, rel=1e-4)
    server.priced = False
    assert broker.submit(order("b", **stops)).status == REJECTED
    assert broker.order("b").status == REJECTED
    assert server.held("EUR_USD") == 1_000.0


def test_what_cannot_be_traded_never_leaves(server):
    for symbol in ("NOSUCH", "US30X"):
        with pytest.raises(BrokerError, match="symbol must be tradable"):
            server.broker().submit(order("a", 1.0, symbol))
    assert not [own for own in server.requests if own[0] == "POST"]


def test_lots_that_are_too_fine_are_told_once(server, caplog):
    broker = server.broker()
    for symbol in ("EURUSD", "XAUUSD", "XAUUSD"):
        broker.submit(order(f"a-{symbol}", 5.0, symbol))
    told = [record.getMessage() for record in caplog.records if "finer" in record.getMessage()]
    assert told == [
        "XAUUSD: lots of 0.01 are finer than OANDA's 1: orders are rounded towards zero"
    ]


# Executions


def test_a_fill_carries_price_reference_rate_and_fee(server):
    server.commission = 0.001
    broker = server.broker()
    broker.submit(order("a", -2_000.0, "USDJPY"))
    (own,) = done(broker)
    assert (own.quantity, own.client_id, own.symbol) == (-2_000.0, "a", "USDJPY")
    assert own.price == pytest.approx(149.995)
    assert own.reference == pytest.approx(150.0)
    assert own.rate == pytest.approx(1.0 / 150.0)
    assert own.fee == pytest.approx(2.0)
    assert (own.origin, own.reason) == (oc.ORIGIN_ORDER, oc.REASON_DONE)
    assert np.isnan(own.slippage)  # the loop works it out from the reference


def test_an_immediate_order_is_filled_in_part(server):
    server.liquidity = 300.0
    broker = server.broker(QUICK.model_copy(update={"time_in_force": "IOC"}))
    assert broker.submit(order()).status == FILLED
    (own,) = done(broker)
    assert (own.quantity, own.wanted, own.reason) == (300.0, 1_000.0, oc.REASON_PARTIAL)
    assert broker.order("a").status == FILLED


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(
    ("move", "origin"), [(-0.02, oc.ORIGIN_STOP_LOSS), (0.03, oc.ORIGIN_TAKE_PROFIT)]
)
def test_stops_are_the_venue_s(server, side, move, origin):
    broker = server.broker()
    stops = {"stop_loss_frac": 0.01, "take_profit_frac": 0.02}
    broker.submit(order("a", side * 1_000.0, **stops))
    (trade,) = server.trades
    assert trade.stop_loss == pytest.approx(trade.price * (1.0 - side * 0.01), rel=1e-4)
    assert trade.take_profit == pytest.approx(1.1 * (1.0 + side * 0.02), rel=1e-4)
    server.quote("EUR_USD", 1.1 * (1.0 + side * move))
    opened, closed = done(broker)
    assert (closed.quantity, closed.client_id) == (-opened.quantity, "")
    assert closed.origin == origin
    assert broker.holdings().positions == {}


def test_what_others_do_is_told_without_a_name(server):
    server.trade_by_hand("EUR_USD", 500.0)
    server.trade_by_hand("AUD_USD", 7.0)
    mapped, foreign = done(server.broker())
    assert (mapped.symbol, mapped.client_id, mapped.origin) == ("EURUSD", "", oc.ORIGIN_ADOPTED)
    assert (foreign.symbol, foreign.quantity) == ("AUD_USD", 7.0)  # the loop halts over it


def test_pages_are_read_to_the_end_from_every_cursor(server):
    server.page = 3
    broker = server.broker()
    for k in range(6):
        broker.submit(order(f"a-{k}", 100.0 * (-1) ** k))
        server.halted = {"EUR_USD"} if k % 4 == 2 else set()
    whole = list(broker.executions(""))
    assert [own.client_id for _, own in whole] == [f"a-{k}" for k in range(6)]
    assert len({own.trade_id for _, own in whole}) == 6
    for k, (cursor, _) in enumerate(whole):
        assert list(server.broker().executions(cursor)) == whole[k + 1 :]


def test_a_refusal_of_an_order_that_was_made_long_ago_still_has_its_instrument(server):
    server.parked = True
    broker = server.broker()
    broker.submit(order())
    made = server.transactions[-1]["id"]
    for _ in range(3):
        server.daily_financing(1.0)
    broker.cancel("a")
    (refused,) = done(server.broker(), after=str(int(made) + 1))
    assert (refused.client_id, refused.wanted, refused.symbol) == ("a", 1_000.0, "EURUSD")


# Holdings


def test_cash_is_the_balance(server):
    server.commission = 0.001
    broker = server.broker()
    broker.submit(order("a", 10_000.0))
    server.quote("EUR_USD", 1.2)
    assert broker.holdings().cash == pytest.approx(100_000.0 - 10.0)  # no gain before it is real
    server.daily_financing(-3.5)
    server.transfer(1_000.0)
    broker.submit(order("b", -10_000.0))
    held = broker.holdings()
    gain = 10_000.0 * (1.2 - 1.1 - 2 * 0.00005)
    assert held.cash == pytest.approx(100_000.0 - 20.0 - 3.5 + 1_000.0 + gain)
    assert (held.positions, held.averages) == ({}, {})
    assert len(done(broker)) == 2  # money that comes and goes is no execution


def test_positions_are_net_with_their_averages(server):
    broker = server.broker()
    broker.submit(order("a", 1_000.0))
    server.quote("EUR_USD", 1.2)
    broker.submit(order("b", 3_000.0))
    broker.submit(order("c", -500.0, "USDJPY"))
    held = broker.holdings()
    assert held.positions == {"EURUSD": 4_000.0, "USDJPY": -500.0}
    assert held.averages["EURUSD"] == pytest.approx((1.10005 + 3 * 1.20005) / 4)
    assert held.averages["USDJPY"] == pytest.approx(149.995)


def test_an_account_in_another_currency_is_refused(server):
    server.currency = "EUR"
    with pytest.raises(BrokerError, match="must be USD"):
        server.broker().holdings()


def test_a_new_ledger_begins_with_the_balance(server):
    server.broker().check_opening(100_000.0, ["EURUSD", "US30"])
    with pytest.raises(ConfigError, match="must be the balance"):
        server.broker().check_opening(50_000.0, ["EURUSD"])
    with pytest.raises(BrokerError, match="symbol must be tradable"):
        server.broker().check_opening(100_000.0, ["EURUSD", "NOSUCH"])


def test_an_account_is_known_by_when_it_was_made(server):
    made = "account made 2026-01-05T12:00:00.000000001Z"
    assert server.broker().identity() == f"oanda practice, {made}"


# Secrets and settings


def test_the_environment_names_the_account(server, monkeypatch):
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    monkeypatch.setenv("OANDA_ACCOUNT_ID", ACCOUNT)
    for environment, host in (("practice", "api-fxpractice"), ("live", "api-fxtrade")):
        paper = PaperConfig(oanda=OandaConfig(environment=environment))
        made = oanda_broker(paper, load_instruments(None), "USD")
        assert str(made.client._http.base_url) == f"https://{host}.oanda.com"
        made.close()
    assert PaperConfig().oanda.environment == "practice"


@pytest.mark.parametrize("kind", [401, 403, 400, 404, 405, 500, "early", "cut", "lost"])
def test_no_secret_is_ever_seen(server, kind, caplog):
    """Also where the venue repeats the token in its own words."""
    caplog.set_level(0)
    broker = server.broker()
    seen = [repr(broker), repr(broker.client), repr(vars(broker)), repr(broker.client._keys)]
    server.fate = lambda method, path: Fault(kind)
    questions = (
        lambda: broker.submit(order()),
        lambda: broker.order("a"),
        lambda: broker.executions(""),
        lambda: broker.holdings(),
        lambda: broker.cancel("a"),
        lambda: broker.submit(order("x", 5.0, "SPX500")),
    )
    for question in questions:
        try:
            seen.append(repr(question()))
        except BrokerError as error:
            chain: BaseException | None = error
            while chain is not None:
                seen += [str(chain), repr(chain), repr(getattr(chain, "found", ""))]
                chain = chain.__cause__ or chain.__context__
    seen += [record.getMessage() + repr(record.args) for record in caplog.records]
    assert len(seen) > 6
    assert not [text for text in seen if TOKEN in text or ACCOUNT in text]
