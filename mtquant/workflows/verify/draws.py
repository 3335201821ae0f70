# SPDX-License-Identifier: Apache-2.0
"""Where data is cut: rows drawn from a seed, and the edges."""

from __future__ import annotations

from dataclasses import dataclass

from mtquant.core.seeding import SeedTree
from mtquant.workflows.verify.subject import Subject


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Attributes:
        cuts: Cut points for features, besides the edges; each computes all features twice.
        decisions: Cut points for observations, actions and environment.
        seed: Of all draws.
        replayed: Bars that go through the paper loop.
    """

    cuts: int = 12
    decisions: int = 6
    seed: int = 0
    replayed: int = 300

    def node(self, *names: str | int) -> SeedTree:
        """Where a check takes its random numbers from."""
        return SeedTree(self.seed).child("verify", *names)


def cut_rows(subject: Subject, effort: Effort, count: int, name: str) -> list[int]:
    """Rows to cut behind: the edges of the known rows and of the parts, and `count` drawn ones."""
    first, last = subject.first_row, len(subject.market.panel) - 2
    edges = {first, first + 1, last}
    for part in (subject.split.train, subject.split.validation):
        edges.add(subject.market.panel.rows(part).stop - 1)
    drawn = effort.node(name).generator().integers(first, last + 1, count)
    return sorted(row for row in {*edges, *drawn.tolist()} if first <= row <= last)
