# SPDX-License-Identifier: Apache-2.0
"""A list of features as the kernels read it: which to run, with what numbers, into which column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import FeatureError
from mtquant.data.bars import Float
from mtquant.features import kernels
from mtquant.features.catalog import CATALOG, FAMILY_OF, FeatureSpec, parse_feature
from mtquant.features.past import PEER_COLUMNS, PEERS, empty_past
from mtquant.features.registry import FeatureRegistry, UserFeature, user_value, user_values

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """F features, K kernels to run for them; kinds of one kernel with equal parameters share it.

    Attributes:
        specs: One per feature, in the order of the columns.
        program: int64 [K, kernels.PROGRAM_COLUMNS].
        numbers: float64 [K, kernels.MOST_NUMBERS].
        state_size: Numbers that all kernels keep between two bars.
        keep_bars: Newest bars that any feature looks back on.
        peers: Symbols of the instruments that features compare with.
        user: Place and user's feature, for those that are.
        needs_session: Whether a feature asks for the instrument's session.
    """

    specs: tuple[FeatureSpec | UserFeature, ...]
    program: NDArray[np.int64]
    numbers: Float
    state_size: int
    keep_bars: int
    peers: tuple[str, ...]
    user: tuple[tuple[int, UserFeature], ...]
    needs_session: bool

    @classmethod
    def of(cls, names: Sequence[str], registry: FeatureRegistry | None) -> Plan:
        """The plan for names of the catalogue and of the user's registry.

        Raises:
            FeatureError: One that neither knows, see `parse_feature`.
        """
        specs = tuple((registry and registry.get(name)) or parse_feature(name) for name in names)
        built_in = [(f, spec) for f, spec in enumerate(specs) if isinstance(spec, FeatureSpec)]
        user = tuple((f, spec) for f, spec in enumerate(specs) if not isinstance(spec, FeatureSpec))
        peers = tuple(dict.fromkeys(spec.peer for _, spec in built_in if spec.peer is not None))
        program, numbers, state_size = _program(built_in, peers)
        # A windowed kind reads rows t - warm-up .. t; a recursive one the row before.
        reach = [1 if spec.state_size else spec.warmup_bars for _, spec in built_in]
        reach += [feature.lookback_bars - 1 for _, feature in user]
        return cls(
            specs,
            program,
            numbers,
            state_size,
            1 + max(reach),
            peers,
            user,
            any(CATALOG[spec.kind].needs == "session" for _, spec in built_in),
        )

    def empty_past(self) -> Float:
        """A past before history."""
        return empty_past(self.keep_bars, len(self.peers))

    def empty_states(self) -> Float:
        """The kernels' states before history; one more, so that views of it are not empty."""
        return np.zeros(self.state_size + 1)

    def of_instrument(self, symbol: str) -> Plan:
        """The plan with the user's features of one instrument.

        Raises:
            FeatureError: One has nothing to say about it.
        """
        if not self.user:
            return self
        return replace(self, user=tuple((place, own.of(symbol)) for place, own in self.user))

    def fill_in_user_columns(self, bars: Float, out: Rows) -> None:
        """Writes the user's features of a history, float64 [columns, T], into out [T, F].

        Raises:
            FeatureError: See `registry.user_values`.
        """
        for place, feature in self.user:
            out[:, place] = user_values(feature, bars)

    def fill_in_user_values(
        self, states: Sequence[Float], past: Float, last: int, seen: int, out: Rows
    ) -> None:
        """Writes the user's features of the newest bar, row `last` of the past, into out [F].

        Args:
            states: One per user's feature, changed in place.
            past: float64 [columns, rows].
            last: Row of the newest bar.
            seen: Bars of history before it.
            out: float32 [F].

        Raises:
            FeatureError: See `registry.user_value`.
        """
        for (place, feature), state in zip(self.user, states, strict=True):
            rows = past[:, last - feature.lookback_bars + 1 : last + 1]
            out[place] = user_value(feature, state, rows, seen >= feature.warmup_bars)


def _program(
    specs: Sequence[tuple[int, FeatureSpec]], peers: Sequence[str]
) -> tuple[NDArray[np.int64], Float, int]:
    """Kernels to run, what they read, and the numbers they keep."""
    lines: dict[tuple[object, ...], NDArray[np.int64]] = {}
    numbers: list[Float] = []
    state_size = 0
    for place, spec in specs:
        kind = CATALOG[spec.kind]
        which = (FAMILY_OF[spec.kind], kind.code, spec.params, spec.peer)
        if which not in lines:
            line = np.full(kernels.PROGRAM_COLUMNS, -1, dtype=np.int64)
            line[kernels.FAMILY], line[kernels.CODE] = which[:2]
            line[kernels.STATE], line[kernels.STATE_SIZE] = state_size, kind.state_size
            line[kernels.PEER] = PEERS + PEER_COLUMNS * peers.index(spec.peer) if spec.peer else -1
            line[kernels.WARMUP :] = spec.warmup_bars
            lines[which] = line
            given = kind.numbers(*spec.params)
            numbers.append(np.pad(np.array(given), (0, kernels.MOST_NUMBERS - len(given))))
            state_size += kind.state_size
        lines[which][kernels.PLACE + kind.output] = place
        lines[which][kernels.WARMUP + kind.output] = spec.warmup_bars
    shape = (len(lines), kernels.PROGRAM_COLUMNS)
    program = np.array(list(lines.values()), dtype=np.int64).reshape(shape)
    return program, np.array(numbers).reshape(len(lines), kernels.MOST_NUMBERS), state_size


def check_names(names: Sequence[str]) -> None:
    """Refuses what is no list of different names."""
    if isinstance(names, str) or not names:
        remedy = "For example ['log_return_1']."
        raise FeatureError("features", "must be a list of names", names, remedy)
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise FeatureError("features", "must name each feature once", twice, "Drop one.")
