# SPDX-License-Identifier: Apache-2.0
"""What a search varies: config keys, and the values that each may take.

    training.gamma=[0.9, 0.95, 0.99]             these values (a value may be a list itself)
    training.learning_rate=log:1e-4:1e-2         any number between, uniform in its logarithm
    training.ent_coef=linear:0:0.02              any number between
    training.n_epochs=int:2:10                   any whole number between, both ends included
    training.hidden_units=[[32, 32], [64, 64]]   two candidates, each a list

A grid needs to know how many numbers of a range it shall try: ``log:1e-4:1e-2:5``.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import yaml

from mtquant.core.checked import read_value
from mtquant.core.config import Config, derived_config
from mtquant.core.errors import ConfigError

Values = Mapping[str, Any]
"""Config key -> value, of one candidate."""
Scale = Literal["log", "linear", "int"]
SCALES: tuple[Scale, ...] = ("log", "linear", "int")
EXAMPLE = "Examples: training.gamma=[0.9, 0.99], training.learning_rate=log:1e-4:1e-2."
# What would make candidates incomparable, and what to do instead.
NOT_COMPARABLE = {
    "data.": "Other bars are another contest: search once for each.",
    "training.seed": "Use --seeds: every candidate runs from the same seeds.",
}


@dataclass(frozen=True)
class Choices:
    """One of several values.

    Attributes:
        key: The config key.
        values: The values, in JSON's types.
    """

    key: str
    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(random.integers(len(self.values)))]

    def grid(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def ends(self) -> tuple[Any, ...]:
        """All of them: each may break a rule of its own."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers between two ends.

    Attributes:
        key: The config key.
        scale: ``"log"``, ``"linear"`` or ``"int"``.
        low, high: The ends.
        points: How many a grid tries, None if nobody said.
    """

    key: str
    scale: Scale
    low: float
    high: float
    points: int | None = None

    def draw(self, random: np.random.Generator) -> float | int:
        """A number between, uniform on the scale."""
        if self.scale == "int":
            return int(random.integers(int(self.low), int(self.high), endpoint=True))
        return self._at(float(random.random()))

    def grid(self) -> tuple[float | int, ...]:
        """`points` numbers at equal distances on the scale.

        Raises:
            ConfigError: Nobody said how many.
        """
        if self.scale == "int" and self.points is None:
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.points is None:
            text = f"{self.scale}:{self.low:g}:{self.high:g}"
            remedy = f"Write {text}:5 for five, or list the values: [...]."
            raise ConfigError(self.key, "must say how many numbers a grid tries", text, remedy)
        found = [self._at(share) for share in np.linspace(0.0, 1.0, self.points).tolist()]
        if self.scale == "int":
            return tuple(sorted({round(number) for number in found}))
        return tuple(found)

    def ends(self) -> tuple[float | int, ...]:
        """The lowest and the highest."""
        return tuple(int(end) if self.scale == "int" else end for end in (self.low, self.high))

    def _at(self, share: float) -> float:
        if share in (0.0, 1.0):  # exactly, without a rounding of exp and log
            return self.high if share else self.low
        if self.scale == "log":
            return math.exp(math.log(self.low) * (1.0 - share) + math.log(self.high) * share)
        return self.low + share * (self.high - self.low)


Dimension = Choices | Range


def parse_dimension(text: str) -> Dimension:
    """A dimension from ``key=values`` (see the module).

    Raises:
        ConfigError: It cannot be read, or the key is one that no search may vary.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or "." not in key:
        raise ConfigError("--param", "must read section.key=values", text, EXAMPLE)
    for start, remedy in NOT_COMPARABLE.items():
        if key.startswith(start):
            raise ConfigError(f"--param {key}", "must leave candidates comparable", values, remedy)
    if values.split(":")[0] in SCALES:
        return _range(key, values)
    try:
        found = read_value(values)
    except yaml.YAMLError as error:
        raise ConfigError(f"--param {key}", "must be a YAML list", values, EXAMPLE) from error
    if not isinstance(found, list) or not found:
        raise ConfigError(f"--param {key}", "must list values or name a range", values, EXAMPLE)
    return Choices(key, tuple(found))


def check_space(config: Config, dimensions: Sequence[Dimension], grid: bool) -> None:
    """Tries every value that is listed, and the ends of every range, one key at a time.

    Raises:
        ConfigError: No key is varied, or one twice; a value breaks a rule of the config; or a grid
            was not told how many numbers of a range to try.
    """
    if not dimensions:
        raise ConfigError("--param", "must name a config key to vary", [], EXAMPLE)
    keys = [each.key for each in dimensions]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise ConfigError("--param", "must name a key once", repeated, "Merge their values.")
    for each in dimensions:
        for value in each.grid() if grid else each.ends():
            candidate_config(config, {each.key: value})


def candidate_config(config: Config, values: Values) -> Config:
    """The configuration of a candidate.

    Raises:
        ConfigError: The values break a rule, alone or together.
    """
    return derived_config(config, [f"{key}={json.dumps(own)}" for key, own in values.items()])


def grid_points(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Every combination, the last key changing fastest."""
    keys = [each.key for each in dimensions]
    for values in itertools.product(*(each.grid() for each in dimensions)):
        yield dict(zip(keys, values, strict=True))


def grid_size(dimensions: Sequence[Dimension]) -> int:
    """How many combinations there are."""
    return math.prod(len(each.grid()) for each in dimensions)


def random_point(dimensions: Sequence[Dimension], random: np.random.Generator) -> dict[str, Any]:
    """One combination, drawn."""
    return {each.key: each.draw(random) for each in dimensions}


def _range(key: str, text: str) -> Range:
    """A range from ``scale:low:high`` or ``scale:low:high:points``."""
    scale, *parts = text.split(":")
    try:
        low, high = float(parts[0]), float(parts[1])
        points = int(parts[2]) if len(parts) > 2 else None
    except (ValueError, IndexError) as error:
        remedy = "Example: training.learning_rate=log:1e-4:1e-2."
        rule = "must read scale:low:high or scale:low:high:points"
        raise ConfigError(f"--param {key}", rule, text, remedy) from error
    whole = scale != "int" or (low.is_integer() and high.is_integer())
    rules = (
        (len(parts) <= 3, "must have three or four parts"),
        (math.isfinite(low) and math.isfinite(high) and low < high, "must run from low to high"),
        (whole, "must have whole ends"),
        (scale != "log" or low > 0.0, "must begin above 0, since it has a logarithm"),
        (points is None or points > 1, "must have two points or more"),
    )
    for holds, rule in rules:
        if not holds:
            raise ConfigError(f"--param {key}", rule, text, EXAMPLE)
    return Range(key, next(own for own in SCALES if own == scale), low, high, points)
