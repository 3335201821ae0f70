# SPDX-License-Identifier: Apache-2.0
"""A broker that is the market kernel: the same financing, fills, stops and liquidation as in a
backtest, with faults on request.

It has an account of its own, which only it changes. Orders wait for the next bar it is told of and
fill at its open. Every fault depends on the order's client id and the seed alone, so that a run
that was killed a hundred times meets the same ones as an undisturbed one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtquant.core import outcome as oc
from mtquant.core.states import below, part
from mtquant.market.account import A_CASH, B_AVERAGE, B_POSITION, LANES
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LiveTape, Prices
from mtquant.market.rules import Rules
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.memory import pack_arrays, unpack_arrays
from mtquant.paper.orders import (
    FILLED,
    PARTIAL,
    REJECTED,
    SENT,
    Answer,
    Execution,
    Holdings,
    Order,
)

HISTORY = 1_000  # executions that a broker without storage can be asked for again
PARTS = 3


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, as shares of orders; drawn from the client id.

    Attributes:
        seed: Root of the draws.
        reject: Refused.
        partial: Filled by half, the rest cancelled.
        split: Filled in three executions.
        late: Answers and executions show up after `latency_seconds`.
        lost_answer: Placed, but the answer never comes.
        lost_request: Never arrives; the second attempt does.
        latency_seconds: How late is late.
    """

    seed: int = 0
    reject: float = 0.0
    partial: float = 0.0
    split: float = 0.0
    late: float = 0.0
    lost_answer: float = 0.0
    lost_request: float = 0.0
    latency_seconds: float = 0.0

    def hits(self, kind: str, client_id: str) -> bool:
        """Whether an order meets a fault."""
        share = float(getattr(self, kind))
        if share == 0.0:
            return False
        text = f"{self.seed}/{kind}/{client_id}".encode()
        drawn = int.from_bytes(hashlib.sha256(text).digest()[:8], "little") / 2.0**64
        return drawn < share


@dataclass(frozen=True)
class _Placed:
    """An order that was taken, and how many executions it has come to (0: still waiting)."""

    order: Order
    executions: tuple[int, ...] = ()
    rejected: str = ""


