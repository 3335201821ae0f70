# SPDX-License-Identifier: Apache-2.0
"""What a check found: one record each, and the report over all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtquant.core.records import write_atomically
from mtquant.core.runs import plain

Verdict = Literal["passed", "failed", "not checked"]
FILE_NAME = "verify.json"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or could not be looked at.

    Attributes:
        what: Feature, entry of an observation, action, network or column.
        symbol: Instrument; empty where it is of none.
        row: Row of the panel; -1 where it has none.
        stamp: Its close in UTC, as text; empty where it has none.
        size: How much, in the unit that `text` names; NaN where it has none.
        text: What was done and what came of it.
    """

    what: str
    text: str
    symbol: str = ""
    row: int = -1
    stamp: str = ""
    size: float = float("nan")

    def __str__(self) -> str:
        place = f" of {self.symbol}" if self.symbol else ""
        at = f", row {self.row} ({self.stamp})" if self.row >= 0 else ""
        return f"{self.what}{place}{at}: {self.text}"


@dataclass(frozen=True)
class Record:
    """What one check has to say.

    Attributes:
        name: The check.
        verdict: ``"passed"``, ``"failed"`` or ``"not checked"``.
        finding: One sentence: what was looked at and what was found.
        findings: Every single one, the worst first.
        remedy: What to do; empty where it passed.
    """

    name: str
    verdict: Verdict
    finding: str
    findings: tuple[Finding, ...] = ()
    remedy: str = ""

    @classmethod
    def of(cls, name: str, findings: Sequence[Finding], looked_at: str, remedy: str) -> Record:
        """Failed where there is a finding, else passed."""
        if not findings:
            return cls(name, "passed", looked_at)
        shown = str(findings[0])
        if len(findings) > 1:
            shown += f" (and {len(findings) - 1} more: {_names(findings[1:])})"
        return cls(name, "failed", shown, tuple(findings), remedy)

    @classmethod
    def not_checked(cls, name: str, why: str, remedy: str = "") -> Record:
        """A check that could not be made, and why."""
        return cls(name, "not checked", why, (), remedy)


def _names(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(finding.what for finding in findings))
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


@dataclass(frozen=True)
class VerifyReport:
    """All records of one model.

    Attributes:
        subject: What was verified.
        records: One per check, in order.
        seed: Of the drawn cut points and made-up futures.
        facts: Rows, instruments, cut points, hashes.
    """

    subject: str
    records: tuple[Record, ...]
    seed: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(record.name for record in self.records if record.verdict == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def save(self, folder: Path) -> Path:
        """Writes ``verify.json`` into a folder and returns its path."""
        content = {
            "subject": self.subject,
            "passed": self.passed,
            "seed": self.seed,
            "facts": self.facts,
            "checks": [asdict(record) for record in self.records],
        }
        text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
        path = folder / FILE_NAME
        write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))
        return path
