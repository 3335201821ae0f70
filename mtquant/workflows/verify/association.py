# SPDX-License-Identifier: Apache-2.0
"""How closely a column goes with returns that come later, against what chance would do.

Spearman's rank correlation is compared with that of all circular shifts of the column against the
returns (Politis, Romano 1992, "A circular block-resampling procedure for stationary data"; here
every shift is taken once, by the fast Fourier transform). A shift keeps how the column hangs
together in time, so slow or periodic columns get the wide chance that they deserve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
ALARM = 6.0  # deviations of chance; of 10,000 columns of noise none is expected to reach it
LEAST_ROWS = 100
NEAR = 30  # shifts this small still see the same bars


@dataclass(frozen=True)
class Association:
    """One column against one series of returns.

    Attributes:
        correlation: Spearman's, at no shift.
        deviations: Its distance from the mean of all shifts, in their standard deviations.
        rows: Rows that were compared.
        ahead: Bars that the returns reach ahead.
    """

    correlation: float
    deviations: float
    rows: int
    ahead: int

    @property
    def alarming(self) -> bool:
        """Whether chance cannot be it."""
        return abs(self.deviations) > ALARM


def association(column: Numbers, returns: Numbers, ahead: int = 1) -> Association:
    """Of a column [T] and returns [T] of the same rows; NaN in either leaves a row out."""
    known = np.isfinite(column) & np.isfinite(returns)
    rows = int(known.sum())
    if rows < LEAST_ROWS:
        return Association(0.0, 0.0, rows, ahead)
    left, right = _centred_ranks(column[known]), _centred_ranks(returns[known])
    size = float(np.sqrt((left**2).sum() * (right**2).sum()))
    if size == 0.0:
        return Association(0.0, 0.0, rows, ahead)
    spectrum = np.fft.rfft(left) * np.conj(np.fft.rfft(right))
    shifted = np.fft.irfft(spectrum, rows) / size
    away = shifted[NEAR : rows - NEAR]
    spread = float(away.std())
    distance = (float(shifted[0]) - float(away.mean())) / spread if spread > 0.0 else 0.0
    return Association(float(shifted[0]), distance, rows, ahead)


def next_returns(closes: Numbers, ahead: int) -> Numbers:
    """Log return of the `ahead` bars behind each row, float64 [T]; NaN at the end."""
    found = np.full(len(closes), np.nan)
    with np.errstate(all="ignore"):
        found[: len(closes) - ahead] = np.log(closes[ahead:] / closes[: len(closes) - ahead])
    return found


def _centred_ranks(values: Numbers) -> NDArray[np.float64]:
    """Mean ranks of ties, less their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2.0)[place]
    return ranks - ranks.mean()
