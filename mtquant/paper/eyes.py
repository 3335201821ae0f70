# SPDX-License-Identifier: Apache-2.0
"""What a policy sees on bars as they come: the streaming features and the one observation builder.

The same bytes as `backtest/runner.py` shows it on the whole panel: features come from
`features/stream.py`, the account from `see_block`, the vector from `write_observation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import FeatureError
from mtquant.core.lanes import LANES
from mtquant.core.protocols import Observation, Policy
from mtquant.features.timeframes import TimeframePipeline
from mtquant.market.live_desk import LiveDesk
from mtquant.market.observation import (
    ObservationLayout,
    new_seen,
    observable,
    see_block,
    write_observation,
)
from mtquant.paper.memory import pack_arrays, unpack_arrays
from mtquant.rewards.compose import STATE_NAMES

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume


class Eyes:
    """The features of one policy's instruments, bar after bar.

    Args:
        policy: Who looks.
        symbols: N instruments, in the order of the desk.
        pipeline: Its features without their ages.
        bar_seconds: Length of a bar.
    """

    def __init__(
        self,
        policy: Policy,
        symbols: Sequence[str],
        pipeline: TimeframePipeline,
        bar_seconds: int,
    ) -> None:
        self.layout = ObservationLayout(
            tuple(symbols), policy.feature_names, policy.window_bars, STATE_NAMES
        )
        self._names = self.layout.names()
        known = pipeline.panel_names
        missing = [name for name in policy.feature_names if name not in known]
        if missing:
            remedy = "Build the pipeline from the policy's own features."
            raise FeatureError("features", f"must hold {missing}", known, remedy)
        self._columns = [known.index(name) for name in policy.feature_names]
        self._streams = [pipeline.stream(symbol, bar_seconds) for symbol in symbols]
        self._peers = [symbols.index(name) for name in pipeline.peers if name in symbols]
        shape = (policy.window_bars, len(symbols), len(policy.feature_names))
        self._window = np.full(shape, np.nan, dtype=np.float32)
        self._closes = np.full(len(symbols), np.nan)
        self._shown = new_seen(self.layout)

    @property
    def known(self) -> bool:
        """Whether every feature of the last row has a value."""
        return bool(np.isfinite(self._window[-1]).all())

    @property
    def features(self) -> NDArray[np.float32]:
        """The last row, float32 [N, F]; NaN where not known."""
        return self._window[-1]

    def take(self, stamp_ns: int, bars: Mapping[int, Bar]) -> None:
        """Takes in the bars that closed at a stamp; the others are asked what is known by now."""
        for n, bar in bars.items():
            self._closes[n] = bar[3]
        symbols = self.layout.symbols
        peers = {symbols[n]: float(self._closes[n]) for n in self._peers}
        self._window[:-1] = self._window[1:]
        for n, stream in enumerate(self._streams):
            if n in bars:
                row = stream.update(*bars[n], stamp_ns, peers)
            else:
                row = stream.at(stamp_ns)
            self._window[-1, n] = row[self._columns]

    def see(self, desk: LiveDesk, reward_state: NDArray[np.float64]) -> Observation:
        """The observation at the last close."""
        states = np.zeros(len(reward_state) * LANES)
        states[::LANES] = reward_state
        see_block(desk.block, desk.sheet, desk.rules_matrix, states, self._shown)
        values = np.zeros(self.layout.size, dtype=np.float32)
        bars = self.layout.window_bars
        write_observation(values, bars - 1, observable(self._window), bars, self._shown)
        stamp = int(desk.tape.stamps[desk.row])
        return Observation(values, stamp, self.layout.symbols, self._names)

    def state(self) -> bytes:
        """Everything it remembers, for `restore`."""
        streams = {
            f"stream/{n}": np.frombuffer(stream.state(), dtype=np.uint8)
            for n, stream in enumerate(self._streams)
        }
        return pack_arrays({"window": self._window, "closes": self._closes, **streams})

    def restore(self, state: bytes) -> None:
        """Goes on from a state of the same features.

        Raises:
            FeatureError: It is of others.
        """
        arrays = unpack_arrays(state)
        for n, stream in enumerate(self._streams):
            stream.restore(arrays[f"stream/{n}"].tobytes())
        self._window[:], self._closes[:] = arrays["window"], arrays["closes"]
