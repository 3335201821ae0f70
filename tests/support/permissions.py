# SPDX-License-Identifier: Apache-2.0
"""Tests of folders that may not be written, also where they are run by root, who may write all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder in which nothing can be made for as long as this lasts."""
    root = os.geteuid() == 0
    parents = [] if not root else [p for p in folder.parents if not p.stat().st_mode & 0o001]
    modes = {path: path.stat().st_mode for path in [folder, *parents]}
    folder.chmod(0o555)
    for path in parents:  # nobody must be able to get there
        path.chmod(modes[path] | 0o055)
    if root:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
