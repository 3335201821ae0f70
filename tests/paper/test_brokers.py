# SPDX-License-Identifier: Apache-2.0
"""The simulated broker, in process and as a process, and the suite that judges adapters."""

from __future__ import annotations

import multiprocessing
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mtquant.core import outcome as oc
from mtquant.market.live_tape import LiveTape
from mtquant.paper.broker import BrokerError, BrokerTimeout, SimulatedVenue
from mtquant.paper.broker_check import check_broker
from mtquant.paper.orders import FILLED, REJECTED, SENT, Answer, Holdings, Order
from mtquant.paper.sim_broker import Faults, SimBroker
from mtquant.paper.wire import RemoteBroker, serve
from tests.support.paper import SYMBOLS, Stage

LOT = 100.0


class Venue:
    """A venue with its market: bars come when asked for."""

    def __init__(self, stage: Stage, faults: Faults | None = None) -> None:
        self.stage, self.feed = stage, stage.replay()
        tape = LiveTape(stage.rules, 3_600, 6_000.0)
        delivery = self.feed.next(1.0)
        tape.push(delivery.stamp_ns, self.prices(delivery))
        self.broker = SimBroker(tape, stage.rules, faults)

    def prices(self, delivery):
        return {SYMBOLS.index(own.symbol): own[2:6] for own in delivery.bars}

    def bar(self, broker: SimulatedVenue | None = None) -> None:
        delivery = self.feed.next(1.0)
        while len(delivery.bars) < 2:  # both markets are open
            delivery = self.feed.next(1.0)
        (broker or self.broker).live_bar(delivery.stamp_ns, self.prices(delivery))


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage.of(tmp_path, rows=60)


def order(name: str, quantity: float = 1_000.0, symbol: str = "EURUSD") -> Order:
    return Order(name, symbol, quantity, 1)


def test_simulated_broker_keeps_every_rule(stage):
    venue = Venue(stage)
    report = check_broker(lambda: venue.broker, "EURUSD", LOT, venue.bar)
    assert report.passed, str(report)
    assert len(report.checked) > 12


class Wrong:
    """A broker that does one thing wrong."""

    def __init__(self, inner: SimBroker) -> None:
        self.inner = inner
        self.name = "wrong"

    def submit(self, order: Order) -> Answer:
        return self.inner.submit(order)

    def order(self, client_id: str) -> Answer | None:
        return self.inner.order(client_id)

    def executions(self, after: str):
        return self.inner.executions(after)

    def holdings(self) -> Holdings:
        return self.inner.holdings()

    def cancel(self, client_id: str) -> Answer | None:
        return self.inner.cancel(client_id)


class SaysFlat(Wrong):
    def order(self, client_id):
        return super().order(client_id) or Answer(client_id, REJECTED)


class TradesTwice(Wrong):
    def executions(self, after):
        return [own for own in super().executions(after) for _ in range(2)]


class ForgetsHoldings(Wrong):
    def holdings(self):
        return Holdings({}, {})


class TakesAnySymbol(Wrong):
    def submit(self, order):
        return Answer(order.client_id, SENT) if order.symbol == "NOSUCH" else super().submit(order)


class IgnoresCursors(Wrong):
    def executions(self, after):
        return super().executions("")


@pytest.mark.parametrize(
    "wrong", [SaysFlat, TradesTwice, ForgetsHoldings, TakesAnySymbol, IgnoresCursors]
)
def test_a_wrong_adapter_is_found_out(stage, wrong):
    venue = Venue(stage)
    report = check_broker(lambda: wrong(venue.broker), "EURUSD", LOT, venue.bar)
    assert not report.passed


def test_an_id_is_traded_once(stage):
    venue = Venue(stage)
    for _ in range(3):
        assert venue.broker.submit(order("a")).status == SENT
    venue.bar()
    for _ in range(3):
        assert venue.broker.submit(order("a")).status == FILLED
    venue.bar()
    assert [own.quantity for _, own in venue.broker.executions("")] == [1_000.0]


def test_faults_depend_on_the_client_id_alone(stage):
    faults = Faults(3, reject=0.2, partial=0.2, split=0.3)
    seen = []
    for _ in range(2):
        venue = Venue(Stage.of(stage.folder, rows=60), faults)
        for k in range(30):
            venue.broker.submit(order(f"a-{k}", 5_000.0 if k % 2 == 0 else -5_000.0))
            venue.bar()
        seen.append([(own.client_id, own.quantity) for _, own in venue.broker.executions("")])
        quantities = {}
        for name, done in seen[-1]:
            quantities.setdefault(name, []).append(done)
        kinds = {
            "whole": [5_000.0],
            "nothing": [0.0],
            "half": [2_500.0],
        }
        for kind, expected in kinds.items():
            found = [q for q in quantities.values() if [abs(x) for x in q] == expected]
            assert found, kind
        assert any(len(q) == 3 for q in quantities.values())
    assert seen[0] == seen[1]


def test_parts_add_up_to_the_whole(stage):
    whole, split = Venue(stage), Venue(stage, Faults(split=1.0))
    for venue in (whole, split):
        venue.broker.submit(order("a", 5_000.0))
        venue.bar()
    (_, one), *_ = whole.broker.executions("")
    parts = [own for _, own in split.broker.executions("")]
    assert len(parts) == 3
    for name in ("quantity", "fee", "slippage"):
        assert sum(getattr(own, name) for own in parts) == pytest.approx(
            getattr(one, name), rel=1e-14
        )
    assert {own.price for own in parts} == {one.price}


