# SPDX-License-Identifier: Apache-2.0
"""Where a paper account stands: what its ledger, its heartbeat and its halt file say."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtquant.core.errors import RunError
from mtquant.core.paper_config import PaperConfig
from mtquant.paper.control import halt_reason, last_beat
from mtquant.paper.orders import ENDED
from mtquant.paper.reading import guard, meta, reader
from mtquant.paper.schema import VERSION

# From here on a loop counts as dead for its own guard too. What the account's configuration says
# instead is not in the ledger.
SILENT_SECONDS = PaperConfig().heartbeat_seconds


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection that sees one state of the ledger until it is closed.

    Raises:
        RunError: There is no ledger, it cannot be read, or another version of mtquant wrote it.
    """
    with reader(path) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found != VERSION:
            raise RunError(
                str(path), f"must be a paper ledger of schema version {VERSION}", found, _way(found)
            )
        connection.execute("BEGIN")
        if connection.execute("SELECT 1 FROM meta LIMIT 1").fetchone() is None:
            remedy = "Its maker ended too early: `mtquant paper run` goes on."
            raise RunError(str(path), "must say whose account it is", "nothing", remedy)
        yield connection


def _way(version: int) -> str:
    """What to do about a file of another version."""
    if version == 0:
        return "This is another kind of file: name the ledger of a paper account."
    if version < VERSION:
        return "An earlier mtquant wrote it: `mtquant paper run` brings it up to date."
    return "A later mtquant wrote it: use that one."


@dataclass(frozen=True)
class Account:
    """An account after its last bar.

    Attributes:
        name: Who trades.
        currency: Of all money.
        symbols: N instruments.
        initial_equity: At the opening.
        bar_seconds: Length of a bar.
        rules: As the ledger keeps them.
        bar, stamp_ns: The last bar lived through; None before the first.
        outcome: Its columns of `core/outcome.py`, None where not known; empty before the first bar.
        mode: GUARD_*.
        reasons: Why, as the guard said.
        halted_by: What a person wrote into the halt file; None where there is none.
        beat_age: Seconds since the loop last said that it lives; None where it never did.
        open_orders: Orders that have not ended.
        unknown_orders: Those of them whose fate nobody knows.
    """

    name: str
    currency: str
    symbols: tuple[str, ...]
    initial_equity: float
    bar_seconds: int
    rules: dict[str, Any]
    bar: int | None
    stamp_ns: int | None
    outcome: dict[str, float | None]
    mode: int
    reasons: str
    halted_by: str | None
    beat_age: float | None
    open_orders: int
    unknown_orders: int

    @property
    def silent(self) -> bool:
        """Whether nobody knows what became of the account since the last bar."""
        return self.beat_age is None or self.beat_age > SILENT_SECONDS

    @property
    def equity(self) -> float | None:
        """After the last bar; None where it cannot be read."""
        return self.outcome["equity"] if self.outcome else self.initial_equity


def account(path: Path) -> Account:
    """Reads where an account stands.

    Raises:
        RunError: There is no ledger, or it cannot be read.
    """
    with opened(path) as connection:
        about = meta(connection)
        cursor = connection.execute("SELECT * FROM outcomes ORDER BY bar DESC LIMIT 1")
        names = [column[0] for column in cursor.description]
        last = dict(zip(names, cursor.fetchone() or (), strict=False))
        mode, reasons = guard(connection)
        statuses = open_statuses(connection)
    for kept in ("raw", "chain"):
        last.pop(kept, None)
    beat = last_beat(path)
    return Account(
        name=about["name"],
        currency=about["rules"]["account_currency"],
        symbols=about["symbols"],
        initial_equity=about["initial_equity"],
        bar_seconds=int(about["bar_seconds"]),
        rules=about["rules"],
        bar=last.pop("bar", None),
        stamp_ns=last.pop("stamp_ns", None),
        outcome=last,
        mode=mode,
        reasons=reasons,
        halted_by=halt_reason(path),
        beat_age=None if beat is None else max(0.0, time.time() - beat["time"]),
        open_orders=len(statuses),
        unknown_orders=statuses.count("unknown"),
    )


def open_statuses(connection: sqlite3.Connection) -> list[str]:
    """Last status of every order that has not ended.

    An end is for ever, so that the index of events answers without reading all of them.
    """
    places = ", ".join("?" * len(ENDED))
    found = connection.execute(
        "SELECT coalesce((SELECT status FROM events WHERE client_id = o.client_id"
        " ORDER BY id DESC LIMIT 1), 'intended') FROM orders o WHERE NOT EXISTS"
        f" (SELECT 1 FROM events WHERE client_id = o.client_id AND status IN ({places}))",
        tuple(ENDED),
    )
    return [row[0] for row in found]
