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
from mtquant.features.catalog import LONGEST_BARS

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
class Asked:
    """What a policy that decides rarely still waits for.

    Attributes:
        period: When it last decided; -1 before the first time.
        targets: Exposure still asked for, float64 [N]; NaN where nothing is.
    """

    period: int
    targets: Float

    def after(self, observation: Observation) -> Float:
        """What is still asked for.

        An order is answered by the next bar of its own instrument; one that could not be placed,
        for want of a price or because the limits allow none while a risk is unknown, has left no
        position.
        """
        here = observed(observation, "tradable") > 0.0
        booked = (observed(observation, "exposure") != 0.0) | (self.targets == 0.0)
        return np.where(here & booked, np.nan, self.targets)


@dataclass(frozen=True)
class BuyAndHold:
    """Buys equal amounts of every instrument once and keeps the units.

    The name cap trims a position that has grown past it: that is the limit's doing, not the
    policy's.
    """

    name_cap: float
    gross_cap: float
    name: str = "buy and hold"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    def initial_state(self) -> Asked:
        """Nothing asked for yet."""
        return Asked(-1, np.zeros(0))

    def act(self, observation: Observation, state: Asked) -> tuple[Float, Asked]:
        """The equal weight until it is bought, then NaN (leave the position alone)."""
        if state.period < 0:
            weight = min(self.name_cap, self.gross_cap / len(observation.symbols))
            targets = np.full(len(observation.symbols), weight)
        else:
            targets = state.after(observation)
        return targets, Asked(0, targets)


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

    def initial_state(self) -> Asked:
        """Nothing asked for yet."""
        return Asked(-1, np.zeros(0))

    def act(self, observation: Observation, state: Asked) -> tuple[Float, Asked]:
        """Exposures in a new month, until each is booked; NaN between."""
        stamp = np.datetime64(observation.stamp, "ns")
        month = int(stamp.astype("datetime64[M]").astype(np.int64))
        if month == state.period:
            targets = state.after(observation)
        else:
            volatility = observed(observation, f"volatility_{self.volatility_bars}")
            weights = inverse_volatility_weights(volatility, self.name_cap, self.gross_cap)
            targets = weights * self.direction(observation)
        return targets, Asked(month, targets)

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
    """The four baselines for bars of which a trading day has `bars_per_day`.

    They look back 60 and 120 trading days, or as far as the feature catalogue goes.
    """
    window, lookback = (min(days * bars_per_day, LONGEST_BARS) for days in (60, 120))
    return [
        Cash(),
        BuyAndHold(name_cap, gross_cap),
        InverseVolatility(name_cap, gross_cap, window),
        Momentum(name_cap, gross_cap, window, lookback_bars=lookback),
    ]
