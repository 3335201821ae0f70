# SPDX-License-Identifier: Apache-2.0
"""What the page was asked to show, as the command line tells the script that Streamlit runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """What the command line named.

    Attributes:
        ledgers: Of paper accounts.
        runs: Folders with run folders and backtests below them.
    """

    ledgers: tuple[Path, ...]
    runs: tuple[Path, ...]

    def to_text(self) -> str:
        """For the process that serves the page."""
        return json.dumps([[str(own) for own in group] for group in (self.ledgers, self.runs)])

    @classmethod
    def from_text(cls, text: str) -> Asked:
        """What `to_text` wrote."""
        ledgers, runs = json.loads(text)
        return cls(tuple(map(Path, ledgers)), tuple(map(Path, runs)))
