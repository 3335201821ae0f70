# SPDX-License-Identifier: Apache-2.0
"""Rows that are missing because of what happened in them: the moves across them are no ordinary
ones.

A stamp is missing where the instrument has a bar a week before and a week after and none here. A
holiday is missing for reasons of its own; rows that were filtered by their outcome leave gaps with
larger moves than a market that went on unseen would have made: in the mean rank, or in the share
of very large ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS, Bars, stamp_text
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "data: rows that are missing"
REMEDY = "Rows were left out by what happened in them: use the whole history."
WEEK_NS = 7 * 86_400 * NANOSECONDS
TAIL = 0.05  # the share of ordinary moves that count as very large
ALARM = 5.0  # deviations of chance; holidays lie below zero
LEAST_GAPS = 8
MEMORY = 0.94  # of the running variance that moves are measured in


def check_survivors(subject: Subject) -> Record:
    """The share of large moves across irregular gaps, for every instrument."""
    findings, gaps = [], 0
    for own in subject.bars:
        moves, across = _moves(own)
        gaps += int(across.sum())
        found = _finding(own, moves, across)
        if found is not None:
            findings.append(found)
    looked = f"moves across {gaps:,} gaps in the calendar are ordinary ones"
    return Record.of(NAME, findings, looked, REMEDY)


def missing_before(bars: Bars) -> NDArray[np.int64]:
    """How many stamps are missing before each bar, int64 [T]."""
    stamps = bars.stamps
    expected = np.intersect1d(stamps + WEEK_NS, stamps - WEEK_NS, assume_unique=True)
    missing = np.setdiff1d(expected, stamps, assume_unique=True)
    found = np.zeros(len(stamps), dtype=np.int64)
    place = np.searchsorted(stamps, missing)
    np.add.at(found, place[place < len(stamps)], 1)
    found[0] = 0
    return found


def _moves(bars: Bars) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Size of every move in running deviations, and which of them cross a gap, [T - 1] each."""
    missing = missing_before(bars)[1:]
    steps = np.diff(np.log(bars.close)) / np.sqrt(1.0 + missing)
    variance, running = np.empty(len(steps)), float(np.mean(steps**2))
    for t, step in enumerate(steps.tolist()):
        variance[t] = running
        running = MEMORY * running + (1.0 - MEMORY) * step * step
    return np.abs(steps) / np.sqrt(np.maximum(variance, 1e-300)), missing > 0


def _finding(bars: Bars, moves: NDArray[np.float64], across: NDArray[np.bool_]) -> Finding | None:
    count = int(across.sum())
    if count < LEAST_GAPS or count == len(across):
        return None
    large = float(np.quantile(moves[~across], 1.0 - TAIL))
    share = float((moves[across] > large).mean())
    rank = float(np.searchsorted(np.sort(moves[~across]), moves[across]).mean() / (~across).sum())
    # Of a share, and of a mean of uniform ranks.
    by_share = (share - TAIL) / float(np.sqrt(TAIL * (1.0 - TAIL) / count))
    by_rank = (rank - 0.5) * float(np.sqrt(12.0 * count))
    distance = max(by_share, by_rank)
    if distance <= ALARM:
        return None
    row = int(np.where(across, moves, -1.0).argmax()) + 1
    text = (
        f"moves across {count} gaps are larger than {rank:.0%} of the others, in the mean, and "
        f"{share:.0%} of them as large as the largest {TAIL:.0%} ({distance:.0f} deviations from "
        "chance); the largest is at this row"
    )
    return Finding("rows", text, bars.symbol, row, stamp_text(int(bars.stamps[row])), rank)
