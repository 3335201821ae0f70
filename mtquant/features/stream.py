# SPDX-License-Identifier: Apache-2.0
"""Features of one instrument as its bars close, for paper trading."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

import numpy as np

from mtquant.core.errors import FeatureError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.instruments import Session
from mtquant.features import kernels
from mtquant.features.past import BAR_COLUMNS, BLOCK_ROWS, PEER_COLUMNS, PEERS
from mtquant.features.plan import Plan, Rows
from mtquant.features.sessions import seconds_to_close

# A stored stream: sha256 of its pipeline, stamp of its last bar, how many bars it has seen; then as
# little-endian float64 the states and the newest bars as they came.
STATE_HEADER = struct.Struct("<32sqq")
NEVER = np.iinfo(np.int64).min


class FeatureStream:
    """The features of a pipeline, one bar at a time; see `FeaturePipeline.stream`.

    Args:
        plan: Which features.
        digest: sha256 of the pipeline.
        session: The instrument's session, where a feature asks for it.
    """

    def __init__(self, plan: Plan, digest: bytes, session: Session | None) -> None:
        self._plan = plan
        self._digest = digest
        self._session = session
        self._start()

    def _start(self) -> None:
        self._states = self._plan.empty_states()
        self._user_states = [np.zeros(feature.state_size) for _, feature in self._plan.user]
        self._past = self._plan.empty_past()
        self._keep = self._past.shape[1] - BLOCK_ROWS
        self._fill = self._keep
        self._seen = 0
        self._last_ns = NEVER

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
        """Takes in the bar that just closed.

        Args:
            open: Price in quote currency, like high, low and close.
            volume: As in `Bars`; 0 where unknown.
            stamp_ns: UTC close stamp, nanoseconds since 1970, later than that of the bar before.
            peers: Closes of the instruments that features compare with, as last known at
                `stamp_ns`; NaN before their first bar.

        Returns:
            float32 [F], byte for byte the row that `FeaturePipeline.compute` gives; NaN during
            warm-up.

        Raises:
            FeatureError: The bar breaks a rule of `check_bars`, a peer is missing, or a user's
                feature failed. A bar that is refused is not taken in: averages would never forget
                it.
        """
        self._check(open, high, low, close, volume, stamp_ns)
        closes = self._peer_closes(peers or {})
        left = 0.0
        if self._session is not None:
            left = seconds_to_close(np.array([stamp_ns], dtype=np.int64), self._session)[0]
        bar = np.array(
            [open, high, low, close, volume, stamp_ns // NANOSECONDS, left, *closes],
            dtype=np.float64,
        )
        before = (self._states.copy(), [own.copy() for own in self._user_states])
        out = np.empty((1, len(self._plan.specs)), dtype=np.float32)
        self._fill = kernels.run(
            self._plan.program,
            self._plan.numbers,
            self._states,
            self._past,
            self._fill,
            bar[:, None],
            self._seen,
            out,
        )
        try:
            self._plan.fill_in_user_values(
                self._user_states, self._past, self._fill - 1, self._seen, out[0]
            )
        except FeatureError:
            self._states, self._user_states = before
            self._fill -= 1
            raise
        self._seen += 1
        self._last_ns = int(stamp_ns)
        return out[0]

    def state(self) -> bytes:
        """Everything the stream remembers, for `restore`."""
        header = STATE_HEADER.pack(self._digest, self._last_ns, self._seen)
        kept = min(self._seen, self._keep)
        bars = self._past[self._bar_columns(), self._fill - kept : self._fill]
        states = np.concatenate((self._states, *self._user_states, bars.ravel()))
        return header + states.astype("<f8").tobytes()

    def restore(self, state: bytes) -> None:
        """Continues from a state written by `state`, also in another process or on another machine.

        Raises:
            FeatureError: The state belongs to other features or another catalogue, or is cut.
        """
        digest, last_ns, seen = (b"", 0, 0)
        if len(state) >= STATE_HEADER.size:
            digest, last_ns, seen = STATE_HEADER.unpack_from(state)
        sizes = [len(self._states), *(len(own) for own in self._user_states)]
        kept = min(seen, self._keep)
        count = sum(sizes) + len(self._bar_columns()) * kept
        if digest != self._digest or seen < 0 or len(state) != STATE_HEADER.size + 8 * count:
            raise FeatureError(
                "state",
                "must be written by a stream of the same features",
                f"{len(state)} bytes of features {state[:4].hex()}",
                "Start a new stream and feed it the last bars, at least its warm-up.",
            )
        self._start()
        stored = np.frombuffer(state, dtype="<f8", offset=STATE_HEADER.size).astype(np.float64)
        parts = np.split(stored, np.cumsum(sizes))
        self._states, self._user_states = parts[0], parts[1:-1]
        bars = parts[-1].reshape(len(self._bar_columns()), kept)
        # The past is a function of the bars it keeps: no kernel has to run for it.
        nothing = np.empty((kept, 0), dtype=np.float32)
        self._fill = kernels.run(
            self._plan.program[:0],
            self._plan.numbers[:0],
            self._states,
            self._past,
            self._fill,
            np.ascontiguousarray(bars),
            0,
            nothing,
        )
        self._seen, self._last_ns = seen, last_ns

    def _bar_columns(self) -> list[int]:
        """Columns of the past that bars bring; all others are derived."""
        return [*range(BAR_COLUMNS), *range(PEERS, self._past.shape[0], PEER_COLUMNS)]

    def _peer_closes(self, peers: Mapping[str, float]) -> list[float]:
        """Closes of the plan's peers, in its order."""
        closes = [float(peers.get(symbol, 0.0)) for symbol in self._plan.peers]
        if not all(close > 0.0 or math.isnan(close) for close in closes):
            raise FeatureError(
                "peers",
                f"must hold the last close of {', '.join(self._plan.peers)}",
                dict(peers),
                "Give NaN for one that has no bar yet.",
            )
        return closes

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
