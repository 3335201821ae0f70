# SPDX-License-Identifier: Apache-2.0
"""What has gone wrong in other people's live loops, each by name (issue numbers: where it was
reported), and what ours does instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.market.account import A_CASH, B_HELD_BARS
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.commands import obey
from mtquant.paper.loop import PaperLoop
from mtquant.paper.orders import Answer, Execution, Holdings, Order
from mtquant.paper.reading import fills, market_ledger, open_orders, reader, table
from mtquant.paper.sim_broker import Faults, SimBroker
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_HALTED, GUARD_REDUCING
from tests.support.paper import SYMBOLS, Stage, positions

QUICK = "paper.settle_seconds=0.02"


class Meddled:
    """A simulated broker whose answers a test can change."""

    name = "meddled"

    def __init__(self, inner: SimBroker) -> None:
        self.inner = inner
        self.silent: set[str] = set()
        self.submitted: list[Order] = []
        self.extra: list[tuple[str, Execution]] = []
        self.held: Callable[[Holdings], Holdings] = lambda held: held
        self.repeat = 1

    def _speak(self, method: str) -> None:
        if method in self.silent or "all" in self.silent:
            raise BrokerTimeout(method, "must answer", "silence", "Ask again.")

    def submit(self, order: Order) -> Answer:
        self.submitted.append(order)
        self._speak("submit")
        answer = self.inner.submit(order)
        self._speak("submit-answer")
        return answer

    def order(self, client_id: str) -> Answer | None:
        self._speak("order")
        return self.inner.order(client_id)

    def executions(self, after: str) -> list[tuple[str, Execution]]:
        self._speak("executions")
        found = [own for own in self.inner.executions(after) for _ in range(self.repeat)]
        return [*found, *self.extra]

    def holdings(self) -> Holdings:
        self._speak("holdings")
        return self.held(self.inner.holdings())

    def cancel(self, client_id: str) -> Answer | None:
        return self.inner.cancel(client_id)

    def live_bar(self, stamp_ns, bars) -> None:
        self.inner.live_bar(stamp_ns, bars)

    def state(self) -> bytes:
        return self.inner.state()


@contextmanager
def opened(stage: Stage, faults: Faults | None = None) -> Iterator[tuple[PaperLoop, Meddled]]:
    made = []

    def make(tape, state):
        made.append(Meddled(stage.simulated(faults)(tape, state)))
        return made[0]

    loop = stage.open(broker=make)
    try:
        yield loop, made[0]
    finally:
        loop.recorder.ledger.close()


def traded(loop: PaperLoop) -> PaperLoop:
    """Lives on until something is held."""
    for _ in range(30):
        loop.run(1)
        if any(positions(loop)) and not loop.dealer.orders.pending:
            return loop
    raise AssertionError("nothing was ever held")


def test_a_timeout_is_not_flat_and_buys_nothing_again(tmp_path):
    """torchtrade#296: an API time-out read as "flat" bought again on every bar of the outage."""
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        traded(loop)
        held, sent = positions(loop), len(broker.submitted)
        broker.silent = {"executions", "order", "holdings"}
        loop.run(4)
        assert len(broker.submitted) <= sent + 0
        assert positions(loop) == held
        assert loop.guardian.mode >= GUARD_REDUCING
        broker.silent = set()
        loop.run(3)
        assert positions(loop) == [
            broker.inner.holdings().positions.get(symbol, 0.0) for symbol in SYMBOLS
        ]


def test_an_outage_while_submitting_leaves_orders_unknown_and_sends_none_twice(tmp_path):
    """hummingbot#493 #601: redundant orders after a time-out."""
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        broker.silent = {"submit-answer", "order"}
        loop.run(3)
        names = [order.client_id for order in broker.submitted]
        assert len(set(names)) == len(names)
        statuses = {own.status for own in loop.dealer.orders.pending.values()}
        assert statuses <= {"unknown", "partial", "sent"}
        broker.silent = set()
        loop.run(2)
        done: dict[str, float] = {}
        for _, execution in broker.inner.executions(""):
            done[execution.client_id] = done.get(execution.client_id, 0.0) + execution.quantity
        with reader(loop.recorder.ledger.path) as connection:
            rows = fills(connection)
        booked = rows[rows["client_id"].notna()].groupby("client_id")["quantity"].sum().to_dict()
        assert booked == {name: q for name, q in done.items() if name in booked}
        assert set(done) - set(booked) <= set(loop.dealer.orders.pending)


