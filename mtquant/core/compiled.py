# SPDX-License-Identifier: Apache-2.0
"""The one decorator for compiled kernels: `@kernel`.

Numba's own file cache watches only the file a function is written in. A cached kernel therefore
keeps running the *old* code of a helper that was edited in another file. Here the cache folder is
named after a digest of the source of the whole package, so an edited helper can never be served
stale; nothing outside mtquant is affected.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba

PACKAGE = Path(__file__).resolve().parents[1]
KERNEL_PACKAGES = ("core", "risk", "learning", "features", "market", "rewards", "envs")
KEEP_CACHES = 4

Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def source_digest() -> str:
    """First 16 hexadecimal digits of the sha256 over the source files that may hold kernels."""
    digest = hashlib.sha256()
    for package in KERNEL_PACKAGES:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            digest.update(path.relative_to(PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path | None:
    """Folder of this version's compiled kernels, or None where no folder can be written."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    root = (Path(base) if base else Path.home() / ".cache") / "mtquant" / "kernels"
    folder = root / source_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _prune(root, folder)
    except OSError:
        return None
    return folder


def _prune(root: Path, current: Path) -> None:
    """Deletes the caches of older source, newest kept; one day of grace for runs still using
    one.
    """
    others = sorted((p for p in root.iterdir() if p != current), key=lambda p: p.stat().st_mtime)
    for path in others[: max(0, len(others) - KEEP_CACHES)]:
        if time.time() - path.stat().st_mtime > 86_400:
            shutil.rmtree(path, ignore_errors=True)


def kernel(function: Function) -> Function:
    """Compiles a function with Numba, cached on disk, IEEE arithmetic, NumPy division rules.

    ``fastmath`` stays off: results must be the same on every call, whatever the batch size.
    ``_nrt=False`` turns off memory management inside kernels: array views then cost nothing (their
    reference counts were most of the time of a step), and a kernel that allocates does not compile.
    The plain Python function stays reachable as ``.py_func`` for the twin tests.
    """
    return _compiled(function, inline=True)


def cold_kernel(function: Function) -> Function:
    """A kernel that its callers call instead of taking it in: for long code that seldom runs, which
    would cost every caller its compile time, and for loops that need the registers for themselves.
    """
    return _compiled(function, inline=False)


def _compiled(function: Function, inline: bool) -> Function:
    folder = cache_folder()
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder) if folder else ""
    try:
        made: Any = numba.njit(
            cache=folder is not None,
            error_model="numpy",
            nogil=True,
            _nrt=False,
            forceinline=inline,
        )(function)
    finally:
        numba.config.CACHE_DIR = previous
    if folder is not None and not numba.config.DISABLE_JIT:
        _save_alone(made, folder)
    found: Function = made
    return found


def _save_alone(made: Any, folder: Path) -> None:
    """Lets one process at a time add to the cache of a kernel.

    Numba numbers the files of a kernel's signatures without a lock: of two processes that save two
    signatures in the same moment, one would later run the other's code.
    """
    file = made._cache._cache_file
    save = file.save

    def alone(key: Any, data: Any) -> None:
        with saving(folder):
            save(key, data)

    file.save = alone


@contextlib.contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Waits until no other process saves into the cache `folder`."""
    with (folder / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # let go when the file is closed
        yield
