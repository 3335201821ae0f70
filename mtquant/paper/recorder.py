# SPDX-License-Identifier: Apache-2.0
"""Rows that wait for the next transaction: a bar, and everything that happened since the last one,
reaches the disk in one piece.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.account import B_MARK, B_POSITION, B_RATE
from mtquant.market.live_desk import LiveDesk
from mtquant.market.tape import S_FINANCING
from mtquant.paper.desk_book import Pending
from mtquant.paper.feeds import RawBar
from mtquant.paper.guardian import Transition
from mtquant.paper.ledger import PaperLedger, chained
from mtquant.paper.orders import Execution

Float = NDArray[np.float64]


class Recorder:
    """Collects rows, and writes them in the order in which they came.

    Args:
        ledger: Where they go.
    """

    def __init__(self, ledger: PaperLedger) -> None:
        self.ledger = ledger
        self._rows: list[tuple[str, dict[str, Any]]] = []
        last = ledger.ask("SELECT chain FROM outcomes ORDER BY bar DESC LIMIT 1")
        self._chain: bytes = last[0][0] if last else b""

    @property
    def waiting(self) -> bool:
        """Whether something is not on the disk yet."""
        return bool(self._rows)

    def add(self, table: str, **values: Any) -> None:
        """A row for the next transaction."""
        self._rows.append((table, values))

    def note(self, stamp_ns: int, kind: str, subject: str, detail: str) -> None:
        """Something remarkable."""
        self.add(
            "notes",
            stamp_ns=stamp_ns,
            wall_ns=time.time_ns(),
            kind=kind,
            subject=subject,
            detail=detail,
        )

    def bars(self, bar: int, stamp_ns: int, bars: Mapping[int, RawBar]) -> None:
        """A panel row."""
        self.add("rows", bar=bar, stamp_ns=stamp_ns, wall_ns=time.time_ns())
        for n, own in bars.items():
            self.add(
                "bars",
                bar=bar,
                instrument=n,
                open=own.open,
                high=own.high,
                low=own.low,
                close=own.close,
                volume=own.volume,
            )

    def lived(
        self,
        bar: int,
        stamp_ns: int,
        desk: LiveDesk,
        targets: Float,
        executions: Sequence[Execution],
        fills: Float,
    ) -> None:
        """A bar lived through: its outcome, book and fills, with the digest that chains them."""
        raw = desk.outcome.tobytes()
        book = [
            np.ascontiguousarray(own).tobytes()
            for own in (
                desk.column(B_POSITION),
                desk.column(B_MARK),
                desk.column(B_RATE),
                desk.noted(S_FINANCING),
                targets,
            )
        ]
        for execution, row in zip(executions, fills, strict=True):
            values = dict(zip(oc.FILL_COLUMNS[1:], row[1:].tolist(), strict=True))
            self.add(
                "fills",
                trade_id=execution.trade_id,
                client_id=execution.client_id or None,
                bar=bar,
                raw=row.tobytes(),
                **values,
            )
        self._chain = chained(self._chain, bar, [raw, *book, *(row.tobytes() for row in fills)])
        outcome = dict(zip(oc.OUTCOME_COLUMNS, desk.outcome.tolist(), strict=True))
        self.add("outcomes", bar=bar, stamp_ns=stamp_ns, raw=raw, chain=self._chain, **outcome)
        names = ("positions", "prices", "rates", "financing", "targets")
        self.add("books", bar=bar, **dict(zip(names, book, strict=True)))

    def decided(
        self,
        bar: int,
        stamp_ns: int,
        asked: Float,
        targets: Float,
        mode: int,
        seen: str,
        details: Mapping[str, Any],
    ) -> None:
        """A decision: what was asked for, and what the guard left of it."""
        self.add(
            "decisions",
            bar=bar,
            stamp_ns=stamp_ns,
            asked=asked.tobytes(),
            targets=targets.tobytes(),
            mode=mode,
            seen=seen,
            details=json.dumps(details),
        )

    def intended(self, own: Pending) -> None:
        """An order, before anybody is told of it."""
        self.add(
            "orders",
            client_id=own.order.client_id,
            bar=own.bar,
            instrument=own.instrument,
            quantity=own.order.quantity,
            stamp_ns=own.order.stamp_ns,
            good_until_ns=own.good_until_ns,
        )

    def events(self, events: list[tuple[str, str, str]]) -> None:
        """Changes of orders' status; the list is emptied."""
        for client_id, status, detail in events:
            self.add(
                "events",
                client_id=client_id,
                status=status,
                detail=detail,
                wall_ns=time.time_ns(),
            )
        events.clear()

    def guard(self, bar: int, stamp_ns: int, change: Transition) -> None:
        """A change of the guard's mode."""
        self.add(
            "guard",
            bar=bar,
            stamp_ns=stamp_ns,
            wall_ns=time.time_ns(),
            mode_before=change.before,
            mode_after=change.after,
            reasons="; ".join(change.reasons),
            actor=change.actor,
        )

    def commit(self, bar: int, states: Mapping[str, bytes]) -> None:
        """Writes everything; what fails is still waiting, and nothing of it is on the disk.

        Raises:
            RunError: The ledger cannot be written.
        """
        with self.ledger.transaction():
            for table, values in self._rows:
                self.ledger.add(table, **values)
            for name, content in states.items():
                self.ledger.keep_state(bar, name, content)
        self._rows.clear()
