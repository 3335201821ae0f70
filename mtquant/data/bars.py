# SPDX-License-Identifier: Apache-2.0
"""Bars: the immutable price rows of one instrument, and the one check that they all pass.

A bar is stamped with the moment it *closed*, in UTC: row t is known from its stamp on, and not a
nanosecond earlier (`docs/time.md`). Whoever brings data in has to say what the source's stamps
mean; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.stamps import NANOSECONDS, Stamped, Stamps, close_stamps, stamp_text

Float = NDArray[np.float64]

PRICE_COLUMNS = ("open", "high", "low", "close")
YEAR_SECONDS = 365.25 * 86_400
MAX_FINDINGS = 5


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars of one instrument, oldest first; T rows. The arrays are read-only copies.

    Attributes:
        symbol: The instrument, for example ``"EURUSD"``.
        stamps: int64 [T], UTC close stamps, nanoseconds since 1970, strictly increasing.
        open: float64 [T], quote currency per unit, positive and finite, like all four prices.
        high: float64 [T], the highest price of the bar.
        low: float64 [T], the lowest price of the bar.
        close: float64 [T], the last price of the bar.
        volume: float64 [T], the source's own measure of activity; 0 where unknown.
        quote: Currency of the prices, for example ``"USD"``.
        bar_seconds: Nominal length of one bar; daily sessions count as 86,400.
        notes: Facts about the data that every report must repeat.
    """

    symbol: str
    stamps: Stamps
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Float
    quote: str
    bar_seconds: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._freeze("stamps", np.array(self.stamps, dtype=np.int64))
        for name in (*PRICE_COLUMNS, "volume"):
            self._freeze(name, np.array(getattr(self, name), dtype=np.float64))
        object.__setattr__(self, "notes", tuple(self.notes))

    def _freeze(self, name: str, copy: NDArray[np.generic]) -> None:
        copy.setflags(write=False)
        object.__setattr__(self, name, copy)

    def __len__(self) -> int:
        return len(self.stamps)

    def rows(self, rows: slice | NDArray[np.int64]) -> Bars:
        """The bars of a slice of rows, or of rows by their ascending numbers."""
        columns = {name: getattr(self, name)[rows] for name in ("stamps", *PRICE_COLUMNS, "volume")}
        return Bars(
            symbol=self.symbol,
            quote=self.quote,
            bar_seconds=self.bar_seconds,
            notes=self.notes,
            **columns,
        )

    def between(self, start_ns: int, end_ns: int) -> Bars:
        """The bars that closed in ``[start_ns, end_ns)``."""
        first, last = np.searchsorted(self.stamps, (start_ns, end_ns))
        return self.rows(slice(int(first), int(last)))

    @property
    def bars_per_year(self) -> float:
        """Bars in 365.25 days, counted on the bars' own calendar."""
        return bars_per_year(self.stamps, self.symbol)

    def to_frame(self) -> pd.DataFrame:
        """Prices and volume, float64, indexed by UTC close stamp (``closed_at``)."""
        closed_at = pd.DatetimeIndex(self.stamps.astype("datetime64[ns]")).tz_localize("UTC")
        columns = {name: getattr(self, name) for name in (*PRICE_COLUMNS, "volume")}
        return pd.DataFrame(columns, index=closed_at.rename("closed_at"))

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        symbol: str,
        quote: str,
        stamped: Stamped,
        bar_seconds: int,
        session_timezone: str | None = None,
        session_close: str | None = None,
        notes: Sequence[str] = (),
    ) -> Bars:
        """Bars from a frame with a time index, checked.

        Args:
            frame: Columns open, high, low, close and, where known, volume, in any letter case;
                others are ignored. The index is a `DatetimeIndex`.
            symbol: The instrument.
            quote: Currency of the prices.
            stamped: What the index holds. ``"open"``: when the bar began (the close is one bar
                length later). ``"close"``: when it ended. ``"session"``: its calendar date (the
                close is that date at `session_close` in `session_timezone`, summer time included).
            bar_seconds: Length of one bar.
            session_timezone: Zone name such as ``"America/New_York"``, for ``"session"`` only.
            session_close: ``"HH:MM"``, no earlier than the last price is known, for ``"session"``
                only.
            notes: Facts about the data that every report must repeat.

        Raises:
            DataError: A column is missing or not numeric, the time index is naive or not a time
                index, or `check_bars` found a broken rule.
        """
        columns = _columns(frame, symbol)
        notes = tuple(notes)
        if "volume" not in columns:
            columns["volume"] = np.zeros(len(frame))
            notes = (*notes, "volume is unknown and counts as 0")
        bars = cls(
            symbol=symbol,
            stamps=close_stamps(
                frame.index, symbol, stamped, bar_seconds, session_timezone, session_close
            ),
            quote=quote,
            bar_seconds=bar_seconds,
            notes=notes,
            **columns,
        )
        check_bars(bars)
        return bars


def bars_per_year(stamps: Stamps, field: str) -> float:
    """Rows in 365.25 days: (T - 1) steps over the time they took.

    Raises:
        DataError: Fewer than two stamps.
    """
    if len(stamps) < 2:
        raise DataError(
            field, "must have at least 2 bars to count bars per year", len(stamps), "Use more data."
        )
    return (len(stamps) - 1) / (float(stamps[-1] - stamps[0]) / NANOSECONDS / YEAR_SECONDS)


