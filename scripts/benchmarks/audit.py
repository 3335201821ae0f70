# SPDX-License-Identifier: Apache-2.0
"""Two judges of the desk: vectorbt replays the fills of 1,000 random tapes, and a second desk in
plain Python lives through 10,000 random bars.

    python scripts/benchmarks/audit.py [--quick] [--seed 0]

Exit code 1 where a judge disagrees, or where the tapes left one of the cases out.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

from common import options, print_result  # first: it sets threads and paths

# isort: split
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mtquant.backtest.vectorbt_audit import TOLERANCE, audit
from mtquant.core import outcome as oc
from mtquant.core.errors import AuditError
from mtquant.core.seeding import SeedTree
from mtquant.market.ledger import Ledger
from mtquant.market.tape import T_CLOSE, T_OPEN, T_TRADABLE
from tests.support.judges import desk_difference, run_desk
from tests.support.tapes import World, random_world

TAPE_ROWS = 60
TAPES, QUICK_TAPES = 1_000, 100
BARS = 10_000
# vectorbt has no fills at prices of zero or less: these two are the second desk's alone.
BEYOND_VECTORBT = {
    ("case", "world with negative prices"),
    ("answer", oc.REASON_TEXTS[oc.REASON_PRICE_UNKNOWN]),
}
# What only a broker of paper trading does: no simulated market does it.
BY_BROKERS = {
    ("fill", oc.ORIGIN_TEXTS[oc.ORIGIN_ADOPTED]),
    ("answer", oc.REASON_TEXTS[oc.REASON_PARTIAL]),
    ("answer", oc.REASON_TEXTS[oc.REASON_REJECTED]),
    ("answer", oc.REASON_TEXTS[oc.REASON_NOT_SENT]),
}
CONSOLE = Console()


@dataclass
class Coverage:
    """What one judge's worlds made the desk do: kind and name -> how often."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    bars: int = 0

    def add(self, world: World, ledger: Ledger) -> None:
        """Counts the fills and bars of one ledger; what did not happen stays at 0."""
        done = ledger.fills[:, oc.FILL_QUANTITY] != 0.0
        origins = ledger.fills[done, oc.FILL_ORIGIN]
        reasons = ledger.fills[:, oc.FILL_REASON]
        for code, text in oc.ORIGIN_TEXTS.items():
            self.counts["fill", text] += int((origins == code).sum())
        for code, text in oc.REASON_TEXTS.items():
            self.counts["answer", text] += int((reasons == code).sum())
        for name, times in _cases(world, ledger).items():
            self.counts["case", name] += times
        self.bars += len(ledger)


def _cases(world: World, ledger: Ledger) -> dict[str, int]:
    """Name of a case that has to occur -> how often one ledger shows it."""
    lived = world.tape.prices[: len(ledger) + 1]
    quotes = [item.quote for item in world.rules.instruments]
    foreign = [n for n, quote in enumerate(quotes) if quote != world.rules.account_currency]
    done = ledger.fills[ledger.fills[:, oc.FILL_QUANTITY] != 0.0]
    inside = done[done[:, oc.FILL_ORIGIN] != oc.ORIGIN_ORDER]
    bars = lived[inside[:, oc.FILL_ROW].astype(int), inside[:, oc.FILL_INSTRUMENT].astype(int)]
    held = ledger.positions
    binding = ledger.column("binding").astype(int)
    return {
        "bar with a long position": int((held > 0.0).any(axis=1).sum()),
        "bar with a short position": int((held < 0.0).any(axis=1).sum()),
        "bar levered beyond 2": int((ledger.column("gross") > 2.0).sum()),
        "bar with a position in a foreign currency": int((held[:, foreign] != 0.0).any(1).sum()),
        "bar with financing": int((ledger.column("financing") != 0.0).sum()),
        "bar bound by the name cap": int((binding & oc.LIMIT_NAME > 0).sum()),
        "bar bound by the gross cap": int((binding & oc.LIMIT_GROSS > 0).sum()),
        "bar of a closed market": int((lived[1:, :, T_TRADABLE] == 0.0).any(axis=1).sum()),
        "position closed at a gapped open": int(
            (bars[:, T_OPEN] == inside[:, oc.FILL_REFERENCE]).sum()
        ),
        "world that fills at the close": int(world.rules.fill_at == "close"),
        "world where an instrument begins late": int(np.isnan(lived).any()),
        "world with negative prices": int(goes_negative(world)),
        "bankrupt account": int(ledger.column("status")[-1] == oc.STATUS_BANKRUPT),
    }


