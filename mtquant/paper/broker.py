# SPDX-License-Identifier: Apache-2.0
"""What a broker has to be able to do, and nothing more.

An adapter translates six questions. It books nothing and remembers nothing: the loop's ledger does.
`check_broker` (`broker_check.py`) tries an adapter out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from mtquant.core.errors import MtquantError
from mtquant.market.live_tape import Prices
from mtquant.paper.orders import Answer, Execution, Holdings, Order


class BrokerError(MtquantError):
    """The broker cannot be used: wrong credentials, unknown instrument, an answer that makes no
    sense. Trading stops.
    """


class BrokerTimeout(BrokerError):
    """No answer came. Whether the request was carried out is not known."""


class Broker(Protocol):
    """The venue, as the loop sees it.

    Every method may raise `BrokerTimeout` (nobody knows) or `BrokerError` (cannot go on).
    """

    @property
    def name(self) -> str:
        """What ledgers and alerts call it; no secrets."""
        ...

    def submit(self, order: Order) -> Answer:
        """Places an order. The same `client_id` again changes nothing and is answered with what
        became of the first.
        """
        ...

    def order(self, client_id: str) -> Answer | None:
        """What became of an order; None if the broker never heard of it."""
        ...

    def executions(self, after: str) -> Sequence[tuple[str, Execution]]:
        """Everything done since a cursor, oldest first, each with the cursor behind it.

        Args:
            after: A cursor from an earlier answer; empty for all of the account's history.
        """
        ...

    def holdings(self) -> Holdings:
        """Positions and cash as they are now."""
        ...

    def cancel(self, client_id: str) -> Answer | None:
        """Takes back what is not done yet of an order; answers as `order`."""
        ...


@runtime_checkable
class SimulatedVenue(Protocol):
    """A broker without a market of its own: it has to be told of bars."""

    def live_bar(self, stamp_ns: int, bars: Mapping[int, Prices]) -> None:
        """Lives through a bar; one that it knows changes nothing.

        Args:
            stamp_ns: Close stamp.
            bars: Column of the instrument -> open, high, low, close.
        """
        ...
