#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a reader of `mtquant dashboard` waits over a ledger of 100,000 bars.

The ledger is made up row by row in the real schema: as many outcomes, books, orders and fills, and
twice as many events. The server is started anew; headless Chromiums that have never seen the page
open it one after the other, each followed by one that opens a page of Streamlit with one word on
it. Times are seconds from asking for the page, medians of the readers.

    first_paint_s, first_contentful_paint_s
                     as the browser itself reports them (Paint Timing): anything but the background,
                     and a first text or picture; here these are the figures
    figures_s        until the account's figures are on the screen; figures_worst_s is that of the
                     slowest reader, the very first one among them
    live_s           until the page itself shows the figures, and keeps them fresh
    chart_s          until its chart of equity is drawn
    empty_page_s     until the one word of the other page is on the screen
    reads_cpu_s     processor time of everything that the first tab reads from the ledger: what a
                    busy machine does not change
    messages_cpu_s  the same of the history of the specialists' messages

python scripts/benchmarks/dashboard.py            # 100,000 bars
python scripts/benchmarks/dashboard.py --quick    # 10,000
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common

# isort: split
from mtquant.dashboard import curves, limits, minds, tables
from mtquant.dashboard.accounts import account, opened
from tests.support.browsers import chromium, dashboard, streamlit_page
from tests.support.long_ledger import long_ledger

BARS, QUICK_BARS = 100_000, 10_000
READERS, QUICK_READERS = 5, 2
WAIT_MS = 120_000
WORD = "one-word"
PAINTS = "performance.getEntriesByType('paint').map(own => [own.name, own.startTime])"


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


@contextlib.contextmanager
def reader(browser: Any) -> Iterator[Any]:
    """A page of a browser that has kept nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def read_dashboard(browser: Any, address: str, equity: str) -> dict[str, float]:
    """What a reader of the dashboard waits for."""
    with reader(browser) as page:
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        waits = {}
        for name, shown in {
            "figures": page.get_by_text(equity).first,
            "live": page.locator("#root").get_by_text(equity).first,
            "chart": page.locator("[data-testid=stVegaLiteChart] svg.marks").first,
        }.items():
            shown.wait_for(timeout=WAIT_MS)
            waits[name] = time.perf_counter() - began
        painted = page.evaluate(PAINTS)
    return waits | {name: milliseconds / 1000.0 for name, milliseconds in painted}


def read_word(browser: Any, address: str) -> float:
    """How long a reader waits for the page with one word."""
    with reader(browser) as page:
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.get_by_text(WORD).first.wait_for(timeout=WAIT_MS)
        return time.perf_counter() - began


def main() -> None:
    asked = common.options(__doc__ or "")
    bars = QUICK_BARS if asked.quick else BARS
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path, script = Path(folder) / "paper.sqlite", Path(folder) / "word.py"
        script.write_text(f"import streamlit as st\nst.markdown({WORD!r})\n")
        made = long_ledger(path, bars, asked.seed)
        size = path.stat().st_size / 2**20
        read_first_tab(path)  # loads the kernels
        reads = statistics.median(read_first_tab(path) for _ in range(5))
        messages = statistics.median(read_messages(path) for _ in range(5))
        with dashboard([path], [Path(folder)]) as address, streamlit_page(script) as other:
            equity = f"{made.equity[-1]:,.0f}"
            waits, words = [], []
            for _ in range(QUICK_READERS if asked.quick else READERS):
                waits.append(read_dashboard(browser, address, equity))
                words.append(read_word(browser, other))

    def median(name: str) -> float:
        return round(statistics.median(own[name] for own in waits), 2)

    for own, word in zip(waits, words, strict=True):
        print("  ".join(f"{name} {value:.2f}" for name, value in own.items()), f"word {word:.2f}")
    print(f"{bars:,} bars, ledger {size:.0f} MB; {common.machine(None)}")
    common.print_result(
        {
            "bars": bars,
            "first_paint_s": median("first-paint"),
            "first_contentful_paint_s": median("first-contentful-paint"),
            "figures_s": median("figures"),
            "figures_worst_s": round(max(own["figures"] for own in waits), 2),
            "live_s": median("live"),
            "chart_s": median("chart"),
            "empty_page_s": round(statistics.median(words), 2),
            "reads_cpu_s": round(reads, 3),
            "messages_cpu_s": round(messages, 3),
        }
    )


if __name__ == "__main__":
    main()
