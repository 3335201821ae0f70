# SPDX-License-Identifier: Apache-2.0
"""Rows that should be the same bytes and are not, told by name, instrument, row and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.workflows.verify.record import Finding
from mtquant.workflows.verify.subject import Subject

Numbers = NDArray[Any]


@dataclass
class Differences:
    """Collects, for every column, the largest difference over all that was tried.

    Args:
        subject: Whose rows.
        names: K columns.
        symbols: Instrument of each; empty texts where there is none.
        unit: What counts as 1 in a size, float64 [K]; 0 for a column that never changes.
    """

    subject: Subject
    names: Sequence[str]
    symbols: Sequence[str]
    unit: Numbers
    _worst: dict[int, Finding] = field(default_factory=dict)
    _reach: dict[int, int] = field(default_factory=dict)

    def add(self, expected: Numbers, found: Numbers, first_row: int, until: int, how: str) -> None:
        """Compares rows [R, K] from panel row `first_row` on; what lies behind row `until` was
        changed, as `how` says.
        """
        with np.errstate(invalid="ignore"):
            differ = (expected != found) & ~(np.isnan(expected) & np.isnan(found))
            gap = np.abs(expected.astype(np.float64) - found)
        gap = np.where(np.isnan(gap), np.inf, gap)
        for k in np.flatnonzero(differ.any(axis=0)).tolist():
            size = np.where(differ[:, k], gap[:, k], -1.0)
            at = int(size.argmax())
            self._keep(k, expected[at, k], found[at, k], first_row + at, how)
            first = first_row + int(differ[:, k].argmax())
            self._reach[k] = max(self._reach.get(k, 0), until - first + 1)

    def findings(self) -> list[Finding]:
        """One per column that differed, the largest first."""
        found = [
            replace(finding, text=f"{finding.text}; it reaches {self._reach[k]} rows back from it")
            for k, finding in self._worst.items()
        ]
        return sorted(found, key=lambda finding: -finding.size)

    def _keep(self, k: int, expected: Any, found: Any, row: int, how: str) -> None:
        gap = abs(float(expected) - float(found))
        size = gap / self.unit[k] if self.unit[k] > 0.0 else np.inf
        size = np.inf if np.isnan(size) else float(size)
        if k in self._worst and self._worst[k].size >= size:
            return
        text = f"was {float(expected):.6g}, is {float(found):.6g} ({size:.3g} deviations) {how}"
        stamp = self.subject.stamp(row)
        self._worst[k] = Finding(self.names[k], text, self.symbols[k], row, stamp, size)


def feature_differences(subject: Subject) -> Differences:
    """For features laid out as [R, N * F]; sizes are in standard deviations."""
    names = list(subject.policy.feature_names)
    symbols = [symbol for symbol in subject.market.panel.symbols for _ in names]
    return Differences(subject, names * len(subject.bars), symbols, deviations(flat(subject)))


def flat(subject: Subject) -> Numbers:
    """All features, [T, N * F]."""
    return subject.features.reshape(len(subject.features), -1)


def deviations(rows: Numbers) -> Numbers:
    """Standard deviation of every column, float64 [K]; 0 where it never changes."""
    known = np.where(np.isfinite(rows), rows, np.nan).astype(np.float64)
    with np.errstate(all="ignore"):
        found: Numbers = np.nan_to_num(np.sqrt(_mean((known - _mean(known)) ** 2)))
    return found


def _mean(rows: Numbers) -> Numbers:
    count = np.maximum(np.isfinite(rows).sum(axis=0), 1)
    total: Numbers = np.nansum(rows, axis=0) / count
    return total
