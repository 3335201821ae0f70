# SPDX-License-Identifier: Apache-2.0
"""The rows of a file while the importer works on them, and the book of what was done to each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mtquant.core.checked import Section
from mtquant.core.errors import DataError
from mtquant.data.importing.policy import RULES, ImportPolicy, alternatives

Rows = NDArray[np.int64]

DONE = {
    "drop": "dropped",
    "keep": "kept as written",
    "keep_first": "dropped, the first of their time kept",
    "keep_last": "dropped, the last of their time kept",
    "sort": "moved into order",
    "widen": "widened",
    "zero": "volume set to 0",
    "earlier": "taken as the earlier showing",
    "later": "taken as the later showing",
    "in_order": "taken as first and second showing in the file's order",
}
DROPPING = frozenset(("drop", "keep_first", "keep_last"))


class Finding(Section):
    """One kind of dirt in a file.

    Attributes:
        kind: A field of `ImportPolicy`.
        answer: What the policy said.
        rows: How many rows.
        line: Line number of the first in the file, from 1.
        value: What stood there.
    """

    kind: str
    answer: str
    rows: int
    line: int
    value: str

    @property
    def dropped(self) -> int:
        """How many rows were left out."""
        return self.rows if self.answer in DROPPING else 0

    def __str__(self) -> str:
        rows = "row" if self.rows == 1 else "rows"
        return f"{self.rows} {rows} {DONE[self.answer]} ({self.kind})"


class Sheet:
    """R rows of a file.

    Args:
        name: The file's name, for messages.
        lines: int64 [R], line number of each row.
        policy: What to do about dirt.

    Attributes:
        alive: bool [R], rows that nothing has dropped.
        kind: int16 [R], index in `findings` of what happened to the row last; -1 for nothing.
        findings: What was found, in the order of the rules.
    """

    def __init__(self, name: str, lines: Rows, policy: ImportPolicy) -> None:
        self.name, self.lines, self.policy = name, lines, policy
        self.alive = np.ones(len(lines), dtype=bool)
        self.kind = np.full(len(lines), -1, dtype=np.int16)
        self.findings: list[Finding] = []

    def __len__(self) -> int:
        return len(self.lines)

    def meet(
        self,
        kind: str,
        broken: NDArray[np.bool_],
        shown: Callable[[int], str],
        answer: str | None = None,
        remedy: str | None = None,
    ) -> Rows:
        """Lets the policy deal with the rows that break a rule.

        Args:
            kind: A field of `ImportPolicy`.
            broken: bool [R]; rows dropped before do not count.
            shown: The value of a row, for messages.
            answer: Said by something other than the policy.
            remedy: Said to the user instead of the usual.

        Returns:
            The rows that were found; they are alive still if the answer does not drop.

        Raises:
            DataError: The answer is to refuse.
        """
        rows: Rows = np.flatnonzero(broken & self.alive)
        if len(rows) == 0:
            return rows
        answer = answer or self.policy.answer(kind)
        line, value = int(self.lines[rows[0]]), shown(int(rows[0]))
        if answer == "refuse":
            more = f" (the first of {len(rows)} such rows)" if len(rows) > 1 else ""
            choices = " or --repair ".join(f"{kind}={each}" for each in alternatives(kind))
            raise DataError(
                f"{self.name}, line {line}",
                f"{RULES[kind]} [{kind}]{more}",
                value,
                remedy or f"Mend the file, or import with --repair {choices}.",
            )
        self.kind[rows] = len(self.findings)
        finding = Finding(kind=kind, answer=answer, rows=len(rows), line=line, value=value)
        self.findings.append(finding)
        if answer in DROPPING:
            self.alive[rows] = False
        return rows
