# SPDX-License-Identifier: Apache-2.0
"""Features of longer bars beside those of the bars themselves: ``rsi_14@1d`` on hourly bars.

    pipeline = TimeframePipeline(["log_return_1", "rsi_14@4h", "rsi_14@1d"], {"EURUSD": session})
    pipeline.on_panel(panel, bars)             # float32 [T, N, 3 + ages]
    stream = pipeline.stream("EURUSD", 3600)   # the same bytes, one bar at a time

The longer bars are made of the instrument's own shorter ones (`mtquant.data.resample`). Their
features appear at the first stamp at or after the longer bar's close, stay until the next one, and
come with an age. A list without ``@`` is a `FeaturePipeline`, to the byte and in its hash.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.core.config import Config
from mtquant.core.errors import DataError, FeatureError
from mtquant.data.bars import NANOSECONDS, Bars, Float, Stamps
from mtquant.data.instruments import Instrument, Session
from mtquant.data.panel import Panel
from mtquant.data.resample import DAY, BarRow, Resampler, Timeframe, resample
from mtquant.data.sources import session_of
from mtquant.features.pipeline import AGE_NAME, FeaturePipeline, FeatureStream, Rows
from mtquant.features.registry import FeatureRegistry
from mtquant.features.signals import configured_registry

MARK = "@"
# A stored stream: sha256 of its pipeline, the time it has come to, the stamp of its last bar.
HEADER = struct.Struct("<32sqq")
SIZE = struct.Struct("<q")  # in front of every part of a stored stream
NEVER = np.iinfo(np.int64).min


def without_ages(panel_names: Iterable[str]) -> list[str]:
    """Names of the features among the columns of `on_panel`: all but the ages."""
    return [name for name in panel_names if name.partition(MARK)[0] != AGE_NAME]


def warmup_rows(features: Rows) -> int:
    """Rows of a panel's features [T, N, F] before every feature has a value; T if that never is."""
    known = np.flatnonzero(np.isfinite(features).all(axis=(1, 2)))
    return int(known[0]) if len(known) else len(features)


@dataclass(frozen=True)
class _Part:
    """The features of one timeframe.

    Attributes:
        pipeline: Them, by their names without the mark.
        places: Their columns among all.
        timeframe: Their length as text; empty for the bars themselves.
    """

    pipeline: FeaturePipeline
    places: tuple[int, ...]
    timeframe: str


