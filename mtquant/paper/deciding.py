# SPDX-License-Identifier: Apache-2.0
"""From what the models at work want to orders that the ledger is about to hold: observe, decide,
plan.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import MtquantError
from mtquant.data.bars import NANOSECONDS
from mtquant.market.account import B_POSITION, BAR_BINDING
from mtquant.paper.dealing import Dealer
from mtquant.paper.desk_book import Pending
from mtquant.paper.exposure import Exposure
from mtquant.paper.messages import MESSAGES, Words
from mtquant.paper.orders import Order, client_id
from mtquant.paper.roster import Roster
from mtquant.paper.seats import mixture

Float = NDArray[np.float64]
HOUR_NS = 3_600 * NANOSECONDS


class Decider:
    """Takes the decisions of one account.

    Args:
        dealer: Who sends the orders; its account, ledger and guard are the decider's too.
        roster: The models at work.
        exposure: What is held.

    Attributes:
        targets: Exposures of the latest decision, float64 [N]; NaN where there was none.
    """

    def __init__(self, dealer: Dealer, roster: Roster, exposure: Exposure) -> None:
        self.dealer, self.roster, self.exposure = dealer, roster, exposure
        self.terms, self.recorder, self.guardian = dealer.terms, dealer.recorder, dealer.guardian
        self.desk, self.tape, self.remark = dealer.desk, dealer.tape, dealer.remark
        self.symbols = self.terms.rules.symbols
        self.targets = np.full(len(self.symbols), np.nan)
        self._order_stamps: deque[int] = deque()  # of the last hour

    @property
    def bar(self) -> int:
        """Number of the last row."""
        return self.tape.count - 1

    def decide(self) -> None:
        """Observe, decide, plan; the orders wait for the commit."""
        if self.guardian.flattening:  # also where no model can be asked
            self.plan(np.zeros(len(self.symbols)), "", {})
            return
        asked, seen, shares = [], [], []
        said: dict[str, Words] = {}
        for path, share in self.roster.shares():
            seat = self.roster.seats[path]
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
            if seat.said:
                said[path] = seat.said
        health = [seat.health for seat in self.roster.seats.values()]
        outside = any(own.outside_range for own in health)
        self.guardian.doubt("features outside the training range", outside)
        self.guardian.doubt("features have drifted", any(own.has_drifted for own in health))
        held = self.exposure.held(self.desk)
        wanted = mixture(asked, shares, held) if asked else np.zeros(len(self.symbols))
        digest = hashlib.sha256(b"".join(seen)).hexdigest()
        self.plan(wanted, digest, said)

    def plan(self, wanted: Float, digest: str, said: Mapping[str, Words]) -> None:
        """From what the models want to orders that wait for the commit.

        Args:
            wanted: Target exposures, float64 [N].
            digest: Of what the models saw.
            said: Path of a model -> what its parts told each other.
        """
        held = self.exposure.held(self.desk)
        positions = self.desk.column(B_POSITION)
        self.guardian.flattening &= bool(positions.any())
        mode = self.guardian.mode
        if self.guardian.flattening:
            targets = np.zeros(len(self.symbols))
        else:
            targets = self.guardian.allowed(wanted, held)
        guarded = not np.array_equal(targets, wanted, equal_nan=True)
        self.desk.plan(targets, exact=guarded)
        if guarded:
            self.desk.block[BAR_BINDING] = int(self.desk.block[BAR_BINDING]) | oc.LIMIT_GUARD
        self.targets = targets
        orders = self.desk.take_orders()
        busy = self.dealer.orders.busy(len(orders))
        stamp = self.tape.stamp_ns
        for n in np.flatnonzero(orders):
            if busy[n]:
                self.remark("order-held-back", self.symbols[n], "another one is under way", "info")
            elif self.guardian.lets_through(float(orders[n]), float(positions[n])):
                self.intend(int(n), float(orders[n]), stamp)
        shares = dict(self.roster.shares())
        details = {"shares": shares, "flattening": self.guardian.flattening, MESSAGES: said}
        self.recorder.decided(self.bar, stamp, wanted, targets, mode, digest, details)

    def decide_nothing(self, why: str) -> None:
        """A bar without a decision: nothing is ordered."""
        nothing = np.full(len(self.symbols), np.nan)
        self.targets = nothing
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
        self.recorder.intended(own)
        self.dealer.queue(own)

    def restore(self, targets: Float) -> None:
        """Goes on behind a decision of the ledger; the tape is there already."""
        self.targets = targets
        sent = self.recorder.ledger.ask(
            "SELECT stamp_ns FROM orders WHERE stamp_ns > ? ORDER BY stamp_ns",
            self.tape.stamp_ns - HOUR_NS,
        )
        self._order_stamps = deque(row[0] for row in sent)