def test_an_unknown_order_blocks_its_instrument_until_it_is_known(tmp_path):
    """An order of unknown fate: no second one, and no new risk anywhere."""
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        broker.silent = {"submit", "order"}
        loop.run(1)
        unknown = {own.instrument for own in loop.dealer.orders.pending.values()}
        assert unknown
        before = len(broker.submitted)
        loop.run(3)
        assert all(
            SYMBOLS.index(order.symbol) not in unknown for order in broker.submitted[before:]
        )
        assert "an order of unknown fate" in loop.guardian.reasons()
        assert loop.guardian.mode == GUARD_REDUCING
        broker.silent = set()
        loop.run(2)
        assert "an order of unknown fate" not in loop.guardian.reasons()
        with reader(loop.recorder.ledger.path) as connection:
            assert (table(connection, "events")["status"] == "expired").any()


def test_a_refused_order_changes_nothing(tmp_path):
    """torchtrade#190: a failed order still changed the local position."""
    with opened(Stage.of(tmp_path), Faults(reject=1.0)) as (loop, _):
        loop.run(5)
        assert positions(loop) == [0.0, 0.0]
        assert loop.equity == loop.terms.rules.initial_equity
        with reader(loop.recorder.ledger.path) as connection:
            rows = fills(connection)
        assert len(rows) > 3
        assert set(rows["reason"]) == {oc.REASON_TEXTS[oc.REASON_REJECTED]}


def test_a_position_closed_by_hand_is_noticed_before_the_next_decision(tmp_path):
    """torchtrade#245: after a manual close a stale guard dropped the re-entry."""
    with opened(Stage.of(tmp_path)) as (loop, broker):
        traded(loop)
        broker.held = lambda held: Holdings({}, {}, held.cash)
        loop.run(1)
        assert positions(loop) == [0.0, 0.0]
        decided = len(loop.roster.models("first").policy.seen)
        loop.run(1)
        assert len(loop.roster.models("first").policy.seen) == decided + 1
        with reader(loop.recorder.ledger.path) as connection:
            assert oc.ORIGIN_TEXTS[oc.ORIGIN_ADOPTED] in set(fills(connection)["origin"])
            assert "mismatch" in set(table(connection, "notes")["kind"])


def test_a_position_that_was_there_before_is_adopted_and_can_be_closed(tmp_path):
    """torchtrade#243: "go flat" did nothing to a position from before the start."""
    with opened(Stage.of(tmp_path)) as (loop, broker):
        place = broker.inner.desk.column(0)
        place[0] = 5_000.0
        broker.inner.desk.column(1)[0] = 1.1
        loop.run(1)
        assert positions(loop)[0] == broker.inner.holdings().positions["EURUSD"]
        obey(loop, "flatten", {})
        loop.run(4)
        assert positions(loop) == [0.0, 0.0]
        assert broker.inner.holdings().positions == {}


def test_a_flip_from_long_to_short_starts_its_age_anew(tmp_path):
    """torchtrade#251: the holding age of a long position was shown for the short after it."""
    with opened(Stage.of(tmp_path)) as (loop, _):
        flipped = 0
        for _ in range(80):
            before = positions(loop)
            if not loop.run(1):
                break
            after, ages = positions(loop), loop.desk.column(B_HELD_BARS)
            for n in range(2):
                if before[n] * after[n] < 0.0:
                    flipped += 1
                    assert ages[n] == 1.0
        assert flipped


def test_a_stop_is_checked_on_the_first_exposed_bar(tmp_path):
    """torchtrade#294: a stop was not looked at in the bar of the entry."""
    stage = Stage.of(tmp_path, "environment.stop_loss_pct=0.0005")
    with opened(stage) as (loop, _):
        loop.run(40)
    with reader(stage.path) as connection:
        rows = fills(connection)
    opened_in = set(rows[rows["origin"] == "order"]["bar"])
    stopped_in = set(rows[rows["origin"] == "stop-loss"]["bar"])
    assert opened_in & stopped_in


def test_fills_told_twice_are_booked_once(tmp_path):
    """nautilus#3176 #3046 #3185 #3878: fills replayed on restart were booked again."""
    stage = Stage.of(tmp_path)
    with opened(stage) as (loop, broker):
        broker.repeat = 2
        loop.run(20)
    expected, _ = stage.backtest()
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
        assert "trade-twice" in set(table(connection, "notes")["kind"])
    np.testing.assert_array_equal(ledger.outcomes, expected.outcomes[:20])


