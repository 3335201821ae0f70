# SPDX-License-Identifier: Apache-2.0
"""The paper loop trades at the venue that acts as OANDA, and survives what happens to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mtquant.market.account import A_CASH, B_AVERAGE, B_POSITION, B_RATE
from mtquant.paper.desk_book import missing_cash
from mtquant.paper.feeds import Delivery, Replay
from mtquant.paper.loop import PaperLoop
from mtquant.paper.oanda.broker import OandaBroker
from mtquant.paper.orders import Order
from mtquant.paper.reading import market_ledger, reader
from tests.support.oanda_server import ACCOUNT, TOKEN, Fault, OandaServer
from tests.support.paper import OPENING, SYMBOLS, Stage

NAMES = dict(zip(SYMBOLS, ("EUR_USD", "USD_JPY"), strict=True))
BARS = 12
SETTINGS = ("paper.cash_tolerance_frac=1000",)  # cash has its own test below


class Market(Replay):
    """A replay that moves the venue's prices along."""

    def __init__(self, stage: Stage, server: OandaServer) -> None:
        super().__init__(stage.bars)
        self._server = server

    def next(self, seconds: float) -> Delivery:
        delivery = super().next(seconds)
        for own in delivery.bars:
            self._server.quote(NAMES[own.symbol], own.close)
        return delivery


class Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


class Fragile(OandaBroker):
    """Dies at one of its orders, when it has been sent."""

    left = 10**9

    def submit(self, order: Order):
        answer = super().submit(order)
        self.left -= 1
        if self.left == 0:
            raise Killed
        return answer


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer() as made:
        yield made


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage.of(tmp_path, *SETTINGS)


def opened(stage: Stage, server: OandaServer, dies_at: int = 10**9) -> PaperLoop:
    """A loop at the venue, new or recovered."""

    def make(tape, state) -> OandaBroker:
        made = server.broker(kind=Fragile)
        made.left = dies_at
        return made

    return stage.open(broker=make, feed=Market(stage, server))


def ended(loop: PaperLoop) -> None:
    loop.recorder.ledger.close()


def history(server: OandaServer, stage: Stage) -> None:
    """Prices at the opening."""
    feed = Market(stage, server)
    for _ in range(OPENING + 1):
        feed.next(0.0)


def named(server: OandaServer) -> list[tuple[str, str]]:
    rows = [own for own in server.transactions if own["type"] == "ORDER_FILL"]
    return [(own.get("clientOrderID", ""), own["units"]) for own in rows]


def run(stage: Stage, server: OandaServer, bars: int = BARS) -> PaperLoop:
    history(server, stage)
    loop = opened(stage, server)
    loop.run(most_bars=bars)
    return loop


def agree(loop: PaperLoop, server: OandaServer) -> None:
    """What was sent last is booked with the next bar."""
    loop.dealer.settle()
    held = [server.held(NAMES[symbol]) for symbol in SYMBOLS]
    assert loop.broker.holdings().positions == {
        symbol: q for symbol, q in zip(SYMBOLS, held, strict=True) if q
    }


def test_the_loop_trades(stage, server):
    loop = run(stage, server)
    fills = named(server)
    assert len(fills) > BARS  # two instruments, most bars
    assert len({name for name, _ in fills}) == len(fills)
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
    assert not loop.guardian.reasons()
    booked = np.zeros(len(SYMBOLS))
    for row in ledger.fills:
        booked[int(row[1])] += row[4]
    sent = {name for name, _ in fills if name.startswith(f"t-{loop.bar:08d}")}  # not yet booked
    done = [(name, units) for name, units in fills if name not in sent]
    for n in range(len(SYMBOLS)):
        own = sum(float(units) for name, units in done if name.endswith(f"{n:03d}"))
        assert booked[n] == pytest.approx(own)
        assert loop.positions[n] == pytest.approx(own)
    assert not loop.recorder.ledger.ask("SELECT * FROM notes WHERE kind = 'mismatch'")
    agree(loop, server)
    ended(loop)


