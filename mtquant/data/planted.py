# SPDX-License-Identifier: Apache-2.0
"""Planted markets: bars in which the best policy is known, to measure learning by.

    spec = SignalSpec(beta=4e-4)
    market = signal_market(spec, 100_000, SeedTree(7))     # market.bars, market.features
    optimum = solve_signal(spec)
    optimum.target(signal, exposure)                       # what the best policy asks for

*Signal*: the first feature is an AR(1) signal that predicts the next bar's return, the others are
noise of the same kind. *Allocation*: several instruments under two regimes that a feature shows.
*Random walk*: a signal market whose beta is 0; the best policy does not trade.

Every bar opens at the close before it, so an order decided at a close and filled at the next open
earns exactly the return that was predicted. The optimum of the signal market maximises log growth
per bar after costs by relative value iteration (Puterman, Markov Decision Processes, 1994, section
8.5.5) on signal x exposure; with proportional costs it is a band of exposures per signal inside
which it does not trade (Davis & Norman, Portfolio Selection with Transaction Costs, 1990).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS, Bars, check_bars
from mtquant.data.instruments import Instrument, Session

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

BAR_SECONDS = 900  # four million of them fit into int64 nanoseconds; hours would not
FIRST_NS = 946_684_800 * NANOSECONDS  # 2000-01-01
SIGNAL = "signal"
REGIME = "regime"
SIGNAL_SPAN = 4.5  # the grid of signals ends at this many standard deviations
QUADRATURE = 9  # Gauss-Hermite nodes per shock
TOLERANCE = 1e-11  # log growth per bar to which the gain is solved
MOST_SWEEPS = 5_000
FIRST_PRICE = 100.0


@dataclass(frozen=True, eq=False)
class PlantedMarket:
    """Bars with the features that were planted in them.

    Attributes:
        bars: One series per instrument, all with the same stamps, without gaps.
        features: float32 [T, N, F], known at the bar's close; never NaN.
        feature_names: F names.
        instruments: What each instrument is, by symbol; without costs of its own.
    """

    bars: tuple[Bars, ...]
    features: Float32
    feature_names: tuple[str, ...]
    instruments: Mapping[str, Instrument]


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
    returns = -noise if mirrored else noise
    returns[1:] += spec.beta * features[:-1, 0, 0]
    names = (SIGNAL, *(f"noise_{column}" for column in range(1, spec.inputs)))
    return _market(returns[:, None], features, names)


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
    returns = np.zeros((bars, count))
    for k in range(2):
        rows = np.flatnonzero(regime[:-1] == k)
        factor = np.linalg.cholesky(spec.covariance(k))
        drawn = shocks[rows + 1] @ factor.T
        returns[rows + 1] = spec.means[k] + (-drawn if mirrored else drawn)
    features = np.empty((bars, count, 1 + noise_inputs), dtype=np.float32)
    features[:, :, 0] = 2.0 * regime[:, None] - 1.0
    features[:, :, 1:] = (
        seeds.child("features").generator().standard_normal((bars, count, noise_inputs))
    )
    names = (REGIME, *(f"noise_{column}" for column in range(1, 1 + noise_inputs)))
    return _market(returns, features, names)


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


def _market(changes: Float, features: Float32, names: tuple[str, ...]) -> PlantedMarket:
    """Bars of simple returns [T, N], each opening at the close before it."""
    bars, instruments = [], {}
    stamps = FIRST_NS + BAR_SECONDS * NANOSECONDS * np.arange(len(changes), dtype=np.int64)
    for n in range(changes.shape[1]):
        symbol = f"PLANTED{n}"
        closes = np.asarray(FIRST_PRICE * np.cumprod(1.0 + changes[:, n]), dtype=np.float64)
        opens = np.concatenate(([FIRST_PRICE], closes[:-1]))
        series = Bars(
            symbol=symbol,
            stamps=stamps,
            open=opens,
            high=np.maximum(opens, closes),
            low=np.minimum(opens, closes),
            close=closes,
            volume=np.ones(len(closes)),
            quote="USD",
            bar_seconds=BAR_SECONDS,
            notes=("planted market, not a real one",),
        )
        check_bars(series)
        bars.append(series)
        instruments[symbol] = _instrument(symbol)
    return PlantedMarket(tuple(bars), features, names, instruments)


def _instrument(symbol: str) -> Instrument:
    """A thing that trades round the clock in the smallest pieces and asks for little margin."""
    return Instrument(
        symbol=symbol,
        name="planted market",
        sector="equity",
        quote="USD",
        yahoo=symbol,
        tick=1e-9,
        lot=1e-9,
        multiplier=1.0,
        margin_frac=0.01,
        spread_bps=0.0,
        commission_bps=0.0,
        slippage_bps=0.0,
        financing_long_bps=0.0,
        financing_short_bps=0.0,
        session=Session(timezone="UTC", close="23:59", week_opens="monday"),
        source="planted",
    )