def test_a_restart_sends_no_order_twice_and_books_no_fill_twice(tmp_path):
    """The same, by starting again after every bar with a broker that tells all of its history."""
    stage = Stage.of(tmp_path)
    kept: list[SimBroker] = []

    def make(tape, state):
        if not kept:
            kept.append(stage.simulated()(tape, state))
        return NoState(kept[0])

    for _ in range(10):
        loop = stage.open(broker=make)
        loop.dealer.cursor = ""
        loop.run(1)
        loop.recorder.ledger.close()
    expected, _ = stage.backtest()
    with reader(stage.path) as connection:
        assert market_ledger(connection).outcomes.tobytes() == expected.outcomes[:10].tobytes()


class NoState(Meddled):
    """A broker that outlives the loop."""

    state = None


del NoState.state


def test_a_working_order_survives_a_restart(tmp_path):
    """nautilus#5000: starting up dropped an order that was still working."""
    stage = Stage.of(tmp_path, QUICK)
    slow = Faults(late=1.0, latency_seconds=0.3)
    broker: list[SimBroker] = []

    def make(tape, state):
        if not broker:
            broker.append(stage.simulated(slow)(tape, state))
        return Outlives(broker[0])

    loop = stage.open(broker=make)
    loop.run(1)
    working = set(loop.dealer.orders.pending)
    loop.recorder.ledger.close()
    assert working
    with reader(stage.path) as connection:
        assert set(open_orders(connection)["client_id"]) >= working
    again = stage.open(broker=make)
    assert set(again.dealer.orders.pending) >= working
    again.recorder.ledger.close()


class Outlives:
    """Passes everything on to a broker that lives elsewhere."""

    def __init__(self, inner: SimBroker) -> None:
        self._inner, self.name = inner, "elsewhere"
        for method in ("submit", "order", "executions", "holdings", "cancel", "live_bar"):
            setattr(self, method, getattr(inner, method))


@pytest.mark.parametrize("answer", ["adopt", "halt"])
def test_a_mismatch_is_adopted_or_halts_but_never_ignored(tmp_path, answer):
    """bytex#30: a mismatch was logged, and trading went on as if flat."""
    with opened(Stage.of(tmp_path, f"paper.on_mismatch={answer}")) as (loop, broker):
        traded(loop)
        broker.held = lambda held: Holdings({"EURUSD": 7_000.0}, {"EURUSD": 1.1}, held.cash)
        loop.run(1)
        assert positions(loop) == [7_000.0, 0.0]
        assert (loop.guardian.mode == GUARD_HALTED) == (answer == "halt")


def test_cash_of_the_broker_is_adopted(tmp_path):
    """The broker charges something that no rule knows: the ledger follows, by name."""
    with opened(Stage.of(tmp_path)) as (loop, broker):
        loop.run(2)
        broker.held = lambda held: Holdings(held.positions, held.averages, held.cash - 25.0)
        loop.run(1)
        before = loop.dealer.cash_moved
        assert before == pytest.approx(-25.0, abs=1e-6)
        loop.run(1)
        assert loop.dealer.cash_moved == 0.0


def test_fills_of_a_disconnect_are_asked_for_again(tmp_path):
    """Lean.Brokerages.IB#249 #227: fills during a disconnect were never queried."""
    stage = Stage.of(tmp_path, QUICK)
    with opened(stage) as (loop, broker):
        loop.run(1)
        broker.silent = {"executions", "order", "holdings"}
        loop.run(1)
        broker.silent = set()
        loop.run(1)
        made = {own.trade_id for _, own in broker.inner.executions("")}
    with reader(stage.path) as connection:
        assert made <= set(table(connection, "fills")["trade_id"])


def test_the_account_is_there_after_a_restart(tmp_path):
    """Lean#4996 #3174: the paper account was lost on restart."""
    stage = Stage.of(tmp_path)
    loop = traded(stage.open())
    before = (loop.equity, positions(loop), loop.bar)
    loop.recorder.ledger.close()
    again = stage.open()
    assert (again.equity, positions(again), again.bar) == before
    again.recorder.ledger.close()


def test_a_trade_of_an_instrument_nobody_trades_halts(tmp_path):
    with opened(Stage.of(tmp_path)) as (loop, broker):
        broker.extra = [("x", Execution("odd-1", "BTCUSD", 1.0, 60_000.0, 0.0))]
        loop.run(1)
        assert loop.guardian.mode == GUARD_HALTED


def test_a_quiet_loop_is_active(tmp_path):
    with opened(Stage.of(tmp_path)) as (loop, _):
        loop.run(10)
        assert loop.guardian.mode == GUARD_ACTIVE


