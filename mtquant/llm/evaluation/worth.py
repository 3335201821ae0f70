# SPDX-License-Identifier: Apache-2.0
"""What stock forecasts were worth on fills, before costs; the desk (`signals.py`) charges them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.significance.bootstrap import Interval, sharpe_estimate
from mtquant.llm.evaluation.scores import DAY
from mtquant.llm.tasks.task import Columns

Float = NDArray[np.float64]

SESSIONS_PER_YEAR = 252.0  # where one day is all there is
DAYS_PER_YEAR = 365.25


def fill_worth(
    chances: Float, columns: Columns, stamps: NDArray[np.int64], seed: int
) -> tuple[dict[str, float], Interval]:
    """Holding 2p - 1 of each stock from the next open to the one after, equally weighted by day.

    Args:
        chances: float64 [M, 2], of a fall and of a rise, in order of decision; M >= 1.
        columns: With ``fill_return``.
        stamps: int64 [M], decisions.
        seed: Of the interval.

    Returns:
        ``fill_accuracy``: share of right signs among fills that moved; ``daily_bps``: mean return
        of a day; ``fill_sharpe`` per year; and the 95 % interval of the last.
    """
    returns = np.asarray(columns["fill_return"], dtype=np.float64)
    exposure = chances[:, 1] - chances[:, 0]
    days = np.flatnonzero(np.diff(stamps // DAY, prepend=-1))
    counts = np.diff(np.append(days, len(stamps)))
    daily = np.add.reduceat(exposure * returns, days) / counts
    taken = (exposure != 0.0) & (returns != 0.0)
    right = (exposure > 0.0) == (returns > 0.0)
    estimate = sharpe_estimate(daily, _per_year(stamps // DAY, len(days)), seed)
    found = {
        "fill_accuracy": float(right[taken].mean()) if taken.any() else float("nan"),
        "daily_bps": 1e4 * float(daily.mean()),
        "fill_sharpe": estimate.ratio,
    }
    return found, (estimate.low, estimate.high)


def _per_year(days: NDArray[np.int64], count: int) -> float:
    """Days with a decision in a year, as they follow each other here: a forecast a week is no
    forecast a day.
    """
    span = int(days[-1] - days[0])
    return (count - 1) / span * DAYS_PER_YEAR if span else SESSIONS_PER_YEAR
