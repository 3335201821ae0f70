# SPDX-License-Identifier: Apache-2.0
"""Writing records so that a crash never leaves half of one, or none that a reader would believe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtquant.core.errors import RunError


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` fill a file beside `path`, flushes it to disk and renames it into place.

    The temporary name keeps the suffix, because many writers choose their format by it. On any
    failure the old file stays as it was and the temporary one is removed.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one JSON line to a file, in one write that reaches the disk before this returns.

    Several processes may append at a time: a file opened for appending takes each write whole, at
    its end (POSIX; not over NFS). A line that a killed writer left unfinished is closed first, so
    that it spoils no other.

    Raises:
        RunError: The file cannot be written, or the disk is full.
    """
    content = json.dumps(row, allow_nan=False).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                content = b"\n" + content
            written = os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        remedy = "Free some disk space, or mend the file's permissions."
        raise RunError(str(path), "must be a writable file", error.strerror, remedy) from error
    if written != len(content):
        found = f"{written} of {len(content)} bytes"
        raise RunError(str(path), "must take a whole row", found, "Free some disk space.")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `append_row` wrote, in order; lines of killed writers are left out.

    Raises:
        RunError: The file is there and cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        remedy = "Mend the file's permissions."
        raise RunError(str(path), "must be a readable file", error.strerror, remedy) from error
    return [row for row in map(_row, lines) if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
