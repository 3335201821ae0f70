# SPDX-License-Identifier: Apache-2.0
"""Warm-up: how far features and results move when history begins earlier.

Features are computed on the test rows and as much history before them as their warm-up asks for,
then twice and four times as much, and compared with those of the whole history.
"""

from __future__ import annotations

import numpy as np

from mtquant.core.errors import MtquantError
from mtquant.features.timeframes import warmup_rows
from mtquant.workflows.verify.behaviour import live
from mtquant.workflows.verify.changes import without_first
from mtquant.workflows.verify.compare import feature_differences, flat
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "warm-up"
REMEDY = (
    "The feature remembers more than its warm-up says: raise warmup_bars, or compute it from a "
    "window; then train again."
)
# Deviations of a feature. A recursive average ends its warm-up with its start weighing 1e-9, and a
# start may have moved a thousand times as much as the market does now (docs/features.md).
ALLOWED = 1e-4
TIMES = (1, 2, 4)
LIVED = 400


def check_warmup(subject: Subject) -> Record:
    """Compares features, and what the policy earns on the test rows, over lengths of history."""
    rows, worst, told = subject.test_rows, list[Finding](), list[str]()
    warm = subject.warmup + subject.policy.window_bars - 1
    begins = [rows.start - warm * times for times in TIMES]
    begins = [begin for begin in begins if begin > 0]
    if not begins:
        why = f"the test rows begin at row {rows.start}, inside {warm} rows of warm-up"
        return Record.not_checked(NAME, why, "Use bars that begin earlier.")
    for begin in begins:
        stamp = int(subject.market.panel.stamps[begin])
        try:
            bars = [without_first(own, stamp) for own in subject.bars]
            market = subject.market_of(bars)
            found = market.features_of(subject.policy)
        except MtquantError as error:
            worst.append(Finding(error.field, f"history from row {begin}: {error}"))
            continue
        # Instruments of different hours warm up at different rows.
        first = max(rows.start - begin, warmup_rows(found))
        differences = feature_differences(subject)
        later = flat(subject)[begin + first :]
        how = f"when history began at row {begin}"
        other = found.reshape(len(found), -1)[first:]
        differences.add(later, other, begin + first, len(subject.features) - 1, how)
        moved = differences.findings()
        size = moved[0].size if moved else 0.0
        told.append(f"{rows.start - begin} rows: {size:.1e}")
        worst += [one for one in moved if not one.size <= ALLOWED]
    growth = _growth_moves(subject, begins[-1])
    looked = (
        f"largest move of a feature, in deviations, by history before the test rows: "
        f"{', '.join(told)}; growth over {LIVED} bars moves by {growth:.1e}"
    )
    return Record.of(NAME, _by_name(worst), looked, REMEDY)


def _growth_moves(subject: Subject, begin: int) -> float:
    """What the first test bars earn less or more, in log equity, on a shorter history."""
    rows = subject.test_rows
    lived = slice(rows.start, min(rows.stop, rows.start + LIVED))
    stamp = int(subject.market.panel.stamps[begin])
    market = subject.market_of([without_first(own, stamp) for own in subject.bars])
    _, whole = live(subject, subject.market, subject.features, lived)
    shorter = slice(lived.start - begin, lived.stop - begin)
    _, short = live(subject, market, market.features_of(subject.policy), shorter)
    return float(abs(np.sum(whole.column("growth")) - np.sum(short.column("growth"))))


def _by_name(findings: list[Finding]) -> list[Finding]:
    """The largest of every feature and instrument."""
    largest: dict[tuple[str, str], Finding] = {}
    for one in sorted(findings, key=lambda one: -one.size):
        largest.setdefault((one.what, one.symbol), one)
    return list(largest.values())
