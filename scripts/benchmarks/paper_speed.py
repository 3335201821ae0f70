#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A week of made-up minute bars of eight instruments through a paper loop with durable commits.

A hierarchy is trained first, shortly, by the three phases themselves. Before anything is timed, the
first bars of the paper account are held against the backtest of the same hierarchy, byte for byte.

    bars_per_s        bars lived through per second of wall time, one synced commit each
    bars_per_cpu_s    the same per second of processor time: what a busy machine does not change
    p50_ms, p99_ms    from a bar's arrival to the return of the last order's submission
    memory_growth_mb  resident memory at the end less that after a tenth of the bars

python scripts/benchmarks/paper_speed.py            # 10,080 bars
python scripts/benchmarks/paper_speed.py --quick    # 1,000 bars
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import common

# isort: split
import numpy as np
from rich.console import Console

from mtquant.cli.pipeline import Pipeline
from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments
from mtquant.paper.feeds import Delivery
from mtquant.paper.reading import market_ledger, reader
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.models import load_trained
from mtquant.workflows.paper import PaperPlan, paper_loop

SYMBOLS = (
    "SPX500",
    "NAS100",
    "US30",
    "EURUSD",
    "GBPUSD",
    "USDJPY",
    "XAUUSD",
    "WTIUSD",
)
WEEK = 10_080
CHECKED = 300
TRAINED = {1: 4_096, 2: 4_096, 3: 4_096}
# A guard that never halts, or the loop would have nothing to send: what it measures is computed.
OPEN_GUARD = (
    "guard.halt_drawdown_frac=null",
    "guard.halt_daily_loss_frac=null",
    "guard.reduce_drawdown_frac=null",
    "guard.reduce_daily_loss_frac=null",
    "guard.max_var_exceedances=null",
    "paper.caution_drawdown_frac=null",
    "paper.max_outside_frac=1.0",
    "paper.limit_slack=1000",
    "paper.max_orders_per_hour=1000000",
)


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def settings(bars: int, known: list[str]) -> list[str]:
    # A fifth trains, a fifth validates, the rest is the test that is traded.
    total = int(max(bars, 3_000) / 0.6) + 20 + CHECKED
    return [
        "data.source=synthetic",
        "data.bar=1min",
        f"data.synthetic.bars={total}",
        f"data.instruments=[{', '.join(known)}]",
        "data.train_frac=0.2",
        "data.validation_frac=0.2",
        "training.preset=recommended",
        "training.torch_threads=1",
        "environment.initial_capital=1000000",
        *OPEN_GUARD,
    ]


class Watched:
    """The loop's feed; notes when each bar arrived."""

    def __init__(self, inner) -> None:
        self._inner, self.arrived = inner, 0.0

    def next(self, timeout_seconds: float) -> Delivery:
        found = self._inner.next(timeout_seconds)
        self.arrived = time.perf_counter()
        return found

    def skip_to(self, after_ns: int) -> None:
        self._inner.skip_to(after_ns)

    def now_ns(self) -> int:
        return self._inner.now_ns()


class Watch:
    """Notes after every bar's last order how long that took, and now and then the memory."""

    def __init__(self, loop, feed: Watched, every: int) -> None:
        self._send, self._feed, self._every = loop.send, feed, every
        self.latencies: list[float] = []
        self.grown = [resident_mb()]
        loop.send = self

    def __call__(self) -> None:
        self._send()
        self.latencies.append(time.perf_counter() - self._feed.arrived)
        if len(self.latencies) % self._every == 0:
            self.grown.append(resident_mb())


def main() -> None:
    asked = common.options(__doc__ or "")
    bars = 1_000 if asked.quick else WEEK
    instruments = load_instruments(None)
    known = [symbol for symbol in SYMBOLS if symbol in instruments]
    known += [symbol for symbol in instruments if symbol not in known]
    known = known[:8]
    config = load_config(None, [*settings(bars, known), f"training.seed={asked.seed}"])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pipeline = Pipeline(config, instruments, root / "models", root / "logs", TRAINED, None)
        pipeline.train(Console(file=sys.stderr))
        models = root / "models" / "phase3"
        plan = PaperPlan(root / "paper.sqlite", models)
        loop = paper_loop(config, instruments, plan)
        loop.feed = watched = Watched(loop.feed)
        check_equal(loop, config, instruments, models, root / "paper.sqlite")
        watch = Watch(loop, watched, max(1, bars // 10))
        orders = len(loop.recorder.ledger.ask("SELECT 1 FROM orders"))
        began, cpu = time.perf_counter(), time.process_time()
        lived = loop.run(bars)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        latencies, grown = watch.latencies, watch.grown
        sent = len(loop.recorder.ledger.ask("SELECT 1 FROM orders")) - orders
        size = (root / "paper.sqlite").stat().st_size / 2**20
        loop.recorder.ledger.close()
    print(f"{lived} bars, {sent} orders, ledger {size:.0f} MB; {common.machine(None)}")
    print("resident MB: " + " ".join(f"{own:.0f}" for own in grown))
    common.print_result(
        {
            "bars_per_s": round(lived / seconds, 1),
            "bars_per_cpu_s": round(lived / cpu, 1),
            "p50_ms": round(float(np.percentile(latencies, 50)) * 1e3, 2),
            "p99_ms": round(float(np.percentile(latencies, 99)) * 1e3, 2),
            "memory_growth_mb": round(grown[-1] - grown[1], 1),
            "orders": sent,
        }
    )


def check_equal(loop, config, instruments, models: Path, path: Path) -> None:
    """The first bars equal the backtest's, or nothing is timed."""
    loop.run(CHECKED)
    market = Market.build(config, instruments, "test")
    expected = trade(load_trained(models, config, instruments), market)
    with reader(path) as connection:
        found = market_ledger(connection)
    first = expected.fills[expected.fills[:, 0] <= found.rows[-1]]
    same = np.array_equal(found.outcomes, expected.outcomes[: len(found)])
    if not same or not np.array_equal(found.fills, first):
        print("paper and backtest differ: nothing is timed")
        sys.exit(1)
    print(f"equal to the backtest: {len(found)} bars, {len(first)} fills")


if __name__ == "__main__":
    main()
