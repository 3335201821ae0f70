# SPDX-License-Identifier: Apache-2.0
"""The paper loop: the third driver of the desk, on a clock (docs/paper.md).

For every bar: financing, the broker's fills, mark, outcome; the guard; observe, decide, plan; write
the intentions; and only then tell the broker. `opening.py` makes a loop, new or recovered.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.config import GuardConfig
from mtquant.core.errors import MtquantError, RunError
from mtquant.core.paper_config import PaperConfig
from mtquant.core.states import Arrays, below, part
from mtquant.data.bars import NANOSECONDS
from mtquant.market.account import A_CASH, A_EQUITY, B_POSITION, BAR_BINDING
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LiveTape
from mtquant.market.rules import Rules
from mtquant.paper.alerts import Alerts
from mtquant.paper.broker import Broker, BrokerError, BrokerTimeout, SimulatedVenue
from mtquant.paper.commands import Obeyed, obey
from mtquant.paper.control import beat, halt_reason
from mtquant.paper.desk_book import OrderBook, Pending, adoptions, executions_matrix
from mtquant.paper.exposure import Exposure
from mtquant.paper.eyes import Bar
from mtquant.paper.feeds import Delivery, Feed, FeedEnd, FeedTimeout, RawBar
from mtquant.paper.guardian import Guardian
from mtquant.paper.intake import Intake, Taken
from mtquant.paper.memory import pack_arrays, unpack_arrays
from mtquant.paper.orders import (
    EXPIRED,
    FILLED,
    REJECTED,
    SENT,
    UNKNOWN,
    Execution,
    Order,
    client_id,
)
from mtquant.paper.recorder import Recorder
from mtquant.paper.seats import Models, Rollout, Seat, mixture, packed, seated
from mtquant.risk.guard import GUARD_ACTIVE, GUARD_REDUCING, GUARD_TEXTS

Float = NDArray[np.float64]
HOUR_NS = 3_600 * NANOSECONDS
# Between two questions about the same thing; it doubles up to the longest.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.002, 0.5
BEAT_SECONDS = 1.0
TURN_SECONDS = 1.0  # a feed without a bar is asked again, and people are listened to
DISK_BARS = 50  # bars between two looks at the disk
CONFIRM_TRIES = 3
UNKNOWN_ORDER = "an order of unknown fate"
UNCONFIRMED = "positions could not be confirmed"
OLD_DATA = "no bar for too long"
MISSED_BEAT = "the loop was silent for too long"


@dataclass(frozen=True)
class Terms:
    """What an account is and never changes.

    Attributes:
        name: Who trades, for people.
        account: Prefix of its client order ids; no other account at the broker may have it.
        rules: How the world answers.
        bar_seconds: Length of a bar.
        bars_per_year: Rows in 365.25 days.
        paper, guard: Settings; these may change between two runs.
    """

    name: str
    account: str
    rules: Rules
    bar_seconds: int
    bars_per_year: float
    paper: PaperConfig
    guard: GuardConfig


class PaperLoop:
    """One account at work; `opening.py` makes it.

    Args:
        terms: What the account is.
        recorder: Its ledger.
        feed: Its bars.
        broker: Its venue.
        models: Loads a model by its path.
        alerts: Whom to tell.
        tape: Its own, at the last row lived through.
        max_age_bars: Age beyond which a bar is too old to decide on.
        commit_answers: Write what brokers answer at once, and not with the next bar.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        terms: Terms,
        recorder: Recorder,
        feed: Feed,
        broker: Broker,
        models: Models,
        alerts: Alerts,
        tape: LiveTape,
        max_age_bars: float = math.inf,
        commit_answers: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.terms, self.recorder, self.feed, self.broker = terms, recorder, feed, broker
        self.models, self.alerts, self.tape = models, alerts, tape
        self.symbols = terms.rules.symbols
        self.desk = LiveDesk(tape, terms.rules, terms.name)
        self.guardian = Guardian(
            terms.guard, terms.paper, float(self.equity), max(0, tape.stamp_ns)
        )
        self.intake = Intake(self.symbols, terms.bar_seconds, terms.paper, max_age_bars)
        self.orders = OrderBook()
        self.rollout = Rollout()
        self.seats: dict[str, Seat] = {}
        self.cursor = ""
        self.last_command = 0
        self.flattening = False
        self.cash_moved = 0.0
        self.exposure = Exposure(terms.rules, tape)
        self._targets = np.full(len(self.symbols), np.nan)
        self._to_send: list[Pending] = []
        self._order_stamps: deque[int] = deque()
        self._unsent: list[Execution] = []
        self._silent: set[str] = set()
        self.broken = False  # the broker gave an answer that asking again will not change
        self._commit_answers, self._sleep = commit_answers, sleep
        self._turned = time.monotonic()
        self._wall_ns = time.time_ns()
        self._beaten = 0.0

    # Facts

    @property
    def bar(self) -> int:
        """Number of the last row."""
        return self.tape.count - 1

    @property
    def equity(self) -> float:
        """Equity at the last close."""
        return float(self.desk.block[A_EQUITY])

    @property
    def positions(self) -> Float:
        """Signed units, float64 [N] (a view)."""
        return self.desk.column(B_POSITION)

    # Turns

    def run(self, most_bars: int | None = None) -> int:
        """Trades until the feed ends, and returns how many bars were lived through.

        Args:
            most_bars: End after so many.

        Raises:
            RunError: The ledger cannot be written; nothing was sent that it does not hold.
        """
        lived = 0
        while not self.desk.bankrupt and (most_bars is None or lived < most_bars):
            self.look_around()
            try:
                delivery = self.feed.next(TURN_SECONDS)
            except FeedTimeout:
                self.wait()
                continue
            except FeedEnd:
                break
            lived += self.live(delivery)
        if self.desk.bankrupt:
            self.guardian.halt("the account is bankrupt", "guard")
            self.watch_mode("guard")
        self.flush()
        return lived

    def look_around(self) -> None:
        """The clock, the heartbeat, the halt file and commands of people."""
        now = time.monotonic()
        silent, self._turned = now - self._turned, now
        if silent > self.terms.paper.heartbeat_seconds:
            self.guardian.doubt(MISSED_BEAT, True)
            self.remark("heartbeat", "", f"silent for {silent:.0f} s", "warning")
        wall_ns = time.time_ns()
        back = (self._wall_ns - wall_ns) / NANOSECONDS
        if back > self.terms.paper.max_clock_skew_seconds:
            self.guardian.halt("the clock went backwards", "guard")
            self.remark("clock", "", f"{back:.1f} s backwards", "critical")
        self._wall_ns = wall_ns
        if now - self._beaten > BEAT_SECONDS:
            beat(self.recorder.ledger.path, self.bar, self.tape.stamp_ns)
            self._beaten = now
        self.watch_mode("guard")
        self.obey()
        self.watch_mode("person")

    def obey(self) -> None:
        """Follows what people asked for since the last turn."""
        reason = halt_reason(self.recorder.ledger.path)
        if reason is not None:
            self.guardian.halt(f"halted: {reason}", "person")
        found = self.recorder.ledger.ask(
            "SELECT id, verb, arguments, wall_ns FROM commands WHERE id > ? ORDER BY id",
            self.last_command,
        )
        for number, verb, arguments, wall_ns in found:
            answer = obey(self, verb, {**json.loads(arguments), "wall_ns": wall_ns})
            self.answer(number, answer)

    def answer(self, number: int, answer: Obeyed) -> None:
        """Notes what became of a command."""
        self.last_command = number
        self.recorder.add("answers", command=number, wall_ns=time.time_ns(), text=answer.text)
        self.alerts.send("info", answer.text)
        self.watch_mode("person")
        self.flush()

    def wait(self) -> None:
        """No bar came: what is due all the same."""
        age = (self.feed.now_ns() - self.tape.stamp_ns) / (self.terms.bar_seconds * NANOSECONDS)
        limit = self.terms.guard.max_data_age_bars
        self.guardian.doubt(OLD_DATA, limit is not None and age > limit)
        self.watch_mode("guard")
        self.flush()

    def flush(self) -> None:
        """Writes what waits, without a bar."""
        self.recorder.events(self.orders.events)
        if self.recorder.waiting:
            self.recorder.commit(self.bar, self.states())

    # A bar

    def live(self, delivery: Delivery) -> int:
        """Lives through a delivery and returns how many bars that were: 0 where none could be
        believed.
        """
        taken = self.intake.judge(delivery, self.feed.now_ns())
        for kind, subject, detail in taken.remarks:
            self.remark(kind, subject, detail, "info" if kind == "gap" else "warning")
        self._silent.clear()
        if taken.halting:
            self.guardian.halt(taken.halting, "guard")
        if not taken.bars:
            self.watch_mode("guard")
            self.flush()
            return 0
        self.resolve()
        executions = self.meet_market(taken)
        self.intake.take(taken)
        confirmed = self.book(taken, executions)
        self.judge_facts(taken)
        if taken.stale or not confirmed:
            why = "stale" if taken.stale else UNCONFIRMED
            self.decide_nothing(why)
        else:
            self.decide()
        self.watch_mode("guard")
        self.recorder.events(self.orders.events)
        self.recorder.commit(self.bar, self.states())
        self.send()
        return 1

    def meet_market(self, taken: Taken) -> list[Execution]:
        """Tells a venue without a market of the bar, and asks what was done; the tape moves on."""
        bars = {n: (own.open, own.high, own.low, own.close) for n, own in taken.bars.items()}
        if isinstance(self.broker, SimulatedVenue):
            venue: SimulatedVenue = self.broker
            told, _ = self.insisted(lambda: venue.live_bar(taken.stamp_ns, bars), "bar")
            if not told:
                self.guardian.halt("the simulated broker did not take a bar", "guard")
        executions = self.settle()
        self.tape.push(taken.stamp_ns, bars)
        return executions

    def book(self, taken: Taken, executions: list[Execution]) -> bool:
        """Books a bar; whether the broker confirmed what is held."""
        adopted, confirmed = self.compare(executions)
        executions = [*executions, *adopted]
        self.desk.block[A_CASH] += self.cash_moved
        self.cash_moved = 0.0
        before = self.exposure.risk_of(self.desk)
        rows = executions_matrix(executions, self.tape.tape, self.terms.rules, self.bar)
        outcome = self.desk.book(rows)
        self.recorder.bars(self.bar, taken.stamp_ns, taken.bars)
        self.recorder.lived(self.bar, taken.stamp_ns, self.desk, self._targets, executions, rows)
        self.exposure.lived(outcome, before, self.exposure.risk_of(self.desk))
        if confirmed:
            self.compare_cash()
        moved = {n: (*own[2:6], own.volume) for n, own in taken.bars.items()}
        for seat in self.seats.values():
            seat.learn(outcome)
            seat.eyes.take(taken.stamp_ns, moved)
        return confirmed

    def judge_facts(self, taken: Taken) -> None:
        """Lets the guard see the bar."""
        paper, exposure = self.terms.paper, self.exposure
        age = (self.feed.now_ns() - taken.stamp_ns) / (self.terms.bar_seconds * NANOSECONDS)
        self.guardian.see(self.equity, taken.stamp_ns, exposure.exceeded, max(0.0, age))
        self.guardian.doubt(OLD_DATA, False)
        if not taken.stale:
            self.guardian.doubt(MISSED_BEAT, False)
        self.guardian.doubt("gross exposure beyond its limit", exposure.beyond_gross(paper))
        self.guardian.doubt("value at risk beyond its limit", exposure.beyond_var(paper))
        unknown = any(own.status == UNKNOWN for own in self.orders.pending.values())
        self.guardian.doubt(UNKNOWN_ORDER, unknown)
        if self.bar % DISK_BARS == 0:
            free = shutil.disk_usage(self.recorder.ledger.path.parent).free / 2**20
            if free < paper.least_free_mb:
                self.guardian.halt("the disk is nearly full", "guard")
        self.ramp()

    # Deciding

    def decide(self) -> None:
        """Observe, decide, plan; the orders wait for the commit."""
        if self.flattening:  # also where no model can be asked
            self.plan(np.zeros(len(self.symbols)), "")
            return
        asked, seen, shares = [], [], []
        for path, share in self.shares():
            seat = self.seats[path]
            try:
                targets, values = seat.act(self.desk)
            except MtquantError as error:
                self.guardian.halt(f"the model failed: {error.field} {error.rule}", "guard")
                self.remark("model", path, str(error), "critical")
                self.decide_nothing("the model failed")
                return
            asked.append(targets)
            seen.append(values)
            shares.append(share)
        health = [seat.health for seat in self.seats.values()]
        outside = any(own.outside_range for own in health)
        self.guardian.doubt("features outside the training range", outside)
        self.guardian.doubt("features have drifted", any(own.has_drifted for own in health))
        held = self.exposure.held(self.desk)
        wanted = mixture(asked, shares, held) if asked else np.zeros(len(self.symbols))
        digest = hashlib.sha256(b"".join(seen)).hexdigest()
        self.plan(wanted, digest)

    def plan(self, wanted: Float, digest: str) -> None:
        """From what the models want to orders that wait for the commit."""
        held = self.exposure.held(self.desk)
        self.flattening &= bool(self.positions.any())
        mode = self.guardian.mode
        if self.flattening:
            targets = np.zeros(len(self.symbols))
        else:
            targets = self.guardian.allowed(wanted, held)
        self.desk.plan(targets)
        if not np.array_equal(targets, wanted, equal_nan=True):
            self.desk.block[BAR_BINDING] = int(self.desk.block[BAR_BINDING]) | oc.LIMIT_GUARD
        self._targets = targets
        orders = self.desk.take_orders()
        busy = self.orders.busy(len(orders))
        stamp = self.tape.stamp_ns
        for n in np.flatnonzero(orders):
            if busy[n]:
                self.remark("order-held-back", self.symbols[n], "another one is under way", "info")
            elif self.lets_through(float(orders[n]), float(self.positions[n])):
                self.intend(int(n), float(orders[n]), stamp)
        details = {"shares": dict(self.shares()), "flattening": self.flattening}
        self.recorder.decided(self.bar, stamp, wanted, targets, mode, digest, details)

    def lets_through(self, order: float, position: float) -> bool:
        """The guard's last look; closing by hand is planning under Reducing."""
        if self.flattening:
            return position * order < 0.0 and abs(order) <= abs(position)
        return self.guardian.lets_through(order, position)

    def decide_nothing(self, why: str) -> None:
        """A bar without a decision: nothing is ordered."""
        nothing = np.full(len(self.symbols), np.nan)
        self._targets = nothing
        self.desk.block[BAR_BINDING] = 0.0
        mode = self.guardian.mode
        self.recorder.decided(
            self.bar, self.tape.stamp_ns, nothing, nothing, mode, "", {"none": why}
        )

    def intend(self, n: int, quantity: float, stamp_ns: int) -> None:
        """Writes an order down; it is sent after the commit."""
        while self._order_stamps and self._order_stamps[0] <= stamp_ns - HOUR_NS:
            self._order_stamps.popleft()
        if len(self._order_stamps) >= self.terms.paper.max_orders_per_hour:
            self.guardian.halt("too many orders in an hour", "guard")
            return
        self._order_stamps.append(stamp_ns)
        item = self.terms.rules.instruments[n]
        order = Order(
            client_id(self.terms.account, self.bar, n),
            self.symbols[n],
            quantity,
            stamp_ns,
            item.stop_loss_frac,
            item.take_profit_frac,
        )
        good_ns = int(self.terms.paper.order_good_bars * self.terms.bar_seconds * NANOSECONDS)
        own = Pending(order, n, self.bar, stamp_ns + good_ns)
        self.orders.pending[order.client_id] = own
        self.recorder.intended(own)
        self._to_send.append(own)

    # The broker

    def asked(self, question: Callable[[], Any], subject: str) -> tuple[bool, Any]:
        """A question to the broker: whether it was answered, and the answer. What cannot be
        answered at all halts.
        """
        try:
            return True, question()
        except BrokerTimeout as error:
            if subject not in self._silent:  # an outage is one note a bar, not thousands
                self._silent.add(subject)
                self.recorder.note(self.tape.stamp_ns, "time-out", subject, str(error.found))
            return False, None
        except BrokerError as error:
            self.broken = True
            self.guardian.halt(f"the broker cannot be used: {error.rule}", "guard")
            self.remark("broker", subject, str(error), "critical")
            return False, None

    def insisted(self, question: Callable[[], Any], subject: str) -> tuple[bool, Any]:
        """`asked` again and again, until it is answered or the patience has ended."""
        deadline, pause = time.monotonic() + self.terms.paper.settle_seconds, PAUSE_SECONDS
        while True:
            answered, answer = self.asked(question, subject)
            if answered or self.broken or time.monotonic() > deadline:
                return answered, answer
            pause = self.pause(pause)

    def pause(self, seconds: float) -> float:
        """Waits, and returns how long to wait the next time: a broker that is slow is not helped by
        questions.
        """
        self._sleep(seconds)
        return min(2.0 * seconds, LONGEST_PAUSE_SECONDS)

    def send(self) -> None:
        """Tells the broker of the orders that the ledger holds now."""
        for own in self._to_send:
            if own.order.client_id in self.orders.pending:
                self.submit(own)
        if self._to_send and self._commit_answers:
            self.flush()
        self._to_send.clear()

    def submit(self, own: Pending) -> None:
        """Sends one order, unless a person has halted meanwhile or it is too old."""
        name = own.order.client_id
        reason = halt_reason(self.recorder.ledger.path)
        if reason is not None and not self.flattening:
            self.guardian.halt(f"halted: {reason}", "person")
            self.give_up(own, "halted before it was sent")
            return
        if self.feed.now_ns() > own.good_until_ns:
            self.give_up(own, "too old to be sent")
            return
        held = float(self.positions[own.instrument])
        if self.broken or not self.lets_through(own.order.quantity, held):
            self.give_up(own, "the guard does not allow it now")
            return
        answered, answer = self.asked(lambda: self.broker.submit(own.order), name)
        if not answered:
            self.orders.move(name, UNKNOWN, "no answer")
        else:  # fills and refusals come as executions, whatever is said here
            self.orders.move(name, SENT, answer.detail)

    def give_up(self, own: Pending, detail: str) -> None:
        """Ends an order that never reached the broker; a refusal goes into the next bar."""
        self.orders.move(own.order.client_id, EXPIRED, detail)
        self._unsent.append(
            Execution(
                trade_id=f"unsent-{own.order.client_id}",
                symbol=own.order.symbol,
                quantity=0.0,
                price=0.0,
                fee=0.0,
                client_id=own.order.client_id,
                wanted=own.order.quantity,
                reason=oc.REASON_NOT_SENT,
            )
        )

    def meet_broker(self) -> bool:
        """Passes over what the broker did before the account was opened; whether it holds nothing
        now, so that a first decision may be taken.
        """
        answered, done = self.insisted(lambda: self.broker.executions(self.cursor), "executions")
        for cursor, _ in done or ():
            self.cursor = cursor
        known, holdings = self.insisted(self.broker.holdings, "holdings")
        if not (answered and known):
            return False
        return not any(holdings.positions.get(symbol, 0.0) for symbol in self.symbols)

    def doubt_silence(self, beaten: Mapping[str, float] | None) -> None:
        """Takes no new risk until a fresh bar, where nobody was there for too long.

        Args:
            beaten: The last heartbeat, None where it is not known.
        """
        silent = math.inf if beaten is None else time.time() - beaten.get("time", 0.0)
        if silent > self.terms.paper.heartbeat_seconds:
            self.guardian.doubt(MISSED_BEAT, True)
            self.remark("heartbeat", "", f"silent for {silent:.0f} s before the start", "warning")

    def resolve(self) -> None:
        """Finds out about every order that the broker may not have; before the market moves on."""
        deadline, pause = time.monotonic() + self.terms.paper.settle_seconds, PAUSE_SECONDS
        while True:
            doubtful = [
                own for own in self.orders.pending.values() if own.status not in (SENT, "partial")
            ]
            for own in doubtful:
                self.resolve_one(own)
            if not doubtful or self.broken or time.monotonic() > deadline:
                return
            pause = self.pause(pause)

    def resolve_one(self, own: Pending) -> None:
        """Asks what became of one order; one that never arrived is sent, or given up."""
        name = own.order.client_id
        answered, answer = self.asked(lambda: self.broker.order(name), name)
        if not answered:
            self.orders.move(name, UNKNOWN, "no answer")
        elif answer is not None:
            self.orders.move(name, SENT, answer.detail)
        else:
            self.submit(own)

    def settle(self) -> list[Execution]:
        """Everything that was done, once all orders have ended or the patience has."""
        found, self._unsent = self._unsent, []
        deadline, pause = time.monotonic() + self.terms.paper.settle_seconds, PAUSE_SECONDS
        while True:
            answered = self.collect(found)
            for own in list(self.orders.pending.values()):
                self.ended(own, found)
            settled = answered and not self.orders.pending
            if settled or self.broken or time.monotonic() > deadline:
                break
            pause = self.pause(pause)
        for own in self.orders.pending.values():
            self.recorder.note(
                self.tape.stamp_ns, "order-open", own.order.client_id, f"still {own.status}"
            )
        return found

    def collect(self, found: list[Execution], before: Sequence[Execution] = ()) -> bool:
        """Adds executions since the last ones to `found`; each trade id once, those of `before`
        included. Whether the broker answered, with numbers that can be booked.
        """
        answered, new = self.asked(lambda: self.broker.executions(self.cursor), "executions")
        if not answered:
            return False
        for cursor, execution in new:
            if not np.isfinite((execution.quantity, execution.price, execution.fee)).all():
                self.guardian.halt("the broker reported an execution without its numbers", "guard")
                self.remark("execution", execution.trade_id, repr(execution), "critical")
                return False
            self.cursor = cursor
            known = self.recorder.ledger.ask(
                "SELECT 1 FROM fills WHERE trade_id = ?", execution.trade_id
            )
            if known or any(execution.trade_id == own.trade_id for own in (*before, *found)):
                self.recorder.note(
                    self.tape.stamp_ns, "trade-twice", execution.trade_id, "booked once"
                )
                continue
            if execution.symbol not in self.symbols:
                self.guardian.halt(f"the broker traded {execution.symbol}", "guard")
                continue
            found.append(execution)
            self.orders.take(execution)
        return True

    def ended(self, own: Pending, found: list[Execution]) -> None:
        """Asks whether an order that is not complete has ended all the same."""
        name = own.order.client_id
        answered, answer = self.asked(lambda: self.broker.order(name), name)
        if not answered or answer is None or answer.status not in (FILLED, REJECTED):
            return
        # What it came to may have been reported between the two questions.
        if not self.collect(found) or name not in self.orders.pending:
            return
        # One that is filled without an execution stays under way until they are reported.
        if answer.status == REJECTED or own.done != 0.0:
            self.orders.move(name, answer.status, f"{own.done:g} of {own.order.quantity:g} done")

    def compare(self, executions: list[Execution]) -> tuple[list[Execution], bool]:
        """Holds the book against the broker's before every decision: executions that adopt what it
        holds, and whether it answered.
        """
        for _ in range(CONFIRM_TRIES):
            answered, holdings = self.insisted(self.broker.holdings, "holdings")
            if not answered:
                self.guardian.doubt(UNCONFIRMED, True)
                return [], False
            book = self.positions.copy()
            for execution in executions:
                book[self.symbols.index(execution.symbol)] += execution.quantity
            venue = np.array([holdings.positions.get(symbol, 0.0) for symbol in self.symbols])
            under_way = self.orders.busy(len(self.symbols))
            venue[under_way] = book[under_way]
            averages = [holdings.averages.get(symbol, np.nan) for symbol in self.symbols]
            found = adoptions(book, venue, averages, self.tape.tape, self.terms.rules, self.bar)
            more: list[Execution] = []
            # What is adopted must not be reported as an execution later: it would count twice.
            asked = not found or self.collect(more, executions)
            executions += more  # they explain the difference, or some of it
            if asked and not more:
                break
            if not asked:
                self.guardian.doubt(UNCONFIRMED, True)
                return [], False
        else:
            self.guardian.doubt(UNCONFIRMED, True)
            return [], False
        self.guardian.doubt(UNCONFIRMED, False)
        self._holdings = holdings
        for execution in found:
            text = f"{execution.quantity:+g} at the broker, not in the ledger: adopted"
            self.remark("mismatch", execution.symbol, text, "critical")
            if self.terms.paper.on_mismatch == "halt":
                self.guardian.halt("the broker's positions are not the ledger's", "guard")
        return found, True

    def compare_cash(self) -> None:
        """Adopts the broker's cash; the difference shows up in the next bar's outcome."""
        cash = self._holdings.cash
        if not math.isfinite(cash) or self.orders.pending:
            return
        missing = cash - float(self.desk.block[A_CASH])
        if abs(missing) <= self.terms.paper.cash_tolerance_frac * abs(self.equity):
            return
        self.cash_moved = missing
        self.remark("mismatch", "cash", f"{missing:+.2f} at the broker: adopted", "critical")
        if self.terms.paper.on_mismatch == "halt":
            self.guardian.halt("the broker's cash is not the ledger's", "guard")

    # Models

    def shares(self) -> list[tuple[str, float]]:
        """Models at work with their shares of the capital."""
        rollout = self.rollout
        found = []
        if rollout.current is not None:
            found.append((rollout.current, 1.0 - rollout.share))
        if rollout.candidate is not None:
            found.append((rollout.candidate, rollout.share))
        return found

    def change_models(self, verb: str, path: str, digest: str, capital: float, why: str) -> None:
        """A row of `models`, and what follows from it; all models are seated before anything is
        written, so that one that cannot be changes nothing.

        Raises:
            MtquantError: A model cannot be loaded, or is not the one that traded under its name.
        """
        rollout = copy.deepcopy(self.rollout)
        rollout.apply(verb, path, digest, capital, self.bar)
        if verb == "promote":
            rollout.peak = self.equity
        seats = {
            own: self.seats.get(own) or self.seat_of(own, rollout.versions[own])
            for own in rollout.paths
        }
        self.recorder.add(
            "models",
            bar=self.bar,
            wall_ns=time.time_ns(),
            verb=verb,
            path=path,
            digest=digest,
            capital=capital,
            reason=why,
        )
        self.rollout, self.seats = rollout, seats

    def seat_of(self, path: str, digest: str) -> Seat:
        """Loads a model and shows it all bars so far.

        Raises:
            RunError: It is not the one that is known by this digest.
        """
        terms, model = self.terms, self.models(path)
        if model.digest != digest:
            raise RunError(
                path,
                f"must be the model that was promoted, with weights {digest[:12]}",
                model.digest[:12],
                "Put it back, or promote the new one under another path.",
            )
        known = self.recorder.ledger.ask(
            "SELECT bar, content FROM states WHERE name = ?", f"eyes/{digest}"
        )
        snapshot = (known[0][0], known[0][1]) if known else None
        return seated(model, self.symbols, terms.bar_seconds, terms.paper, snapshot, self.history)

    def history(self, after: int) -> list[tuple[int, dict[int, Bar]]]:
        """Rows of the ledger after a bar number: stamp, and column -> open to volume."""
        stamps = self.recorder.ledger.ask(
            "SELECT bar, stamp_ns FROM rows WHERE bar > ? ORDER BY bar", after
        )
        bars: dict[int, dict[int, Bar]] = {bar: {} for bar, _ in stamps}
        for bar, n, *prices in self.recorder.ledger.ask(
            "SELECT bar, instrument, open, high, low, close, volume FROM bars WHERE bar > ?",
            after,
        ):
            bars[bar][n] = (prices[0], prices[1], prices[2], prices[3], prices[4])
        return [(stamp_ns, bars[bar]) for bar, stamp_ns in stamps]

    def ramp(self) -> None:
        """Lets a promoted model's share grow, or takes it back."""
        rollout, paper = self.rollout, self.terms.paper
        if rollout.candidate is None:
            return
        rollout.peak = max(rollout.peak, self.equity)
        fall = 1.0 - self.equity / rollout.peak
        path, digest = rollout.candidate, rollout.versions[rollout.candidate]
        if fall >= paper.rollback_drawdown_frac:
            why = f"equity fell by {fall:.1%} while it ramped up"
            try:
                self.change_models("rollback", path, digest, 0.0, why)
            except MtquantError as error:
                self.guardian.halt("the model to roll back to cannot be loaded", "guard")
                self.remark("model", path, str(error), "critical")
                return
            self.remark("rollback", path, why, "critical")
        elif self.guardian.mode != GUARD_ACTIVE:
            rollout.since = self.bar  # a step is earned by bars without trouble
        elif self.bar - rollout.since >= paper.ramp_bars:
            share = min(1.0, rollout.share * paper.ramp_factor)
            self.change_models("ramp", path, digest, share, f"{paper.ramp_bars} quiet bars")
            self.remark("ramp", path, f"share of the capital {share:.0%}", "info")

    # Records

    def remark(self, kind: str, subject: str, detail: str, level: str) -> None:
        """A note in the ledger, and an alert."""
        self.recorder.note(self.tape.stamp_ns, kind, subject, detail)
        if level != "info":
            self.alerts.send(level, f"{kind} {subject} {detail}")

    def watch_mode(self, actor: str) -> None:
        """Every change of the guard is a row and an alert."""
        change = self.guardian.changed(actor)
        if change is None:
            return
        self.recorder.guard(self.bar, self.tape.stamp_ns, change)
        level = {GUARD_ACTIVE: "info", GUARD_REDUCING: "warning"}.get(change.after, "critical")
        text = f"guard {GUARD_TEXTS[change.after]} ({'; '.join(change.reasons) or 'all clear'})"
        self.alerts.send(level, text)

    def states(self) -> dict[str, bytes]:
        """What recovery goes on from."""
        guard, guard_words = self.guardian.state()
        words = {
            "guard": guard_words,
            "cursor": self.cursor,
            "last_command": self.last_command,
            "flattening": self.flattening,
            "cash_moved": self.cash_moved,
            "since": self.rollout.since,
            "peak": self.rollout.peak,
            "done": {name: own.done for name, own in self.orders.pending.items()},
            "doubted": {str(n): close for n, close in self.intake.doubted.items()},
        }
        arrays: Arrays = {
            **below("desk", self.desk.state()),
            **below("tape", self.tape.state()),
            **guard,
            "targets": self._targets,
            "words": packed(json.dumps(words)),
        }
        for path, seat in self.seats.items():
            arrays |= below(f"seat/{self.rollout.versions[path]}", seat.state())
        kept = {"loop": pack_arrays(arrays)}
        if hasattr(self.broker, "state"):  # a venue that lives in this process
            kept["venue"] = self.broker.state()
        if self.bar % self.terms.paper.snapshot_bars == 0:
            for path, seat in self.seats.items():
                kept[f"eyes/{self.rollout.versions[path]}"] = seat.eyes.state()
        return kept

    def restore(self, content: bytes) -> None:
        """Goes on from what `states` kept; the seats are there already."""
        arrays = unpack_arrays(content)
        words = json.loads(arrays["words"].tobytes())
        self.tape.restore(part("tape", arrays))
        self.desk.restore(part("desk", arrays))
        self.guardian.restore(arrays, words["guard"])
        self._targets = arrays["targets"]
        self.cursor, self.last_command = words["cursor"], words["last_command"]
        self.flattening, self.cash_moved = words["flattening"], words["cash_moved"]
        self.rollout.since, self.rollout.peak = words["since"], words["peak"]
        self.intake.doubted = {int(n): close for n, close in words["doubted"].items()}
        self.intake.last_ns = self.tape.stamp_ns
        for path, seat in self.seats.items():
            seat.restore(part(f"seat/{self.rollout.versions[path]}", arrays))
        for name, done in words["done"].items():
            if name in self.orders.pending:
                self.orders.pending[name].done = done
        hour_ago = self.tape.stamp_ns - HOUR_NS
        sent = self.recorder.ledger.ask(
            "SELECT stamp_ns FROM orders WHERE stamp_ns > ? ORDER BY stamp_ns", hour_ago
        )
        self._order_stamps = deque(row[0] for row in sent)

    def raw_last(self, bars: dict[int, RawBar]) -> None:
        """Tells the intake of the last bars, after a restart."""
        self.intake.last.update(bars)
