# SPDX-License-Identifier: Apache-2.0
"""What several chapters need, worked out once per report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mtquant.core.errors import RunError
from mtquant.evaluation.attribution import Attribution, attribute
from mtquant.evaluation.book_risk import BookRisk, book_risk
from mtquant.evaluation.comparison import Comparison, against_baselines
from mtquant.evaluation.report.material import Material
from mtquant.evaluation.summary import summarize
from mtquant.evaluation.verdict import Verdict, judge
from mtquant.market.ledger import Ledger


@dataclass(frozen=True)
class Findings:
    """A material with what follows from it.

    Attributes:
        material: As given.
        summaries: `summarize` of every run, in order.
        compared: The policy beside the best baseline; None where there is nothing to compare.
        verdict: The grade and its sentences.
    """

    material: Material
    summaries: tuple[dict[str, float], ...]
    compared: Comparison | None
    verdict: Verdict

    @classmethod
    def of(cls, material: Material) -> Findings:
        """Summaries, comparison and verdict.

        Raises:
            RunError: There is no run, or one without bars.
        """
        runs, seed = material.runs, material.seed
        if not runs:
            remedy = "Pass the ledger of the backtest first."
            raise RunError("runs", "must hold at least the policy's ledger", 0, remedy)
        summaries = tuple(summarize(run, seed) for run in runs)
        compared = against_baselines(runs[0], runs[1:], seed)
        walk = material.walk_forward
        reservations = () if walk is None else walk.reservations
        judged = judge(runs[0], summaries[0], material.tried, compared, reservations)
        return cls(material, summaries, compared, judged)

    @property
    def policy(self) -> Ledger:
        """The run that the report is about."""
        return self.material.runs[0]

    @property
    def baselines(self) -> tuple[Ledger, ...]:
        """Those beside it."""
        return tuple(self.material.runs[1:])

    @property
    def rival(self) -> Ledger | None:
        """The best baseline by Sharpe ratio."""
        if self.compared is None:
            return None
        return next(run for run in self.baselines if run.name == self.compared.baseline)

    @cached_property
    def attribution(self) -> Attribution:
        """The policy's gain by instrument."""
        return attribute(self.policy)

    @cached_property
    def risk(self) -> BookRisk:
        """Forecasts of the policy's losses."""
        return book_risk(self.policy)
