# SPDX-License-Identifier: Apache-2.0
"""A Chromium for tests of pages, and the dashboard in a process of its own.

Needs playwright (extra dev) and a Chromium: the one that `playwright install chromium` gets, or one
that the system has.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 90.0


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no chromium to start: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@contextlib.contextmanager
def dashboard(ledgers: Sequence[Path], runs: Sequence[Path]) -> Iterator[str]:
    """`mtquant dashboard` on a free port; gives its address."""
    flags = [part for own in ledgers for part in ("--ledger", str(own))]
    flags += [part for own in runs for part in ("--runs", str(own))]
    with _served(["mtquant", "dashboard", *flags], "--port") as address:
        yield address


@contextlib.contextmanager
def streamlit_page(script: Path) -> Iterator[str]:
    """A page of Streamlit alone on a free port; gives its address."""
    flags = ["--server.headless=true", "--browser.gatherUsageStats=false"]
    flags += ["--server.fileWatcherType=none", "--server.address=127.0.0.1"]
    with _served(["streamlit", "run", str(script), *flags], "--server.port") as address:
        yield address


@contextlib.contextmanager
def _served(module: Sequence[str], port_flag: str) -> Iterator[str]:
    """A module that serves a page of Streamlit, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *module, port_flag, str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def _wait(address: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    process.terminate()
    said = process.communicate()[0]
    raise RuntimeError(f"the dashboard did not start: {said}")
