# SPDX-License-Identifier: Apache-2.0
"""What a walk-forward evaluation leaves behind, as plain records: folds, tracks, baselines, scores.

A track is one account that lived through the test bars of all folds, policy after policy: the fold
that knows nothing of a bar trades it. Reports and statistics read nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.data.folds import Fold, Scheme
from mtquant.data.splits import Part
from mtquant.evaluation.metrics import max_drawdown, periods_per_year, sharpe, total_return
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]


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
        """Sharpe ratio per year; 0 where it is undefined, for want of trades."""
        found = sharpe(self.ledger.column("simple_return"), periods_per_year(self.ledger.stamps))
        return float(np.nan_to_num(found))


@dataclass(frozen=True)
class FoldScore:
    """What a track earned in the test of one fold; it may begin with positions of the fold before.

    Attributes:
        fold: `Fold.number`.
        phase, seed, path: Of the track.
        bars: Lived through; 0 where the account was ruined before.
        total_return: A fraction.
        sharpe: Per year; 0 where it is undefined, for want of trades.
        max_drawdown: From the highest close in the test, a fraction.
        turnover_per_bar: Traded notional over equity.
        mean_gross: Mean of the sum of absolute exposures, in units of equity.
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

    @classmethod
    def of(cls, fold: int, test: Part, track: Track) -> FoldScore:
        """Measures the bars of a test."""
        ledger = track.ledger
        inside = (ledger.stamps >= test.start_ns) & (ledger.stamps < test.end_ns)
        equity = ledger.equity[inside]
        begin = ledger.column("equity_before")[inside][0] if inside.any() else float("nan")

        def mean(name: str) -> float:
            return float(ledger.column(name)[inside].mean()) if inside.any() else float("nan")

        ratio = sharpe(ledger.column("simple_return")[inside], periods_per_year(ledger.stamps))
        return cls(
            fold,
            track.phase,
            track.seed,
            track.path,
            int(inside.sum()),
            total_return(equity, begin),
            float(np.nan_to_num(ratio)),
            max_drawdown(equity, begin),
            mean("turnover"),
            mean("gross"),
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
