# SPDX-License-Identifier: Apache-2.0
"""What people ask of a running loop from other processes.

`halt` is a file beside the ledger before it is anything else: it needs no database, no lock and no
answer, it is looked at before every order, and it outlives both processes. The other commands are
rows of the ledger, which the loop reads between bars and answers there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path

from mtquant.core.errors import RunError
from mtquant.paper.ledger import BUSY_SECONDS, ledger_error

VERBS = ("halt", "resume", "flatten", "reconcile", "promote", "rollback")


def halt_path(ledger: Path) -> Path:
    """The file whose being there halts the loop."""
    return ledger.with_name(ledger.name + ".halt")


def heartbeat_path(ledger: Path) -> Path:
    """The file that the loop touches while it lives."""
    return ledger.with_name(ledger.name + ".heartbeat")


def request_halt(ledger: Path, reason: str) -> None:
    """Halts at once, whether or not a loop runs or the ledger can be written.

    Raises:
        RunError: The halt file cannot be written; nothing is halted.
    """
    file = halt_path(ledger)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, reason.encode())
        os.fsync(descriptor)
        os.close(descriptor)
    except OSError as error:
        remedy = "Mend its folder, or end the process of the loop."
        raise RunError(str(file), "must be written to halt", error.strerror, remedy) from error
    with contextlib.suppress(RunError):  # the file is what counts
        request(ledger, "halt", reason=reason)


def halt_reason(ledger: Path) -> str | None:
    """Why a person halted; None where nobody did. A file that cannot be read halts too."""
    try:
        text = halt_path(ledger).read_text(encoding="utf-8", errors="replace").strip()
        return text or "no reason given"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the halt file cannot be read: {error.strerror}"


def request(ledger: Path, verb: str, **arguments: str | float) -> int:
    """Puts a command into the ledger and returns its number.

    Raises:
        RunError: There is no ledger, or it cannot be written.
    """
    if not ledger.exists():
        remedy = "Name the ledger of a paper account with --ledger."
        raise RunError(str(ledger), "must be a paper ledger", "no such file", remedy)
    try:
        connection = sqlite3.connect(ledger, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            row = (time.time_ns(), verb, json.dumps(arguments))
            cursor = connection.execute(
                "INSERT INTO commands (wall_ns, verb, arguments) VALUES (?, ?, ?)", row
            )
            return int(cursor.lastrowid or 0)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ledger_error(ledger, error) from error


def beat(ledger: Path, bar: int, stamp_ns: int) -> None:
    """Says that the loop lives. Not synced to disk: nobody needs it after a power cut."""
    text = json.dumps({"time": time.time(), "pid": os.getpid(), "bar": bar, "stamp_ns": stamp_ns})
    file = heartbeat_path(ledger)
    temporary = file.with_name(file.name + ".new")
    try:
        temporary.write_text(text)
        os.replace(temporary, file)
    except OSError:
        return  # the ledger will complain of the disk, with more to say


def last_beat(ledger: Path) -> dict[str, float] | None:
    """The last heartbeat; None where there is none that can be read."""
    try:
        found = json.loads(heartbeat_path(ledger).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