def test_late_executions_show_up_in_time(stage):
    venue = Venue(stage, Faults(late=1.0, latency_seconds=0.1))
    venue.broker.submit(order("a"))
    venue.bar()
    assert list(venue.broker.executions("")) == []
    assert venue.broker.order("a") == Answer("a", SENT)
    time.sleep(0.12)
    assert len(venue.broker.executions("")) == 1
    assert venue.broker.order("a").status == FILLED


@pytest.mark.parametrize(("kind", "arrived"), [("lost_answer", True), ("lost_request", False)])
def test_a_lost_word_is_a_time_out(stage, kind, arrived):
    venue = Venue(stage, Faults(**{kind: 1.0}))
    with pytest.raises(BrokerTimeout):
        venue.broker.submit(order("a"))
    assert (venue.broker.order("a") is not None) == arrived
    assert venue.broker.submit(order("a")).status == SENT
    venue.bar()
    assert len(venue.broker.executions("")) == 1


def test_a_venue_goes_on_from_its_state(stage):
    faults = Faults(1, partial=0.3, split=0.3, reject=0.2)
    whole, cut = Venue(stage, faults), Venue(stage, faults)
    for k in range(20):
        for venue in (whole, cut):
            size = 1_000.0 * (-1) ** (k // 2)
            venue.broker.submit(order(f"a-{k}", size, SYMBOLS[k % 2]))
        fresh = SimBroker(LiveTape(stage.rules, 3_600, 6_000.0), stage.rules, faults)
        fresh.restore(cut.broker.state())
        cut.broker = fresh
        whole.bar()
        cut.bar()
        assert cut.broker.holdings() == whole.broker.holdings()
        after = str(max(0, k - 1))
        assert str(cut.broker.executions(after)) == str(whole.broker.executions(after))


def test_stops_are_the_brokers(tmp_path):
    stage = Stage.of(tmp_path, "environment.stop_loss_pct=0.002", rows=60)
    venue = Venue(stage)
    for k in range(20):
        if not venue.broker.holdings().positions:
            venue.broker.submit(order(f"a-{k}"))
        venue.bar()
    origins = {own.origin for _, own in venue.broker.executions("")}
    assert oc.ORIGIN_STOP_LOSS in origins


def test_a_second_order_for_an_instrument_is_refused(stage):
    venue = Venue(stage)
    venue.broker.submit(order("a"))
    assert venue.broker.submit(order("b")).status == REJECTED


def test_a_cancelled_order_is_not_filled(stage):
    venue = Venue(stage)
    venue.broker.submit(order("a"))
    assert venue.broker.cancel("a").status == REJECTED
    assert venue.broker.cancel("never") is None
    venue.bar()
    assert [own.quantity for _, own in venue.broker.executions("")] == [0.0]


def _serve(folder, overrides, faults) -> None:
    stage = Stage.of(folder, *overrides, rows=60)

    def make(state: bytes | None) -> SimBroker:
        made = Venue(stage, faults).broker
        kept = SimBroker(made.live, stage.rules, faults, keep_all=True)
        if state is not None:
            kept.restore(state)
        return kept

    serve(folder / "broker.socket", folder / "venue.sqlite", make, lambda: False)


@pytest.fixture
def server(tmp_path) -> Iterator:
    context = multiprocessing.get_context("fork")
    started, brokers = [], []

    def start(faults: Faults | None = None):
        process = context.Process(target=_serve, args=(tmp_path, (), faults), daemon=True)
        process.start()
        started.append(process)
        address = tmp_path / "broker.socket"
        deadline = time.monotonic() + 20.0
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        brokers.append(RemoteBroker(address, patience_seconds=1.0))
        return process, brokers[-1]

    yield start
    for broker in brokers:
        broker.close()
    for process in started:
        process.kill()
        process.join()


def test_remote_broker_keeps_every_rule(server, tmp_path):
    _, broker = server()
    market = Venue(Stage.of(tmp_path, rows=60))
    report = check_broker(lambda: broker, "EURUSD", LOT, lambda: market.bar(broker))
    assert report.passed, str(report)


def test_whoever_sees_the_address_is_answered(tmp_path, monkeypatch):
    class Door(socket.socket):
        def listen(self, *arguments):
            assert not (tmp_path / "broker.socket").exists()
            super().listen(*arguments)

    def seen() -> bool:
        assert stat.S_IMODE((tmp_path / "broker.socket").stat().st_mode) == 0o600
        return True

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(tmp_path / "broker.socket"))
    monkeypatch.setattr(socket, "socket", Door)
    venue = Venue(Stage.of(tmp_path, rows=60)).broker
    serve(tmp_path / "broker.socket", tmp_path / "venue.sqlite", lambda _: venue, seen)
    assert not list(tmp_path.glob("broker.socket*"))


def test_a_killed_server_remembers(server, tmp_path):
    process, broker = server()
    market = Venue(Stage.of(tmp_path, rows=60))
    broker.submit(order("a"))
    process.kill()
    process.join()
    with pytest.raises(BrokerTimeout):
        broker.order("a")
    (tmp_path / "broker.socket").unlink()  # which `server` would take for the new one
    _, broker = server()
    assert broker.order("a").status == SENT
    market.bar(broker)
    assert broker.holdings().positions == {"EURUSD": 1_000.0}
    assert len(broker.executions("")) == 1


def test_a_lost_answer_is_never_taken_for_the_next_one(server, tmp_path):
    _, broker = server(Faults(lost_answer=1.0))
    broker._patience = 0.2
    with pytest.raises(BrokerTimeout):
        broker.submit(order("a"))
    assert broker.order("never") is None
    assert broker.order("a").status == SENT


def test_errors_cross_the_wire_with_their_words(server):
    _, broker = server()
    with pytest.raises(BrokerError, match="symbol must be one of"):
        broker.submit(replace(order("a"), symbol="NOSUCH"))