class TimeframePipeline:
    """A list of features of several timeframes.

    Args:
        names: Features of the catalogue, each alone or with ``@`` and a timeframe, such as ``@4h``,
            ``@1d`` or ``@1w`` (see `Timeframe`), in the order of the columns.
        sessions: Symbol -> when its days end, for timeframes of a day and a week; None or left out
            for midnight UTC.
        registry: The user's own features.
        hours: Symbol -> its session, for the features that ask for it.

    Attributes:
        names: The same, as a tuple.
        timeframes: The longer timeframes, in the order in which `names` first has them.
        panel_names: `names`, ``"age_bars"`` and ``"age_bars@<timeframe>"`` for each.

    Raises:
        FeatureError: No name, a name twice, an unknown feature or timeframe.
    """

    def __init__(
        self,
        names: Sequence[str],
        sessions: Mapping[str, Session | None] | None = None,
        registry: FeatureRegistry | None = None,
        hours: Mapping[str, Session] | None = None,
    ) -> None:
        if isinstance(names, str) or not names:
            FeaturePipeline(names)  # refuses it
        self._registry, self._hours = registry, hours
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise FeatureError("features", "must name each feature once", twice, "Drop one.")
        self.names = tuple(names)
        self._sessions = dict(sessions or {})
        places: dict[str, list[int]] = {"": []}
        for place, name in enumerate(names):
            places.setdefault(_timeframe_of(name), []).append(place)
        self.timeframes = tuple(timeframe for timeframe in places if timeframe)
        self.panel_names = (
            *self.names,
            AGE_NAME,
            *(f"{AGE_NAME}{MARK}{timeframe}" for timeframe in self.timeframes),
        )
        self._longer = [self._part(places[text], text) for text in self.timeframes]
        # A list of longer features only still needs the checks that the bars' own pipeline makes,
        # so that one computes features which nobody reads.
        own = places[""] or list(self._longer[0].places)
        self._own = _Part(self._part(own, "").pipeline, tuple(places[""]), "")

    @classmethod
    def from_config(
        cls,
        config: Config,
        instruments: Mapping[str, Instrument],
        symbols: Iterable[str],
        names: Sequence[str] | None = None,
    ) -> TimeframePipeline:
        """The configured features for some instruments, or others by name, with what
        `configured_registry` adds and all sessions.

        Raises:
            FeatureError: A name or the registry cannot be used.
        """
        return cls(
            config.features.catalog if names is None else names,
            {symbol: session_of(symbol, config.data, instruments) for symbol in symbols},
            configured_registry(config.features),
            {symbol: instrument.session for symbol, instrument in instruments.items()},
        )

    def hash(self) -> str:
        """sha256 of the names, the catalogue's version and the sessions that matter."""
        if not self._longer:
            return self._own.pipeline.hash()
        parts = [part.pipeline.hash() for part in (self._own, *self._longer)]
        days = any(Timeframe(text).seconds >= DAY for text in self.timeframes)
        sessions = {
            symbol: [session.timezone, session.close] if session else None
            for symbol, session in sorted(self._sessions.items())
            if days
        }
        text = json.dumps([parts, self.names, sessions])
        return hashlib.sha256(text.encode()).hexdigest()

    def on_panel(self, panel: Panel, bars: Sequence[Bars]) -> Rows:
        """Features of each instrument's own bars and of the longer ones, as known at each stamp.

        Args:
            panel: T stamps by N instruments.
            bars: The bars it was made from, in its order.

        Returns:
            float32 [T, N, F + 1 + longer timeframes], columns `panel_names`. An age counts bars of
            its timeframe and is 0 before the first; features are NaN until they have warmed up.

        Raises:
            FeatureError: The bars are not those of the panel, a timeframe does not suit their
                length, or an instrument has fewer than two bars of it.
        """
        shape = (len(panel), len(panel.symbols), len(self.panel_names))
        out: Rows = np.empty(shape, dtype=np.float32)
        rows = self._own.pipeline.on_panel(panel, bars)
        out[:, :, list(self._own.places)] = rows[:, :, : len(self._own.places)]
        out[:, :, len(self.names)] = panel.age_bars
        for place, part in enumerate(self._longer, start=len(self.names) + 1):
            longer = self._longer_bars(part.timeframe, panel, bars)
            above = Panel.from_bars(longer)
            last = np.searchsorted(above.stamps, panel.stamps, side="right") - 1
            rows = part.pipeline.on_panel(above, longer)[:, :, : len(part.places)]
            # Before the first of them row -1 is taken, and overwritten.
            carried = rows[last]
            carried[last < 0] = np.nan
            out[:, :, list(part.places)] = carried
            out[:, :, place] = np.stack([_age_bars(panel.stamps, own) for own in longer], axis=1)
        return out

    @property
    def peers(self) -> tuple[str, ...]:
        """Instruments that features of the bars themselves compare with."""
        return tuple(self._own.pipeline.peers)

    def stream(self, symbol: str, bar_seconds: int) -> TimeframeStream:
        """The same features one bar at a time, before the first bar.

        Args:
            symbol: Whose bars, for its session.
            bar_seconds: Their length.

        Raises:
            FeatureError: A timeframe does not suit the length.
        """
        return TimeframeStream(self, symbol, bar_seconds)

    def _part(self, places: Sequence[int], timeframe: str) -> _Part:
        plain = [self.names[place].partition(MARK)[0] for place in places]
        if timeframe:
            try:
                Timeframe(timeframe)
            except DataError as error:
                raise _as_feature_error(error, self.names[places[0]]) from error
        pipeline = FeaturePipeline(plain, self._registry, self._hours)
        return _Part(pipeline, tuple(places), timeframe)

    def _longer_bars(self, timeframe: str, panel: Panel, bars: Sequence[Bars]) -> list[Bars]:
        """Each instrument's longer bars that closed by the end of the panel."""
        until_ns = int(panel.stamps[-1])
        try:
            longer = [
                resample(own, timeframe, self._sessions.get(own.symbol), until_ns) for own in bars
            ]
        except DataError as error:
            raise _as_feature_error(error, f"{MARK}{timeframe}") from error
        for own in longer:
            if len(own) < 2:
                raise FeatureError(
                    f"features {MARK}{timeframe} of {own.symbol}",
                    f"must have at least 2 complete bars of {timeframe}",
                    len(own),
                    "Use a longer history, or a shorter timeframe.",
                )
        return longer


