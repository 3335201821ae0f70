# SPDX-License-Identifier: Apache-2.0
"""What Yahoo says today against what was kept: row by row, and a guess at the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtquant.core.errors import DataError
from mtquant.data.actions import Actions, ex_day, later_shares
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, stamp_text

Policy = Literal["keep", "replace", "refuse"]

DAY_NS = 86_400 * NANOSECONDS
# Yahoo sends 32-bit floats, which are exact to 6e-8; a tenth of a basis point is nobody's trade.
PRICE_TOLERANCE = 1e-5
ACTION_TOLERANCE = 1e-4
# Yahoo writes dividends in today's shares with six decimals (AAPL, 1987-05-11: 0.000536, of which
# 224 make the 0.12 that was paid), so a dividend as paid is known to this times later splits.
DIVIDEND_STEP = 1e-6
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

    @property
    def is_new(self) -> bool:
        """Whether the cache had no such bar."""
        return self.column == "bar" and bool(np.isnan(self.kept))

    def __str__(self) -> str:
        if self.column != "bar":
            return (
                f"{stamp_text(self.stamp)} {self.column} was {self.kept:.10g}, is {self.now:.10g}"
            )
        return f"{stamp_text(self.stamp)} bar {'is new' if self.is_new else 'is gone'}"


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


def refuse_hole(name: str, kept: Bars, fresh: Bars) -> None:
    """Refuses an answer that begins after the cached bars end: what lies between is nowhere.

    An update asks for the last cached days again, so this is an answer cut short, or a cache of
    hours or minutes that is older than Yahoo's memory.

    Raises:
        DataError: The two do not overlap.
    """
    if fresh.stamps[0] <= kept.stamps[-1]:
        return
    last, first = stamp_text(kept.stamps[-1]), stamp_text(fresh.stamps[0])
    raise DataError(
        name,
        f"must be answered from the last cached bar on ({last})",
        f"an answer that begins with {first}",
        "Try again later. If Yahoo does not reach back that far any more, start the cache afresh "
        "(revised: replace; copy it first to keep the older bars).",
    )


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
    """One series of both.

    Keeping means that a cached bar stays as it is; one that was missing is filled in. Replacing
    means that Yahoo's word counts for all the time that it covers, also where it has no bar.
    """
    if policy == "replace":
        covered = (kept.stamps >= fresh.stamps[0]) & (kept.stamps <= fresh.stamps[-1])
        first, second, used = fresh, kept, ~covered
    else:
        first, second, used = kept, fresh, ~np.isin(fresh.stamps, kept.stamps)
    order = np.argsort(np.concatenate((first.stamps, second.stamps[used])))
    columns = {
        name: np.concatenate((getattr(first, name), getattr(second, name)[used]))[order]
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
    rounding = DIVIDEND_STEP * later_shares(kept.ex_stamps + 1, fresh)
    ours = {int(s): (float(r), float(d)) for s, r, d in _rows(kept)}
    theirs = {int(s): (float(r), float(d)) for s, r, d in _rows(fresh)}
    said = []
    for stamp, step in zip(kept.ex_stamps[covered], rounding[covered]):
        was, now = ours[int(stamp)], theirs.get(int(stamp))
        if now is None or not _same_action(was, now, step):
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


def _same_action(was: tuple[float, float], now: tuple[float, float], step: float) -> bool:
    """Whether ratio and dividend are the same but for Yahoo's rounding."""
    ratios_agree = np.isclose(was[0], now[0], rtol=ACTION_TOLERANCE, atol=0.0)
    return bool(ratios_agree and np.isclose(was[1], now[1], rtol=ACTION_TOLERANCE, atol=step))


def _rows(actions: Actions) -> zip[tuple[np.int64, np.float64, np.float64]]:
    return zip(actions.ex_stamps, actions.split_ratio, actions.dividend)
