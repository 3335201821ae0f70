# SPDX-License-Identifier: Apache-2.0
"""What Yahoo says today against what was kept: row by row, and a guess at the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtquant.core.errors import DataError
from mtquant.data.actions import Actions, ex_day
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, stamp_text

Policy = Literal["keep", "replace", "refuse"]

DAY_NS = 86_400 * NANOSECONDS
# Yahoo sends 32-bit floats, which are exact to 6e-8; a tenth of a basis point is nobody's trade.
PRICE_TOLERANCE = 1e-5
# Late reports keep trickling into the volume of the last days.
VOLUME_TOLERANCE = 0.01
# A common factor beyond this, in at least so many rows, is no correction but another unit.
LEAST_RESCALE, LEAST_ROWS = 1.05, 3
SAME_FACTOR = 1e-3


@dataclass(frozen=True)
class Revision:
    """One figure that differs.

    Attributes:
        stamp: Close stamp of the bar, UTC nanoseconds.
        column: open, high, low, close or volume; ``"bar"`` where one side has no such bar.
        kept: The cached figure; NaN for a bar that was not there.
        now: What Yahoo says; NaN for a bar that is gone.
    """

    stamp: int
    column: str
    kept: float
    now: float

    def __str__(self) -> str:
        if self.column != "bar":
            return (
                f"{stamp_text(self.stamp)} {self.column} was {self.kept:.10g}, is {self.now:.10g}"
            )
        return f"{stamp_text(self.stamp)} bar {'is new' if np.isnan(self.kept) else 'is gone'}"


def compare(kept: Bars, fresh: Bars) -> tuple[Revision, ...]:
    """Differences in the time that both cover, oldest first; prices and volumes as traded."""
    first = max(kept.stamps[0], fresh.stamps[0])
    last = min(kept.stamps[-1], fresh.stamps[-1])
    ours, theirs = kept.between(first, last + 1), fresh.between(first, last + 1)
    gone = ~np.isin(ours.stamps, theirs.stamps)
    new = ~np.isin(theirs.stamps, ours.stamps)
    found = [
        *(
            Revision(int(t), "bar", float(c), np.nan)
            for t, c in zip(ours.stamps[gone], ours.close[gone])
        ),
        *(
            Revision(int(t), "bar", np.nan, float(c))
            for t, c in zip(theirs.stamps[new], theirs.close[new])
        ),
    ]
    _, mine, other = np.intersect1d(ours.stamps, theirs.stamps, return_indices=True)
    for column in (*PRICE_COLUMNS, "volume"):
        was, now = getattr(ours, column)[mine], getattr(theirs, column)[other]
        tolerance = VOLUME_TOLERANCE if column == "volume" else PRICE_TOLERANCE
        changed = np.abs(now - was) > tolerance * np.maximum(np.abs(was), np.abs(now))
        found += [
            Revision(int(ours.stamps[mine[k]]), column, float(was[k]), float(now[k]))
            for k in np.flatnonzero(changed)
        ]
    return tuple(sorted(found, key=lambda revision: revision.stamp))


def rescaling(revisions: tuple[Revision, ...]) -> float | None:
    """The factor by which Yahoo's closes were multiplied, if one explains them all."""
    ratios = np.array([r.now / r.kept for r in revisions if r.column == "close"])
    if len(ratios) < LEAST_ROWS or np.ptp(ratios) > SAME_FACTOR * ratios.min():
        return None
    factor = float(np.median(ratios))
    return factor if max(factor, 1.0 / factor) > LEAST_RESCALE else None


def refuse_rescaling(name: str, factor: float, fresh: Actions) -> None:
    """Refuses to put bars of two units into one series, and names the split behind it.

    Raises:
        DataError: Always.
    """
    reason = "no split of that size is listed: it may appear in some days"
    for ratio, stamp in zip(fresh.split_ratio, fresh.ex_stamps):
        if min(abs(factor / ratio - 1), abs(factor * ratio - 1)) < SAME_FACTOR and ratio != 1.0:
            split = f"the split {ratio:g}:1 of {ex_day(stamp)}"
            reason = f"{split} is listed, but not all prices are divided yet"
    raise DataError(
        name,
        "must be answered in the unit of the cached bars",
        f"prices as traded are multiplied by {factor:.6g}; {reason}",
        "Try again in some days, or replace the whole history (revised: replace).",
    )


def merge(kept: Bars, fresh: Bars, policy: Policy) -> Bars:
    """One series of both: of bars that both have, the cached ones, or those of today."""
    inner, outer = (kept, fresh) if policy == "keep" else (fresh, kept)
    before = outer.stamps < inner.stamps[0]
    after = outer.stamps > inner.stamps[-1]
    columns = {
        name: np.concatenate(
            (getattr(outer, name)[before], getattr(inner, name), getattr(outer, name)[after])
        )
        for name in ("stamps", *PRICE_COLUMNS, "volume")
    }
    return Bars(
        symbol=kept.symbol, quote=kept.quote, bar_seconds=kept.bar_seconds, notes=(), **columns
    )


def merge_actions(
    kept: Actions, fresh: Actions, fresh_bars: Bars, policy: Policy
) -> tuple[Actions, tuple[str, ...]]:
    """Actions of both, and in words what Yahoo says differently today.

    Keeping means that a cached action stays as it is; one that was not listed before is added.
    """
    covered = kept.ex_stamps > fresh_bars.stamps[0] - DAY_NS
    ours = {int(s): (float(r), float(d)) for s, r, d in _rows(kept)}
    theirs = {int(s): (float(r), float(d)) for s, r, d in _rows(fresh)}
    said = []
    for stamp in kept.ex_stamps[covered]:
        was, now = ours[int(stamp)], theirs.get(int(stamp))
        if now is None or not np.allclose(was, now, rtol=1e-4, atol=0.0):
            day = ex_day(stamp)
            shown = "gone" if now is None else f"split {now[0]:g}:1, dividend {now[1]:g}"
            said.append(f"action of {day} was split {was[0]:g}:1, dividend {was[1]:g}, is {shown}")
    if policy == "replace":
        ours = {int(s): ours[int(s)] for s in kept.ex_stamps[~covered]}
        merged = {**ours, **theirs}
    else:
        merged = {**theirs, **ours}
    stamps = sorted(merged)
    ratios, dividends = ([merged[stamp][k] for stamp in stamps] for k in (0, 1))
    return Actions(kept.symbol, np.array(stamps), np.array(ratios), np.array(dividends)), tuple(
        said
    )


def _rows(actions: Actions) -> zip[tuple[np.int64, np.float64, np.float64]]:
    return zip(actions.ex_stamps, actions.split_ratio, actions.dividend)
