# SPDX-License-Identifier: Apache-2.0
"""What a trained policy has to beat: from cash and buy and hold to risk parity and chance.

They trade under the same rules, limits and costs, through the same desk. Each uses as much of the
name cap and the gross cap as the policy under test may.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.covariance_weights import minimum_variance_weights, risk_parity_weights
from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation, Policy
from mtquant.core.seeding import SeedTree
from mtquant.features.catalog import LONGEST_BARS
from mtquant.features.pipeline import AGE_NAME
from mtquant.risk.dependence import shrunk_covariance

Float = NDArray[np.float64]


def observed(observation: Observation, feature: str) -> Float:
    """The latest value of a feature for each instrument, float64 [N] (0 where not yet known)."""
    columns = _columns(observation.symbols, observation.names, feature)
    return observation.values[columns].astype(np.float64)


@lru_cache(maxsize=64)  # every bar of a run asks for the same
def _columns(symbols: tuple[str, ...], names: tuple[str, ...], feature: str) -> NDArray[np.int64]:
    """Where `names` have the feature of each symbol.

    Raises:
        PolicyError: They have not.
    """
    try:
        return np.array([names.index(f"{symbol}.{feature}") for symbol in symbols])
    except ValueError as error:
        raise PolicyError(
            "observation", f"must hold {feature}", str(error), "Add it to the policy's features."
        ) from error


def observed_past(observation: Observation, feature: str, bars: int) -> Float:
    """The last values of a feature, oldest first, float64 [bars, N] (0 where not yet known).

    Args:
        observation: Of a policy whose window holds at least `bars` bars, two or more.
        feature: Its name.
        bars: How many.
    """
    columns = []
    for symbol in observation.symbols:
        first = observation.names.index(f"{symbol}.{feature}[-{bars - 1}]")
        last = observation.names.index(f"{symbol}.{feature}", first)
        columns.append(observation.values[first : last + 1 : (last - first) // (bars - 1)])
    return np.column_stack(columns).astype(np.float64)


def inverse_volatility_weights(volatility: Float, name_cap: float, gross_cap: float) -> Float:
    """Weights proportional to 1 / volatility, as large as both caps allow; 0 where it is 0."""
    known = volatility > 0.0
    raw = np.divide(1.0, volatility, out=np.zeros_like(volatility), where=known)
    return scaled_to_caps(raw, name_cap, gross_cap)


def scaled_to_caps(weights: Float, name_cap: float, gross_cap: float) -> Float:
    """Weights of at least 0 in the same proportions, as large as both caps allow."""
    if not weights.any():
        return weights
    shares = weights / weights.max()  # the largest is exactly 1: its weight is exactly the cap
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
        if np.isnan(self.targets).all():  # most bars: spares a search through all names
            return self.targets
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
class _Monthly(ABC):
    """A policy that decides on the first bar of each calendar month and holds between."""

    name_cap: float
    gross_cap: float

    def initial_state(self) -> Asked:
        """Nothing asked for yet."""
        return Asked(-1, np.zeros(0))

    def act(self, observation: Observation, state: Asked) -> tuple[Float, Asked]:
        """Exposures in a new month, until each is booked; NaN between."""
        stamp = np.datetime64(observation.stamp, "ns")
        month = int(stamp.astype("datetime64[M]").astype(np.int64))
        new = month != state.period
        targets = self.exposures(observation) if new else state.after(observation)
        return targets, Asked(month, targets)

    @abstractmethod
    def exposures(self, observation: Observation) -> Float:
        """What to hold this month, float64 [N]."""


@dataclass(frozen=True)
class EqualWeight(_Monthly):
    """The same long exposure in every instrument, rebalanced monthly.

    DeMiguel, Garlappi & Uppal 2009, "Optimal versus naive diversification": hard to beat.
    """

    name: str = "equal weight"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    def exposures(self, observation: Observation) -> Float:
        """One share each."""
        count = len(observation.symbols)
        return np.full(count, min(self.name_cap, self.gross_cap / count))


@dataclass(frozen=True)
class InverseVolatility(_Monthly):
    """Long everything in inverse proportion to its volatility, rebalanced monthly."""

    volatility_bars: int
    name: str = "inverse volatility"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features it needs."""
        return (f"volatility_{self.volatility_bars}",)

    @property
    def window_bars(self) -> int:
        """One bar is enough."""
        return 1

    def exposures(self, observation: Observation) -> Float:
        """As large as both caps allow."""
        volatility = observed(observation, f"volatility_{self.volatility_bars}")
        return inverse_volatility_weights(volatility, self.name_cap, self.gross_cap)