def test_flatten_needs_no_model(tmp_path):
    """The model fails, and somebody wants out."""
    stage = Stage.of(tmp_path, QUICK)
    with opened(stage) as (loop, _):
        traded(loop)
        stage.policy("first").act = lambda seen, state: 1 / 0  # type: ignore[method-assign]
        loop.run(1)
        assert loop.guardian.mode == GUARD_HALTED and any(positions(loop))
        obey(loop, "flatten", {})
        loop.run(6)
        assert not any(positions(loop))


def test_a_halt_ends_a_flatten(tmp_path):
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        traded(loop)
        obey(loop, "flatten", {})
        obey(loop, "halt", {"reason": "bad prices"})
        held, sent = positions(loop), len(broker.submitted)
        loop.run(4)
        assert positions(loop) == held and len(broker.submitted) == sent


def test_what_was_decided_before_a_halt_is_not_sent_behind_it(tmp_path):
    """The first of several orders tells that the broker cannot be used."""
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        tried = []

        def refuse(order: Order) -> Answer:
            tried.append(order)
            raise BrokerError("token", "must be known to the broker", "401", "Renew it.")

        broker.submit = refuse  # type: ignore[method-assign]
        for _ in range(30):
            loop.run(1)
            if tried:
                break
        loop.run(3)
        assert len(tried) == 1
        assert loop.guardian.mode == GUARD_HALTED


def test_what_is_adopted_never_comes_again_as_an_execution(tmp_path):
    """A stop was filled; holdings say so at once, executions are down for a bar."""
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        traded(loop)
        n = int(np.flatnonzero(loop.positions)[0])
        symbol, quantity = SYMBOLS[n], float(loop.positions[n])

        def stopped(held: Holdings) -> Holdings:
            return Holdings({**held.positions, symbol: 0.0}, {}, float("nan"))

        broker.held, broker.silent = stopped, {"executions"}
        loop.run(1)
        assert loop.guardian.mode >= GUARD_REDUCING  # unknown, and not adopted
        assert positions(loop)[n] == quantity
        stop = Execution("stop-1", symbol, -quantity, 1.0, 0.0, wanted=-quantity)
        broker.extra, broker.silent = [("9" * 9, stop)], set()
        loop.run(1)
        assert positions(loop)[n] == 0.0
        with reader(loop.recorder.ledger.path) as connection:
            trades = list(fills(connection)["trade_id"])
        assert trades.count("stop-1") == 1
        assert not any("adopt" in str(trade) for trade in trades)


def test_an_execution_without_its_numbers_halts_and_is_not_booked(tmp_path):
    with opened(Stage.of(tmp_path, QUICK)) as (loop, broker):
        traded(loop)
        cash = loop.desk.block[A_CASH]
        odd = Execution("x", SYMBOLS[0], 100.0, 1.0, float("nan"), wanted=100.0)
        broker.extra = [("9" * 9, odd)]
        loop.run(1)
        assert loop.guardian.mode == GUARD_HALTED
        assert np.isfinite(cash) and np.isfinite(loop.desk.block[A_CASH])


def test_a_used_account_is_met_before_the_first_decision(tmp_path):
    """Positions are adopted with the first bar; history is not booked, nothing is doubled."""
    stage = Stage.of(tmp_path, QUICK)

    class Used(Meddled):
        def executions(self, after: str) -> list[tuple[str, Execution]]:
            past = [("000", Execution("old", SYMBOLS[0], 500.0, 1.0, 0.0, wanted=500.0))]
            return [*(past if after == "" else []), *super().executions(after)]

        def holdings(self) -> Holdings:
            held = super().holdings()
            own = dict(held.positions)
            own[SYMBOLS[0]] = own.get(SYMBOLS[0], 0.0) + 500.0
            return Holdings(own, {}, float("nan"))

    made: list[Used] = []

    def make(tape, state):
        made.append(Used(stage.simulated()(tape, state)))
        return made[0]

    loop = stage.open(broker=make)
    assert not made[0].submitted
    loop.run(1)
    assert positions(loop)[0] == 500.0
    with reader(stage.path) as connection:
        assert "old" not in list(fills(connection)["trade_id"])
    loop.recorder.ledger.close()


class Working(Meddled):
    """A broker that works orders and never gets anything done, until they are cancelled."""

    def __init__(self, inner: SimBroker) -> None:
        super().__init__(inner)
        self.orders: dict[str, Order] = {}
        self.cancelled: list[str] = []

    def submit(self, order: Order) -> Answer:
        self.orders[order.client_id] = order
        return Answer(order.client_id, "sent")

    def order(self, client_id: str) -> Answer | None:
        if client_id not in self.orders:
            return None
        return Answer(client_id, "rejected" if client_id in self.cancelled else "sent")

    def executions(self, after: str) -> list[tuple[str, Execution]]:
        found = []
        for k, name in enumerate(self.cancelled[int(after or 0) :], int(after or 0) + 1):
            own = self.orders[name]
            gone = Execution(f"c{k}", own.symbol, 0.0, 0.0, 0.0, client_id=name)
            found.append((str(k), replace(gone, wanted=own.quantity, reason=oc.REASON_REJECTED)))
        return found

    def cancel(self, client_id: str) -> Answer | None:
        self.cancelled.append(client_id)
        return self.order(client_id)


