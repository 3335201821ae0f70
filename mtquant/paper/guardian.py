# SPDX-License-Identifier: Apache-2.0
"""Who may trade, in paper trading: the guard of `mtquant/risk/guard.py` and what only a live loop
can know.

Two sorts of doubts come on top of the kernel's rules (drawdown, daily loss, value at risk, stale
data, unknown account):

* *standing* ones hold as long as their fact does: an order of unknown fate, a book beyond its
  limits, features outside the training range, a missed heartbeat. Positions may only shrink.
* *lasting* ones halt until a person resumes: `halt` from another process, an action that is not
  finite, a broken clock, too many orders, a mismatch, a feed or broker that cannot be used.

The mode is the worst that anybody asks for. What is not known counts as the worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import GuardConfig
from mtquant.core.paper_config import PaperConfig
from mtquant.core.states import Arrays
from mtquant.risk.guard import (
    G_EQUITY,
    G_MODE,
    G_PEAK,
    G_WHY,
    GUARD_ACTIVE,
    GUARD_COLUMNS,
    GUARD_HALTED,
    GUARD_REDUCING,
    guard_reasons,
    guard_settings,
    guarded,
    open_guard,
    reset_guard,
    update_guard,
)

# Caution that began at a drawdown ends at this share of it: around the breaker targets would
# otherwise be halved and doubled from bar to bar.
CAUTION_ENDS = 0.8
DAY_NS = 86_400 * 1_000_000_000
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Transition:
    """A change of mode or of its reasons."""

    before: int
    after: int
    reasons: tuple[str, ...]
    actor: str


@dataclass
class Guardian:
    """The guard of one account.

    Args:
        guard: Rules of the kernel.
        paper: The others.
        equity: At the opening.
        stamp_ns: Of the opening.

    Attributes:
        lasting: Reason -> who gave it; a person has to resume.
        standing: Reasons that hold now.
        flattening: A person closes everything: whatever the mode, positions may shrink until
            nothing is held.
        cautious: The first of the three circuit breakers has tripped.
    """

    guard: GuardConfig
    paper: PaperConfig
    equity: float
    stamp_ns: int
    lasting: dict[str, str] = field(default_factory=dict)
    standing: set[str] = field(default_factory=set)
    flattening: bool = False
    cautious: bool = False

    def __post_init__(self) -> None:
        self._settings = guard_settings(self.guard)
        self._state = np.zeros(GUARD_COLUMNS)
        open_guard(self._state, self.equity, self.stamp_ns // DAY_NS)
        self._shown = (self.mode, self.reasons())

    @property
    def mode(self) -> int:
        """GUARD_ACTIVE, GUARD_REDUCING or GUARD_HALTED."""
        if self.lasting:
            return GUARD_HALTED
        kernel = int(self._state[G_MODE])
        return max(kernel, GUARD_REDUCING) if self.standing else kernel

    @property
    def drawdown(self) -> float:
        """Fall from the highest equity since the opening or the last resume."""
        return float(1.0 - self._state[G_EQUITY] / self._state[G_PEAK])

    @property
    def scale(self) -> float:
        """What targets are multiplied by."""
        return self.paper.caution_scale if self.cautious else 1.0

    def reasons(self) -> tuple[str, ...]:
        """Why the mode is what it is."""
        cautious = ("drawdown beyond the first breaker: targets scaled",) * self.cautious
        kernel = guard_reasons(self._state[G_WHY])
        return (*kernel, *sorted(self.standing), *sorted(self.lasting), *cautious)

    def see(self, equity: float, stamp_ns: int, exceeded: float, age_bars: float) -> None:
        """Takes in the facts of a bar; see `update_guard`."""
        update_guard(self._state, self._settings, equity, stamp_ns // DAY_NS, exceeded, age_bars)
        limit = self.paper.caution_drawdown_frac
        share = CAUTION_ENDS if self.cautious else 1.0
        self.cautious = limit is not None and self.drawdown >= share * limit

    def halt(self, reason: str, actor: str) -> None:
        """Nothing trades until `resume`."""
        self.lasting.setdefault(reason, actor)

    def doubt(self, reason: str, holds: bool) -> None:
        """A standing doubt begins, goes on or ends."""
        if holds:
            self.standing.add(reason)
        else:
            self.standing.discard(reason)

    def resume(self) -> None:
        """A person's word; drawdown and daily loss are measured anew."""
        self.lasting.clear()
        self.cautious = False
        reset_guard(self._state)

    def changed(self, actor: str) -> Transition | None:
        """The change since the last time that this was asked; None where there is none."""
        before, now = self._shown, (self.mode, self.reasons())
        if before == now:
            return None
        self._shown = now
        return Transition(before[0], now[0], now[1], actor)

    def allowed(self, targets: Float, held: Float) -> Float:
        """Targets that the mode allows, float64 [N]; a target that nobody asked for stays NaN."""
        mode = self.mode
        scaled = targets * self.scale if self.scale < 1.0 else targets
        if mode == GUARD_ACTIVE:
            return scaled
        return np.array(
            [guarded(float(w), float(h), mode) for w, h in zip(scaled, held, strict=True)]
        )

    def lets_through(self, order: float, position: float) -> bool:
        """The last look at an order, whatever planning made of the targets."""
        mode = GUARD_REDUCING if self.flattening else self.mode
        if mode == GUARD_HALTED:
            return False
        if mode == GUARD_REDUCING:
            return position * order < 0.0 and abs(order) <= abs(position)
        return bool(np.isfinite(order))

    def state(self) -> tuple[Arrays, dict[str, object]]:
        """What it remembers: the kernel's vector, and the words."""
        words: dict[str, object] = {
            "lasting": self.lasting,
            "standing": sorted(self.standing),
            "cautious": self.cautious,
            "shown": [self._shown[0], list(self._shown[1])],
        }
        return {"guard": self._state.copy()}, words

    def restore(self, arrays: Arrays, words: Mapping[str, object]) -> None:
        """Goes on from a `state`."""
        self._state[:] = arrays["guard"]
        lasting, standing, shown = words["lasting"], words["standing"], words["shown"]
        if isinstance(lasting, dict) and isinstance(standing, list) and isinstance(shown, list):
            self.lasting, self.standing = dict(lasting), set(standing)
            self._shown = (int(shown[0]), tuple(shown[1]))
        self.cautious = bool(words.get("cautious", self.scale < 1.0))


