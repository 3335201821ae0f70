# SPDX-License-Identifier: Apache-2.0
"""A simulated broker as a process of its own, with storage of its own, behind a local socket.

    serve(socket_path, storage_path, make_venue)       # in its process
    broker = RemoteBroker(socket_path)                 # in the loop's

One JSON line per question and per answer. The server writes its state to SQLite before it answers,
so that killing either process loses nothing; executions that are late are shown in time whether or
not a loop is there to see them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mtquant.core.errors import MtquantError
from mtquant.market.live_tape import Prices
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.orders import Answer, Execution, Holdings, Order
from mtquant.paper.sim_broker import SimBroker

MakeVenue = Callable[[bytes | None], SimBroker]
LONGEST_LINE = 1 << 20


class _Storage:
    """The venue's own file: after every question that changed it, its state, and the orders and
    executions that are new.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing
        for table in (
            "venue (one INTEGER PRIMARY KEY, state BLOB NOT NULL)",
            "orders (name TEXT PRIMARY KEY, row TEXT NOT NULL)",
            "executions (number INTEGER PRIMARY KEY, row TEXT NOT NULL)",
        ):
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        last = self._connection.execute("SELECT max(number) FROM executions").fetchone()[0]
        self._last = last or 0

    def load(self) -> bytes | None:
        row = self._connection.execute("SELECT state FROM venue").fetchone()
        return row[0] if row else None

    def remind(self, venue: SimBroker) -> None:
        """Tells a venue what it did."""
        ask = self._connection.execute
        orders = [json.loads(row[0]) for row in ask("SELECT row FROM orders ORDER BY rowid")]
        done = ask("SELECT row FROM executions ORDER BY number")
        venue.remember(orders, [json.loads(row[0]) for row in done])

    def save(self, venue: SimBroker) -> None:
        write = self._connection.execute
        write("BEGIN")
        write("INSERT OR REPLACE INTO venue VALUES (1, ?)", (venue.state(),))
        for name in sorted(venue.touched):
            write(
                "INSERT OR REPLACE INTO orders VALUES (?, ?)", (name, json.dumps(venue.row(name)))
            )
        for number, shown_ns, execution in reversed(venue.executed):
            if number <= self._last:
                break
            row = json.dumps([number, shown_ns, asdict(execution)])
            write("INSERT INTO executions VALUES (?, ?)", (number, row))
        write("COMMIT")
        venue.touched.clear()
        if venue.executed:
            self._last = venue.executed[-1][0]


def serve(address: Path, storage: Path, make_venue: MakeVenue, stop: Callable[[], bool]) -> None:
    """Answers one client after the other until told to stop.

    Args:
        address: Path of the socket; made anew.
        storage: Path of the venue's file.
        make_venue: Makes a venue that keeps all, from the state that the file remembers.
        stop: Asked several times a second.
    """
    address.unlink(missing_ok=True)  # of a server that was killed
    kept = _Storage(storage)
    venue = make_venue(kept.load())
    kept.remind(venue)
    unready = address.with_name(f"{address.name}~")  # paths of sockets are short
    unready.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(unready))
        unready.chmod(0o600)  # whoever may connect may trade
        door.listen(1)
        unready.replace(address)  # whoever sees the address is answered
        door.settimeout(0.2)
        while not stop():
            try:
                client, _ = door.accept()
            except TimeoutError:
                continue
            with client, contextlib.suppress(OSError):
                _answer_all(client, venue, kept)
    address.unlink(missing_ok=True)


def _answer_all(client: socket.socket, venue: SimBroker, kept: _Storage) -> None:
    """Answers a client's questions until it goes, or is killed."""
    client.settimeout(None)
    with client.makefile("rwb") as lines:
        while line := lines.readline(LONGEST_LINE):
            if not line.endswith(b"\n"):
                return  # the client was killed inside its question
            question = json.loads(line)
            answer = _answer(venue, question)
            if question["ask"] in ("submit", "live_bar", "cancel"):
                kept.save(venue)
            if answer is None:
                continue  # lost on its way: the client waits in vain
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()


def _answer(venue: SimBroker, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer to one question; None where it is to be lost."""
    ask = question["ask"]
    try:
        if ask == "submit":
            found: Any = asdict(venue.submit(Order(**question["order"])))
        elif ask in ("order", "cancel"):
            answer = getattr(venue, ask)(question["client_id"])
            found = None if answer is None else asdict(answer)
        elif ask == "executions":
            found = [[cursor, asdict(own)] for cursor, own in venue.executions(question["after"])]
        elif ask == "holdings":
            found = asdict(venue.holdings())
        elif ask == "live_bar":
            bars = {int(n): tuple(own) for n, own in question["bars"].items()}
            found = venue.live_bar(question["stamp_ns"], bars)  # type: ignore[func-returns-value]
        else:
            return {"error": ["question", "must be one that a broker answers", ask, "Ask another."]}
    except BrokerTimeout:
        return None
    except MtquantError as error:
        return {"error": [error.field, error.rule, str(error.found), error.remedy]}
    return {"found": found}


class RemoteBroker:
    """The client of `serve`, as a `Broker`.

    Args:
        address: Path of the socket.
        patience_seconds: How long an answer is waited for.
    """

    name = "simulated, remote"

    def __init__(self, address: Path, patience_seconds: float = 2.0) -> None:
        self._address, self._patience = address, patience_seconds
        self._socket: socket.socket | None = None
        self._lines: Any = None

    def submit(self, order: Order) -> Answer:
        """As `Broker.submit`."""
        return Answer(**self._ask("submit", order=asdict(order)))

    def order(self, client_id: str) -> Answer | None:
        """As `Broker.order`."""
        found = self._ask("order", client_id=client_id)
        return None if found is None else Answer(**found)

    def cancel(self, client_id: str) -> Answer | None:
        """As `Broker.cancel`."""
        found = self._ask("cancel", client_id=client_id)
        return None if found is None else Answer(**found)

    def executions(self, after: str) -> Sequence[tuple[str, Execution]]:
        """As `Broker.executions`."""
        found = self._ask("executions", after=after)
        return [(cursor, Execution(**own)) for cursor, own in found]

    def holdings(self) -> Holdings:
        """As `Broker.holdings`."""
        return Holdings(**self._ask("holdings"))

    def live_bar(self, stamp_ns: int, bars: Mapping[int, Prices]) -> None:
        """As `SimulatedVenue.live_bar`."""
        self._ask("live_bar", stamp_ns=stamp_ns, bars={str(n): own for n, own in bars.items()})

    def close(self) -> None:
        """Hangs up."""
        with contextlib.suppress(OSError):
            if self._lines is not None:
                self._lines.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._lines = None

    def _ask(self, ask: str, **arguments: Any) -> Any:
        """One question; after a time-out the line is hung up, so that a late answer cannot be
        taken for that to the next question.
        """
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(self._patience)
                self._socket.connect(str(self._address))
                self._lines = self._socket.makefile("rwb")
            self._lines.write(json.dumps({"ask": ask, **arguments}).encode() + b"\n")
            self._lines.flush()
            line = self._lines.readline()
        except OSError as error:
            self.close()
            raise _silent(ask, error) from error
        if not line.endswith(b"\n"):
            self.close()
            raise _silent(ask, EOFError("the line was cut"))
        answer = json.loads(line)
        if "error" in answer:
            raise BrokerError(*answer["error"])
        return answer["found"]


def _silent(ask: str, error: Exception) -> BrokerTimeout:
    remedy = "Ask what became of it."
    return BrokerTimeout(f"question {ask!r}", "must be answered", str(error), remedy)
