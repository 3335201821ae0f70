#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a paper loop at random moments, hundreds of times, and looks for what got lost.

The broker is another process with its own storage. It keeps filling while the loop is dead, rejects
orders, fills them in part, in parts, late, and loses questions and answers; every fault depends on
the order's client id alone. Each account is traded twice: once undisturbed, once by loops that are
killed (SIGKILL) at random points and started again until the bars end. Then:

    lost          executions of the broker that the ledger does not hold
    doubled       executions that it holds twice, or orders filled beyond what was ordered
    ledger_equal  cash, equity and positions of every bar equal to the cent, fills equal one by one

python scripts/benchmarks/paper_soak.py            # at least 500 kills
python scripts/benchmarks/paper_soak.py --quick    # at least 100
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger
from mtquant.market.live_tape import LiveTape
from mtquant.paper.reading import market_ledger, reader, table
from mtquant.paper.sim_broker import Faults, SimBroker
from mtquant.paper.wire import RemoteBroker, serve
from tests.support.paper import SYMBOLS, Stage

FORK = multiprocessing.get_context("fork")  # kernels are loaded once, here
BARS = 420  # of an account, of which 130 are history
FAULTS = {
    "reject": 0.05,
    "partial": 0.10,
    "split": 0.20,
    "late": 0.20,
    "lost_answer": 0.02,
    "lost_request": 0.02,
    "latency_seconds": 0.01,
}
LEVERED = (
    "environment.max_position_size=4",
    "environment.max_gross_exposure=8",
    "environment.max_portfolio_var=0.4",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
    "environment.stop_loss_pct=0.004",
    "paper.settle_seconds=30",
    "paper.heartbeat_seconds=100000",
    "paper.max_orders_per_hour=100000",
)
PATIENCE_SECONDS = 0.25


@dataclass(frozen=True)
class Account:
    """A market with a broker process of its own."""

    stage: Stage
    faults: Faults

    @property
    def address(self) -> Path:
        return self.stage.folder / "broker.socket"

    def serve(self) -> None:
        """The broker's process."""

        def make(state: bytes | None) -> SimBroker:
            terms = self.stage.terms()
            tape = LiveTape(terms.rules, terms.bar_seconds, terms.bars_per_year)
            for delivery in self.stage.history():
                rows = {SYMBOLS.index(own.symbol): own[2:6] for own in delivery.bars}
                tape.push(delivery.stamp_ns, rows)
            made = SimBroker(tape, terms.rules, self.faults, keep_all=True)
            if state is not None:
                made.restore(state)
            return made

        serve(self.address, self.stage.folder / "venue.sqlite", make, lambda: False)

    def trade(self) -> None:
        """The loop's process: to the end of the bars."""
        broker = RemoteBroker(self.address, PATIENCE_SECONDS)
        loop = self.stage.open(broker=lambda tape, state: broker)
        loop.run()
        loop.recorder.ledger.close()
        broker.close()


@contextlib.contextmanager
def broker_of(account: Account):
    account.address.unlink(missing_ok=True)  # of a broker that was killed
    process = FORK.Process(target=account.serve, daemon=True)
    process.start()
    deadline = time.monotonic() + 60.0
    while not account.address.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the broker did not start")
        time.sleep(0.005)
    try:
        yield
    finally:
        process.kill()
        process.join()


def undisturbed(account: Account) -> None:
    with broker_of(account):
        process = FORK.Process(target=account.trade)
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"the undisturbed loop ended with {process.exitcode}")


def tormented(account: Account, draws: np.random.Generator) -> int:
    """Kills and starts the loop until the bars end; how often it was killed."""
    kills = 0
    with broker_of(account):
        while True:
            process = FORK.Process(target=account.trade)
            process.start()
            # Short lives, whose ends fall into starting up as well as into trading.
            process.join(float(draws.exponential(0.25)))
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
            if process.exitcode == 0:
                return kills
            if process.exitcode != -signal.SIGKILL:
                raise RuntimeError(f"a loop ended with {process.exitcode}")
            kills += 1