@dataclass
class Health:
    """Whether a model sees what it knows.

    Args:
        paper: The limits.
        mean, deviation: Of every entry of the observation in training, float64 [entries]; NaN where
            unknown, and such entries are not judged. None: nothing is judged.

    Attributes:
        outside: Share of the judged entries outside the training range at the last bar.
        drifted: Share whose running mean has drifted.
    """

    paper: PaperConfig
    mean: Float | None = None
    deviation: Float | None = None
    outside: float = 0.0
    drifted: float = 0.0

    def __post_init__(self) -> None:
        self._running = np.zeros(0 if self.mean is None else len(self.mean))
        self._seen = 0

    def see(self, values: NDArray[np.float32]) -> None:
        """Takes in one observation, float32 [entries]."""
        if self.mean is None or self.deviation is None:
            return
        judged = np.isfinite(self.mean) & (self.deviation > 0.0)
        count = max(1, int(judged.sum()))
        with np.errstate(invalid="ignore", divide="ignore"):
            away = np.where(judged, (values - self.mean) / self.deviation, 0.0)
        self._seen += 1
        memory = max(1.0 / self._seen, 1.0 / self.paper.drift_bars)
        self._running += memory * (away - self._running)
        limit = self.paper.feature_deviations
        self.outside = float((np.abs(away) > limit).sum() / count)
        far = np.abs(self._running) > self.paper.drift_deviations
        full = self._seen >= self.paper.drift_bars
        self.drifted = float(far.sum() / count) if full else 0.0

    @property
    def outside_range(self) -> bool:
        """Whether too many features are outside."""
        return self.outside > self.paper.max_outside_frac

    @property
    def has_drifted(self) -> bool:
        """Whether too many features have drifted."""
        return self.drifted > self.paper.max_outside_frac

    def state(self) -> Arrays:
        """What it remembers."""
        return {"running": self._running.copy(), "seen": np.array([self._seen])}

    def restore(self, arrays: Arrays) -> None:
        """Goes on from a `state`."""
        self._running = arrays["running"].copy()
        self._seen = int(arrays["seen"][0])
