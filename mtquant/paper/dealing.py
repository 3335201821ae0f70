# SPDX-License-Identifier: Apache-2.0
"""What passes between a paper account and its broker: orders go out once, executions come in once,
and no answer is never taken for a no.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.account import A_CASH, A_EQUITY, B_AVERAGE, B_POSITION, B_RATE
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LiveTape
from mtquant.paper.broker import Broker, BrokerError, BrokerTimeout
from mtquant.paper.control import halt_reason
from mtquant.paper.desk_book import OrderBook, Pending, adoptions, missing_cash
from mtquant.paper.feeds import Feed
from mtquant.paper.guardian import Guardian
from mtquant.paper.orders import (
    EXPIRED,
    FILLED,
    REJECTED,
    SENT,
    UNKNOWN,
    Execution,
    Holdings,
)
from mtquant.paper.recorder import Recorder
from mtquant.paper.terms import Terms

Float = NDArray[np.float64]
Remark = Callable[[str, str, str, str], None]  # kind, subject, detail, level
# Between two questions about the same thing; it doubles up to the longest.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.002, 0.5
CONFIRM_TRIES = 3
UNCONFIRMED = "positions could not be confirmed"


class Dealer:
    """Talks to the broker for one account.

    Args:
        terms: What the account is.
        recorder: Its ledger.
        feed: Whose clock says how old an order is.
        broker: Its venue.
        guardian: Has the last word on every order.
        desk: Its book.
        tape: Its bars.
        remark: Notes and alerts.
        sleep: Waits that many seconds.

    Attributes:
        orders: Those that have not ended.
        cursor: How far the broker's executions have been read.
        cash_moved: Money that the broker has and the book has not; the next bar books it.
        broken: The broker gave an answer that asking again will not change.
    """

    def __init__(
        self,
        terms: Terms,
        recorder: Recorder,
        feed: Feed,
        broker: Broker,
        guardian: Guardian,
        desk: LiveDesk,
        tape: LiveTape,
        remark: Remark,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.terms, self.recorder, self.feed, self.broker = terms, recorder, feed, broker
        self.guardian, self.remark = guardian, remark
        self.desk, self.tape = desk, tape
        self.symbols = terms.rules.symbols
        self.orders = OrderBook()
        self.cursor = ""
        self.cash_moved = 0.0
        self.broken = False
        self._waiting: list[Pending] = []
        self._unsent: list[Execution] = []
        self._silent: set[str] = set()
        self._holdings = Holdings({}, {})
        self._sleep = sleep

    # Questions

    def asked(self, question: Callable[[], Any], subject: str) -> tuple[bool, Any]:
        """A question to the broker: whether it was answered, and the answer. What cannot be
        answered at all halts.
        """
        try:
            return True, question()
        except BrokerTimeout as error:
            if subject not in self._silent:  # an outage is one note a bar, not thousands
                self._silent.add(subject)
                self.note("time-out", subject, str(error.found))
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

    def note(self, kind: str, subject: str, detail: str) -> None:
        """A note in the ledger that nobody has to be woken for."""
        self.recorder.note(self.tape.stamp_ns, kind, subject, detail)

    @property
    def _positions(self) -> Float:
        return self.desk.column(B_POSITION)

    def begin_bar(self) -> None:
        """An outage is noted once a bar."""
        self._silent.clear()

    # Orders

    def queue(self, own: Pending) -> None:
        """An order that the ledger is about to hold; `send` sends it."""
        self.orders.pending[own.order.client_id] = own
        self._waiting.append(own)

    def send(self) -> bool:
        """Tells the broker of the orders that the ledger holds now; whether there were any."""
        for own in self._waiting:
            if own.order.client_id in self.orders.pending:
                self.submit(own)
        sent = bool(self._waiting)
        self._waiting.clear()
        return sent

    def submit(self, own: Pending) -> None:
        """Sends one order, unless a person has halted meanwhile or it is too old."""
        name = own.order.client_id
        reason = halt_reason(self.recorder.ledger.path)
        if reason is not None and not self.guardian.flattening:
            self.guardian.halt(f"halted: {reason}", "person")
            self.give_up(own, "halted before it was sent")
            return
        if self.feed.now_ns() > own.good_until_ns:
            self.give_up(own, "too old to be sent")
            return
        held = float(self._positions[own.instrument])
        if self.broken or not self.guardian.lets_through(own.order.quantity, held):
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

    # What was done

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
        for own in list(self.orders.pending.values()):
            self.note("order-open", own.order.client_id, f"still {own.status}")
            self.take_back(own, found)
        return found

    def take_back(self, own: Pending, found: list[Execution]) -> None:
        """Cancels what is left of an order that is too old, or that the guard would not send now;
        what was done of it meanwhile is added to `found`.
        """
        left = own.order.quantity - own.done
        wanted = self.guardian.lets_through(left, float(self._positions[own.instrument]))
        if wanted and self.feed.now_ns() <= own.good_until_ns:
            return
        name = own.order.client_id
        answered, answer = self.asked(lambda: self.broker.cancel(name), name)
        if answered and answer is None and own.status == UNKNOWN:
            return  # it may never have arrived: `resolve` finds out before the next bar
        if answered and answer is None:
            # It took the order once and has lost it; sending it again could do it twice. What was
            # done of it shows up as executions, or when positions are compared.
            self.orders.move(name, EXPIRED, "the broker lost it")
            self.remark("order-lost", name, "the broker does not know it any more", "critical")
        elif answered:
            self.ended(own, found)
            if own.status == REJECTED:
                left = own.order.quantity - own.done
                self.remark("order-cancelled", name, f"{left:g} were not done", "warning")

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
                self.note("trade-twice", execution.trade_id, "booked once")
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

    # What is held

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

    def compare(self, executions: list[Execution]) -> tuple[list[Execution], bool]:
        """Holds the book against the broker's before every decision: executions that adopt what it
        holds, and whether it answered.
        """
        for _ in range(CONFIRM_TRIES):
            answered, holdings = self.insisted(self.broker.holdings, "holdings")
            if not answered:
                self.guardian.doubt(UNCONFIRMED, True)
                return [], False
            book = self._positions.copy()
            for execution in executions:
                book[self.symbols.index(execution.symbol)] += execution.quantity
            venue = np.array([holdings.positions.get(symbol, 0.0) for symbol in self.symbols])
            under_way = self.orders.busy(len(self.symbols))
            venue[under_way] = book[under_way]
            averages = [holdings.averages.get(symbol, np.nan) for symbol in self.symbols]
            found = adoptions(
                book, venue, averages, self.tape.tape, self.terms.rules, self.tape.count - 1
            )
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
        missing = missing_cash(
            self._holdings,
            float(self.desk.block[A_CASH]),
            self._positions,
            self.desk.column(B_AVERAGE),
            self.desk.column(B_RATE),
            self.terms.rules,
        )
        if not math.isfinite(missing) or self.orders.pending:
            return
        if abs(missing) <= self.terms.paper.cash_tolerance_frac * abs(
            float(self.desk.block[A_EQUITY])
        ):
            return
        self.cash_moved = missing
        self.remark("mismatch", "cash", f"{missing:+.2f} at the broker: adopted", "critical")
        if self.terms.paper.on_mismatch == "halt":
            self.guardian.halt("the broker's cash is not the ledger's", "guard")
