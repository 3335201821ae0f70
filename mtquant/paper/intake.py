# SPDX-License-Identifier: Apache-2.0
"""Whether a bar can be believed; every doubt has a name, and docs/paper.md says what it does.

missing-value   a price is NaN, infinite, or not positive: the bar is dropped
broken-bar      high or low is not the extreme, or the volume is negative: dropped
unknown-symbol  nobody trades it here: dropped
unclosed        it closes in the future of the feed's clock by less than a bar: dropped
clock-skew      it closes further in the future than that: dropped, and the guard halts
duplicate       the same bar again: dropped
revised         another bar of a stamp that was taken: dropped, what was traded on stays
out-of-order    it closed before a bar that was taken: dropped
late            its stamp was taken without it, within the grace of the others: dropped
jump            its open is far from the last close: held back until a second bar confirms it
gap             bars are missing before it: taken, and noted
stale           it closed long before now: taken for features and marks, no decision is made
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from mtquant.core.paper_config import PaperConfig
from mtquant.data.bars import NANOSECONDS
from mtquant.paper.feeds import Delivery, RawBar

Remark = tuple[str, str, str]  # kind, subject, detail
HALTING = frozenset({"clock-skew"})


@dataclass(frozen=True)
class Taken:
    """What is left of a delivery.

    Attributes:
        stamp_ns: Stamp of the row.
        bars: Column of the instrument -> its bar; may be empty, and then there is no row.
        remarks: What was noticed.
        stale: Whether the row is too old to decide on.
        halting: Why the guard has to halt; empty where it has not.
    """

    stamp_ns: int
    bars: dict[int, RawBar]
    remarks: tuple[Remark, ...]
    stale: bool
    halting: str = ""


@dataclass
class Intake:
    """Judges bars, and remembers what it has to for that.

    Attributes:
        symbols: N instruments.
        bar_seconds: Length of a bar.
        config: What is believed.
        max_age_bars: Age beyond which a row is stale; infinite for replays.
        last_ns: Stamp of the last row taken; None before the first.
        last: Column of the instrument -> its last bar.
        doubted: Column -> close of a bar that jumped and waits to be confirmed.
    """

    symbols: tuple[str, ...]
    bar_seconds: int
    config: PaperConfig
    max_age_bars: float
    last_ns: int | None = None
    last: dict[int, RawBar] = field(default_factory=dict)
    doubted: dict[int, float] = field(default_factory=dict)

    def judge(self, delivery: Delivery, now_ns: int) -> Taken:
        """What can be believed of a delivery.

        Args:
            delivery: What a feed brought.
            now_ns: The feed's clock.
        """
        remarks: list[Remark] = list(delivery.remarks)
        taken: dict[int, RawBar] = {}
        halting = ""
        for bar in delivery.bars:
            found = self._doubt(bar, delivery.stamp_ns, now_ns, taken)
            if found is None:
                taken[self.symbols.index(bar.symbol)] = bar
                continue
            kind, detail = found
            remarks.append((kind, bar.symbol, detail))
            if kind in HALTING:
                halting = kind  # the detail is a remark: reasons are few and do not change
        if taken:
            remarks += self._gaps(delivery.stamp_ns, taken)
        age = (now_ns - delivery.stamp_ns) / (self.bar_seconds * NANOSECONDS)
        stale = age > self.max_age_bars
        if stale and taken:
            remarks.append(("stale", "", f"{age:.1f} bars old"))
        return Taken(delivery.stamp_ns, taken, tuple(remarks), stale, halting)

    def take(self, taken: Taken) -> None:
        """Remembers a row that was lived through."""
        self.last_ns = taken.stamp_ns
        self.last.update(taken.bars)

    def _doubt(
        self, bar: RawBar, stamp_ns: int, now_ns: int, taken: dict[int, RawBar]
    ) -> tuple[str, str] | None:
        if bar.symbol not in self.symbols:
            return "unknown-symbol", "not among the instruments"
        n = self.symbols.index(bar.symbol)
        ahead = (bar.stamp_ns - now_ns) / NANOSECONDS
        if ahead > self.bar_seconds + self.config.max_clock_skew_seconds:
            return "clock-skew", f"closes {ahead:.0f} s in the future of the clock"
        if ahead > self.config.max_clock_skew_seconds:
            return "unclosed", f"closes only in {ahead:.0f} s"
        broken = _broken(bar)
        if broken is not None:
            return broken
        if n in taken:
            return "duplicate", "twice in one delivery"
        before = self.last.get(n)
        if before is not None and bar.stamp_ns == before.stamp_ns:
            same = bar == before
            return ("duplicate" if same else "revised"), f"{_text(before)} -> {_text(bar)}"
        if before is not None and bar.stamp_ns < before.stamp_ns:
            return "out-of-order", f"closed before {before.stamp_ns}"
        if self.last_ns is not None and bar.stamp_ns <= self.last_ns:
            return "late", "its row was taken without it"
        if bar.stamp_ns != stamp_ns:
            return "out-of-order", f"closed at {bar.stamp_ns}, its row at {stamp_ns}"
        return self._jumped(n, bar)

    def _jumped(self, n: int, bar: RawBar) -> tuple[str, str] | None:
        """A bar far from the last close is believed once a second one is near it."""
        before = self.last.get(n)
        if before is None:
            return None
        near = self.config.max_jump_frac
        if max(abs(bar.open / before.close - 1.0), abs(bar.close / before.close - 1.0)) <= near:
            self.doubted.pop(n, None)
            return None
        waiting = self.doubted.get(n)
        if waiting is not None and abs(bar.open / waiting - 1.0) <= near:
            self.doubted.pop(n)
            return None
        self.doubted[n] = bar.close
        return "jump", f"{before.close:g} -> {bar.open:g}; waits for a second bar"

    def _gaps(self, stamp_ns: int, taken: dict[int, RawBar]) -> Sequence[Remark]:
        """Rows that are missing before this one, where every market was silent."""
        if self.last_ns is None:
            return ()
        missing = (stamp_ns - self.last_ns) / (self.bar_seconds * NANOSECONDS) - 1.0
        if missing < 1.0:
            return ()
        return (("gap", "", f"{missing:.0f} bar lengths without a bar"),)


def _broken(bar: RawBar) -> tuple[str, str] | None:
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(math.isfinite(price) and price > 0.0 for price in prices):
        return "missing-value", _text(bar)
    if bar.high < max(prices) or bar.low > min(prices):
        return "broken-bar", _text(bar)
    if not (math.isfinite(bar.volume) and bar.volume >= 0.0):
        return "broken-bar", f"volume {bar.volume}"
    return None


def _text(bar: RawBar) -> str:
    return f"{bar.open:g}/{bar.high:g}/{bar.low:g}/{bar.close:g}"
