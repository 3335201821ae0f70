# SPDX-License-Identifier: Apache-2.0
"""What a walk-forward evaluation leaves behind, as plain records: folds, tracks, baselines, scores.

A track is one account that lived through the test bars of all folds, policy after policy: the fold
that knows nothing of a bar trades it. Reports and statistics read nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.outcome import STATUS_BANKRUPT
from mtquant.data.folds import Fold, Scheme
from mtquant.data.splits import Part
from mtquant.evaluation.metrics import max_drawdown, periods_per_year, sharpe, total_return
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]

RUINED = -math.inf
"""Sharpe ratio of an account that was ruined: its log growth is without bound, and every account
that lives is the better one. The ratio of the bars before is about another account.
"""

RUIN_COUNTS = (
    "A ruined account counts in every mean: as a return of -100 % in the tests behind its ruin, "
    "and as the lowest Sharpe ratio there is in that test and those behind it."
)


@dataclass(frozen=True)
class Track:
    """One account through the tests of all folds.

    Attributes:
        phase: Phase of training that the policies come from: 1, 2 or 3.
        seed: Seed that all of them were trained from.
        path: Which way through the history, from 0; walk-forwards have one.
        ledger: The account.
        weights: Fold number -> what was trained -> sha256 of its weights.
    """

    phase: int
    seed: int
    path: int
    ledger: Ledger
    weights: Mapping[int, Mapping[str, str]]

    @property
    def name(self) -> str:
        """The ledger's, for example ``"phase 3, seed 7"``."""
        return self.ledger.name

    @property
    def sharpe(self) -> float:
        """Sharpe ratio per year; 0 where it is undefined, for want of trades; `RUINED`."""
        if self.ruined_ns is not None:
            return RUINED
        found = sharpe(self.ledger.column("simple_return"), periods_per_year(self.ledger.stamps))
        return float(np.nan_to_num(found))

    @property
    def ruined_ns(self) -> int | None:
        """Close at which the account went bankrupt; None where it did not."""
        ends = self.ledger.stamps[self.ledger.column("status") == STATUS_BANKRUPT]
        return int(ends[0]) if len(ends) else None


@dataclass(frozen=True)
class FoldScore:
    """What a track earned in the test of one fold; it may begin with positions of the fold before.

    Attributes:
        fold: `Fold.number`.
        phase, seed, path: Of the track.
        bars: Lived through; 0 where the account was ruined before.
        total_return: A fraction; -1 where the account was ruined before: nobody can trade it.
        sharpe: Per year; 0 where it is undefined, for want of trades; `RUINED` where the account
            was ruined in the test or before.
        max_drawdown: From the highest close in the test, a fraction; 1 behind the ruin.
        turnover_per_bar: Traded notional over equity; 0 behind the ruin.
        mean_gross: Mean of the sum of absolute exposures, in units of equity; 0 behind the ruin.
        ruined: Whether the account was ruined in the test or before.
    """

    fold: int
    phase: int
    seed: int
    path: int
    bars: int
    total_return: float
    sharpe: float
    max_drawdown: float
    turnover_per_bar: float
    mean_gross: float
    ruined: bool

    @classmethod
    def of(cls, fold: int, test: Part, track: Track) -> FoldScore:
        """Measures the bars of a test."""
        ledger, key = track.ledger, (fold, track.phase, track.seed, track.path)
        ruined = track.ruined_ns is not None and track.ruined_ns < test.end_ns
        if track.ruined_ns is not None and track.ruined_ns < test.start_ns:
            return cls(*key, 0, -1.0, RUINED, 1.0, 0.0, 0.0, ruined)
        inside = (ledger.stamps >= test.start_ns) & (ledger.stamps < test.end_ns)
        equity = ledger.equity[inside]
        begin = ledger.column("equity_before")[inside][0] if inside.any() else float("nan")

        def mean(name: str) -> float:
            return float(ledger.column(name)[inside].mean()) if inside.any() else float("nan")

        ratio = sharpe(ledger.column("simple_return")[inside], periods_per_year(ledger.stamps))
        return cls(
            *key,
            int(inside.sum()),
            total_return(equity, begin),
            RUINED if ruined else float(np.nan_to_num(ratio)),
            max_drawdown(equity, begin),
            mean("turnover"),
            mean("gross"),
            ruined,
        )


@dataclass(frozen=True)
class WalkForward:
    """Everything that was tested, for reports.

    Attributes:
        scheme: How the history was cut.
        folds: The cuts.
        tracks: By phase, then seed, then path; all begin at the same bar.
        baselines: Ledgers on the same bars.
        scores: Of every track in every test.
    """

    scheme: Scheme
    folds: tuple[Fold, ...]
    tracks: tuple[Track, ...]
    baselines: tuple[Ledger, ...]
    scores: tuple[FoldScore, ...]

    @property
    def reservations(self) -> tuple[str, ...]:
        """Why no track of it is evidence, whatever its figures."""
        if self.scheme != "combinatorial":
            return ()
        return ("policies learnt from bars behind those they were tested on",)

    @property
    def phases(self) -> tuple[int, ...]:
        """Phases that were tested, ascending."""
        return tuple(sorted({track.phase for track in self.tracks}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds, ascending."""
        return tuple(sorted({track.seed for track in self.tracks}))

    def of_phase(self, phase: int) -> tuple[Track, ...]:
        """Its tracks."""
        return tuple(track for track in self.tracks if track.phase == phase)

    @property
    def ruined(self) -> str:
        """How many tracks of each phase were ruined, as a sentence; empty where none was."""
        counts = []
        for phase in self.phases:
            tracks = self.of_phase(phase)
            lost = sum(track.ruined_ns is not None for track in tracks)
            if lost:
                what = "paths" if self.scheme == "combinatorial" else "seeds"
                counts.append(f"{lost} of {len(tracks)} {what} of phase {phase} were ruined")
        return f"{'; '.join(counts)}." if counts else ""

    def middle(self, phase: int) -> Track:
        """The track in the middle by Sharpe ratio, of an even number the lower of the two: neither
        the lucky nor the unlucky seed.
        """
        ranked = sorted(self.of_phase(phase), key=lambda track: (track.sharpe, track.name))
        return ranked[(len(ranked) - 1) // 2]

    @property
    def headline(self) -> Track:
        """The track that stands for the evaluation: the middle one of the last phase."""
        return self.middle(self.phases[-1])


def returns_of(ledgers: list[Ledger]) -> Float:
    """Simple returns side by side, float64 [T, N]; behind its ruin an account earns 0."""
    bars = max(len(ledger) for ledger in ledgers)
    returns = np.zeros((bars, len(ledgers)))
    for n, ledger in enumerate(ledgers):
        returns[: len(ledger), n] = ledger.column("simple_return")
    return returns
