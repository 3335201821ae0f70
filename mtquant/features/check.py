# SPDX-License-Identifier: Apache-2.0
"""`check_feature`: what every feature has to hold before a policy may trust it.

    report = check_feature(feature, bars)
    report.passed, str(report)

The rules, tried on your bars and on changed ones:

* repeatable: the same bars give the same bytes, however often and whatever was computed between.
* causal: changed later bars change no earlier row.
* streamable: one bar at a time gives the same bytes as all at once, also when two streams take
  turns and when a stream goes on from its stored state.
* forgetful: what stood before a row does not matter once the feature has warmed up. A windowed
  feature gives the same bytes; a recursive one has a start that fades.
* finite: a value for every bar after the warm-up, on flat, jumping and volume-less bars too.
* scale-free, where it says so: prices times 1,024 give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import FeatureError
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, Float
from mtquant.features.catalog import CATALOG, FeatureSpec
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import USER_COLUMNS, UserFeature

Step = Callable[[int], float]

SCALE = 1_024.0  # a power of two only moves the exponent: scale-free has to mean the same bytes
# Prices and volume before a start are raised so much that a sum that let them in never forgets.
SHOCK = 1e6
# Warm-ups behind which a recursive feature must have lost even the shock: its weight is 1e-27.
FADED_WARMUPS = 3
# Of what is left then, in units of the root mean square of the values: rounding.
FADED = 1e-11
# At the end of one warm-up the start weighs 1e-9 in an average; a feature may be a small difference
# of averages of prices, such as an oscillator of 1e-4 of the price.
SETTLED = 1e-5


@dataclass(frozen=True)
class Finding:
    """A broken rule.

    Attributes:
        rule: ``"causal"``, ``"streamable"``, ...
        row: First row of `bars` that breaks it.
        expected: Value that the rule asks for; NaN where it only asks for some number.
        found: Value that was found.
        text: What was done.
    """

    rule: str
    row: int
    expected: float
    found: float
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: row {self.row} was {self.expected!r}, is {self.found!r}: {self.text}"


@dataclass(frozen=True)
class FeatureReport:
    """What `check_feature` found.

    Attributes:
        name: The feature.
        rules: The rules that were tried.
        findings: The broken ones, first row each.
    """

    name: str
    rules: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: {', '.join(self.rules)}"
        return "\n".join(f"{self.name}: not {finding}" for finding in self.findings)

    def raise_if_broken(self) -> None:
        """Raises:
        FeatureError: A rule is broken.
        """
        if self.findings:
            raise FeatureError(
                f"feature {self.name!r}",
                f"must be {', '.join(self.rules)}",
                str(self),
                "Mend it before a policy is trained on it: its backtest would not be true.",
            )


class _Subject:
    """A feature as the check sees it: all rows at once, or one after the other."""

    def __init__(self, feature: UserFeature | str) -> None:
        if isinstance(feature, str):
            self._pipeline = FeaturePipeline([feature])
            spec = self._pipeline.specs[0]
            if isinstance(spec, FeatureSpec) and CATALOG[spec.kind].needs:
                remedy = "The tests of the catalogue check it."
                raise FeatureError("feature", "must need nothing but bars", feature, remedy)
            self.recursive = isinstance(spec, FeatureSpec) and spec.state_size > 0
            self.scale_free, self.warmup_bars, self.name = True, spec.warmup_bars, feature
            # Built-in features come as float32.
            self.resolution = float(np.finfo(np.float32).eps)
        else:
            self.recursive, self.scale_free = feature.recursive, feature.scale_free
            self.warmup_bars, self.name, self.resolution = feature.warmup_bars, feature.name, 0.0
        self.feature = feature

    def batch(self, bars: Bars) -> Float:
        """Values of all rows, float64 [T]; NaN during warm-up."""
        if isinstance(self.feature, str):
            return self._pipeline.compute(bars)[:, 0].astype(np.float64)
        values = self.feature.of(bars.symbol).batch(_rows(bars))
        values[: self.warmup_bars] = np.nan
        return values

    def stream(self, bars: Bars, restart: int) -> Step:
        """A function of the row that takes it in; at `restart` it goes on from its stored state."""
        if isinstance(self.feature, str):
            return self._built_in_stream(bars, restart)
        return self._user_stream(self.feature.of(bars.symbol), bars, restart)

    def _built_in_stream(self, bars: Bars, restart: int) -> Step:
        stream = self._pipeline.stream()
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)

        def step(t: int) -> float:
            nonlocal stream
            if t == restart:
                stored, stream = stream.state(), self._pipeline.stream()
                stream.restore(stored)
            return float(stream.update(*(column[t].item() for column in columns))[0])

        return step

    def _user_stream(self, feature: UserFeature, bars: Bars, restart: int) -> Step:
        rows, state = _rows(bars), np.zeros(feature.state_size)

        def step(t: int) -> float:
            nonlocal state
            if t == restart:
                state = state.copy()
            first = t - feature.lookback_bars + 1
            value = feature.value(state, rows[:, first : t + 1]) if first >= 0 else np.nan
            return value if t >= self.warmup_bars else np.nan

        return step


def check_feature(feature: UserFeature | str, bars: Bars) -> FeatureReport:
    """Tries a feature on bars, and on changed ones.

    Args:
        feature: A user's feature, or the name of a built-in one that needs bars only.
        bars: Ordinary bars, for example an instrument's; a few hundred behind the warm-up are
            enough. Every row costs a recursive or windowed feature about a dozen evaluations.

    Returns:
        Which rules were tried and which are broken, with row and values.

    Raises:
        FeatureError: Too few bars, or the feature raised an error.
    """
    subject = _Subject(feature)
    faded = FADED_WARMUPS * subject.warmup_bars if subject.recursive else subject.warmup_bars
    needed = 2 * faded + 40
    if len(bars) < needed:
        raise FeatureError(
            f"feature {subject.name!r}",
            f"must be checked on at least {needed} bars",
            len(bars),
            "Use more bars, or parameters of a shorter memory.",
        )
    rules: dict[str, Callable[[_Subject, Bars, Float], Iterator[Finding]]] = {
        "repeatable": _repeatable,
        "causal": _causal,
        "streamable": _streamable,
        "forgetful": _forgetful,
        "finite": _finite,
    }
    if subject.scale_free:
        rules["scale-free"] = _scale_free
    try:
        values = subject.batch(bars)
        found = [next(rule(subject, bars, values), None) for rule in rules.values()]
    except FeatureError:
        raise
    except Exception as error:
        raise FeatureError(
            f"feature {subject.name!r}",
            "must give a number for every bar",
            f"{type(error).__name__}: {error}",
            "Mend the function.",
        ) from error
    return FeatureReport(subject.name, tuple(rules), tuple(one for one in found if one))


def _repeatable(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    subject.batch(_changed_from(bars, 0))
    yield from _first_difference(
        "repeatable", values, subject.batch(bars), "the same bars again, others in between"
    )


def _causal(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    """Cuts at several rows; what comes behind is replaced."""
    first = subject.warmup_bars
    for cut in np.linspace(first + 1, len(bars) - 1, 5).astype(int).tolist():
        found = subject.batch(_changed_from(bars, cut))
        text = f"bars from row {cut} on were changed"
        yield from _first_difference("causal", values[:cut], found[:cut], text)


def _streamable(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    """Two streams take turns, on these bars and on others; this one is stored and goes on."""
    restart = len(bars) // 2
    stream = subject.stream(bars, restart)
    other = subject.stream(_changed_from(bars, 0), -1)
    found = np.full(len(bars), np.nan)
    for t in range(len(bars)):
        found[t] = stream(t)
        other(t)
    text = f"one bar at a time, beside another stream, stored at row {restart}"
    yield from _first_difference("streamable", values, found, text)


def _forgetful(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    """Another past, wild or none, before a row; the same bars from there on."""
    faded = subject.warmup_bars * (FADED_WARMUPS if subject.recursive else 1)
    start = len(bars) - faded - 30
    size = float(np.sqrt(np.nanmean(values**2)))
    later = subject.batch(bars.rows(slice(start, None)))
    wild = subject.batch(_raised_until(bars, start))[start:]
    text = f"history began at row {start}"
    settled = slice(subject.warmup_bars, None)
    allowed = SETTLED * size if subject.recursive else 0.0
    for row in _beyond(values[start:][settled], later[settled], allowed):
        at = start + subject.warmup_bars + row
        yield Finding("forgetful", at, float(values[at]), float(later[at - start]), text)
    text = f"prices and volume before row {start} were {SHOCK:g} times as high"
    allowed = (FADED + subject.resolution) * size if subject.recursive else 0.0
    for row in _beyond(later[faded:], wild[faded:], allowed):
        at = faded + row
        yield Finding("forgetful", start + at, float(later[at]), float(wild[at]), text)


def _finite(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    for text, hard in _hard_bars(bars):
        found = values if hard is bars else subject.batch(hard)
        for row in np.flatnonzero(~np.isfinite(found[subject.warmup_bars :])).tolist():
            at = subject.warmup_bars + row
            yield Finding("finite", at, np.nan, float(found[at]), text)


def _scale_free(subject: _Subject, bars: Bars, values: Float) -> Iterator[Finding]:
    prices = {name: getattr(bars, name) * SCALE for name in PRICE_COLUMNS}
    text = f"prices were multiplied by {SCALE:g}"
    found = subject.batch(_replaced(bars, bars.volume, **prices))
    yield from _first_difference("scale-free", values, found, text)


def _first_difference(rule: str, expected: Float, found: Float, text: str) -> Iterator[Finding]:
    """The first row whose bytes differ; NaN equals NaN."""
    for row in _beyond(expected, found, 0.0):
        yield Finding(rule, row, float(expected[row]), float(found[row]), text)


def _beyond(expected: Float, found: Float, allowed: float) -> list[int]:
    """Rows that differ by more than allowed; a NaN differs from all but a NaN."""
    differ: NDArray[np.bool_] = ~(np.abs(expected - found) <= allowed)
    differ &= ~(np.isnan(expected) & np.isnan(found)) & (expected != found)
    return np.flatnonzero(differ).tolist()


def _rows(bars: Bars) -> Float:
    """Bars as a user's feature reads them, float64 [6, T]."""
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = np.empty((USER_COLUMNS, len(bars)))
    rows[:5], rows[5] = columns, bars.stamps // NANOSECONDS
    return rows