@pytest.mark.parametrize("dies_at", [1, 4, 9])
def test_a_kill_behind_an_order_changes_nothing(tmp_path, dies_at):
    """The order is at the venue, the ledger holds only the intention."""
    found = []
    for name, kill in (("whole", None), ("killed", dies_at)):
        folder = tmp_path / name
        folder.mkdir()
        stage = Stage.of(folder, *SETTINGS)
        with OandaServer() as server:
            history(server, stage)
            lived = 0
            if kill is not None:
                loop = None
                with pytest.raises(Killed):
                    loop = opened(stage, server, kill)  # may die in its first decision
                    loop.run(most_bars=BARS)
                if loop is not None:
                    ended(loop)
            loop = opened(stage, server)
            lived = loop.bar - OPENING
            loop.run(most_bars=BARS - lived)
            fills = named(server)
            assert len({own for own, _ in fills}) == len(fills)
            found.append((fills, [float(q) for q in loop.positions], loop.bar))
            ended(loop)
    assert found[0] == found[1]


def test_a_network_that_fails_doubles_nothing(stage, server):
    history(server, stage)
    draw, kinds = np.random.default_rng(3), ("lost", "early", "cut", 500, 503, 429)

    def fate(method: str, path: str) -> Fault | None:
        if draw.random() > 0.15:
            return None
        return Fault(kinds[draw.integers(len(kinds))], headers={"Retry-After": "0"})

    server.fate = fate
    loop = opened(stage, server)
    loop.run(most_bars=BARS)
    fills = named(server)
    assert len({name for name, _ in fills}) == len(fills) > 3
    server.fate = lambda method, path: None
    loop.run(most_bars=2)
    assert not loop.recorder.ledger.ask("SELECT * FROM notes WHERE kind = 'mismatch'")
    agree(loop, server)
    ended(loop)


def test_no_secret_is_in_the_ledger(stage, server, caplog):
    caplog.set_level(0)
    loop = run(stage, server, bars=3)
    server.fate = lambda method, path: Fault(401)
    loop.run(most_bars=2)
    assert loop.dealer.broken
    ended(loop)
    written = [path.read_bytes() for path in stage.folder.iterdir() if path.is_file()]
    written += [record.getMessage().encode() for record in caplog.records]
    assert sum(len(content) for content in written) > 10_000
    assert b"OANDA" in b"".join(written)
    for secret in (TOKEN, ACCOUNT):
        assert secret.encode() not in b"".join(written)


def test_money_agrees_though_the_venue_closes_the_oldest_trade_first(stage, server):
    """The venue's balance and averages, and the desk's, are the same wealth."""
    history(server, stage)
    loop = opened(stage, server)
    loop.guardian.halt("a person trades", "person")
    differences, missing = [], []
    for units in (200_000.0, 100_000.0, -150_000.0, -50_000.0):
        loop.run(most_bars=2)
        for name in NAMES.values():
            server.trade_by_hand(name, units)
        loop.run(most_bars=1)
        held, desk = loop.broker.holdings(), loop.desk
        own = desk.column(B_POSITION), desk.column(B_AVERAGE), desk.column(B_RATE)
        cash = float(desk.block[A_CASH])
        differences.append(abs(held.cash - cash))
        missing.append(abs(missing_cash(held, cash, *own, stage.rules)))
    # Financing is the desk's own, and conversions at two moments differ.
    assert max(missing) < 5.0
    assert max(differences) > 50.0  # would have been adopted as money lost or found
    ended(loop)


def test_equity_is_the_venue_s_after_the_oldest_trades_were_closed(tmp_path, server):
    stage = Stage.of(tmp_path, "paper.cash_tolerance_frac=0.0001")
    history(server, stage)
    loop = opened(stage, server)
    loop.guardian.halt("a person trades", "person")
    for units in (200_000.0, 100_000.0, -150_000.0, -50_000.0):
        loop.run(most_bars=2)
        for name in NAMES.values():
            server.trade_by_hand(name, units)
        loop.run(most_bars=2)
        assert loop.equity == pytest.approx(server.balance + server.unrealised(), abs=20.0)
    assert not loop.recorder.ledger.ask("SELECT * FROM notes WHERE kind = 'mismatch'")
    server.transfer(-5_000.0)
    loop.run(most_bars=2)  # money that left is adopted by name, and once
    ((detail,),) = loop.recorder.ledger.ask("SELECT detail FROM notes WHERE kind = 'mismatch'")
    assert float(detail.split()[0]) == pytest.approx(-5_000.0, abs=20.0)
    assert loop.equity == pytest.approx(server.balance + server.unrealised(), abs=20.0)
    ended(loop)
