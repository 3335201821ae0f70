# SPDX-License-Identifier: Apache-2.0
"""Instruments under two regimes that a feature shows, and the best weights in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.planted.market import Float, PlantedMarket, market_of

REGIME = "regime"


@dataclass(frozen=True, eq=False)
class AllocationSpec:
    """Instruments whose returns depend on which of two regimes holds. Trading is free.

    Attributes:
        means: float64 [2, N], mean simple return per bar and regime.
        deviations: float64 [2, N], standard deviations of it.
        correlations: Correlation of any two instruments, by regime.
        persistence: Probability that a regime goes on for another bar.
        max_gross_exposure: Largest sum of absolute weights.
        max_position_size: Largest absolute weight.
    """

    means: Float
    deviations: Float
    correlations: tuple[float, float]
    persistence: float = 0.98
    max_gross_exposure: float = 1.0
    max_position_size: float = 0.4

    def covariance(self, regime: int) -> Float:
        """Covariance of the simple returns, float64 [N, N]."""
        deviation, rho = self.deviations[regime], self.correlations[regime]
        correlation = rho + (1.0 - rho) * np.eye(len(deviation))
        covariance: Float = deviation[:, None] * correlation * deviation
        return covariance

    def best_weights(self) -> Float:
        """Weights of the largest expected log growth under the limits, float64 [2, N]."""
        return np.array(
            [
                best_weights(
                    self.means[regime],
                    self.covariance(regime),
                    self.max_gross_exposure,
                    self.max_position_size,
                )
                for regime in range(2)
            ]
        )


# Calm: four of eight gain, at unequal risk. Stress: they lose together, and havens gain.
EIGHT = AllocationSpec(
    means=np.array(
        [
            [40e-4, 30e-4, 20e-4, 15e-4, 0.0, 0.0, -5e-4, -10e-4],
            [-40e-4, -30e-4, -10e-4, 0.0, 20e-4, 10e-4, 25e-4, 0.0],
        ]
    ),
    deviations=np.array(
        [
            [0.040, 0.025, 0.020, 0.015, 0.010, 0.010, 0.015, 0.020],
            [0.060, 0.040, 0.035, 0.025, 0.015, 0.010, 0.020, 0.030],
        ]
    ),
    correlations=(0.2, 0.5),
)


def allocation_market(
    spec: AllocationSpec, bars: int, seeds: SeedTree, noise_inputs: int = 3, mirrored: bool = False
) -> PlantedMarket:
    """Draws a market of N instruments under two regimes.

    The features of every instrument are the regime that the next bar's return comes from (-1 for
    regime 0, 1 for regime 1) and `noise_inputs` of white noise.

    Args:
        spec: Its numbers.
        bars: T.
        seeds: Node of the seed tree; the same node gives the same bytes.
        noise_inputs: Features that say nothing.
        mirrored: Turns the sign of the shocks, not of the regimes.
    """
    count = spec.means.shape[1]
    switches = seeds.child("regimes").generator().random(bars) > spec.persistence
    regime = np.cumsum(switches) % 2
    shocks = seeds.child("returns").generator().standard_normal((bars, count))
    returns, expected = np.zeros((bars, count)), np.zeros((bars, count))
    for k in range(2):
        rows = np.flatnonzero(regime[:-1] == k)
        factor = np.linalg.cholesky(spec.covariance(k))
        drawn = shocks[rows + 1] @ factor.T
        expected[rows + 1] = spec.means[k]
        returns[rows + 1] = spec.means[k] + (-drawn if mirrored else drawn)
    features = np.empty((bars, count, 1 + noise_inputs), dtype=np.float32)
    features[:, :, 0] = 2.0 * regime[:, None] - 1.0
    features[:, :, 1:] = (
        seeds.child("features").generator().standard_normal((bars, count, noise_inputs))
    )
    names = (REGIME, *(f"noise_{column}" for column in range(1, 1 + noise_inputs)))
    return market_of(returns, expected, features, names)


def best_weights(mean: Float, covariance: Float, gross_cap: float, name_cap: float) -> Float:
    """Weights w of the largest growth w'm - w'(C + m m')w / 2, the expansion of E log(1 + w'r) to
    second order (Kelly 1956; Markowitz, Portfolio Selection, 1959, chapter 6), under sum |w| <=
    `gross_cap` and |w| <= `name_cap`.

    Args:
        mean: float64 [N], m, simple returns.
        covariance: float64 [N, N], C.
        gross_cap: Largest sum of |w|.
        name_cap: Largest |w|.

    Returns:
        float64 [N].

    Raises:
        DataError: The solver did not converge.
    """
    from scipy.optimize import minimize

    second = covariance + np.outer(mean, mean)
    count = len(mean)
    # Bought and sold parts as variables of their own make the limits linear; the unit of growth is
    # the largest mean, so that the solver's tolerance is relative to it.
    unit = float(np.abs(mean).max()) or 1.0

    def loss(parts: Float) -> tuple[float, Float]:
        weights = parts[:count] - parts[count:]
        slope = (second @ weights - mean) / unit
        value = (0.5 * weights @ second @ weights - mean @ weights) / unit
        return float(value), np.concatenate((slope, -slope))

    found = minimize(
        loss,
        np.full(2 * count, 0.5 * min(name_cap, gross_cap / (2 * count))),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, name_cap)] * (2 * count),
        constraints={
            "type": "ineq",
            "fun": lambda parts: gross_cap - parts.sum(),
            "jac": lambda parts: -np.ones(2 * count),
        },
        options={"ftol": 1e-12, "maxiter": 1_000},
    )
    if not found.success:
        raise DataError(
            "means, deviations", "must have a best allocation", found.message, "Check the numbers."
        )
    weights: Float = found.x[:count] - found.x[count:]
    return weights