def _changed_from(bars: Bars, row: int) -> Bars:
    """The same bars up to a row, then ones that go another way: mirrored at the close before."""
    mirror = bars.close[max(row - 1, 0)] ** 2
    prices = {}
    for name, source in zip(PRICE_COLUMNS, ("open", "low", "high", "close"), strict=True):
        prices[name] = getattr(bars, name).copy()
        prices[name][row:] = mirror / getattr(bars, source)[row:] * 1.01
    volume = bars.volume.copy()
    volume[row:] = volume[row:][::-1] + 1.0
    return _replaced(bars, volume, **prices)


def _raised_until(bars: Bars, row: int) -> Bars:
    """The same bars from a row on; before it prices and volume are `SHOCK` times as high."""
    factor = np.where(np.arange(len(bars)) < row, SHOCK, 1.0)
    prices = {name: getattr(bars, name) * factor for name in PRICE_COLUMNS}
    return _replaced(bars, bars.volume * factor, **prices)


def _hard_bars(bars: Bars) -> Iterator[tuple[str, Bars]]:
    """Bars that pass `check_bars` and make formulas divide by zero."""
    yield "these bars", bars
    flat = np.full(len(bars), bars.close[0])
    still = {name: flat for name in PRICE_COLUMNS}
    yield "flat bars without volume", _replaced(bars, np.zeros(len(bars)), **still)
    jumps = flat * np.where(np.arange(len(bars)) % 7 < 3, 1e-6, 1e6)
    yield "bars that jump", _replaced(bars, bars.volume, **{name: jumps for name in PRICE_COLUMNS})
    ended = np.where(np.arange(len(bars)) < 10, bars.close, bars.close[10])
    yield "bars that stop moving", _replaced(bars, bars.volume, **{n: ended for n in PRICE_COLUMNS})


def _replaced(bars: Bars, volume: Float, **prices: Float) -> Bars:
    return Bars(
        symbol=bars.symbol,
        stamps=bars.stamps,
        volume=volume,
        quote=bars.quote,
        bar_seconds=bars.bar_seconds,
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        close=prices["close"],
    )
