# SPDX-License-Identifier: Apache-2.0
"""How many tries there really were, given that they resemble each other.

Source: Galwey, "A new measure of the effective number of tests, a practical tool for comparing
families of non-independent significance tests", Genetic Epidemiology 33 (2009):
``(sum sqrt(lambda))^2 / sum lambda`` over the eigenvalues of the correlation matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mtquant.core.trials import Series, TrialLedger

if TYPE_CHECKING:
    import pandas as pd

Float = NDArray[np.float64]

LEAST_SHARED_BARS = 20  # fewer say nothing about a correlation


@dataclass(frozen=True)
class Tried:
    """What was looked at before a policy was chosen.

    Attributes:
        trials: Configurations and seeds that were looked at.
        effective: To how many independent ones they amount, at least 1.
    """

    trials: int
    effective: float

    @classmethod
    def of(cls, ledger: TrialLedger) -> Self | None:
        """What a trial ledger has on record; None if nothing.

        The returns of a trial are the mean of those of its policies at each bar. Two trials that
        share fewer than 20 bars count as independent. A trial whose returns never varied counts in
        `trials` alone: it could not have been the lucky best.

        Raises:
            RunError: The returns of a trial are missing or damaged.
        """
        rows = ledger.rows()
        if not rows:
            return None
        import pandas as pd

        frame = pd.DataFrame({str(row["id"]): _together(ledger.returns(row)) for row in rows})
        moving = frame.loc[:, frame.std() > 0.0]
        if moving.shape[1] < 2:
            return cls(len(rows), 1.0)
        correlation = moving.corr(min_periods=LEAST_SHARED_BARS).fillna(0.0).to_numpy(copy=True)
        return cls(len(rows), effective_number(correlation))


def effective_number(correlation: Float) -> float:
    """To how many independent series correlated ones amount.

    Correlations below 0 count as 0: eigenvalues know no sign, and of two opposite strategies one is
    always up, so that they are two tries and not one.

    Args:
        correlation: float64 [N, N], finite, ones on the diagonal.

    Returns:
        A number from 1 (all equal) to N (independent); k copies of m independent series give m.
    """
    matrix = np.maximum(correlation, 0.0)
    np.fill_diagonal(matrix, 1.0)
    spread = np.maximum(np.linalg.eigvalsh(matrix), 0.0)  # pairs over other bars: not a covariance
    return float(np.clip(np.sqrt(spread).sum() ** 2 / spread.sum(), 1.0, len(matrix)))


def _together(series: dict[str, Series]) -> pd.Series:
    """Mean return of the policies that have a bar, by close stamp."""
    import pandas as pd

    every = [pd.Series(own.returns, index=own.stamps) for own in series.values()]
    return pd.concat(every, axis=1).mean(axis=1) if every else pd.Series(dtype=np.float64)