@dataclass(frozen=True)
class Momentum(InverseVolatility):
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

    def exposures(self, observation: Observation) -> Float:
        """Inverse volatility with the sign of the return over the lookback."""
        direction = np.sign(observed(observation, f"log_return_{self.lookback_bars}"))
        return super().exposures(observation) * direction


@dataclass(frozen=True)
class _ByCovariance(_Monthly):
    """Long-only weights from the shrunk covariance of the last bars, rebalanced monthly."""

    window_bars: int
    feature_names: tuple[str, ...] = ("log_return_1", AGE_NAME)

    def covariance(self, observation: Observation) -> Float:
        """Ledoit & Wolf's, float64 [N, N]; a row without a bar of its own is a return of 0.

        On the panel an instrument shows its last return again while others trade; its age says so.
        """
        returns, ages = (
            observed_past(observation, feature, self.window_bars) for feature in self.feature_names
        )
        return shrunk_covariance(np.where(ages > 0.0, 0.0, returns), "ledoit_wolf")


@dataclass(frozen=True)
class MinimumVariance(_ByCovariance):
    """The long-only book of the least variance (`minimum_variance_weights`)."""

    name: str = "minimum variance"

    def exposures(self, observation: Observation) -> Float:
        """As large as both caps allow."""
        weights = minimum_variance_weights(self.covariance(observation))
        return scaled_to_caps(weights, self.name_cap, self.gross_cap)


@dataclass(frozen=True)
class RiskParity(_ByCovariance):
    """The long-only book to whose risk all contribute the same (`risk_parity_weights`)."""

    name: str = "risk parity"

    def exposures(self, observation: Observation) -> Float:
        """As large as both caps allow."""
        weights = risk_parity_weights(self.covariance(observation))
        return scaled_to_caps(weights, self.name_cap, self.gross_cap)


@dataclass(frozen=True)
class Chance:
    """Trades as much as another policy, at random: what costs and luck alone bring.

    On some bars it draws a new exposure for every instrument, uniform between both caps.

    Attributes:
        name_cap, gross_cap: Caps.
        chance: Of drawing, per bar.
        seed: Root of its draws; a bar always draws the same.
    """

    name_cap: float
    gross_cap: float
    chance: float
    seed: int
    name: str = "random, same turnover"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    @classmethod
    def matching(
        cls, turnover: float, instruments: int, name_cap: float, gross_cap: float, seed: int
    ) -> Self:
        """The one with an expected turnover, as far as drawing on every bar reaches.

        Two uniform draws between -c and c are 2 c / 3 apart in the mean.

        Args:
            turnover: Traded notional over equity, mean per bar.
            instruments: N.
            name_cap, gross_cap: Caps.
            seed: Root of its draws.
        """
        largest = min(name_cap, gross_cap / instruments)
        a_draw = instruments * 2.0 * largest / 3.0
        return cls(name_cap, gross_cap, min(1.0, turnover / a_draw), seed)

    def initial_state(self) -> None:
        """No memory."""
        return None

    def act(self, observation: Observation, state: None) -> tuple[Float, None]:
        """New exposures, float64 [N], or NaN (leave the positions alone)."""
        count = len(observation.symbols)
        draws = SeedTree(self.seed).child("baselines", "chance", observation.stamp).generator()
        if draws.random() >= self.chance:
            return np.full(count, np.nan), None
        largest = min(self.name_cap, self.gross_cap / count)
        return draws.uniform(-largest, largest, count), None


def baselines(bars_per_day: int, name_cap: float, gross_cap: float) -> list[Policy]:
    """The baselines for bars of which a trading day has `bars_per_day`, all but `Chance`.

    They look back 60 and 120 trading days, or as far as the feature catalogue goes.
    """
    window, lookback = (min(days * bars_per_day, LONGEST_BARS) for days in (60, 120))
    return [
        Cash(),
        BuyAndHold(name_cap, gross_cap),
        EqualWeight(name_cap, gross_cap),
        InverseVolatility(name_cap, gross_cap, window),
        Momentum(name_cap, gross_cap, window, lookback_bars=lookback),
        MinimumVariance(name_cap, gross_cap, window),
        RiskParity(name_cap, gross_cap, window),
    ]
