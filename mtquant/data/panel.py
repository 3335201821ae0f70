# SPDX-License-Identifier: Apache-2.0
"""The panel: bars of several instruments on one time axis, the union of all their close stamps.

Markets keep different hours. Where an instrument has no bar at a stamp it cannot be traded, its
price is its last known close, and the panel says how old that close is. Row t uses bars closed at
or before stamp t only.

Where bars overlap (daily sessions that end at different hours), a bar may have opened before the
row above it. An order decided at that row must not be filled at the older open, so the panel shows
such a bar by its close alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, Float, Stamps, bars_per_year
from mtquant.data.splits import Part


@dataclass(frozen=True, eq=False)
class Panel:
    """T stamps by N instruments. The arrays are read-only.

    Attributes:
        symbols: The N instruments, in the order given.
        quotes: Quote currency of each.
        stamps: int64 [T], UTC close stamps in nanoseconds since 1970, strictly increasing.
        own_row: int64 [T, N], row of the instrument's last own bar closed at or before the
            stamp; -1 before its first.
        tradable: bool [T, N], whether an own bar closes exactly at the stamp.
        open: float64 [T, N]; the own bar's where it is tradable and opened no earlier than the
            stamp above, else the last known close, like high, low and close; NaN before the first
            bar.
        high: float64 [T, N].
        low: float64 [T, N].
        close: float64 [T, N].
        volume: float64 [T, N], of the own bar; 0 where there is none or it is not known.
        elapsed_seconds: float64 [T], time since the row before; 0 at row 0.
        age_bars: float32 [T, N], age of the last known close in bar lengths: 0 where tradable and
            before the first bar.
        bar_seconds: Length of one bar, the same for all instruments.
        bars_per_year: Rows in 365.25 days.
        notes: Facts about the data that every report must repeat, each with its symbol in front.
    """

    symbols: tuple[str, ...]
    quotes: tuple[str, ...]
    stamps: Stamps
    own_row: NDArray[np.int64]
    tradable: NDArray[np.bool_]
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Float
    elapsed_seconds: Float
    age_bars: NDArray[np.float32]
    bar_seconds: int
    bars_per_year: float
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __len__(self) -> int:
        return len(self.stamps)

    @classmethod
    def from_bars(cls, bars: Sequence[Bars]) -> Panel:
        """Lays bars side by side on the union of their close stamps.

        Raises:
            DataError: No bars, an instrument twice, or bars of different lengths.
        """
        _check_together(bars)
        stamps = np.unique(np.concatenate([own.stamps for own in bars]))
        before = np.concatenate((np.full(1, np.iinfo(np.int64).min), stamps[:-1]))
        shape = (len(stamps), len(bars))
        own_row = np.empty(shape, dtype=np.int64)
        tradable = np.empty(shape, dtype=bool)
        age_bars = np.zeros(shape, dtype=np.float32)
        prices = {name: np.full(shape, np.nan) for name in PRICE_COLUMNS}
        volume, notes = np.zeros(shape), []
        for n, own in enumerate(bars):
            own_row[:, n] = np.searchsorted(own.stamps, stamps, side="right") - 1
            first = int(np.searchsorted(stamps, own.stamps[0]))
            row = own_row[first:, n]
            age_ns = stamps[first:] - own.stamps[row]
            tradable[:first, n] = False
            tradable[first:, n] = age_ns == 0
            age_bars[first:, n] = age_ns / (own.bar_seconds * NANOSECONDS)
            whole = tradable[first:, n] & (_opened(own)[row] >= before[first:])
            for name, column in prices.items():
                column[first:, n] = np.where(whole, getattr(own, name)[row], own.close[row])
            volume[first:, n] = np.where(tradable[first:, n], np.nan_to_num(own.volume[row]), 0.0)
            notes += [f"{own.symbol}: {note}" for note in own.notes]
            overlapping = int(tradable[:, n].sum() - whole.sum())
            if overlapping:
                notes.append(
                    f"{own.symbol}: {overlapping} bars opened before the row above them, at"
                    " another's close: they count as their close alone"
                )
        return cls(
            symbols=tuple(own.symbol for own in bars),
            quotes=tuple(own.quote for own in bars),
            stamps=stamps,
            own_row=own_row,
            tradable=tradable,
            volume=volume,
            elapsed_seconds=np.diff(stamps, prepend=stamps[:1]) / NANOSECONDS,
            age_bars=age_bars,
            bar_seconds=bars[0].bar_seconds,
            bars_per_year=bars_per_year(stamps, "panel"),
            notes=tuple(notes),
            **prices,
        )

    def carry(self, values: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Carries values computed on each instrument's own bars to the panel, by last known value.

        Args:
            values: One array [T_i, F] per instrument, row i belonging to its own bar i.

        Returns:
            float32 [T, N, F]; NaN before an instrument's first bar.

        Raises:
            DataError: The arrays do not fit the instruments' bars or differ in F.
        """
        lengths = [int(last) + 1 for last in self.own_row[-1]]
        shapes = [array.shape for array in values]
        width = shapes[0][1] if shapes and len(shapes[0]) == 2 else 0
        if shapes != [(length, width) for length in lengths]:
            raise DataError(
                "values",
                f"must have one row per own bar ({lengths}) and equal columns",
                shapes,
                "Compute them on the bars this panel was made from.",
            )
        carried = np.full((len(self), len(self.symbols), width), np.nan, dtype=np.float32)
        for n, array in enumerate(values):
            first = int((self.own_row[:, n] >= 0).argmax())
            carried[first:, n] = array[self.own_row[first:, n]]
        return carried

    def rows(self, part: Part) -> slice:
        """The rows whose stamps lie in a part of a split."""
        first, last = np.searchsorted(self.stamps, (part.start_ns, part.end_ns))
        return slice(int(first), int(last))


def _opened(bars: Bars) -> Stamps:
    """The earliest moment at which each bar can have opened, int64 [T]: one bar length before its
    close, but no earlier than the close before it.
    """
    opened = bars.stamps - bars.bar_seconds * NANOSECONDS
    opened[1:] = np.maximum(opened[1:], bars.stamps[:-1])
    return opened


def _check_together(bars: Sequence[Bars]) -> None:
    if not bars:
        raise DataError("bars", "must hold at least one instrument", len(bars), "Give bars.")
    doubled = [name for name, count in Counter(own.symbol for own in bars).items() if count > 1]
    if doubled:
        raise DataError("bars", "must hold each instrument once", doubled, "Drop one of them.")
    lengths = {own.symbol: own.bar_seconds for own in bars}
    if len(set(lengths.values())) > 1:
        raise DataError(
            "bars", "must share one bar length (bar_seconds)", lengths, "Use bars of one length."
        )
