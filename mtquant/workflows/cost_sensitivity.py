# SPDX-License-Identifier: Apache-2.0
"""How a result depends on what trading costs: the same policies under scaled costs.

Spread, slippage and commission are scaled; financing is not, since it pays for holding and not for
trading. Policies observe their costs and are free to trade less where they are high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtquant.evaluation.sections import Section, between, number, percent
from mtquant.evaluation.significance.bootstrap import Interval
from mtquant.evaluation.summary import summarize
from mtquant.market.ledger import Ledger

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class CostPoint:
    """What is left at one level of costs.

    Attributes:
        scale: Times the instruments' own costs.
        sharpe: Per year.
        interval: Its 95 % interval.
        annual_return: A fraction.
        turnover_per_year: Traded notional over equity.
        cost_per_year: Spread, slippage and commission over equity, a fraction.
    """

    scale: float
    sharpe: float
    interval: Interval
    annual_return: float
    turnover_per_year: float
    cost_per_year: float


@dataclass(frozen=True)
class CostCurve:
    """A result over levels of costs.

    Attributes:
        points: By scale, ascending.
        break_even: Scale at which the annual return first falls to 0, between points by a straight
            line; NaN where it gains at all of them, or at none.
    """

    points: tuple[CostPoint, ...]
    break_even: float

    @property
    def sentence(self) -> str:
        """What the break-even says."""
        if np.isfinite(self.break_even):
            return f"Break-even at {self.break_even:.2f} times the costs."
        gains = self.points[0].annual_return > 0.0
        if gains:
            return f"No break-even up to {self.points[-1].scale:g} times the costs."
        return "No break-even: it does not gain even at the lowest costs shown."


def cost_curve(
    trade: Callable[[float], Ledger], seed: int, scales: Sequence[float] = SCALES
) -> CostCurve:
    """Trades the same policies once at every level.

    Args:
        trade: From a cost scale to the ledger, for example a `stitch`.
        seed: Of the intervals.
        scales: Levels, ascending.
    """
    points = tuple(_point(scale, trade(scale), seed) for scale in scales)
    return CostCurve(points, break_even(points))


def break_even(points: Sequence[CostPoint]) -> float:
    """Scale of the first fall to 0, between neighbours by a straight line; NaN without one."""
    for one, other in pairwise(points):
        if one.annual_return > 0.0 >= other.annual_return:
            share = one.annual_return / (one.annual_return - other.annual_return)
            return one.scale + share * (other.scale - one.scale)
    return float("nan")


def cost_section(curve: CostCurve) -> Section:
    """The curve as a table."""
    headings = ("costs", "annual return", "Sharpe", "95 % interval", "turnover", "paid a year")
    rows = tuple(
        (
            f"{point.scale:g} x",
            percent(point.annual_return),
            number(point.sharpe),
            between(point.interval, number),
            f"{point.turnover_per_year:,.1f}",
            percent(point.cost_per_year, 2),
        )
        for point in curve.points
    )
    about = "Spread, slippage and commission are scaled, financing is not."
    return Section("Cost sensitivity", headings, rows, (f"{curve.sentence} {about}",))


def _point(scale: float, ledger: Ledger, seed: int) -> CostPoint:
    found = summarize(ledger, seed)
    return CostPoint(
        scale,
        found["sharpe"],
        (found["sharpe_low"], found["sharpe_high"]),
        found["annual_return"],
        found["turnover_per_year"],
        float(np.mean(ledger.column("cost"))) * found["periods_per_year"],
    )
