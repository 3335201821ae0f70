# SPDX-License-Identifier: Apache-2.0
"""What a trained policy has to beat: cash, buy and hold, inverse volatility, momentum.

They trade under the same rules, limits and costs, through the same desk. Each uses as much of the
name cap and the gross cap as the policy under test may.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation, Policy

Float = NDArray[np.float64]


def observed(observation: Observation, feature: str) -> Float:
    """The latest value of a feature for each instrument, float64 [N] (0 where not yet known)."""
    wanted = [f"{symbol}.{feature}" for symbol in observation.symbols]
    try:
        columns = [observation.names.index(name) for name in wanted]
    except ValueError as error:
        raise PolicyError(
            "observation", f"must hold {feature}", str(error), "Add it to the policy's features."
        ) from error
    return observation.values[columns].astype(np.float64)


def inverse_volatility_weights(volatility: Float, name_cap: float, gross_cap: float) -> Float:
    """Weights proportional to 1 / volatility, as large as both caps allow; 0 where it is 0."""
    known = volatility > 0.0
    raw = np.divide(1.0, volatility, out=np.zeros_like(volatility), where=known)
    if not known.any():
        return raw
    shares = raw / raw.max()  # the largest is exactly 1, so that its weight is exactly the cap
    return shares * min(name_cap, gross_cap / shares.sum())


@dataclass(frozen=True)
class Cash:
    """Never trades."""

    name: str = "cash"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    def initial_state(self) -> None:
        """No memory."""
        return None

    def act(self, observation: Observation, state: None) -> tuple[Float, None]:
        """All zero, float64 [N]."""
        return np.zeros(len(observation.symbols)), None


@dataclass(frozen=True)
class BuyAndHold:
    """Buys equal amounts of every instrument at its first bar and keeps the units.

    The name cap trims a position that has grown past it: that is the limit's doing, not the
    policy's.
    """

    name_cap: float
    gross_cap: float
    name: str = "buy and hold"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    def initial_state(self) -> frozenset[str]:
        """The instruments bought so far."""
        return frozenset()

    def act(self, observation: Observation, state: frozenset[str]) -> tuple[Float, frozenset[str]]:
        """The equal weight once, then NaN (leave the position alone)."""
        weight = min(self.name_cap, self.gross_cap / len(observation.symbols))
        held = np.array([symbol in state for symbol in observation.symbols])
        tradable = observed(observation, "tradable") > 0.0
        targets = np.where(held, np.nan, np.where(tradable, weight, 0.0))
        bought = {s for s, now in zip(observation.symbols, tradable, strict=True) if now}
        return targets, state | bought


@dataclass(frozen=True)
class _Monthly:
    """A policy that decides on the first bar of each calendar month and holds between."""

    name_cap: float
    gross_cap: float
    volatility_bars: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features it needs."""
        return (f"volatility_{self.volatility_bars}",)

    @property
    def window_bars(self) -> int:
        """One bar is enough."""
        return 1

    def initial_state(self) -> int:
        """Month of the last decision, counted since 1970; -1 before the first."""
        return -1

    def act(self, observation: Observation, state: int) -> tuple[Float, int]:
        """Exposures on a new month, NaN between."""
        stamp = np.datetime64(observation.stamp, "ns")
        month = int(stamp.astype("datetime64[M]").astype(np.int64))
        if month == state:
            return np.full(len(observation.symbols), np.nan), state
        volatility = observed(observation, f"volatility_{self.volatility_bars}")
        weights = inverse_volatility_weights(volatility, self.name_cap, self.gross_cap)
        return weights * self.direction(observation), month

    def direction(self, observation: Observation) -> Float:
        """+1 long, -1 short, for each instrument."""
        return np.ones(len(observation.symbols))


@dataclass(frozen=True)
class InverseVolatility(_Monthly):
    """Long everything in inverse proportion to its volatility, rebalanced monthly."""

    name: str = "inverse volatility"


@dataclass(frozen=True)
class Momentum(_Monthly):
    """Time-series momentum: long what rose over the lookback, short what fell.

    Moskowitz, Ooi & Pedersen 2012, "Time series momentum", with inverse-volatility weights and
    monthly decisions.
    """

    lookback_bars: int = 120
    name: str = "momentum"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Volatility and the return over the lookback."""
        return (f"volatility_{self.volatility_bars}", f"log_return_{self.lookback_bars}")

    def direction(self, observation: Observation) -> Float:
        """Sign of the return over the lookback."""
        return np.sign(observed(observation, f"log_return_{self.lookback_bars}"))


def baselines(bars_per_day: int, name_cap: float, gross_cap: float) -> list[Policy]:
    """The four baselines for bars of which a trading day has `bars_per_day`."""
    window = 60 * bars_per_day
    return [
        Cash(),
        BuyAndHold(name_cap, gross_cap),
        InverseVolatility(name_cap, gross_cap, window),
        Momentum(name_cap, gross_cap, window, lookback_bars=120 * bars_per_day),
    ]
