#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a reader of `mtquant dashboard` waits over a ledger of 100,000 bars.

The ledger is made up row by row in the real schema: as many outcomes, books, orders and fills, and
twice as many events. The server is started anew, and a headless Chromium opens the page.

    first_paint_s   from asking for the page until the account's figures are on the screen; a fresh
                    server and a browser that has never seen the page
    first_chart_s   the same until its chart of equity is drawn
    again_paint_s, again_chart_s  medians of three more readers with empty browsers
    reads_cpu_s     processor time of everything that the first tab reads from the ledger: what a
                    busy machine does not change
    messages_cpu_s  the same of the history of the specialists' messages

python scripts/benchmarks/dashboard.py            # 100,000 bars
python scripts/benchmarks/dashboard.py --quick    # 10,000
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import common

# isort: split
from mtquant.dashboard import curves, limits, minds, tables
from mtquant.dashboard.accounts import account, opened
from tests.support.browsers import chromium, dashboard
from tests.support.long_ledger import long_ledger

BARS, QUICK_BARS = 100_000, 10_000
AGAIN = 3
WAIT_MS = 120_000


def read_first_tab(path: Path) -> float:
    """Processor seconds of one look at the ledger."""
    began = time.process_time()
    account(path)
    with opened(path) as ledger:
        curves.equity_curve(ledger)
        curves.guard_marks(ledger)
        limits.positions(ledger)
        limits.limits_used(ledger)
        tables.notes(ledger, rows=8)
    return time.process_time() - began


def read_messages(path: Path) -> float:
    """Processor seconds of the history of messages."""
    began = time.process_time()
    with opened(path) as ledger:
        minds.message_history(ledger)
    return time.process_time() - began


def waited(browser: Any, address: str, equity: str) -> tuple[float, float]:
    """Seconds until the figures and until the chart are there, in a browser with nothing kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_text(equity).first.wait_for(timeout=WAIT_MS)
    painted = time.perf_counter() - began
    page.locator("[data-testid=stVegaLiteChart] svg.marks").first.wait_for(timeout=WAIT_MS)
    drawn = time.perf_counter() - began
    context.close()
    return painted, drawn


def main() -> None:
    asked = common.options(__doc__ or "")
    bars = QUICK_BARS if asked.quick else BARS
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "paper.sqlite"
        made = long_ledger(path, bars, asked.seed)
        size = path.stat().st_size / 2**20
        read_first_tab(path)  # loads the kernels
        reads = statistics.median(read_first_tab(path) for _ in range(5))
        messages = statistics.median(read_messages(path) for _ in range(5))
        with dashboard([path], [Path(folder)]) as address:
            equity = f"{made.equity[-1]:,.0f}"
            first = waited(browser, address, equity)
            again = [waited(browser, address, equity) for _ in range(AGAIN)]
    print(f"{bars:,} bars, ledger {size:.0f} MB; {common.machine(None)}")
    common.print_result(
        {
            "bars": bars,
            "first_paint_s": round(first[0], 2),
            "first_chart_s": round(first[1], 2),
            "again_paint_s": round(statistics.median(own[0] for own in again), 2),
            "again_chart_s": round(statistics.median(own[1] for own in again), 2),
            "reads_cpu_s": round(reads, 3),
            "messages_cpu_s": round(messages, 3),
        }
    )


if __name__ == "__main__":
    main()