class TimeframeStream:
    """Features of one instrument as its bars close, those of longer bars among them.

    Args:
        pipeline: Which features.
        symbol: Whose bars.
        bar_seconds: Their length.

    Raises:
        FeatureError: A timeframe does not suit the length.
    """

    def __init__(self, pipeline: TimeframePipeline, symbol: str, bar_seconds: int) -> None:
        self._digest = bytes.fromhex(pipeline.hash())
        self._width = len(pipeline.names)
        self._bar_ns = bar_seconds * NANOSECONDS
        self._own_places = list(pipeline._own.places)
        self._own = pipeline._own.pipeline.stream(symbol)
        session = pipeline._sessions.get(symbol)
        self._longer = [
            _LongerStream(part, symbol, session, bar_seconds) for part in pipeline._longer
        ]
        self._row: Rows = np.full(len(pipeline.panel_names), np.nan, dtype=np.float32)
        self._row[self._width :] = 0.0
        self._clock_ns = self._last_ns = NEVER

    def update(
        self,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        stamp_ns: int,
        peers: Mapping[str, float] | None = None,
    ) -> Rows:
        """Takes in the bar that just closed; prices and volume as in `Bars`.

        Args:
            peers: As in `FeatureStream.update`, for features of the bars themselves; those of
                longer bars cannot compare with others here.

        Returns:
            float32 [len(panel_names)], byte for byte the row that `on_panel` gives at its stamp.

        Raises:
            FeatureError: The bar breaks a rule of `check_bars`, or came after `at` was asked for
                its stamp or a later one. It is not taken in.
        """
        if stamp_ns <= self._clock_ns:
            rule = f"must close after the last moment that was asked for ({self._clock_ns} ns)"
            raise FeatureError("bar", rule, stamp_ns, "Feed bars before asking for their stamps.")
        own = self._own.update(open, high, low, close, volume, stamp_ns, peers)
        self._row[self._own_places] = own[: len(self._own_places)]
        prices = (float(open), float(high), float(low), float(close))
        bar = BarRow(*prices, float(volume), int(stamp_ns))
        for longer in self._longer:
            longer.take(longer.resampler.update(bar), self._row)
        self._last_ns = bar.stamp_ns
        return self.at(bar.stamp_ns)

    def at(self, stamp_ns: int) -> Rows:
        """What is known at a stamp at which this instrument has no bar of its own.

        Args:
            stamp_ns: UTC nanoseconds, not before the last bar or the last such question.

        Returns:
            float32 [len(panel_names)]: longer bars that end by then are complete.

        Raises:
            FeatureError: Time went backwards.
        """
        if stamp_ns < self._clock_ns:
            rule = f"must not come before the stamp before it ({self._clock_ns} ns)"
            raise FeatureError("stamp_ns", rule, stamp_ns, "Ask in order of time.")
        self._clock_ns = int(stamp_ns)
        self._row[self._width] = _age(stamp_ns, self._last_ns, self._bar_ns)
        for place, longer in enumerate(self._longer, start=self._width + 1):
            longer.take(longer.resampler.advance(self._clock_ns), self._row)
            self._row[place] = _age(stamp_ns, longer.last_ns, longer.bar_ns)
        return self._row.copy()

    def state(self) -> bytes:
        """Everything the stream remembers, for `restore`."""
        parts = [self._row.astype("<f4").tobytes(), self._own.state()]
        for longer in self._longer:
            parts += [longer.last_ns.to_bytes(8, "little", signed=True)]
            parts += [longer.resampler.state(), longer.stream.state()]
        sized = b"".join(SIZE.pack(len(part)) + part for part in parts)
        return HEADER.pack(self._digest, self._clock_ns, self._last_ns) + sized

    def restore(self, state: bytes) -> None:
        """Continues from a state written by `state`, also in another process or on another machine.

        Raises:
            FeatureError: The state belongs to other features or sessions, or is cut.
        """
        parts = _parts_of(state[HEADER.size :])
        if state[:32] != self._digest or len(parts) != 2 + 3 * len(self._longer):
            raise FeatureError(
                "state",
                "must be whole and written by a stream of the same features and sessions",
                f"{len(state)} bytes of features {state[:4].hex()}",
                "Start a new stream and feed it the last bars, at least its warm-up.",
            )
        self._own.restore(parts[1])
        for place, longer in enumerate(self._longer):
            last_ns, resampler, stream = parts[2 + 3 * place : 5 + 3 * place]
            longer.resampler.restore(resampler)
            longer.stream.restore(stream)
            longer.last_ns = int.from_bytes(last_ns, "little", signed=True)
        self._row = np.frombuffer(parts[0], dtype="<f4").astype(np.float32)
        _, self._clock_ns, self._last_ns = HEADER.unpack_from(state)


