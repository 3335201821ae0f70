# SPDX-License-Identifier: Apache-2.0
"""Features of your own, beside those of the catalogue.

    def spread(window: BarWindow) -> float:
        return float((window.high - window.low).mean() / window.close[-1])

    own = LookbackFeature(name="spread_10", compute=spread, lookback_bars=10)
    FeaturePipeline(["rsi_14", "spread_10"], registry=FeatureRegistry([own]))

A feature is one of two things. A `LookbackFeature` is a function of the newest so many bars: it is
handed a copy of exactly those rows, in training, backtest and paper alike, so it cannot look ahead
and cannot depend on when history began. An `UpdateFeature` is `update(state, bar) -> value`, as the
built-in kinds are. `mtquant.features.check.check_feature` proves either.

A user's feature is untrusted input: it is Python code that runs with your rights, and naming a
registry in a configuration imports its module. Read what you did not write.
"""

from __future__ import annotations

import importlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from mtquant.core.errors import FeatureError
from mtquant.data.bars import Float
from mtquant.features.catalog import CATALOG, LONGEST_BARS, NAME_PATTERN

USER_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What a user's feature is handed of a bar: open, high, low, close, volume, close stamp.
USER_COLUMNS = 6


class Bar(NamedTuple):
    """One closed bar; `seconds` is its close stamp in whole seconds since 1970 UTC."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    seconds: float


class BarWindow(NamedTuple):
    """The newest bars, oldest first; float64 [lookback_bars] each, copies that belong to nobody."""

    open: Float
    high: Float
    low: Float
    close: Float
    volume: Float
    seconds: Float


class UserFeature(Protocol):
    """What the pipeline asks of a user's feature; `UpdateFeature` and `LookbackFeature` give it.

    A class of your own may override `batch` with something faster. `check_feature` then proves that
    it gives the same bytes and does not look ahead.

    Attributes:
        name: How `features.catalog` names it: small letters, digits and underscores.
        version: Raise it whenever the values change; models trained on another one are refused.
        warmup_bars: Rows without a value.
        lookback_bars: Newest rows that `value` is handed.
        state_size: Numbers kept between two bars.
        recursive: Whether the state remembers all of history, with fading weight.
        scale_free: Whether prices times a constant give the same values.
    """

    name: str
    version: int
    warmup_bars: int
    lookback_bars: int
    state_size: int
    recursive: bool
    scale_free: bool

    def of(self, symbol: str) -> UserFeature:
        """The feature of one instrument: itself, unless it differs from one to the next."""
        return self

    @abstractmethod
    def value(self, state: Float, rows: Float) -> float:
        """Value at the newest of the rows, float64 [6, lookback_bars]; may change `state`."""

    def batch(self, rows: Float) -> Float:
        """Values of all rows of a history, float64 [6, T] -> [T]; NaN during warm-up."""
        values = np.full(rows.shape[1], np.nan)
        state = np.zeros(self.state_size)
        # What keeps a state has to see every bar; what looks back cannot before it has enough.
        for t in range(self.lookback_bars - 1, rows.shape[1]):
            value = self.value(state, rows[:, t - self.lookback_bars + 1 : t + 1])
            if t >= self.warmup_bars:
                values[t] = value
        return values


@dataclass(frozen=True, kw_only=True)
class UpdateFeature(UserFeature):
    """A feature that takes one bar at a time into its state.

    Attributes:
        name, version, recursive, scale_free, warmup_bars, state_size: See `UserFeature`.
        update: ``update(state, bar) -> value``; state float64 [state_size], zero before the first
            bar, changed in place; nothing may be remembered elsewhere.
    """

    name: str
    update: Callable[[Float, Bar], float]
    warmup_bars: int
    state_size: int
    recursive: bool = False
    scale_free: bool = True
    version: int = 1
    lookback_bars: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_count(self.name, "warmup_bars", self.warmup_bars, 0)
        _check_count(self.name, "state_size", self.state_size, 0)

    def value(self, state: Float, rows: Float) -> float:
        return float(self.update(state, Bar(*rows[:, -1].tolist())))


@dataclass(frozen=True, kw_only=True)
class LookbackFeature(UserFeature):
    """A feature that is a function of the newest bars.

    Attributes:
        name, version, scale_free, lookback_bars: See `UserFeature`.
        compute: ``compute(window) -> value`` of the newest bar.
    """

    name: str
    compute: Callable[[BarWindow], float]
    lookback_bars: int
    scale_free: bool = True
    version: int = 1
    warmup_bars: int = field(init=False)
    state_size: int = field(default=0, init=False)
    recursive: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_count(self.name, "lookback_bars", self.lookback_bars, 1)
        object.__setattr__(self, "warmup_bars", self.lookback_bars - 1)

    def value(self, state: Float, rows: Float) -> float:
        return float(self.compute(BarWindow(*rows.copy())))


class FeatureRegistry:
    """The features of one user; hand it to `FeaturePipeline` or name it in `features.user`.

    Args:
        features: What to register.

    Raises:
        FeatureError: A name is taken, by the catalogue or by another.
    """

    def __init__(self, features: Iterable[UserFeature] = ()) -> None:
        self._features: dict[str, UserFeature] = {}
        for feature in features:
            self.register(feature)

    def register(self, feature: UserFeature) -> None:
        """Adds a feature.

        Raises:
            FeatureError: Its name is taken, by the catalogue or by another.
        """
        match = NAME_PATTERN.fullmatch(feature.name)
        if feature.name in self._features or (match and match["kind"] in CATALOG):
            remedy = "Choose another name."
            raise FeatureError("feature", "must have a name of its own", feature.name, remedy)
        self._features[feature.name] = feature

    def get(self, name: str) -> UserFeature | None:
        return self._features.get(name)

    def __iter__(self) -> Iterator[UserFeature]:
        return iter(self._features.values())


def load_registry(reference: str) -> FeatureRegistry:
    """The registry that ``"package.module:object"`` names. Importing the module runs its code.

    Raises:
        FeatureError: There is no such module or object, or it is no registry.
    """
    module_name, _, name = reference.partition(":")
    remedy = 'Write "package.module:object"; the module has to be importable from where you run.'
    try:
        registry = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise FeatureError("features.user", "must be importable", reference, remedy) from error
    if not isinstance(registry, FeatureRegistry):
        found = type(registry).__name__
        raise FeatureError(
            "features.user", "must name a FeatureRegistry", f"{reference}: {found}", remedy
        )
    return registry


def user_values(feature: UserFeature, rows: Float) -> Float:
    """A user's feature for all rows of a history, checked.

    Args:
        feature: The feature.
        rows: float64 [6, T]: open, high, low, close, volume, close stamp in seconds.

    Returns:
        float64 [T], NaN during warm-up.

    Raises:
        FeatureError: It raised an error, or a value after its warm-up is not finite.
    """
    rows = rows[:USER_COLUMNS]
    try:
        values = feature.batch(rows)
    except Exception as error:
        raise _failed(feature, error) from error
    if values.shape != (rows.shape[1],):
        rule = f"must give {rows.shape[1]} values"
        raise FeatureError(f"feature {feature.name!r}", rule, values.shape, "Give one per bar.")
    wrong = np.flatnonzero(~np.isfinite(values[feature.warmup_bars :]))
    if len(wrong):
        row = int(wrong[0]) + feature.warmup_bars
        raise _not_finite(feature, f"row {row}: {values[row]}")
    values[: feature.warmup_bars] = np.nan
    return values


def user_value(feature: UserFeature, state: Float, rows: Float, known: bool) -> float:
    """A user's feature at its newest row, checked; NaN during warm-up (`known` False).

    Raises:
        FeatureError: As `user_values`.
    """
    if not known and feature.state_size == 0:
        return np.nan
    try:
        value = feature.value(state, rows[:USER_COLUMNS])
    except Exception as error:
        raise _failed(feature, error) from error
    if known and not np.isfinite(value):
        raise _not_finite(feature, value)
    return value if known else np.nan


def _failed(feature: UserFeature, error: Exception) -> FeatureError:
    return FeatureError(
        f"feature {feature.name!r}",
        "must give a number for every bar",
        f"{type(error).__name__}: {error}",
        "Mend the function; `check_feature` tries it on bars that are hard.",
    )


def _not_finite(feature: UserFeature, found: object) -> FeatureError:
    return FeatureError(
        f"feature {feature.name!r}",
        f"must be finite after its {feature.warmup_bars} bars of warm-up",
        found,
        "Say what the value is where the formula would divide by zero.",
    )


def _check_name(name: str) -> None:
    if not USER_NAME.fullmatch(name):
        raise FeatureError(
            "feature",
            "must have a name of small letters, digits and underscores",
            name,
            "For example 'spread_10'.",
        )


def _check_count(name: str, field: str, count: int, least: int) -> None:
    if not least <= count <= LONGEST_BARS:
        rule = f"must have {field} from {least} to {LONGEST_BARS}"
        raise FeatureError(f"feature {name!r}", rule, count, "Choose a number in between.")
