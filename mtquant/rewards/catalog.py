# SPDX-License-Identifier: Apache-2.0
"""What a reward term says about itself: the record that `check_reward` checks and `OwnTerms` pays.

@kernel
def calm(state, outcome, parameters):
    return -outcome[oc.GROSS] * outcome[oc.DRAWDOWN]

term = Term("calm", calm, kind="penalty")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import RewardError
from mtquant.rewards import terms

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """A reward term and what it claims.

    Attributes:
        name: What weights and traces call it.
        function: `(state, outcome, parameters) -> value`: float64 [S], changed in place; one ledger
            row, float64 [len(OUTCOME_COLUMNS)]; float64 [PARAMETERS] as `terms.py` names them. A
            compiled kernel or plain Python.
        kind: ``"gain"``: more return at equal risk is never worse. ``"penalty"``: never positive.
            ``"bonus"``: never negative.
        start: The S numbers of its state before the first bar.
        pays_idle: Whether an account that does nothing may earn it.
        sums_to: What an episode's values must add up to, from its rows float64 [T, columns] and the
            parameters; None where there is no closed form.
    """

    name: str
    function: Callable[[Float, Float, Float], float]
    kind: Literal["gain", "penalty", "bonus"]
    start: tuple[float, ...] = ()
    pays_idle: bool = False
    sums_to: Callable[[Float, Float], float] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise RewardError(
                "name of a reward term",
                "must be letters, digits and underscores",
                self.name,
                "Choose a name that could be a variable.",
            )


def _log_growth(rows: Float, parameters: Float) -> float:
    """log(final / initial equity) / scale."""
    return float(np.log(rows[-1, oc.EQUITY] / rows[0, oc.EQUITY_BEFORE])) * parameters[terms.P_UNIT]


def _worst_drawdown(rows: Float, parameters: Float) -> float:
    """Minus the worst drawdown beyond the target, / scale."""
    worst = float(rows[:, oc.DRAWDOWN].max()) - parameters[terms.P_DRAWDOWN_TARGET]
    return -max(0.0, worst) * parameters[terms.P_UNIT]


def _ratio(name: str, pays_idle: bool = False) -> Term:
    return Term(name, terms.differential_ratio, "gain", start=(0.0, 1.0), pays_idle=pays_idle)


_TERMS = (
    Term("growth", terms.growth, "gain", sums_to=_log_growth),
    _ratio("differential_sharpe"),
    Term("drawdown", terms.drawdown, "penalty", start=(0.0,), sums_to=_worst_drawdown),
    Term("cost", terms.cost, "penalty"),
    _ratio("differential_sortino"),
    # Being out of a falling market gains on the benchmark: that is a decision, and may be paid.
    _ratio("differential_information", pays_idle=True),
    Term("tail_loss", terms.tail_loss, "penalty"),
    Term("variance", terms.variance, "penalty"),
    Term("downside_variance", terms.downside_variance, "penalty"),
    Term("diversification", terms.diversification, "bonus"),
    Term("turnover", terms.turnover, "penalty"),
)

BUILT_IN: Mapping[str, Term] = MappingProxyType({term.name: term for term in _TERMS})
