# SPDX-License-Identifier: Apache-2.0
"""The feature catalogue: which features exist, how their names are read, how long they warm up.

A name is a kind, its parameters and, for kinds that compare, another instrument:
``<kind>_<p1>_<p2>:<PEER>``, for example ``rsi_14``, ``macd_12_26_9``, ``hour_sin``,
``beta_60:SPX500``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mtquant.core.errors import FeatureError
from mtquant.features import kernels
from mtquant.features.kind import Kind

# Part of every feature hash: raise it whenever a kind's values change.
CATALOG_VERSION = 2
# Bars in a window or span: far beyond use, and it keeps a mistyped name from asking for gigabytes.
LONGEST_BARS = 10_000

NAME_PATTERN = re.compile(r"(?P<kind>[^:]*?)(?P<numbers>(?:_\d+)*)(?P<peer>:[A-Z0-9._-]+)?")

FAMILY_OF: Mapping[str, int] = MappingProxyType(
    {name: family for family, module in enumerate(kernels.FAMILIES) for name in module.KINDS}
)
CATALOG: Mapping[str, Kind] = MappingProxyType(
    {name: kind for module in kernels.FAMILIES for name, kind in module.KINDS.items()}
)


@dataclass(frozen=True)
class FeatureSpec:
    """A feature, read from its name.

    Attributes:
        name: The name, for example ``"rsi_14"``.
        kind: Its kind in `CATALOG`.
        params: Its parameters in bars.
        peer: Symbol of the instrument it compares with, or None.
        warmup_bars: Rows of NaN before the first value.
        state_size: Numbers kept between two bars; 0 for windowed kinds.
        description: One line from the catalogue.
    """

    name: str
    kind: str
    params: tuple[int, ...]
    peer: str | None
    warmup_bars: int
    state_size: int
    description: str


def pattern(kind: str) -> str:
    """How names of a kind are written: ``"macd_<fast_bars>_<slow_bars>_<signal_bars>"``."""
    name = "_".join([kind, *(f"<{parameter}>" for parameter in CATALOG[kind].parameters)])
    return f"{name}:<PEER>" if CATALOG[kind].needs == "peer" else name


def default_name(kind: str, peer: str = "") -> str:
    """A kind with its usual parameters: ``"rsi_14"``; `peer` for kinds that compare."""
    name = "_".join([kind, *map(str, CATALOG[kind].default)])
    return f"{name}:{peer}" if CATALOG[kind].needs == "peer" else name


def parse_feature(name: str) -> FeatureSpec:
    """Reads a feature's name.

    Args:
        name: ``<kind>_<p1>_<p2>`` and, for kinds that compare, ``:<PEER>``; parameters in bars,
            without leading zeros.

    Returns:
        The feature with its warm-up and state size.

    Raises:
        FeatureError: The kind is unknown (the nearest one is named), a parameter is missing, too
            many or out of bounds, or a peer is missing or too many.
    """
    match = NAME_PATTERN.fullmatch(name)
    kind_name = match["kind"] if match else name
    numbers = match["numbers"].split("_")[1:] if match else []
    if kind_name not in CATALOG:
        raise _unknown(name, kind_name, numbers)
    kind = CATALOG[kind_name]
    peer = match["peer"][1:] if match and match["peer"] else None
    if (peer is not None) != (kind.needs == "peer"):
        rule = "must name another instrument" if peer is None else "must name no other instrument"
        raise FeatureError(f"feature {name!r}", rule, peer, f"Write {pattern(kind_name)!r}.")
    params = _checked_params(name, kind_name, numbers)
    return FeatureSpec(
        name,
        kind_name,
        params,
        peer,
        kind.warmup_bars(*params),
        kind.state_size,
        kind.description,
    )


def _unknown(name: str, kind_name: str, numbers: list[str]) -> FeatureError:
    """The error for a kind that is not there; it names the nearest."""
    remedy = f"Kinds are {', '.join(CATALOG)}."
    nearest = difflib.get_close_matches(kind_name, CATALOG, n=1, cutoff=0.0)[0]
    fits = len(numbers) == len(CATALOG[nearest].parameters) and CATALOG[nearest].needs != "peer"
    meant = "_".join([nearest, *numbers]) if fits else pattern(nearest)
    return FeatureError(
        f"feature {name!r}",
        "must name a kind of the catalogue",
        kind_name,
        f"Did you mean {meant!r}? {remedy}",
    )


def _checked_params(name: str, kind_name: str, numbers: list[str]) -> tuple[int, ...]:
    """Parameters of a name as integers, within their bounds."""
    kind = CATALOG[kind_name]
    field = f"feature {name!r}"
    remedy = f"Write {pattern(kind_name)!r}."
    if len(numbers) != len(kind.parameters):
        raise FeatureError(
            field, f"must have {len(kind.parameters)} parameters", len(numbers), remedy
        )
    for number, parameter, minimum in zip(numbers, kind.parameters, kind.minimum, strict=True):
        # A leading zero would give one feature two names, and one model two hashes.
        if number.startswith("0") or len(number) > 5 or not minimum <= int(number) <= LONGEST_BARS:
            rule = f"must have {parameter} from {minimum} to {LONGEST_BARS}"
            raise FeatureError(field, rule, number, remedy)
    params = tuple(int(number) for number in numbers)
    if kind.rule is not None and not kind.rule[1](*params):
        raise FeatureError(field, f"must have {kind.rule[0]}", params, remedy)
    return params
