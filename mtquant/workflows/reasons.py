# SPDX-License-Identifier: Apache-2.0
"""Which observed features moved decisions most on the test rows (`agents/explanations.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.actors import ACTOR_CRITIC
from mtquant.agents.crew import Crew
from mtquant.agents.explanations import Explained, explain_actions, explain_scales
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.evaluation.sections import Section, number, percent
from mtquant.workflows.individuals import Individual
from mtquant.workflows.rehearsal import Passage

Rows = NDArray[np.int64]

DECISIONS = 64  # explained, evenly over the rows
SHOWN = 10


@dataclass(frozen=True)
class Reason:
    """An entry of the observation and what it did.

    Attributes:
        name: Such as ``EURUSD.rsi_14``.
        share: Of all that moved decisions, by absolute amounts.
        amount: Mean absolute amount, in the decision's units.
    """

    name: str
    share: float
    amount: float


@dataclass(frozen=True)
class Reasons:
    """The entries that moved decisions most.

    Attributes:
        decisions: Which.
        rows: Decisions explained.
        top: The largest shares, descending.
        missing: Largest difference between a change and the sum of its amounts, as a share of the
            largest change: the error of the integral.
    """

    decisions: str
    rows: int
    top: tuple[Reason, ...]
    missing: float


def reasons_of_specialists(found: Sequence[Individual]) -> Reasons | None:
    """Of phase 1's actions; None where no specialist is a feed-forward network of ours."""
    own = [each for each in found if each.specialist.manifest.policy == ACTOR_CRITIC]
    if not own:
        return None
    crew = Crew.from_weights([each.specialist.weights for each in own])
    rows = [_evenly(len(each.seen)) for each in own]
    count = min(map(len, rows))  # specialists of other hours have seen more bars or fewer
    views = [each.seen[picked[-count:]] for each, picked in zip(own, rows, strict=True)]
    explained = explain_actions(crew, views, [each.names for each in own])
    return _reasons("actions", explained, count)


def reasons_of_hierarchy(policy: HierarchyPolicy, passage: Passage) -> list[Reasons]:
    """Of the specialists' actions and of the exposures that the meta-controller lets them have.

    Args:
        policy: The hierarchy.
        passage: What account 0 lived through under it.
    """
    rows = _evenly(len(passage))
    seen, before = passage.seen[rows], passage.before[rows]
    views = policy.hierarchy.views(seen, before)
    actions = explain_actions(policy.crew, views, policy.view_names())
    scales = explain_scales(policy, seen, passage.messages[rows], before)
    return [
        _reasons("actions", actions, len(rows)),
        _reasons("weights", [scales], len(scales.changes)),
    ]


def _evenly(length: int) -> Rows:
    """At most `DECISIONS` rows; not the first, at which nothing is held yet."""
    return np.unique(np.linspace(min(1, length - 1), length - 1, DECISIONS).astype(np.int64))


def _reasons(decisions: str, explained: Sequence[Explained], rows: int) -> Reasons:
    amounts: dict[str, float] = {}
    for each in explained:
        mean = np.abs(each.amounts).mean(axis=0)
        for name, amount in zip(each.names, mean.tolist(), strict=True):
            amounts[name] = amounts.get(name, 0.0) + amount / len(explained)
    total = sum(amounts.values())
    largest = sorted(amounts, key=lambda name: -amounts[name])[:SHOWN]
    top = tuple(
        Reason(name, amounts[name] / total, amounts[name]) for name in largest if amounts[name] > 0
    )
    change = max(float(np.abs(each.changes).max()) for each in explained)
    missing = max(each.missing for each in explained)
    return Reasons(decisions, rows, top, missing / change if change > 0.0 else 0.0)


def reasons_section(found: Reasons) -> Section:
    """Ten features, their shares, and how exact that is."""
    titles = {
        "actions": "What moved the specialists' actions",
        "weights": "What moved the meta-controller's weights",
    }
    rows = tuple((each.name, percent(each.share), number(each.amount, 4)) for each in found.top)
    together = percent(sum(each.share for each in found.top))
    if rows:
        note = (
            f"Integrated gradients over {found.rows} decisions each; these are {together} of all."
        )
    else:
        note = "Nothing moves them: every decision is the same."
    return Section(titles[found.decisions], ("entry", "share", "mean amount"), rows, (note,))
