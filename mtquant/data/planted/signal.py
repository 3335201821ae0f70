# SPDX-License-Identifier: Apache-2.0
"""A market with one signal, and its optimum.

It maximises log growth per bar after costs, by relative value iteration (Puterman, Markov Decision
Processes, 1994, section 8.5.5) on signal x exposure; with proportional costs it is a band of
exposures per signal inside which it does not trade (Davis & Norman, Portfolio Selection with
Transaction Costs, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.planted.market import Float, PlantedMarket, market_of

SIGNAL = "signal"
SIGNAL_SPAN = 4.5  # the grid of signals ends at this many standard deviations
QUADRATURE = 9  # Gauss-Hermite nodes per shock
TOLERANCE = 1e-11  # log growth per bar to which the gain is solved
MOST_SWEEPS = 5_000


@dataclass(frozen=True)
class SignalSpec:
    """A market with one signal.

    Attributes:
        beta: Mean simple return of the next bar per unit of signal; 0 is a random walk.
        persistence: AR(1) coefficient of the signal, whose standard deviation is 1.
        noise: Standard deviation of the return around its mean.
        cost: Fraction of the traded notional.
        inputs: Features, the signal being the first.
    """

    beta: float
    persistence: float = 0.95
    noise: float = 2e-3
    cost: float = 2e-4
    inputs: int = 32


STRONG = SignalSpec(beta=4e-4)
WEAK = SignalSpec(beta=8e-5)
RANDOM_WALK = SignalSpec(beta=0.0)


def signal_market(
    spec: SignalSpec, bars: int, seeds: SeedTree, mirrored: bool = False
) -> PlantedMarket:
    """Draws a signal market of one instrument.

    Args:
        spec: Its numbers.
        bars: T.
        seeds: Node of the seed tree; the same node gives the same bytes.
        mirrored: Turns the sign of the returns' noise: the same signal on the antithetic path.

    Raises:
        DataError: Fewer than 2 bars or no input.
    """
    if spec.inputs < 1:
        raise DataError("inputs", "must be at least 1", spec.inputs, "The first is the signal.")
    shocks = seeds.child("features").generator()
    features = np.empty((bars, 1, spec.inputs), dtype=np.float32)
    for column in range(spec.inputs):
        features[:, 0, column] = autoregression(spec.persistence, bars, shocks)
    noise = spec.noise * seeds.child("returns").generator().standard_normal(bars)
    expected = np.zeros(bars)
    expected[1:] = spec.beta * features[:-1, 0, 0]
    returns = expected - noise if mirrored else expected + noise
    names = (SIGNAL, *(f"noise_{column}" for column in range(1, spec.inputs)))
    return market_of(returns[:, None], expected[:, None], features, names)


def autoregression(persistence: float, count: int, generator: np.random.Generator) -> Float:
    """A stationary AR(1) path of standard deviation 1, float64 [count]."""
    from scipy.signal import lfilter

    shocks = generator.standard_normal(count)
    shocks[1:] *= np.sqrt(1.0 - persistence**2)
    path: Float = lfilter([1.0], [1.0, -persistence], shocks)
    return path


@dataclass(frozen=True, eq=False)
class SignalOptimum:
    """The best policy of a signal market: hold while the exposure is inside the signal's band, else
    trade to its nearer edge.

    Attributes:
        growth: Log growth per bar that it earns in the long run, after costs.
        signals: float64 [S], the grid.
        lowest: float64 [S], exposure below which it buys.
        highest: float64 [S], exposure above which it sells.
    """

    growth: float
    signals: Float
    lowest: Float
    highest: Float

    def target(self, signal: Float, exposure: Float) -> Float:
        """Exposure asked for; NaN, which leaves the position alone, inside the band."""
        low = np.interp(signal, self.signals, self.lowest)
        high = np.interp(signal, self.signals, self.highest)
        # A drifted short of 1.001 times the equity is not worth a trade of the 0.001.
        held = np.clip(exposure, -1.0, 1.0)
        inside = (low <= held) & (held <= high)
        return np.where(inside, np.nan, np.clip(held, low, high))


def solve_signal(spec: SignalSpec, signals: int = 121, positions: int = 41) -> SignalOptimum:
    """Solves the market by relative value iteration.

    The timing is the desk's: at a close the policy sees the signal s and the exposure p it holds
    then; it asks for q, pays cost x |q - p| at the next open, which is the same price, earns the
    return of that bar on q, and q drifts with the price and the equity.

    Args:
        spec: The market.
        signals: Points of the signal's grid.
        positions: Points of the exposure's grid, from -1 to 1.

    Raises:
        DataError: It does not settle, which means that the grid is too coarse.
    """
    from scipy.interpolate import CubicSpline

    grid = np.linspace(-SIGNAL_SPAN, SIGNAL_SPAN, signals)
    exposures = np.linspace(-1.0, 1.0, positions)
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    weights = weights / weights.sum()
    shock = np.sqrt(1.0 - spec.persistence**2)
    moved = spec.persistence * grid[:, None] + shock * nodes
    # Cubic: the value is convex in the signal, and straight lines would overstate it at every bar.
    spline = CubicSpline(grid, np.eye(signals))
    to_signal = np.einsum("skj,k->sj", spline(np.clip(moved, grid[0], grid[-1])), weights)
    change = (spec.beta * grid[:, None] + spec.noise * nodes)[:, None, :]
    grown = 1.0 + exposures[None, :, None] * change
    earned = np.log(grown) @ weights
    drifted = exposures[None, :, None] * (1.0 + change) / grown
    drift = np.einsum("sqkl,k->sql", _interpolation(exposures, drifted), weights)
    paid = np.log1p(-spec.cost * np.abs(exposures[:, None] - exposures))
    value = np.zeros((signals, positions))
    for _ in range(MOST_SWEEPS):
        ahead = earned + np.einsum("sqp,sp->sq", drift, to_signal @ value)
        best = (paid + ahead[:, None, :]).max(axis=2)
        gain = best - value
        value = best - best[signals // 2, positions // 2]
        if gain.max() - gain.min() < TOLERANCE:
            asked = (paid + ahead[:, None, :]).argmax(axis=2)
            low, high = exposures[asked[:, 0]], exposures[asked[:, -1]]
            return SignalOptimum(float(gain.mean()), grid, low, high)
    raise DataError(
        "signals, positions",
        "must be fine enough for value iteration to settle",
        (signals, positions),
        "Use more points.",
    )


def _interpolation(grid: Float, points: Float) -> Float:
    """Weights of linear interpolation (outside: extrapolation) on a regular grid, float64
    [*points.shape, len(grid)].
    """
    step = grid[1] - grid[0]
    place = (points - grid[0]) / step
    cell = np.clip(np.floor(place).astype(np.int64), 0, len(grid) - 2)
    weights = np.zeros((*points.shape, len(grid)))
    np.put_along_axis(weights, cell[..., None], (1.0 - (place - cell))[..., None], axis=-1)
    np.put_along_axis(weights, cell[..., None] + 1, (place - cell)[..., None], axis=-1)
    return weights
