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
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtquant.core.config import FeaturesConfig
from mtquant.core.errors import FeatureError
from mtquant.data.bars import NANOSECONDS, Bars, Float
from mtquant.data.instruments import Instrument, Session
from mtquant.data.panel import Panel
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG_VERSION
from mtquant.features.past import BAR_COLUMNS, BLOCK_ROWS
from mtquant.features.plan import Plan, Rows, check_names
from mtquant.features.registry import FeatureRegistry
from mtquant.features.sessions import seconds_to_close
from mtquant.features.signals import configured_registry
from mtquant.features.stream import FeatureStream

AGE_NAME = "age_bars"


class FeaturePipeline:
    """A list of features.

    Args:
        names: Features of the catalogue and of the registry, in the order of the columns.
        registry: The user's own features.
        sessions: Session of each instrument, for the features that ask for it.

    Attributes:
        names: The same, as a tuple.
        panel_names: `names` and ``"age_bars"``, the columns of `on_panel`.
        specs: What the catalogue or the user says about each.
        warmup_bars: Rows until every feature has a value.
        peers: Symbols of the instruments that features compare with.

    Raises:
        FeatureError: No name, a name twice, or one that `parse_feature` refuses.
    """

    def __init__(
        self,
        names: Sequence[str],
        registry: FeatureRegistry | None = None,
        sessions: Mapping[str, Session] | None = None,
    ) -> None:
        check_names(names)
        self._plan = Plan.of(names, registry)
        self._sessions = dict(sessions or {}) if self._plan.needs_session else {}
        self.names = tuple(names)
        self.panel_names = (*self.names, AGE_NAME)
        self.specs = self._plan.specs
        self.warmup_bars = max(spec.warmup_bars for spec in self.specs)
        self.peers = self._plan.peers

    @classmethod
    def from_config(
        cls,
        config: FeaturesConfig,
        instruments: Mapping[str, Instrument],
        names: Sequence[str] | None = None,
    ) -> FeaturePipeline:
        """The configured features, or others by name, with what `configured_registry` adds and all
        sessions.

        Raises:
            FeatureError: A name or the registry cannot be used.
        """
        sessions = {symbol: instrument.session for symbol, instrument in instruments.items()}
        names = config.catalog if names is None else names
        return cls(names, configured_registry(config), sessions)

    def hash(self) -> str:
        """sha256, hexadecimal, of all that decides the values: names in order and the catalogue's
        version; where they are used, the user's features by version, and the sessions.
        """
        identity: list[Any] = [CATALOG_VERSION, self.names]
        if self._plan.user:
            identity += [
                [type(feature).__name__, feature.name, feature.version, feature.warmup_bars]
                for _, feature in self._plan.user
            ]
        if self._sessions:
            identity.append(
                {symbol: [own.timezone, own.close] for symbol, own in self._sessions.items()}
            )
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def compute(self, bars: Bars, peers: Sequence[Bars] = ()) -> Rows:
        """Features of bars.

        Args:
            bars: The instrument's bars.
            peers: Bars of the instruments that features compare with; others are ignored. Row t
                uses their closes last known at its stamp.

        Returns:
            float32 [T, F]; row t uses rows <= t only. NaN in the first `warmup_bars` rows of each
            feature and, where it compares, as long as the peer has no bar; nowhere else.

        Raises:
            FeatureError: A peer or a session is not known, or a user's feature failed.
        """
        plan = self._plan.of_instrument(bars.symbol)
        matrix = self._matrix(bars, peers)
        past = plan.empty_past()
        out = np.empty((len(bars), len(self.names)), dtype=np.float32)
        fill = past.shape[1] - BLOCK_ROWS
        kernels.run(plan.program, plan.numbers, plan.empty_states(), past, fill, matrix, 0, out)
        plan.fill_in_user_columns(matrix, out)
        return out

    def compute_all(self, bars: Sequence[Bars], peers: Sequence[Bars] = ()) -> list[Rows]:
        """`compute` for several instruments, each other's peers, side by side on all cores."""
        known = (*bars, *peers)
        threads = min(len(bars), _cores())
        if threads < 2:
            return [self.compute(own, known) for own in bars]
        # Kernels release the interpreter's lock.
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda own: self.compute(own, known), bars))

    def on_panel(self, panel: Panel, bars: Sequence[Bars], peers: Sequence[Bars] = ()) -> Rows:
        """Features of each instrument's own bars, carried to the panel by last known value.

        Args:
            panel: T stamps by N instruments.
            bars: The bars it was made from, in its order.
            peers: Bars of further instruments that features compare with.

        Returns:
            float32 [T, N, F + 1], columns `panel_names`: the features and how old they are, in
            bars. Features are NaN before an instrument's first bar and during their warm-up.

        Raises:
            FeatureError: The bars are not those of the panel, or see `compute`.
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
        carried = panel.carry(self.compute_all(bars, peers))
        return np.concatenate((carried, panel.age_bars[:, :, None]), axis=2)

    def stream(self, symbol: str = "") -> FeatureStream:
        """The same features one bar at a time, before the first bar.

        Args:
            symbol: The instrument; needed where a feature asks for its session, or is not the same
                for all instruments.

        Raises:
            FeatureError: A feature asks for a session that is not known, or knows nothing of the
                instrument.
        """
        plan = self._plan.of_instrument(symbol)
        return FeatureStream(plan, bytes.fromhex(self.hash()), self._session(symbol))

    def _session(self, symbol: str) -> Session | None:
        """The instrument's session; None where no feature asks for it."""
        if not self._plan.needs_session:
            return None
        if symbol not in self._sessions:
            raise FeatureError(
                "sessions",
                f"must hold the session of {symbol or 'the instrument'}",
                sorted(self._sessions),
                "Pass sessions={symbol: instrument.session} to FeaturePipeline, and the symbol to "
                "stream().",
            )
        return self._sessions[symbol]

    def _matrix(self, bars: Bars, peers: Sequence[Bars]) -> Float:
        """Bars as the kernels take them in, float64 [columns, T]."""
        known = {own.symbol: own for own in (*peers, bars)}
        missing = [symbol for symbol in self.peers if symbol not in known]
        if missing:
            raise FeatureError(
                f"features of {bars.symbol}",
                f"must be given the bars of {', '.join(missing)} to compare with",
                sorted(known),
                "Pass them as peers, or leave the features out that name them.",
            )
        matrix = np.empty((BAR_COLUMNS + len(self.peers), len(bars)))
        matrix[:5] = bars.open, bars.high, bars.low, bars.close, bars.volume
        matrix[5] = bars.stamps // NANOSECONDS
        session = self._session(bars.symbol)
        matrix[6] = 0.0 if session is None else seconds_to_close(bars.stamps, session)
        for column, symbol in enumerate(self.peers, start=BAR_COLUMNS):
            peer = known[symbol]
            row = np.searchsorted(peer.stamps, bars.stamps, side="right") - 1
            matrix[column] = np.where(row >= 0, peer.close[row], np.nan)
        return matrix


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
