# SPDX-License-Identifier: Apache-2.0
"""Writing records so that a crash never leaves half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
