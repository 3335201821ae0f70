# SPDX-License-Identifier: Apache-2.0
"""The desk on bars as they come: PLAN and BOOK for the paper loop, all of it for a simulated
broker.

    desk = LiveDesk(live_tape, rules, "hierarchy")     # opened at the last row's close
    desk.plan(targets)
    orders = desk.take_orders()                        # they go to a broker
    live_tape.push(stamp, bars)
    desk.book(executions)                              # what the broker did in that bar

Nothing is recorded here: whoever drives it keeps the ledger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.lanes import LANES
from mtquant.core.states import Arrays, fill
from mtquant.market.desk import Desk, broker_bar
from mtquant.market.live_tape import LAST, LiveTape
from mtquant.market.rules import R_LOT, Rules
from mtquant.market.tape import S_QUEUED

Float = NDArray[np.float64]
# Brokers fill in parts that are no whole lots. What is left of rounding is taken off at this share
# of a lot; a power of two, so that whole lots come out of it to the same byte as of whole ones.
GRAIN = 2.0**-16


class LiveDesk(Desk):
    """One account on the last two rows of a panel.

    Args:
        live: The rows; at the close of the last one the account is opened.
        rules: The rules; must fill at the open, since the last close is history.
        name: Who trades.
        initial_equity: Deposit; the rules' own when None.
    """

    def __init__(
        self, live: LiveTape, rules: Rules, name: str, initial_equity: float | None = None
    ) -> None:
        super().__init__(live.tape, rules, name, start_row=LAST, initial_equity=initial_equity)
        self._booking = self.rules_matrix.copy()
        self._booking[:, R_LOT] *= GRAIN

    def queue(self, orders: Float) -> None:
        """Puts orders (signed units float64 [N]; 0 is none) where the next bar fills them."""
        self.noted(S_QUEUED)[:] = orders

    def take_orders(self) -> Float:
        """The planned orders, signed units float64 [N]; they are no longer queued here."""
        orders = self.noted(S_QUEUED).copy()
        self.noted(S_QUEUED)[:] = 0.0
        return orders

    def book(self, executions: Float) -> Float:
        """Lives through the last row with fills that a broker made, in the broker's order.

        Args:
            executions: float64 [M, len(FILL_COLUMNS)], fills and refusals.

        Returns:
            The Outcome, float64 [len(OUTCOME_COLUMNS)] (a view).
        """
        self._rows[0] = self.row
        executions = np.ascontiguousarray(executions).reshape(-1, len(oc.FILL_COLUMNS))
        booked = np.zeros_like(executions)
        broker_bar(
            self.block,
            self._rows,
            self.tape.prices,
            self.tape.clock,
            self._booking,
            executions,
            self.settings,
            booked,
            self.sheet,
        )
        self.see_diversification()
        return self.outcome

    def state(self) -> Arrays:
        """Account and sheet, for `restore`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Arrays) -> None:
        """Goes on from a `state` of the same rules.

        Raises:
            CheckpointError: It is of another shape.
        """
        fill(self._arrays(), state)

    def _arrays(self) -> Arrays:
        return {"account": self.account, "sheet": self.sheet.reshape(-1, LANES)[:, 0]}
