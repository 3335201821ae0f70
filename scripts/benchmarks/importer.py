# SPDX-License-Identifier: Apache-2.0
"""Thousands of price files made dirty on purpose, imported under a repairing and a refusing policy.

    python scripts/benchmarks/importer.py --quick

Every named mutation alone and two to five of them together (`tests/support/dirt.py`). A file passes
if the report counts exactly the mutated rows, kind by kind and with the right first line, every
untouched row is the float64 of its text to the byte, and the refusing policy names file, line, rule
and value. Further files have random bytes changed, cut or put in: nobody knows what those mean, and
they have to be refused by name or give bars that pass `check_bars`. Then the speed of a clean file.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from common import machine, options, pin_to_one_core, print_result  # first: threads, paths

# isort: split
import numpy as np

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import check_bars
from mtquant.data.importing.reader import import_file
from tests.support.dirt import (
    HEADER,
    REPAIR,
    SOURCE,
    clean_file,
    dirty_file,
    judge,
    some_mutations,
    spoil,
    time_text,
)

FILES, QUICK_FILES = 5_000, 2_000
ROWS = 50_000


def mutated(folder: Path, seeds: SeedTree, count: int) -> tuple[int, Counter[str], list[str]]:
    """Files that fail, how often each kind of dirt was met, and what went wrong."""
    path, kinds, wrong, failed = folder / "file.csv", Counter[str](), [], 0
    for number in range(count):
        draws = seeds.child(number).generator()
        file = dirty_file(draws, some_mutations(draws, number))
        kinds.update(file.expected)
        try:
            found = judge(path, file)
        except Exception as error:  # a crash is what we look for
            found = [f"crash: {error!r}"]
        failed += bool(found)
        wrong += [f"file {number}: {each}" for each in found]
    return failed, kinds, wrong


def spoiled(folder: Path, seeds: SeedTree, count: int) -> tuple[int, int, list[str]]:
    """Files refused, files imported, and what went wrong."""
    path, refused, imported, wrong = folder / "file.csv", 0, 0, []
    for number in range(count):
        draws = seeds.child(number).generator()
        path.write_bytes(spoil(clean_file(draws).text().encode(), draws))
        try:
            check_bars(import_file(path, SOURCE, REPAIR).bars)
            imported += 1
        except DataError as error:
            refused += 1
            if str(path) not in error.field:
                wrong.append(f"file {number}: refused without its name: {error}")
        except Exception as error:
            wrong.append(f"file {number}: crash: {error!r}")
    return refused, imported, wrong


def seconds_of_a_clean_file(folder: Path) -> float:
    """The fastest of three imports of 50,000 clean rows."""
    file = clean_file(np.random.Generator(np.random.PCG64(0)))
    rows = [file.rows[number % len(file.rows)].fields[1:] for number in range(ROWS)]
    first = file.rows[0].seconds
    lines = [
        ",".join([time_text(first + number * 4 * 3600), *fields])
        for number, fields in enumerate(rows)
    ]
    path = folder / "long.csv"
    path.write_text(",".join(HEADER) + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    times = []
    for _ in range(3):
        began = time.perf_counter()
        import_file(path, SOURCE, REPAIR)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    flags = options(__doc__ or "")
    print(machine(pin_to_one_core()))
    count = QUICK_FILES if flags.quick else FILES
    seeds = SeedTree(flags.seed).child("importer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        failed, kinds, wrong = mutated(folder, seeds.child("mutated"), count)
        refused, imported, more = spoiled(folder, seeds.child("spoiled"), count // 2)
        elapsed = time.perf_counter() - began
        speed = ROWS / seconds_of_a_clean_file(folder)
    for kind, rows in sorted(kinds.items()):
        print(f"  {kind:<14}{rows:>8,} rows")
    print(f"mutated files   {count:,}, of which {failed} failed")
    print(f"spoiled files   {refused:,} refused by name, {imported:,} gave clean bars")
    print(f"clean rows      {speed:,.0f} a second")
    wrong += more
    for text in wrong[:10]:
        print(f"  WRONG {text}")
    print_result(
        {
            "files": count,
            "failed": failed,
            "mutated_rows": sum(kinds.values()),
            "spoiled_files": refused + imported,
            "crashes": sum("crash" in text for text in wrong),
            "rows_per_second": round(speed),
            "seconds": round(elapsed, 1),
        }
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