class SimBroker:
    """A simulated venue in this process.

    Args:
        live: A tape of its own, with the bars up to the account's opening.
        rules: How it answers.
        faults: What goes wrong.
        initial_equity: Deposit; the rules' own when None.
        keep_all: Never forget an execution (a server with storage).
    """

    name = "simulated"

    def __init__(
        self,
        live: LiveTape,
        rules: Rules,
        faults: Faults | None = None,
        initial_equity: float | None = None,
        keep_all: bool = False,
    ) -> None:
        self.live, self.rules = live, without_limits(rules)
        self.desk = LiveDesk(live, self.rules, self.name, initial_equity)
        self.faults = faults or Faults()
        self.executed: deque[tuple[int, int, Execution]] = deque(
            maxlen=None if keep_all else HISTORY
        )
        self.placed: dict[str, _Placed] = {}
        self.attempts: dict[str, int] = {}
        self._waiting: dict[str, Order] = {}  # for the next bar
        self.touched: set[str] = set()  # orders that changed since a storage last asked
        self._ended: deque[str] = deque()
        self._last = 0  # number of the last execution
        self._read = 0  # largest cursor that was asked for
        self._keep_all = keep_all

    # What a broker does

    def submit(self, order: Order) -> Answer:
        """As `Broker.submit`."""
        attempt = self.attempts.get(order.client_id, 0) + 1
        self.attempts[order.client_id] = attempt
        self.touched.add(order.client_id)
        first = attempt == 1
        if first and self.faults.hits("lost_request", order.client_id):
            raise _no_answer("the request was lost")
        if order.client_id not in self.placed:
            self._place(order)
        if first and self.faults.hits("lost_answer", order.client_id):
            raise _no_answer("the answer was lost")
        return self._answer(order.client_id)

    def order(self, client_id: str) -> Answer | None:
        """As `Broker.order`."""
        return self._answer(client_id) if client_id in self.placed else None

    def executions(self, after: str) -> Sequence[tuple[str, Execution]]:
        """As `Broker.executions`; cursors are numbers. An execution that is late holds up those
        behind it.
        """
        cursor = int(after or 0)
        self._read = max(self._read, cursor)
        now, found = time.time_ns(), []
        new = max(0, min(len(self.executed), self._last - cursor))
        for number, shown_ns, execution in itertools.islice(
            self.executed, len(self.executed) - new, None
        ):
            if shown_ns > now:
                break
            found.append((str(number), execution))
        return found

    def holdings(self) -> Holdings:
        """As `Broker.holdings`."""
        held = self.desk.column(B_POSITION)
        averages = self.desk.column(B_AVERAGE)
        names = self.rules.symbols
        return Holdings(
            {name: float(q) for name, q in zip(names, held, strict=True) if q != 0.0},
            {name: float(averages[n]) for n, name in enumerate(names) if held[n] != 0.0},
            float(self.desk.account[A_CASH // LANES]),
        )

    def cancel(self, client_id: str) -> Answer | None:
        """As `Broker.cancel`."""
        placed = self.placed.get(client_id)
        if placed is not None and not placed.executions:
            self._refuse(placed.order, "cancelled", 0)
        return self.order(client_id)

    # What its market does

    def live_bar(self, stamp_ns: int, bars: Mapping[int, Prices]) -> None:
        """As `SimulatedVenue.live_bar`."""
        if stamp_ns <= self.live.stamp_ns:
            return
        waiting = {self.rules.symbols.index(own.symbol): own for own in self._waiting.values()}
        queued = np.zeros(len(self.rules.symbols))
        for n, order in waiting.items():
            queued[n] = self._allowed(order, n)
        self.desk.queue(queued)
        self.live.push(stamp_ns, bars)
        for row in self.desk.live():
            self._execute(row, stamp_ns, waiting)
        for order in waiting.values():  # half of one lot is none
            if not self.placed[order.client_id].executions:
                self._refuse(order, "less than one lot", 0)

    def _allowed(self, order: Order, n: int) -> float:
        if not self.faults.hits("partial", order.client_id):
            return order.quantity
        lot = self.rules.instruments[n].lot
        return float(np.sign(order.quantity) * np.floor(abs(order.quantity) / 2.0 / lot) * lot)

    def _place(self, order: Order) -> None:
        if order.symbol not in self.rules.symbols:
            remedy = "Trade what the venue offers."
            raise BrokerError("symbol", f"must be one of {self.rules.symbols}", order, remedy)
        busy = any(own.symbol == order.symbol for own in self._waiting.values())
        self.placed[order.client_id] = _Placed(order)
        self._waiting[order.client_id] = order
        if busy:
            self._refuse(order, "another order is working", 0)
        elif self.faults.hits("reject", order.client_id):
            self._refuse(order, "rejected at random", self._delay_ns(order))

    def _execute(self, row: Any, stamp_ns: int, waiting: Mapping[int, Order]) -> None:
        """Notes one row of the kernel's fills as executions."""
        n = int(row[oc.FILL_INSTRUMENT])
        ordered = row[oc.FILL_ORIGIN] == oc.ORIGIN_ORDER
        order = waiting.get(n) if ordered else None
        done, reason = float(row[oc.FILL_QUANTITY]), int(row[oc.FILL_REASON])
        whole = Execution(
            trade_id="",
            symbol=self.rules.symbols[n],
            quantity=done,
            price=float(row[oc.FILL_PRICE]),
            fee=float(row[oc.FILL_FEE]),
            origin=int(row[oc.FILL_ORIGIN]),
            client_id=order.client_id if order else "",
            wanted=order.quantity if order else float(row[oc.FILL_WANTED]),
            reason=reason,
            reference=float(row[oc.FILL_REFERENCE]),
            rate=float(row[oc.FILL_RATE]),
            slippage=float(row[oc.FILL_SLIPPAGE]),
        )
        if order is None:
            self._show(whole, 0)
            return
        if done != 0.0 and self.faults.hits("partial", order.client_id):
            whole = replace(whole, reason=oc.REASON_PARTIAL)
        split = done != 0.0 and self.faults.hits("split", order.client_id)
        lot = self.rules.instruments[n].lot
        pieces = _split(whole, lot) if split else [whole]
        delay = self._delay_ns(order)
        numbers = tuple(self._show(piece, delay) for piece in pieces)
        refused = "" if done != 0.0 else oc.REASON_TEXTS[reason]
        self.placed[order.client_id] = _Placed(order, numbers, refused)
        self._forget(order.client_id)

    def _refuse(self, order: Order, detail: str, delay_ns: int) -> None:
        refusal = Execution(
            trade_id="",
            symbol=order.symbol,
            quantity=0.0,
            price=0.0,
            fee=0.0,
            client_id=order.client_id,
            wanted=order.quantity,
            reason=oc.REASON_REJECTED,
        )
        self.placed[order.client_id] = _Placed(order, (self._show(refusal, delay_ns),), detail)
        self._forget(order.client_id)

    def _show(self, execution: Execution, delay_ns: int) -> int:
        """Puts an execution where it can be asked for; returns its number."""
        self._last += 1
        named = replace(execution, trade_id=f"sim-{self._last:08d}")
        self.executed.append((self._last, time.time_ns() + delay_ns, named))
        return self._last

    def _delay_ns(self, order: Order) -> int:
        late = self.faults.hits("late", order.client_id)
        return int(late * self.faults.latency_seconds * 1e9)

    def _answer(self, client_id: str) -> Answer:
        placed = self.placed[client_id]
        if not placed.executions:
            return Answer(client_id, SENT)
        now = time.time_ns()
        first = self._last - len(self.executed) + 1  # number of the oldest that is kept
        open_parts = [
            number
            for number in placed.executions
            if number >= first and self.executed[number - first][1] > now
        ]
        if open_parts:
            return Answer(client_id, SENT if len(open_parts) == len(placed.executions) else PARTIAL)
        return Answer(client_id, REJECTED if placed.rejected else FILLED, placed.rejected)

    def _forget(self, client_id: str) -> None:
        """Orders that ended long ago are forgotten where nothing is kept for good."""
        self.touched.add(client_id)
        self._waiting.pop(client_id, None)
        self._ended.append(client_id)
        while not self._keep_all and len(self._ended) > HISTORY:
            old = self._ended.popleft()
            self.placed.pop(old, None)
            self.attempts.pop(old, None)

    # What is kept

    def state(self) -> bytes:
        """The account, the tape, and what is not yet read; for `restore`. A venue that keeps all
        leaves its orders and executions to the storage that it has then (`rows`, `remember`).
        """
        unread, names = [], list(self._waiting)
        if self._keep_all:
            names = []
        else:
            for number, shown_ns, execution in reversed(self.executed):
                if number <= self._read:
                    break
                unread.append([number, shown_ns, vars(execution)])
                names.append(execution.client_id)
        words = {
            "executed": unread[::-1],
            "placed": [self.row(name) for name in dict.fromkeys(names) if name],
            "last": self._last,
            "read": self._read,
        }
        text = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
        arrays = {**below("desk", self.desk.state()), **below("tape", self.live.state())}
        return pack_arrays({**arrays, "words": text})

    def row(self, client_id: str) -> list[Any]:
        """One order for a storage: name, attempts, order, its executions, why it was refused; what
        never arrived has attempts alone.
        """
        own, attempts = self.placed.get(client_id), self.attempts.get(client_id, 1)
        if own is None:
            return [client_id, attempts, None, [], ""]
        return [client_id, attempts, vars(own.order), list(own.executions), own.rejected]

    def remember(self, orders: Iterable[Sequence[Any]], executed: Iterable[Sequence[Any]]) -> None:
        """Takes back rows of orders, and executions as number, moment to be shown, fields."""
        for name, attempts, order, numbers, rejected in orders:
            self.attempts[name] = attempts
            if order is not None:
                self.placed[name] = _Placed(Order(**order), tuple(numbers), rejected)
                if numbers:
                    self._ended.append(name)
                else:
                    self._waiting[name] = self.placed[name].order
        for number, shown_ns, execution in executed:
            self.executed.append((number, shown_ns, Execution(**execution)))

    def restore(self, state: bytes) -> None:
        """Goes on from a `state` of the same rules.

        Raises:
            CheckpointError: It is of other rules.
        """
        arrays = unpack_arrays(state)
        self.live.restore(part("tape", arrays))
        self.desk.restore(part("desk", arrays))
        words = json.loads(arrays["words"].tobytes())
        self._last, self._read = words["last"], words["read"]
        self.attempts.clear()
        self.executed.clear()
        self.placed.clear()
        self._waiting.clear()
        self._ended.clear()
        self.remember(words["placed"], words["executed"])


def without_limits(rules: Rules) -> Rules:
    """The same world without the limits of a plan, which are no business of a venue: its tape need
    not work out risks.
    """
    return replace(
        rules,
        max_net_exposure=np.inf,
        max_sector_allocation=np.inf,
        max_correlation_exposure=np.inf,
        max_portfolio_var=np.inf,
        max_volatility=np.inf,
        max_turnover=np.inf,
    )


def _no_answer(what: str) -> BrokerTimeout:
    return BrokerTimeout("simulated broker", "must answer", what, "Ask what became of the order.")


def _split(whole: Execution, lot: float) -> list[Execution]:
    """One fill as up to three, whole lots each; costs by share, the last takes what is left."""
    lots = round(abs(whole.quantity) / lot)
    piece = lots // PARTS * lot * float(np.sign(whole.quantity))
    if piece == 0.0:
        return [whole]
    share = piece / whole.quantity
    parts = [
        replace(whole, quantity=piece, fee=whole.fee * share, slippage=whole.slippage * share)
        for _ in range(PARTS - 1)
    ]
    rest = replace(
        whole,
        quantity=whole.quantity - piece * (PARTS - 1),
        fee=whole.fee - sum(part.fee for part in parts),
        slippage=whole.slippage - sum(part.slippage for part in parts),
    )
    return [*parts, rest]