class _LongerStream:
    """One longer timeframe of a stream."""

    def __init__(self, part: _Part, symbol: str, session: Session | None, bar_seconds: int) -> None:
        timeframe = Timeframe(part.timeframe, session)
        try:
            self.resampler = Resampler(timeframe, bar_seconds)
        except DataError as error:
            raise _as_feature_error(error, f"{MARK}{part.timeframe}") from error
        self.places = list(part.places)
        self.stream: FeatureStream = part.pipeline.stream(symbol)
        self.bar_ns = timeframe.seconds * NANOSECONDS
        self.last_ns = NEVER

    def take(self, bars: Sequence[BarRow], row: Rows) -> None:
        """Writes the features of longer bars that are complete now."""
        for bar in bars:
            row[self.places] = self.stream.update(*bar)
            self.last_ns = bar.stamp_ns


def _parts_of(stored: bytes) -> list[bytes]:
    """The parts of a stored stream; none where it is cut."""
    parts, place = [], 0
    while place + SIZE.size <= len(stored):
        (size,) = SIZE.unpack_from(stored, place)
        place += SIZE.size + size
        parts.append(stored[place - size : place])
    return parts if place == len(stored) else []


def _timeframe_of(name: str) -> str:
    """The timeframe in a feature's name; empty for the bars' own."""
    _, mark, timeframe = name.partition(MARK)
    if mark and not timeframe:
        raise FeatureError(
            f"feature {name!r}", "must have a timeframe after @", name, "For example rsi_14@1d."
        )
    return timeframe


def _age_bars(stamps: Stamps, longer: Bars) -> Float:
    """Age of the last longer bar at each stamp, float64 [T], in bars; 0 before the first."""
    last = np.searchsorted(longer.stamps, stamps, side="right") - 1
    ages = (stamps - longer.stamps[last]) / (longer.bar_seconds * NANOSECONDS)
    return np.where(last >= 0, ages, 0.0)


def _age(stamp_ns: int, last_ns: int, bar_ns: int) -> float:
    """The same for one stamp; numpy rounds both integers first, and so does this."""
    return float(stamp_ns - last_ns) / float(bar_ns) if last_ns != NEVER else 0.0


def _as_feature_error(error: DataError, field: str) -> FeatureError:
    return FeatureError(f"features {field}", error.rule, error.found, error.remedy)
