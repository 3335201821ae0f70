# SPDX-License-Identifier: Apache-2.0
"""Bars that carry too early a stamp: one instrument's returns tell those of the others one bar on.

Bars labelled with their start, or longer bars resampled with the label on the left, come a bar
early. No code looks ahead in them, so that a cut cannot show it; beside instruments of the same
hours it shows as a correlation that is larger one bar on than at the same bar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.workflows.verify.association import association
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "data: stamps beside each other"
REMEDY = (
    "Stamp its bars with their close: data.stamped: open for a file that holds starts, "
    'mtquant\'s resample (or label="right", closed="right" in pandas) for longer bars.'
)
SHARED = 0.8  # of the stamps: markets with other hours lead and follow each other honestly
CLEAR = 0.2  # correlation below which a lead would be no evidence of a stamp
TIMES = 2.0  # the correlation one bar on against that of the same bar


def check_leads(subject: Subject) -> Record:
    """Every pair of instruments with the same hours, at the same bar and one bar apart."""
    findings, pairs = [], 0
    panel = subject.market.panel
    for n, first in enumerate(panel.symbols):
        for m, second in enumerate(panel.symbols):
            if n == m:
                continue
            own = panel.tradable[:, n] & panel.tradable[:, m]
            either = panel.tradable[:, n] | panel.tradable[:, m]
            if own.sum() < SHARED * either.sum():
                continue
            pairs += 1
            found = _lead(panel.close[own][:, (n, m)], first, second)
            if found is not None:
                findings.append(found)
    if pairs == 0:
        why = "no two instruments share their hours: nothing to hold the stamps against"
        return Record.not_checked(NAME, why, "Say by hand what the stamps of each file mean.")
    looked = f"no instrument's returns tell another's of the next bar ({pairs // 2} pairs)"
    return Record.of(NAME, sorted(findings, key=lambda one: -one.size), looked, REMEDY)


def _lead(closes: NDArray[np.float64], first: str, second: str) -> Finding | None:
    """Whether the first instrument's stamps run one bar ahead of the second's."""
    leader, follower = np.diff(np.log(closes), axis=0).T
    same = association(leader, follower)
    ahead = association(leader[:-1], follower[1:])
    strong = ahead.alarming and abs(ahead.correlation) > CLEAR
    if not strong or abs(ahead.correlation) < TIMES * abs(same.correlation):
        return None
    text = (
        f"its bars go with those of {second} one bar on (rank correlation {ahead.correlation:+.2f})"
        f" and not at the same bar ({same.correlation:+.2f}): its stamps are a bar early"
    )
    return Finding("stamps", text, first, size=abs(ahead.correlation))