def goes_negative(world: World) -> bool:
    """Whether a price is zero or less; vectorbt has no fills there, the second desk has."""
    return bool((world.tape.prices[:, :, : T_CLOSE + 1] <= 0.0).any())


def worlds(seed: int, judge: str) -> Iterator[World]:
    """Random worlds without end; each judge has a stream of its own."""
    tree = SeedTree(seed).child("audit", judge)
    return (
        random_world(tree.child(number).integer(), rows=TAPE_ROWS, realistic=number % 2 == 1)
        for number in count()
    )


def replay_in_vectorbt(seed: int, tapes: int, progress: Progress) -> tuple[float, Coverage]:
    """Largest relative difference between vectorbt's equity and ours, and what was replayed."""
    worst, coverage = 0.0, Coverage()
    stream = (world for world in worlds(seed, "vectorbt") if not goes_negative(world))
    for world in progress.track(islice(stream, tapes), tapes, description="vectorbt"):
        ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
        coverage.add(world, ledger)
        try:
            worst = max(worst, audit(ledger, world.rules).largest_relative_difference)
        except AuditError as error:
            progress.console.print(f"[red]vectorbt:[/] {error}")
            worst = math.inf
    return worst, coverage


def live_through_both_desks(seed: int, bars: int, progress: Progress) -> tuple[float, Coverage]:
    """Largest difference between the compiled desk and the second one, and what both lived."""
    worst, coverage = 0.0, Coverage()
    task = progress.add_task("second desk", total=bars)
    for number, world in enumerate(worlds(seed, "second desk")):
        difference = desk_difference(world.tape, world.rules, world.targets, world.cost_scale)
        if not difference <= TOLERANCE:  # also true for NaN, which must not look small
            progress.console.print(f"[red]second desk:[/] world {number} differs by {difference}")
            difference = math.inf if math.isnan(difference) else difference
        worst = max(worst, difference)
        # A ruined account stops early: only bars that it lived through count.
        coverage.add(world, run_desk(world.tape, world.rules, world.targets, world.cost_scale))
        progress.update(task, completed=min(coverage.bars, bars))
        if coverage.bars >= bars:
            break
    return worst, coverage


def show_coverage(vectorbt: Coverage, second: Coverage) -> list[str]:
    """Prints the counts and returns the cases that a judge should have seen and did not."""
    table = Table(title="What the worlds made the desk do")
    for heading in ("kind", "what", "vectorbt", "second desk"):
        right = heading in ("vectorbt", "second desk")
        table.add_column(heading, justify="right" if right else "left")
    missing = []
    for key, seen in second.counts.items():
        if key in BY_BROKERS:
            continue
        table.add_row(*key, f"{vectorbt.counts[key]:,}", f"{seen:,}")
        if seen == 0:
            missing.append(f"second desk: {key[1]}")
        if vectorbt.counts[key] == 0 and key not in BEYOND_VECTORBT:
            missing.append(f"vectorbt: {key[1]}")
    CONSOLE.print(table)
    return missing


def main() -> int:
    """Runs both judges; 0 when they agree with the desk and saw every case."""
    arguments = options("Audit of the desk by vectorbt and by a second desk.")
    started = time.perf_counter()
    tapes = QUICK_TAPES if arguments.quick else TAPES
    with Progress(console=CONSOLE) as progress:
        worst, replayed = replay_in_vectorbt(arguments.seed, tapes, progress)
        difference, lived = live_through_both_desks(arguments.seed, BARS, progress)
    missing = show_coverage(replayed, lived)
    agrees, equal = worst <= TOLERANCE, difference <= TOLERANCE
    table = Table(title=f"Two judges, seed {arguments.seed}")
    for heading in ("judge", "lived through", "largest difference", "allowed", "verdict"):
        table.add_column(heading, justify="left" if heading == "judge" else "right")
    rows = (
        ("vectorbt", f"{tapes:,} tapes, {replayed.bars:,} bars", worst, agrees),
        ("second desk", f"{lived.bars:,} bars", difference, equal),
    )
    for name, size, figure, good in rows:
        verdict = "equal" if good else "[red]DIFFERENT"
        table.add_row(name, size, f"{figure:.1e}", f"{TOLERANCE:.0e}", verdict)
    CONSOLE.print(table)
    for name in missing:
        CONSOLE.print(f"[red]never occurred:[/] {name}")
    print_result(
        {
            "tapes": tapes,
            "max_relative_difference": worst,
            "second_desk_equal": equal,
            "bars": lived.bars,
            "second_desk_difference": difference,
            "bars_replayed": replayed.bars,
            "never_occurred": missing,
            "seconds": round(time.perf_counter() - started, 1),
        }
    )
    return 0 if agrees and equal and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
