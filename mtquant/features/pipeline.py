# SPDX-License-Identifier: Apache-2.0
"""From bars to scaled features: the same list of names as a batch, on a panel and as a stream.

pipeline = FeaturePipeline(["log_return_1", "rsi_14", "hour_sin"])
pipeline.compute(bars)  # float32 [T, 3], row t from bars <= t
stream = pipeline.stream()
stream.update(open, high, low, close, volume, stamp_ns)  # the same bytes, one bar at a time
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import FeatureError
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.panel import Panel
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, CATALOG_VERSION, MOST_PARAMETERS, parse_feature

Rows = NDArray[np.float32]

AGE_NAME = "age_bars"
# A stored stream: sha256 of its pipeline, stamp of its last bar, then the state as little-endian
# float64.
STATE_HEADER = struct.Struct("<32sq")


@dataclass(frozen=True, eq=False)
class _Program:
    """A list of features as the kernels read it; F features.

    Attributes:
        codes: int64 [F], kinds of the catalogue.
        params: float64 [F, MOST_PARAMETERS], zero padded.
        offsets: int64 [F + 1], where each feature's state begins.
        start: float64 [offsets[F]], state before the first bar.
    """

    codes: NDArray[np.int64]
    params: NDArray[np.float64]
    offsets: NDArray[np.int64]
    start: NDArray[np.float64]


class FeaturePipeline:
    """A list of features.

    Args:
        names: Features of the catalogue, in the order of the columns.

    Attributes:
        names: The same, as a tuple.
        panel_names: `names` and ``"age_bars"``, the columns of `on_panel`.
        warmup_bars: Rows until every feature has a value.

    Raises:
        FeatureError: No name, a name twice, or one that `parse_feature` refuses.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if isinstance(names, str) or not names:
            raise FeatureError(
                "features", "must be a list of names", names, "For example ['log_return_1']."
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise FeatureError("features", "must name each feature once", twice, "Drop one.")
        self.specs = tuple(parse_feature(name) for name in names)
        self.names = tuple(names)
        self.panel_names = (*self.names, AGE_NAME)
        self.warmup_bars = max(spec.warmup_bars for spec in self.specs)
        offsets = np.cumsum([0, *(spec.state_size for spec in self.specs)], dtype=np.int64)
        params = np.zeros((len(self.specs), MOST_PARAMETERS))
        start = np.zeros(offsets[-1])
        for f, spec in enumerate(self.specs):
            params[f, : len(spec.params)] = spec.params
            start[offsets[f]] = spec.warmup_bars
        codes = np.array([CATALOG[spec.kind].code for spec in self.specs], dtype=np.int64)
        self._program = _Program(codes, params, offsets, start)

    def hash(self) -> str:
        """sha256 of the names in order and the catalogue's version, hexadecimal."""
        return hashlib.sha256(json.dumps([CATALOG_VERSION, self.names]).encode()).hexdigest()

    def compute(self, bars: Bars) -> Rows:
        """Features of bars.

        Returns:
            float32 [T, F]; row t uses rows <= t only. NaN in the first `warmup_bars` rows of each
            feature, nowhere else.
        """
        seconds = (bars.stamps // NANOSECONDS).astype(np.float64)
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, seconds)
        out = np.empty((len(bars), len(self.names)), dtype=np.float32)
        program = self._program
        states = program.start.copy()
        matrix = np.stack(columns, axis=1)
        kernels.batch(program.codes, program.params, program.offsets, states, matrix, out)
        return out

    def on_panel(self, panel: Panel, bars: Sequence[Bars]) -> Rows:
        """Features of each instrument's own bars, carried to the panel by last known value.

        Args:
            panel: T stamps by N instruments.
            bars: The bars it was made from, in its order.

        Returns:
            float32 [T, N, F + 1], columns `panel_names`: the features and how old they are, in
            bars. Features are NaN before an instrument's first bar and during their warm-up.

        Raises:
            FeatureError: The bars are not those of the panel.
        """
        if tuple(own.symbol for own in bars) != panel.symbols or not all(
            np.array_equal(panel.stamps[panel.tradable[:, n]], own.stamps)
            for n, own in enumerate(bars)
        ):
            raise FeatureError(
                "bars",
                f"must be the bars of the panel's instruments {panel.symbols}",
                [f"{own.symbol}: {len(own)} rows" for own in bars],
                "Pass the bars the panel was made from, in the same order.",
            )
        carried = panel.carry([self.compute(own) for own in bars])
        return np.concatenate((carried, panel.age_bars[:, :, None]), axis=2)

    def stream(self) -> FeatureStream:
        """The same features one bar at a time, before the first bar."""
        return FeatureStream(self)


class FeatureStream:
    """Features of one instrument as its bars close, for paper trading.

    Args:
        pipeline: Which features.
    """

    def __init__(self, pipeline: FeaturePipeline) -> None:
        self._program = pipeline._program
        self._digest = bytes.fromhex(pipeline.hash())
        self._states = self._program.start.copy()
        self._last_ns = np.iinfo(np.int64).min

    def update(
        self, open: float, high: float, low: float, close: float, volume: float, stamp_ns: int
    ) -> Rows:
        """Takes in the bar that just closed.

        Args:
            open: Price in quote currency, like high, low and close.
            volume: As in `Bars`; 0 where unknown.
            stamp_ns: UTC close stamp, nanoseconds since 1970, later than that of the bar before.

        Returns:
            float32 [F], byte for byte the row that `FeaturePipeline.compute` gives; NaN during
            warm-up.

        Raises:
            FeatureError: The bar breaks a rule of `check_bars`. It is not taken in: averages would
                never forget it.
        """
        self._check(open, high, low, close, volume, stamp_ns)
        bar = np.array((open, high, low, close, volume, stamp_ns // NANOSECONDS), dtype=np.float64)
        out = np.empty(len(self._program.codes), dtype=np.float32)
        program = self._program
        kernels.stream_row(program.codes, program.params, program.offsets, self._states, bar, out)
        self._last_ns = int(stamp_ns)
        return out

    def state(self) -> bytes:
        """Everything the stream remembers, for `restore`."""
        return STATE_HEADER.pack(self._digest, self._last_ns) + self._states.astype("<f8").tobytes()

    def restore(self, state: bytes) -> None:
        """Continues from a state written by `state`, also in another process or on another machine.

        Raises:
            FeatureError: The state belongs to other features or another catalogue, or is cut.
        """
        wanted = STATE_HEADER.size + self._states.nbytes
        if len(state) != wanted or state[:32] != self._digest:
            raise FeatureError(
                "state",
                f"must be {wanted} bytes written by a stream of the same features",
                f"{len(state)} bytes of features {state[:4].hex()}",
                "Start a new stream and feed it the last bars, at least its warm-up.",
            )
        self._last_ns = STATE_HEADER.unpack_from(state)[1]
        numbers = np.frombuffer(state, dtype="<f8", offset=STATE_HEADER.size)
        self._states = numbers.astype(np.float64)

    def _check(
        self, open: float, high: float, low: float, close: float, volume: float, stamp_ns: int
    ) -> None:
        """Refuses what `check_bars` would refuse in one row."""
        remedy = "Drop the bar or repair it, and keep a note of it."
        prices = (open, high, low, close)
        if not all(math.isfinite(price) and price > 0.0 for price in prices):
            raise FeatureError("bar", "must have finite, positive prices", prices, remedy)
        if low > min(prices) or high < max(prices):
            raise FeatureError("bar", "must have its extremes in high and low", prices, remedy)
        if not (math.isfinite(volume) and volume >= 0.0):
            raise FeatureError("bar", "must have a finite volume, 0 or more", volume, remedy)
        if stamp_ns <= self._last_ns:
            rule = f"must close after the bar before it ({self._last_ns} ns)"
            raise FeatureError("bar", rule, stamp_ns, "Feed each bar once, oldest first.")


@dataclass(frozen=True, eq=False)
class Scaler:
    """Column-wise (x - mean) / scale, clipped; fitted on training rows, stored with the model.

    Attributes:
        mean: float32 [F].
        scale: float32 [F], positive.
        clip: Largest absolute value that `apply` returns.

    Raises:
        FeatureError: The arrays do not fit each other or hold something else than finite numbers,
            positive in `scale`.
    """

    mean: Rows
    scale: Rows
    clip: float = 10.0

    def __post_init__(self) -> None:
        numbers = np.concatenate((np.ravel(self.mean), np.ravel(self.scale), [self.clip]))
        fits = self.mean.ndim == 1 and self.mean.shape == self.scale.shape and self.mean.size > 0
        if not fits or not np.isfinite(numbers).all() or min(self.scale.min(), self.clip) <= 0.0:
            raise FeatureError(
                "scaler",
                "must hold one finite mean and one positive scale per feature, and a positive clip",
                self.to_dict(),
                "Fit it again on training rows.",
            )

    @classmethod
    def fit(cls, rows: Rows, clip: float = 10.0) -> Scaler:
        """Mean and standard deviation (ddof 0) of training rows.

        Args:
            rows: float32 [M, F], training rows and no others. Rows with a NaN (warm-up, before the
                first bar) are left out.
            clip: Largest absolute value that `apply` returns.

        Returns:
            The scaler. A column that never changes gets scale 1.

        Raises:
            FeatureError: `rows` is not a matrix, or no row is finite.
        """
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise FeatureError(
                "rows", "must be a matrix [M, F]", rows.shape, "Reshape [T, N, F] to [T * N, F]."
            )
        finite = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
        if len(finite) == 0:
            never = np.flatnonzero(~np.isfinite(rows).any(axis=0)).tolist()
            raise FeatureError(
                "rows",
                "must hold a row in which every feature has a value",
                f"{len(rows)} rows; columns without any value: {never}",
                "Train on more bars than the longest warm-up, or use shorter windows.",
            )
        mean = finite.mean(axis=0).astype(np.float32)
        scale = finite.std(axis=0).astype(np.float32)
        # float32 values add up exactly in float64, so a column of equal ones deviates by exactly 0.
        still = scale < np.finfo(np.float32).tiny
        return cls(mean, np.where(still, np.float32(1.0), scale), clip)

    def apply(self, values: Rows) -> Rows:
        """Scaled values, float32, same shape [..., F]; float64 inside, NaN stays NaN.

        Raises:
            FeatureError: The last axis is not F long.
        """
        if values.ndim == 0 or values.shape[-1] != len(self.mean):
            raise FeatureError(
                "values",
                f"must have {len(self.mean)} columns",
                values.shape,
                "Use the features the scaler was fitted on.",
            )
        scaled = (values.astype(np.float64) - self.mean) / self.scale
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, lossless: float32 values are exact as Python floats."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "clip": self.clip}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Scaler:
        """The scaler that `to_dict` wrote.

        Raises:
            FeatureError: A key is missing or unknown, or a value is not a scaler's.
        """
        remedy = "Use a scaler written by `Scaler.to_dict`, or fit it again."
        if set(stored) != {"mean", "scale", "clip"}:
            raise FeatureError("scaler", "must have mean, scale and clip", sorted(stored), remedy)
        try:
            mean = np.array(stored["mean"], dtype=np.float32)
            scale = np.array(stored["scale"], dtype=np.float32)
            return cls(mean, scale, float(stored["clip"]))
        except (TypeError, ValueError) as error:
            raise FeatureError("scaler", "must hold numbers", str(error), remedy) from error
