# SPDX-License-Identifier: Apache-2.0
"""The rules on rows beside each other in time: duplicates, order, distance."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS, stamp_text
from mtquant.data.importing.rules import Stamps, Values
from mtquant.data.importing.sheet import Rows, Sheet

HOUR_NS = 3_600 * NANOSECONDS


def put_in_order(sheet: Sheet, stamps: Stamps, values: Values, bar_ns: int) -> Rows:
    """The rows that stand, oldest first, after the rules on duplicates, phase, order and
    distance.

    Args:
        sheet: The rows.
        stamps: int64 [R], UTC nanoseconds.
        values: Prices and volume.
        bar_ns: Length of a bar, nanoseconds.

    Raises:
        DataError: The policy refuses a row.
    """

    def shown(row: int) -> str:
        prices = ", ".join(f"{price:g}" for price in values.prices[row])
        return f"{prices} closed {stamp_text(int(stamps[row]))}"

    equal, contrary = _twins(sheet, stamps, values)
    sheet.meet("duplicate", equal, shown)
    sheet.meet("conflict", contrary, shown)
    sheet.meet("off_phase", _off_phase(sheet, stamps, bar_ns), shown)
    rows: Rows = np.flatnonzero(sheet.alive)
    sheet.meet("unsorted", _moved(rows, stamps, len(sheet)), shown)
    rows = rows[np.argsort(stamps[rows], kind="stable")]
    sheet.meet("too_close", _crowded(rows, stamps, bar_ns // 2, len(sheet)), shown)
    return rows[sheet.alive[rows]]


def _twins(
    sheet: Sheet, stamps: Stamps, values: Values
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows equal to an earlier row, and rows to drop because another of their time is kept."""
    equal, contrary = np.zeros(len(sheet), dtype=bool), np.zeros(len(sheet), dtype=bool)
    rows = np.flatnonzero(sheet.alive)
    _, group, sizes = np.unique(stamps[rows], return_inverse=True, return_counts=True)
    content: dict[int, dict[bytes, int]] = {}
    for row in rows[sizes[group] > 1].tolist():
        alike = content.setdefault(int(stamps[row]), {})
        key = values.prices[row].tobytes() + values.volume[row].tobytes()
        if key in alike:
            equal[row] = True
        alike.setdefault(key, row)
    for alike in content.values():
        different = sorted(alike.values())
        kept = different[-1 if sheet.policy.conflict == "keep_last" else 0]
        contrary[[row for row in different if row != kept]] = True
    return equal, contrary


def _off_phase(sheet: Sheet, stamps: Stamps, bar_ns: int) -> NDArray[np.bool_]:
    """Rows at another minute than most; hours do not count, since summer time moves longer bars."""
    phase = stamps % math.gcd(bar_ns, HOUR_NS)
    values, counts = np.unique(phase[sheet.alive], return_counts=True)
    if len(values) < 2:
        return np.zeros(len(sheet), dtype=bool)
    off: NDArray[np.bool_] = phase != values[counts.argmax()]
    return off


def _moved(rows: Rows, stamps: Stamps, count: int) -> NDArray[np.bool_]:
    """The fewest rows that would have to move for the file to be in order: those outside a longest
    ascending subsequence (patience sorting).
    """
    moved = np.zeros(count, dtype=bool)
    times = stamps[rows].tolist()
    if all(earlier <= later for earlier, later in pairwise(times)):
        return moved
    tails: list[int] = []  # the least last time of an ascending subsequence of each length
    ends: list[int] = []  # and its place
    before = [-1] * len(times)
    for place, time in enumerate(times):
        length = bisect_right(tails, time)
        before[place] = ends[length - 1] if length else -1
        tails[length : length + 1] = [time]
        ends[length : length + 1] = [place]
    moved[rows] = True
    place = ends[-1]
    while place >= 0:
        moved[rows[place]] = False
        place = before[place]
    return moved


def _crowded(rows: Rows, stamps: Stamps, least: int, count: int) -> NDArray[np.bool_]:
    """Rows nearer than `least` to the last one before them that is not dropped for it."""
    crowded = np.zeros(count, dtype=bool)
    times = stamps[rows]
    if not (np.diff(times) < least).any():
        return crowded
    last = None
    for row, time in zip(rows.tolist(), times.tolist(), strict=True):
        if last is not None and time - last < least:
            crowded[row] = True
        else:
            last = time
    return crowded