def read(stage: Stage) -> tuple[Ledger, Counter, dict[str, float], Counter]:
    """The ledger; its trade ids; quantity ordered by client id; quantity done by client id."""
    with reader(stage.path) as connection:
        ledger = market_ledger(connection)
        fills, orders = table(connection, "fills"), table(connection, "orders")
    done: Counter = Counter()
    for name, quantity in zip(fills["client_id"], fills["quantity"], strict=True):
        if name:
            done[name] += quantity
    wanted = dict(zip(orders["client_id"], orders["quantity"], strict=True))
    return ledger, Counter(fills["trade_id"]), wanted, done


def judge(calm: Account, killed: Account) -> dict[str, int | bool]:
    """What the kills changed."""
    expected, _, _, _ = read(calm.stage)
    ledger, trades, wanted, done = read(killed.stage)
    with broker_of(killed):
        broker = RemoteBroker(killed.address, 5.0)
        last = f"-{len(killed.stage.panel) - 1:08d}-"  # nobody lived the bar after the last one
        made = {
            execution.trade_id
            for _, execution in broker.executions("")
            if last not in execution.client_id
        }
        broker.close()
    lost = len(made - set(trades))
    doubled = sum(count - 1 for count in trades.values())
    doubled += sum(abs(done[name]) > abs(wanted[name]) + 1e-6 for name in wanted)
    same = ledger.outcomes.shape == expected.outcomes.shape and (
        ledger.fills.shape == expected.fills.shape
    )
    columns = [oc.EQUITY, oc.FEE, oc.SLIPPAGE, oc.FINANCING]
    if same:
        cents = np.abs(ledger.outcomes[:, columns] - expected.outcomes[:, columns]).max()
        same = bool(cents < 0.005) and np.array_equal(ledger.positions, expected.positions)
        same = same and np.allclose(ledger.fills, expected.fills, rtol=1e-12, equal_nan=True)
    return {
        "lost": lost,
        "doubled": int(doubled),
        "equal": bool(same),
        "bytes_equal": ledger.hash() == expected.hash(),
        "fills": len(ledger.fills),
    }


def main() -> None:
    parser = common.option_parser(__doc__ or "")
    parser.add_argument("--kills", type=int, default=None, help="at least so many")
    asked = parser.parse_args()
    least = asked.kills or (100 if asked.quick else 500)
    draws = np.random.default_rng(asked.seed)
    totals: Counter = Counter()
    equal, began, number = True, time.time(), 0
    while totals["kills"] < least:
        with tempfile.TemporaryDirectory() as folder:
            stages = []
            for name in ("calm", "killed"):
                own = Path(folder) / name
                own.mkdir()
                stage = Stage.of(own, *LEVERED, rows=BARS, seed=asked.seed * 1_000 + number)
                stages.append(Account(stage, Faults(seed=number, **FAULTS)))
            calm, killed = stages
            if number == 0:  # compiles, or loads, what the children then find loaded
                warm = Stage.of(Path(folder), *LEVERED, rows=140)
                loop = warm.open()
                loop.run()
                loop.recorder.ledger.close()
            undisturbed(calm)
            kills = tormented(killed, draws)
            found = judge(calm, killed)
            if not found["equal"] or found["lost"] or found["doubled"]:
                kept = Path(tempfile.mkdtemp(prefix="paper_soak_"))
                shutil.copytree(
                    folder, kept / "accounts", ignore=shutil.ignore_patterns("*.socket")
                )
                print(f"kept for a look: {kept}")
        for name in ("lost", "doubled", "fills", "bytes_equal"):
            totals[name] += found[name]
        totals["kills"] += kills
        equal &= bool(found["equal"])
        number += 1
        print(f"account {number}: {kills} kills, {found}", flush=True)
    seconds = time.time() - began
    print(f"{number} accounts, {totals['fills']} fills, {seconds:.0f} s; {common.machine(None)}")
    common.print_result(
        {
            "kills": totals["kills"],
            "lost": totals["lost"],
            "doubled": totals["doubled"],
            "ledger_equal": equal,
            "accounts": number,
            "accounts_bytes_equal": totals["bytes_equal"],
            "fills": totals["fills"],
            "seconds": round(seconds, 1),
        }
    )
    sys.exit(bool(totals["lost"] or totals["doubled"] or not equal))


if __name__ == "__main__":
    main()
