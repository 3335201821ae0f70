# SPDX-License-Identifier: Apache-2.0
"""The feature catalogue: which features exist, how their names are read, how long they warm up.

A name is a kind and its parameters, ``<kind>_<p1>_<p2>``: ``rsi_14``, ``macd_12_26_9``,
``hour_sin``.

Warm-up counts the bars without a value. A windowed kind needs its window and nothing else. A
recursive kind remembers all of history with weights (1 - alpha)^age, so it waits until what came
before weighs less than 1e-9 (`kinds.START_WEIGHT`): ceil(log(1e-9) / log(1 - alpha)) bars.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mtquant.core.errors import FeatureError
from mtquant.features import kernels, kinds

# Part of every feature hash: raise it whenever a kind's values change.
CATALOG_VERSION = 1
# Bars in a window or span: far beyond use, and it keeps a mistyped name from asking for gigabytes.
LONGEST_BARS = 10_000
MOST_PARAMETERS = 3

NAME_PATTERN = re.compile(r"(?P<kind>.*?)(?P<numbers>(?:_\d+)*)")


@dataclass(frozen=True)
class Kind:
    """One row of the catalogue.

    Attributes:
        code: Integer of the kind in `kernels`.
        parameters: Names of the numbers in the feature's name, all counted in bars.
        minimum: Smallest legal value of each.
        warmup_bars: From the parameters to the number of bars before the first value.
        state_size: From the parameters to the length of the kind's own state.
        description: One line: what it is, its range, its source.
    """

    code: int
    parameters: tuple[str, ...]
    minimum: tuple[int, ...]
    warmup_bars: Callable[..., int]
    state_size: Callable[..., int]
    description: str


@dataclass(frozen=True)
class FeatureSpec:
    """A feature, read from its name.

    Attributes:
        name: The name, for example ``"rsi_14"``.
        kind: Its kind in `CATALOG`.
        params: Its parameters in bars.
        warmup_bars: Rows of NaN before the first value.
        state_size: Numbers kept between two bars: the count-down of the warm-up and the kind's own.
        description: One line from the catalogue.
    """

    name: str
    kind: str
    params: tuple[int, ...]
    warmup_bars: int
    state_size: int
    description: str


def settling_bars(alpha: float) -> int:
    """Bars until the start of history weighs less than `kinds.START_WEIGHT` in an average."""
    return math.ceil(math.log(kinds.START_WEIGHT) / math.log1p(-alpha))


def settling_of_span(span_bars: int) -> int:
    """`settling_bars` of an exponential average given by its span, alpha = 2 / (span + 1)."""
    return settling_bars(2.0 / (span_bars + 1.0))


def windowed(
    code: int,
    description: str,
    minimum: int = 2,
    warmup_bars: Callable[[int], int] = lambda window: window - 1,
    state_size: Callable[[int], int] = lambda window: window,
) -> Kind:
    """A kind of one window whose state is that window, unless told otherwise."""
    return Kind(code, ("window_bars",), (minimum,), warmup_bars, state_size, description)


def calendar(code: int, description: str) -> Kind:
    """A kind that needs the stamp only."""
    return Kind(code, (), (), lambda: 0, lambda: 0, description)


CATALOG: Mapping[str, Kind] = MappingProxyType(
    {
        "log_return": windowed(
            kernels.LOG_RETURN,
            "log(close / close w bars ago)",
            minimum=1,
            warmup_bars=lambda window: window,
            state_size=lambda window: window + 1,
        ),
        "volatility": windowed(
            kernels.VOLATILITY,
            "standard deviation (ddof 1) of w log returns, per bar; >= 0",
            warmup_bars=lambda window: window,
            state_size=lambda window: window + 1,
        ),
        "ewma_volatility": Kind(
            kernels.EWMA_VOLATILITY,
            ("halflife_bars",),
            (1,),
            lambda halflife: settling_bars(1.0 - 0.5 ** (1.0 / halflife)),
            lambda halflife: 2,
            "root of the EWMA of squared log returns, per bar; >= 0 (RiskMetrics 1996)",
        ),
        "rsi": windowed(
            kernels.RSI,
            "relative strength index as a fraction; 0..1 (Wilder 1978)",
            warmup_bars=lambda window: settling_bars(1.0 / window),
            state_size=lambda window: 3,
        ),
        "macd": Kind(
            kernels.MACD,
            ("fast_bars", "slow_bars", "signal_bars"),
            (2, 3, 2),
            # The signal line starts to settle once the slow average has.
            lambda fast, slow, signal: settling_of_span(slow) + settling_of_span(signal),
            lambda fast, slow, signal: 3,
            "MACD histogram / close (Appel 2005)",
        ),
        "bollinger": windowed(
            kernels.BOLLINGER,
            "place in the Bollinger bands; -1 is the lower, 1 the upper (Bollinger 2001)",
        ),
        "atr": windowed(
            kernels.ATR,
            "average true range / close; >= 0 (Wilder 1978)",
            warmup_bars=lambda window: settling_bars(1.0 / window),
            state_size=lambda window: 2,
        ),
        "stochastic": windowed(
            kernels.STOCHASTIC,
            "%K: place of the close between lowest low and highest high; 0..1 (Lane 1984)",
            minimum=1,
            state_size=lambda window: 2 * window,
        ),
        "zscore": windowed(kernels.ZSCORE, "(close - mean) / standard deviation (ddof 1)"),
        "drawdown": windowed(kernels.DRAWDOWN, "close / highest close - 1; -1..0"),
        "range_position": windowed(
            kernels.RANGE_POSITION,
            "place of the close in a Donchian channel of closes; 0..1 (after Donchian 1960)",
        ),
        "momentum": windowed(
            kernels.MOMENTUM,
            "log return over w bars / its volatility (after Moskowitz, Ooi, Pedersen 2012)",
            warmup_bars=lambda window: window,
            state_size=lambda window: window + 1,
        ),
        "williams": windowed(
            kernels.WILLIAMS,
            "%R as a fraction, %K - 1; -1..0 (Williams 1979)",
            minimum=1,
            state_size=lambda window: 2 * window,
        ),
        "cci": windowed(kernels.CCI, "commodity channel index (Lambert 1980)"),
        "volume_zscore": windowed(
            kernels.VOLUME_ZSCORE, "(volume - mean) / standard deviation (ddof 1)"
        ),
        "hour_sin": calendar(kernels.HOUR_SIN, "sine of the time of day of the close, UTC; -1..1"),
        "hour_cos": calendar(kernels.HOUR_COS, "cosine of the same"),
        "weekday_sin": calendar(
            kernels.WEEKDAY_SIN, "sine of the weekday of the close, UTC, Monday 0; -1..1"
        ),
        "weekday_cos": calendar(kernels.WEEKDAY_COS, "cosine of the same"),
    }
)


def pattern(kind: str) -> str:
    """How names of a kind are written: ``"macd_<fast_bars>_<slow_bars>_<signal_bars>"``."""
    return "_".join([kind, *(f"<{parameter}>" for parameter in CATALOG[kind].parameters)])


def parse_feature(name: str) -> FeatureSpec:
    """Reads a feature's name.

    Args:
        name: ``<kind>_<p1>_<p2>``, parameters in bars, without leading zeros.

    Returns:
        The feature with its warm-up and state size.

    Raises:
        FeatureError: The kind is unknown (the nearest one is named), or a parameter is missing, too
            many or out of bounds.
    """
    match = NAME_PATTERN.fullmatch(name)
    kind_name = match["kind"] if match else name
    numbers = match["numbers"].split("_")[1:] if match else []
    if kind_name not in CATALOG:
        remedy = f"Kinds are {', '.join(CATALOG)}."
        nearest = difflib.get_close_matches(kind_name, CATALOG, n=1, cutoff=0.0)[0]
        if len(numbers) == len(CATALOG[nearest].parameters):
            remedy = f"Did you mean {'_'.join([nearest, *numbers])!r}? {remedy}"
        else:
            remedy = f"Did you mean {pattern(nearest)!r}? {remedy}"
        raise FeatureError(
            f"feature {name!r}", "must name a kind of the catalogue", kind_name, remedy
        )
    kind = CATALOG[kind_name]
    params = _checked_params(name, kind_name, numbers)
    return FeatureSpec(
        name,
        kind_name,
        params,
        kind.warmup_bars(*params),
        1 + kind.state_size(*params),
        kind.description,
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
    if kind_name == "macd" and params[0] >= params[1]:
        raise FeatureError(field, "must have fast_bars below slow_bars", params[:2], remedy)
    return params
