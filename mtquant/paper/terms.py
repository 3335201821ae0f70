# SPDX-License-Identifier: Apache-2.0
"""What a paper account is and never changes."""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.core.config import GuardConfig
from mtquant.core.paper_config import PaperConfig
from mtquant.market.rules import Rules


@dataclass(frozen=True)
class Terms:
    """What an account is and never changes.

    Attributes:
        name: Who trades, for people.
        account: Prefix of its client order ids; no other account at the broker may have it.
        rules: How the world answers.
        bar_seconds: Length of a bar.
        bars_per_year: Rows in 365.25 days.
        paper, guard: Settings; these may change between two runs.
        broker, feed: Which ones, in a word: an account is not known anywhere else.
    """

    name: str
    account: str
    rules: Rules
    bar_seconds: int
    bars_per_year: float
    paper: PaperConfig
    guard: GuardConfig
    broker: str = "simulated"
    feed: str = "replay"
