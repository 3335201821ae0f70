# SPDX-License-Identifier: Apache-2.0
"""A policy beside the best baseline, at equal volatility and as traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import periods_per_year, sharpe
from mtquant.evaluation.relative import alpha, beta
from mtquant.evaluation.significance.bootstrap import SharpeEstimate, sharpe_estimate
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A policy beside the best baseline.

    Attributes:
        baseline: Its name.
        better: Whether the policy was better at equal volatility, with 95 % confidence.
        lines: Sentences that say so.
    """

    baseline: str
    better: bool
    lines: tuple[str, ...]


def against_baselines(
    policy: Ledger, baselines: Sequence[Ledger], seed: int = 0
) -> Comparison | None:
    """Whether the policy did better than the best baseline.

    A return above zero may be the market's. The policy is brought to the volatility of the baseline
    with the highest Sharpe ratio, and the ratio of the differences of their returns is judged by
    the same bootstrap. None where there is nothing to compare: other bars, no variance.
    """
    mine = policy.column("simple_return")
    years = periods_per_year(policy.stamps)
    ratios = {
        run.name: (sharpe(run.column("simple_return"), years), run)
        for run in baselines
        if len(run) == len(policy) and bool((run.stamps == policy.stamps).all())
    }
    known = {name: pair for name, pair in ratios.items() if np.isfinite(pair[0])}
    if not known or not mine.std() > 0.0:
        return None
    name, (_, best) = max(known.items(), key=lambda item: item[1][0])
    theirs = best.column("simple_return")
    found = sharpe_estimate(mine * (theirs.std() / mine.std()) - theirs, years, seed)
    if np.isnan(found.low):
        return None
    better, worse = found.low > 0.0, found.high < 0.0
    judged = "better than it" if better else "worse than it" if worse else "no evidence"
    lines = (
        f"At equal volatility against {name}, the best baseline by Sharpe ratio: {judged}"
        f" (ratio of the difference {_with_interval(found)}).",
        _as_traded(name, mine, theirs, years, seed),
    )
    return Comparison(name, better, lines)


def _as_traded(name: str, mine: Float, theirs: Float, years: float, seed: int) -> str:
    gained = alpha(mine, theirs, years)
    found = sharpe_estimate(mine - theirs, years, seed)
    return (
        f"As traded: beta to {name} {beta(mine, theirs):z.2f}, alpha {gained:+z.1%} a year,"
        f" information ratio {_with_interval(found)}."
    )


def _with_interval(found: SharpeEstimate) -> str:
    if np.isnan(found.low):
        return "undefined"
    return f"{found.ratio:z.2f}, 95 % interval {found.low:z.2f} to {found.high:z.2f}"
