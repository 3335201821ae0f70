# SPDX-License-Identifier: Apache-2.0
"""Everything that a report may be made of. Only the policy's ledger is required; a part that is not
given has no chapter, or a sentence that says so where its absence matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from mtquant.evaluation.sections import Section
from mtquant.evaluation.significance.bootstrap import Interval
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.track_statistics import Findings as Statistics
from mtquant.evaluation.tracks import WalkForward
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]
Curve = tuple[Sequence[int], Sequence[float]]
"""Steps and values of one training curve."""


class CostPoint(Protocol):
    """What is left at one level of costs: `scale` times the instruments' own."""

    @property
    def scale(self) -> float: ...
    @property
    def sharpe(self) -> float: ...
    @property
    def interval(self) -> Interval: ...
    @property
    def annual_return(self) -> float: ...
    @property
    def turnover_per_year(self) -> float: ...
    @property
    def cost_per_year(self) -> float: ...


class CostCurve(Protocol):
    """A policy over levels of costs, as `workflows.cost_sensitivity` makes it: points by scale, the
    scale of no gain (NaN without one), and a sentence on it.
    """

    @property
    def points(self) -> Sequence[CostPoint]: ...
    @property
    def break_even(self) -> float: ...
    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True)
class Learning:
    """How one network learned.

    Attributes:
        name: For example ``"phase 1, EURUSD"``.
        curves: Name of a metric (`core.telemetry.METRICS`) -> its curve.
        validation_years: Length of the validation rows, which decides how far their Sharpe ratio is
            to be believed; NaN if unknown: the ratio is then not shown.
    """

    name: str
    curves: Mapping[str, Curve]
    validation_years: float = float("nan")


@dataclass(frozen=True)
class Stress:
    """The policy in made-up markets.

    Attributes:
        bars: Traded per scenario and seed.
        measured: Scenario -> measure (``"sharpe"``, ``"drawdown"``, ...) -> value of every seed.
    """

    bars: int
    measured: Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Material:
    """What the report is about.

    Attributes:
        title: Heading of the page.
        runs: The policy's ledger, then the baselines' on the same bars.
        seed: Seed of the intervals.
        tried: What was looked at before the policy was chosen; None if nobody kept a record, which
            weakens the verdict.
        specialists: Name -> the symbols it trades; empty if nobody speaks for an instrument.
        phases: Name of a training phase -> ledger of what it left, earliest first, on the same
            bars, for what each phase added; empty to leave it out.
        costs: The policy under scaled costs; None to leave it out.
        walk_forward, statistics: Walk-forward evaluation and what follows from it; None if there
            was none.
        stress: Made-up markets; None if they were not run.
        learning: Curves of the trainings, in order.
        sections: Further tables of text, shown as they are.
        figures: Charts of the vectorbt chapter by heading.
        tables: Tables of the vectorbt chapter by heading: a frame, or text shown as it is.
        audit: What the second judge found, by name.
        card: The run card, nested as one likes.
    """

    title: str
    runs: Sequence[Ledger]
    seed: int = 0
    tried: Tried | None = None
    specialists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    phases: Mapping[str, Ledger] = field(default_factory=dict)
    costs: CostCurve | None = None
    walk_forward: WalkForward | None = None
    statistics: Statistics | None = None
    stress: Stress | None = None
    learning: Sequence[Learning] = ()
    sections: Sequence[Section] = ()
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    tables: Mapping[str, str | pd.DataFrame] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
