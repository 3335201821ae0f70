# SPDX-License-Identifier: Apache-2.0
"""The allocation that would have been best, known only afterwards: what a choice is measured by.

The best constant allocation is that of Cover 1991, "Universal portfolios", equation 2: the weights
of the largest product of returns. Regret is how much less growth the choice made had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST_WEALTH = 1e-3  # what a bar leaves at least; it keeps the logarithm finite


def best_constant(returns: Float, caps: Float, counts: Float, gross_cap: float) -> Float:
    """Scales s of the largest sum of log(1 + returns s), 0 <= s <= caps, counts s <= gross_cap.

    Args:
        returns: float64 [T, K], simple return of each specialist per unit of its scale.
        caps: float64 [K], largest scale.
        counts: float64 [K], instruments that share the scale's exposure: each has it.
        gross_cap: Largest sum of exposures.

    Returns:
        float64 [K].
    """
    from scipy.optimize import minimize

    # In units of the largest return, so that the solver's tolerance is relative to it.
    unit = float(np.abs(returns).mean(axis=0).max()) if returns.size else 0.0
    if unit == 0.0:
        return np.zeros(returns.shape[1])

    def loss(scales: Float) -> tuple[float, Float]:
        wealth = np.maximum(1.0 + returns @ scales, LEAST_WEALTH)
        slope = returns.T @ (1.0 / wealth) / len(returns)
        return -float(np.log(wealth).mean()) / unit, -slope / unit

    start = 0.5 * np.minimum(caps, gross_cap / counts.sum())
    found = minimize(
        loss,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, cap) for cap in caps.tolist()],
        constraints={
            "type": "ineq",
            "fun": lambda scales: gross_cap - counts @ scales,
            "jac": lambda scales: -counts,
        },
        options={"ftol": 1e-12, "maxiter": 500},
    )
    scales: Float = np.clip(found.x, 0.0, caps)
    return scales * min(1.0, gross_cap / max(float(counts @ scales), 1e-12))


def best_by_period(
    returns: Float, periods: Rows, caps: Float, counts: Float, gross_cap: float
) -> Float:
    """`best_constant` of every period on its own, float64 [T, K].

    Args:
        returns, caps, counts, gross_cap: As there.
        periods: int64 [T], number of the period each row belongs to, ascending.
    """
    scales = np.empty_like(returns)
    for period in np.unique(periods):
        rows = periods == period
        scales[rows] = best_constant(returns[rows], caps, counts, gross_cap)
    return scales


def months(stamps: NDArray[np.int64]) -> Rows:
    """Calendar month (UTC) of stamps in nanoseconds, int64 [T], counted from 1970."""
    found: Rows = stamps.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    return found


def share(growth: float, best: float) -> float:
    """`growth` as a share of the best; NaN where the best does not gain."""
    return growth / best if best > 0.0 else float("nan")