@contextmanager
def working(
    tmp_path, *overrides: str, kind: type[Working] = Working
) -> Iterator[tuple[PaperLoop, Working]]:
    stage = Stage.of(tmp_path, QUICK, *overrides)
    made: list[Working] = []

    def make(tape, state):
        made.append(kind(stage.simulated()(tape, None)))
        return made[-1]

    loop = stage.open(broker=make)
    try:
        yield loop, made[-1]
    finally:
        loop.recorder.ledger.close()


def test_a_halt_takes_back_orders_that_are_still_working(tmp_path):
    """An order at the broker went on filling through a halt."""
    with working(tmp_path, "paper.order_good_bars=50") as (loop, broker):
        loop.run(2)
        under_way = set(broker.orders)
        assert under_way and not broker.cancelled
        loop.guardian.halt("enough", "person")
        loop.run(1)
        assert set(broker.cancelled) == under_way
        assert not loop.dealer.orders.pending  # known in the same bar: the next may be far away


def test_an_order_that_is_too_old_is_taken_back(tmp_path):
    with working(tmp_path) as (loop, broker):
        loop.run(3)
        assert broker.cancelled
        with reader(loop.recorder.ledger.path) as connection:
            notes = table(connection, "notes")
        told = notes[notes["kind"] == "order-cancelled"]
        assert sorted(told["subject"]) == sorted(broker.cancelled)


class TooLate(Working):
    """A broker that has filled an order by the time that somebody cancels it."""

    def order(self, client_id: str) -> Answer | None:
        if client_id not in self.orders:
            return None
        return Answer(client_id, "filled" if client_id in self.cancelled else "sent")

    def executions(self, after: str) -> list[tuple[str, Execution]]:
        return [
            (cursor, replace(gone, quantity=gone.wanted, price=1.0, reason=oc.REASON_DONE))
            for cursor, gone in super().executions(after)
        ]

    def holdings(self) -> Holdings:
        held = dict.fromkeys(SYMBOLS, 0.0)
        for name in self.cancelled:
            held[self.orders[name].symbol] += self.orders[name].quantity
        return Holdings(held, {})


def test_an_order_that_was_filled_before_it_was_taken_back_is_booked_at_once(tmp_path):
    with working(tmp_path, kind=TooLate) as (loop, broker):
        bars = 0
        while not broker.cancelled and bars < 5:
            bars += loop.run(1)
        assert broker.cancelled
        wanted = np.zeros(len(SYMBOLS))
        for name in broker.cancelled:
            wanted[SYMBOLS.index(broker.orders[name].symbol)] += broker.orders[name].quantity
        np.testing.assert_allclose(positions(loop), wanted)
        with reader(loop.recorder.ledger.path) as connection:
            assert not {"order-cancelled", "mismatch"} & set(table(connection, "notes")["kind"])


def test_a_working_order_that_the_broker_loses_is_not_sent_again(tmp_path):
    with working(tmp_path) as (loop, broker):
        loop.run(1)
        lost = set(loop.dealer.orders.pending)
        broker.cancel = lambda client_id: broker.orders.pop(client_id) and None  # type: ignore
        loop.run(2)
        assert lost and not lost & set(loop.dealer.orders.pending)
        assert not lost & set(broker.orders)
        with reader(loop.recorder.ledger.path) as connection:
            events = table(connection, "events")
        ended = events[events["client_id"].isin(lost)].groupby("client_id")["status"].last()
        assert set(ended) == {"expired"}


def test_a_command_that_breaks_is_answered_and_does_not_come_back(tmp_path):
    """A failing command must not end the loop, nor every loop after it."""
    with opened(Stage.of(tmp_path)) as (loop, _):

        def broken(path: str) -> object:
            raise ValueError("no such weights")

        loop.roster.models = broken  # type: ignore[assignment]
        answer = obey(loop, "promote", {"model": "second", "capital": 0.5})
        assert answer.text == "promote: failed: ValueError: no such weights"
        loop.roster.models = lambda path: loop.roster.seats["first"].model
        assert loop.run(2) == 2
