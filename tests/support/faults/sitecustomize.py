# SPDX-License-Identifier: Apache-2.0
"""Faults at file operations of any Python program; `tests.support.kills` puts this file's folder on
the program's path, and Python imports it first thing, in every process that the program starts.

The operations are Python's own audit events (open, os.mkdir, os.rename, os.remove, ...), which
come before the operation takes place, and ``os.fsync``, which has none and is wrapped. Those that
concern a path of interest are numbered from 1, over all processes together.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import time

PLAN = "MTQUANT_TEST_FAULTS"
SYNC = "test.fsync"
OPERATIONS = (SYNC, "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
PATHS = 2  # a rename has two


class Faults:
    """What goes wrong, and when.

    Args:
        plan: `Faults.plan` of `tests.support.kills`, as JSON.
    """

    def __init__(self, plan: str) -> None:
        settings = json.loads(plan)
        self.kind: str = settings["kind"]
        self.path: str = settings["path"]
        self.at: int = settings["at"]
        self.seconds: float = settings["seconds"]
        self.log: str = settings["log"]
        self.busy = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.busy or event not in OPERATIONS:
            return
        touched = [text(argument) for argument in arguments[:PATHS]]
        if self.log in touched or not any(self.path in name for name in touched):
            return
        if event == "open" and not writes(arguments[1], arguments[2]):
            return
        self.busy = True
        try:
            self.happen(self.count(event, touched), touched[0])
        finally:
            self.busy = False

    def count(self, event: str, touched: list[str]) -> int:
        """Notes the operation, and tells which one it is."""
        with open(self.log, "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{event} {' '.join(touched)}\n")
            file.flush()
            file.seek(0)
            return len(file.readlines())

    def happen(self, number: int, path: str) -> None:
        if self.kind == "slow":
            time.sleep(self.seconds)
        elif self.kind == "full" and number >= self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        elif self.kind in ("kill", "tear") and number == self.at:
            if self.kind == "tear" and os.path.isfile(path):
                os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def text(argument: object) -> str:
    return os.fsdecode(argument) if isinstance(argument, str | bytes | os.PathLike) else ""


def writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def path_of(descriptor: int) -> str:
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")


def install(plan: str) -> None:
    """Lets the plan come true in this process."""
    synced = os.fsync

    def fsync(file: object) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        sys.audit(SYNC, path_of(descriptor))
        synced(descriptor)

    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(Faults(plan))


if PLAN in os.environ:
    install(os.environ[PLAN])
