# SPDX-License-Identifier: Apache-2.0
"""vectorbt replays the fills with its own accounting."""

from __future__ import annotations

from mtquant.backtest.vectorbt_audit import TOLERANCE, audit
from mtquant.core.errors import AuditError
from mtquant.market.ledger import Ledger
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "vectorbt audit"


def check_audit(subject: Subject, ledger: Ledger) -> Record:
    """Equity of the replay against the ledger's, bar by bar."""
    try:
        found = audit(ledger, subject.market.rules)
    except AuditError as error:
        size = error.found["relative"] if isinstance(error.found, dict) else float("nan")
        finding = Finding(error.field, f"{error.rule}; found {error.found}", size=size)
        return Record.of(NAME, [finding], "", error.remedy)
    looked = (
        f"vectorbt replays {found.fills:,} fills over {found.bars:,} bars: largest relative "
        f"difference {found.largest_relative_difference:.1e}, allowed {TOLERANCE:g}"
    )
    return Record.of(NAME, [], looked, "")
