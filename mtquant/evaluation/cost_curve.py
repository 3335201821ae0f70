# SPDX-License-Identifier: Apache-2.0
"""What is left of a policy when trading costs more or less than supposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import RunError
from mtquant.evaluation.metrics import periods_per_year, total_return
from mtquant.evaluation.significance.bootstrap import SharpeEstimate, sharpe_estimate
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]


@dataclass(frozen=True)
class CostCurve:
    """Total return and Sharpe ratio by cost; C points.

    Attributes:
        factors: float64 [C], ascending, of the configured spread, slippage and commission; 1 is as
            configured.
        total_returns: float64 [C], fractions.
        sharpes: Estimates of the same runs.
    """

    factors: Float
    total_returns: Float
    sharpes: tuple[SharpeEstimate, ...]

    @classmethod
    def of(cls, runs: Mapping[float, Ledger], seed: int = 0) -> CostCurve:
        """The curve of ledgers of one policy on the same bars, by cost factor.

        Raises:
            RunError: Fewer than two runs.
        """
        if len(runs) < 2:
            remedy = "Trade at two cost factors or more."
            raise RunError("runs", "must hold at least 2 costs", len(runs), remedy)
        factors = sorted(runs)
        ledgers = [runs[factor] for factor in factors]
        gains = [total_return(run.equity, run.initial_equity) for run in ledgers]
        found = tuple(
            sharpe_estimate(run.column("simple_return"), periods_per_year(run.stamps), seed)
            for run in ledgers
        )
        return cls(np.array(factors), np.array(gains), found)

    @property
    def break_even(self) -> float:
        """Cost factor at which nothing is left, on the straight line between the points around it.

        Returns:
            The factor; infinite if even the dearest run gained, NaN if even the cheapest did not.
        """
        gains = self.total_returns
        if not gains[0] > 0.0:
            return float("nan")
        lost = np.flatnonzero(gains <= 0.0)
        if not len(lost):
            return float("inf")
        k = int(lost[0])
        share = gains[k - 1] / (gains[k - 1] - gains[k])
        return float(self.factors[k - 1] + share * (self.factors[k] - self.factors[k - 1]))
