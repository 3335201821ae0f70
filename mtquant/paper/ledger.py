# SPDX-License-Identifier: Apache-2.0
"""The ledger of a paper account: one SQLite file, append-only, written before anybody acts.

    with PaperLedger.open(path) as ledger:      # locked, checked, migrated
        with ledger.transaction():
            ledger.add("orders", client_id=..., ...)

WAL with full synchronisation: what a transaction wrote is on the disk when it ends, and a killed
process leaves all of it or nothing. One process at a time may write (`fcntl` lock beside the file);
commands of people come through `mtquant/paper/control.py`, readers through `reading.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mtquant.core.errors import RunError
from mtquant.paper.schema import columns_of, migrate

LOCK_TRIES, LOCK_PAUSE_SECONDS = 20, 0.05  # `running` holds the lock for a moment as it looks
BUSY_SECONDS = 10.0  # how long a command of another process may hold the file
REMEDIES = (
    ("disk is full", "Free some disk space and start again: nothing that was committed is lost."),
    ("readonly", "Give this user the right to write the ledger, its folder, and files beside it."),
    ("unable to open", "Check the path, and the permissions of its folder."),
    ("locked", "Another program holds the file open: end it."),
    ("i/o error", "Check the disk; then start again: nothing that was committed is lost."),
    ("malformed", "Restore the file from a backup, or export what can be read and begin anew."),
    ("not a database", "Restore the file from a backup, or name another one."),
)


def ledger_error(path: Path, error: Exception) -> RunError:
    """What SQLite complained of, with a remedy."""
    text = str(error)
    remedies = (remedy for part, remedy in REMEDIES if part in text.lower())
    return RunError(str(path), "must take and keep rows", text, next(remedies, "Look at the file."))


class PaperLedger:
    """The one writer of a ledger. Use `open`, or `create` for a new one.

    Args:
        path: The file.
        connection: To it, in autocommit mode.
        lock: Descriptor that holds the lock.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self._connection, self._lock = connection, lock
        self._inserts: dict[str, tuple[str, tuple[str, ...]]] = {}

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, str]) -> PaperLedger:
        """A new ledger that knows what it is of.

        Raises:
            RunError: There is one already, another process is at it, or it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            remedy = "Open it, or choose another name."
            raise RunError(str(path), "must not exist yet", "a file", remedy)
        ledger = cls._connected(path)
        try:
            migrate(ledger._connection, str(path))
            with ledger.transaction():
                for name, value in meta.items():
                    ledger.add("meta", name=name, value=value)
        except sqlite3.Error as error:
            ledger.close()
            raise ledger_error(path, error) from error
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def open(cls, path: Path) -> PaperLedger:
        """An existing ledger: locked, checked page by page and row by row, brought to this version.

        Raises:
            RunError: There is none, another process is at it, it is damaged or of a later version,
                or it cannot be written.
        """
        if not path.exists():
            remedy = "Start one with `mtquant paper run`."
            raise RunError(str(path), "must be a paper ledger", "no such file", remedy)
        ledger = cls._connected(path)
        try:
            check_pages(ledger._connection, path)
            migrate(ledger._connection, str(path))
            check_chain(ledger._connection, path)
        except sqlite3.Error as error:
            ledger.close()
            raise ledger_error(path, error) from error
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def _connected(cls, path: Path) -> PaperLedger:
        lock = take_lock(path)
        try:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # WAL grows to about this many pages before it is written back into the file.
            connection.execute("PRAGMA wal_autocheckpoint = 1000")
            connection.execute("PRAGMA cache_size = -8192")
        except sqlite3.Error as error:
            os.close(lock)
            raise ledger_error(path, error) from error
        return cls(path, connection, lock)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All rows added inside are on the disk when it ends, or none is.

        Raises:
            RunError: The disk is full, or the file cannot be written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise ledger_error(self.path, error) from error

    def add(self, table: str, **values: Any) -> None:
        """Adds a row; every column has to be named."""
        if table not in self._inserts:
            columns = columns_of(table)
            names, places = ", ".join(columns), ", ".join("?" * len(columns))
            self._inserts[table] = (f"INSERT INTO {table} ({names}) VALUES ({places})", columns)
        statement, columns = self._inserts[table]
        self._connection.execute(statement, [values[name] for name in columns])

    def keep_state(self, bar: int, name: str, content: bytes) -> None:
        """Replaces what is kept under a name by the state after a bar."""
        self._connection.execute("DELETE FROM states WHERE name = ?", (name,))
        self._connection.execute("INSERT INTO states VALUES (?, ?, ?)", (bar, name, content))

    def ask(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a SELECT.

        Raises:
            RunError: The file cannot be read.
        """
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise ledger_error(self.path, error) from error

    def note(self, stamp_ns: int, kind: str, subject: str, detail: str) -> None:
        """Adds a note, inside a transaction."""
        self.add(
            "notes",
            stamp_ns=stamp_ns,
            wall_ns=time.time_ns(),
            kind=kind,
            subject=subject,
            detail=detail,
        )

    def close(self) -> None:
        """Writes the file back and lets the lock go."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def lock_path(path: Path) -> Path:
    """The file whose lock the writer of a ledger holds."""
    return path.with_name(path.name + ".lock")


def take_lock(path: Path) -> int:
    """Locks a ledger for this process and returns the descriptor; the system lets go when it dies.

    Raises:
        RunError: Another process holds it, or the lock file cannot be written.
    """
    try:
        descriptor = os.open(lock_path(path), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        remedy = "Give this user the right to write beside the ledger."
        rule = "must be a file that can be written"
        raise RunError(str(lock_path(path)), rule, error.strerror, remedy) from error
    for k in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if k + 1 < LOCK_TRIES:
                time.sleep(LOCK_PAUSE_SECONDS)
                continue
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            remedy = "End that process first: two loops would trade one account twice."
            rule = "must be held by no other process"
            raise RunError(str(path), rule, f"process {holder}", remedy) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def running(path: Path) -> int | None:
    """Process that holds a ledger; None where nobody does."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(holder) if holder.isdigit() else -1
    finally:
        os.close(descriptor)
    return None


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses a file whose pages SQLite finds damaged.

    Raises:
        RunError: They are.
    """
    found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        remedy = "Restore the file from a backup, or export what can be read and begin anew."
        raise RunError(str(path), "must pass SQLite's integrity check", found, remedy)


def chained(before: bytes, bar: int, parts: list[bytes]) -> bytes:
    """Digest of a bar's rows and of all before them, 16 bytes."""
    digest = hashlib.blake2b(before, digest_size=16)
    digest.update(bar.to_bytes(8, "little"))
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


CHAINED_BOOKS = "b.positions, b.prices, b.rates, b.financing, b.targets"


def check_chain(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses a ledger in which a number changed after it was written: a damaged page whose
    structure is whole.

    Raises:
        RunError: At which bar.
    """
    fills: dict[int, list[bytes]] = {}
    for bar, raw in connection.execute("SELECT bar, raw FROM fills ORDER BY bar, rowid"):
        fills.setdefault(bar, []).append(raw)
    before = b""
    rows = connection.execute(
        f"SELECT o.bar, o.raw, o.chain, {CHAINED_BOOKS} "
        "FROM outcomes o LEFT JOIN books b ON b.bar = o.bar ORDER BY o.bar"
    )
    for bar, raw, chain, *books in rows:
        parts = [raw, *(book or b"" for book in books), *fills.get(bar, [])]
        if chained(before, bar, parts) != chain:
            remedy = "The file is damaged: restore it from a backup."
            rule = "must hold the rows that were written"
            raise RunError(str(path), rule, f"bar {bar} does not match its digest", remedy)
        before = chain