class _Rule(NamedTuple):
    """One rule of `check_bars`, evaluated on every row."""

    broken: NDArray[np.bool_]
    text: str
    values: NDArray[np.generic]
    remedy: str


def check_bars(bars: Bars) -> None:
    """Refuses bars that break a rule; every reader calls it, so nobody downstream checks again.

    Each finding names the first row of one broken rule, its close stamp, the value found and how
    many further rows break it; one error holds up to five findings.

    Raises:
        DataError: Lengths differ; fewer than 2 rows; stamps not strictly increasing or closer than
            half a bar; a price not finite or not positive; high or low not the extreme of the bar;
            a volume not finite or negative.
    """
    _check_shape(bars)
    rules = [rule for rule in (*_stamp_rules(bars), *_value_rules(bars)) if rule.broken.any()]
    if not rules:
        return
    findings, found = [], []
    for rule in rules[:MAX_FINDINGS]:
        row, count = int(rule.broken.argmax()), int(rule.broken.sum())
        value = rule.values[row]
        shown = stamp_text(value) if rule.values is bars.stamps else float(value)
        more = f" and {count - 1} more" if count > 1 else ""
        findings.append(
            f"row {row}{more} (closed {stamp_text(bars.stamps[row])}): {rule.text}, found {shown}"
        )
        found.append(shown)
    if len(rules) > MAX_FINDINGS:
        findings.append(f"{len(rules) - MAX_FINDINGS} more rules are broken")
    remedies = " ".join(dict.fromkeys(rule.remedy for rule in rules[:MAX_FINDINGS]))
    raise DataError(bars.symbol, "must hold clean bars: " + "; ".join(findings), found, remedies)


def _check_shape(bars: Bars) -> None:
    """Lengths, the number of rows and the bar length; the rules on rows need these to hold."""
    if bars.bar_seconds <= 0:
        raise DataError(
            f"{bars.symbol}.bar_seconds",
            "must be positive",
            bars.bar_seconds,
            "Give the length of one bar in seconds, such as 3600.",
        )
    shapes = {name: getattr(bars, name).shape for name in ("stamps", *PRICE_COLUMNS, "volume")}
    if set(shapes.values()) != {(len(bars),)}:
        raise DataError(
            bars.symbol,
            "must have one stamp, four prices and a volume per row",
            shapes,
            "Give arrays of one dimension and equal length.",
        )
    if len(bars) < 2:
        raise DataError(
            bars.symbol, "must have at least 2 rows", len(bars), "Use a longer history."
        )


def _stamp_rules(bars: Bars) -> list[_Rule]:
    """The rules on time."""
    steps = np.diff(bars.stamps)
    half_bar = bars.bar_seconds * NANOSECONDS // 2
    first = np.zeros(1, dtype=bool)
    return [
        _Rule(
            np.concatenate((first, steps <= 0)),
            "stamp must come after the row before it",
            bars.stamps,
            "Sort the rows by time and drop duplicates.",
        ),
        _Rule(
            np.concatenate((first, (steps > 0) & (steps < half_bar))),
            f"stamp must be at least half a bar ({bars.bar_seconds / 2:g} s) after the row before",
            bars.stamps,
            "Give the true bar length, or drop the extra row.",
        ),
    ]


def _value_rules(bars: Bars) -> list[_Rule]:
    """The rules on prices and volume."""
    clean = "Repair or drop the row before importing it."
    rules = []
    for name in PRICE_COLUMNS:
        price = getattr(bars, name)
        rules.append(_Rule(~np.isfinite(price), f"{name} must be finite", price, clean))
    for name in PRICE_COLUMNS:
        price = getattr(bars, name)
        # NaN and infinities were reported above.
        broken = np.isfinite(price) & (price <= 0)
        remedy = (
            "Let the importer drop such rows or keep them by an explicit policy; "
            "bars need positive prices."
        )
        rules.append(_Rule(broken, f"{name} must be positive", price, remedy))
    top = np.maximum(np.maximum(bars.open, bars.close), bars.low)
    bottom = np.minimum(np.minimum(bars.open, bars.close), bars.high)
    rules.append(
        _Rule(bars.high < top, "high must be at least open, close and low", bars.high, clean)
    )
    rules.append(
        _Rule(bars.low > bottom, "low must be at most open, close and high", bars.low, clean)
    )
    broken = ~np.isfinite(bars.volume) | (bars.volume < 0)
    rules.append(_Rule(broken, "volume must be finite and not negative", bars.volume, clean))
    return rules


def _columns(frame: pd.DataFrame, symbol: str) -> dict[str, Float]:
    """Price and, where present, volume columns by lower-case name, float64 [T]."""
    wanted = (*PRICE_COLUMNS, "volume")
    names = [str(name).strip().lower() for name in frame.columns]
    columns: dict[str, Float] = {}
    for position, name in enumerate(names):
        if name not in wanted:
            continue
        if name in columns:
            raise DataError(
                symbol, f"must have one column named {name!r}", list(frame.columns), "Drop one."
            )
        try:
            columns[name] = frame.iloc[:, position].to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{symbol}.{name}", "must be numeric", str(error), "Convert the column to numbers."
            ) from error
    missing = [name for name in PRICE_COLUMNS if name not in columns]
    if missing:
        raise DataError(
            symbol,
            f"must have the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            list(frame.columns),
            "Name the columns open, high, low, close and volume.",
        )
    return columns
