# SPDX-License-Identifier: Apache-2.0
"""Scores of a set of forecasts, and how sure one may be of them.

Chances are float64 [M, K], in the order of the labels; for two classes calibration and Brier loss
are those of class 1, for more those of the class that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtquant.data.bars import NANOSECONDS
from mtquant.evaluation.significance.bootstrap import (
    LEVEL,
    Interval,
    mean_block_bars,
    percentile_interval,
    stationary_rows,
)
from mtquant.llm.rewards.betting import stated_chances
from mtquant.rewards.calibration import Reliability, reliability
from mtquant.rewards.scoring import brier_loss, log_loss

Float = NDArray[np.float64]
Labels = NDArray[np.int64]
Rows = NDArray[np.int64]

DAY = 86_400 * NANOSECONDS
NAN = float("nan")
SCORE_NAMES = ("accuracy", "log_loss", "brier", "roc_auc", "ece")
DRAWS = 200  # of statistics that are costly


class RowLosses(NamedTuple):
    """What is averaged, float64 [M] each."""

    hits: Float
    log_losses: Float
    brier_losses: Float


def row_losses(chances: Float, labels: Labels, says: Labels | None = None) -> RowLosses:
    """Hits and losses of each forecast.

    Chances below half a percent count as half a percent, as whole percent are rounded.

    Args:
        chances: float64 [M, K].
        labels: int64 [M].
        says: int64 [M], the class that is predicted; None: the likeliest, and a tie is half a hit.
    """
    best = chances == chances.max(axis=1, keepdims=True)
    hits = best[np.arange(len(labels)), labels] / best.sum(axis=1)
    if says is not None:
        hits = (says == labels).astype(np.float64)
    binary = chances.shape[1] == 2
    brier = brier_loss(chances[:, 1] if binary else chances, labels)
    return RowLosses(hits, log_loss(stated_chances(chances), labels), brier)


def roc_auc(scores: Float, outcomes: NDArray[np.int64]) -> float:
    """Area under the ROC curve: the chance that an outcome 1 has the larger score, ties half.

    Mann & Whitney 1947; Hanley & McNeil 1982. NaN where only one outcome happened.
    """
    from scipy.stats import rankdata

    ones = int(outcomes.sum())
    zeros = len(outcomes) - ones
    if ones == 0 or zeros == 0:
        return NAN
    ranks = rankdata(scores)[outcomes == 1].sum()
    return float((ranks - ones * (ones + 1) / 2.0) / (ones * zeros))


def mean_auc(chances: Float, labels: Labels) -> float:
    """ROC-AUC of class 1; for more classes the mean of one against the rest."""
    if chances.shape[1] == 2:
        return roc_auc(chances[:, 1], labels)
    areas = [
        roc_auc(chances[:, k], (labels == k).astype(np.int64)) for k in range(chances.shape[1])
    ]
    return float(np.mean(areas))


def calibration_of(chances: Float, labels: Labels) -> Reliability:
    """The reliability table of class 1, or of the class that is said."""
    if chances.shape[1] == 2:
        return reliability(chances[:, 1], labels)
    says = chances.argmax(axis=1)
    return reliability(chances.max(axis=1), (says == labels).astype(np.int64))


def forecast_scores(chances: Float, labels: Labels, says: Labels | None = None) -> dict[str, float]:
    """All scores of forecasts; NaN where there is none. Arguments as for `row_losses`."""
    if len(labels) == 0:
        names = ("reliability", "resolution", "uncertainty", "mean_confidence", "hit_rate_sure")
        return dict.fromkeys((*SCORE_NAMES, *names), NAN)
    losses, table = row_losses(chances, labels, says), calibration_of(chances, labels)
    confidence = chances.max(axis=1)
    sure = confidence >= np.quantile(confidence, 0.75)
    return {
        "accuracy": float(losses.hits.mean()),
        "log_loss": float(losses.log_losses.mean()),
        "brier": float(losses.brier_losses.mean()),
        "roc_auc": mean_auc(chances, labels),
        "ece": table.error,
        "reliability": table.reliability,
        "resolution": table.resolution,
        "uncertainty": table.uncertainty,
        "mean_confidence": float(confidence.mean()),
        "hit_rate_sure": float(losses.hits[sure].mean()),
    }


class Resamples:
    """Resampled histories: blocks of days, so that what happened on one day, or in one stretch of
    days, stays together (`significance/bootstrap.py`).

    Args:
        stamps: int64 [M], decisions, not falling; M >= 1.
        values: float64 [M], whose daily mean says how long blocks have to be.
        draws: Resamples.
        generator: Source of the draws.
    """

    def __init__(
        self,
        stamps: NDArray[np.int64],
        values: Float,
        draws: int,
        generator: np.random.Generator,
    ) -> None:
        self._starts = np.flatnonzero(np.diff(stamps // DAY, prepend=-1))
        self._counts = np.diff(np.append(self._starts, len(stamps)))
        daily = np.add.reduceat(values, self._starts) / self._counts
        block = mean_block_bars(daily)
        self._days = np.array(list(stationary_rows(len(daily), block, draws, generator)))

    @property
    def days(self) -> int:
        """Different days among the decisions."""
        return len(self._counts)

    def mean_interval(self, values: Float, level: float = LEVEL) -> Interval:
        """Interval of the mean of values [M]."""
        return self.ratio_interval(values, np.ones(len(values)), level)

    def ratio_interval(self, above: Float, below: Float, level: float = LEVEL) -> Interval:
        """Interval of a ratio of two means, of values [M] each."""
        sums = (np.add.reduceat(values, self._starts)[self._days] for values in (above, below))
        upper, lower = (values.sum(axis=1) for values in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            return percentile_interval(upper / lower, level)

    def interval(self, statistic: Callable[[Rows], float], draws: int) -> Interval:
        """95 % interval of a statistic of rows, from the first `draws` resamples."""
        of_day = np.split(np.arange(self._counts.sum()), self._starts[1:])
        found = [
            statistic(np.concatenate([of_day[day] for day in days])) for days in self._days[:draws]
        ]
        return percentile_interval(np.array(found))


def mean_intervals(losses: RowLosses, resamples: Resamples) -> dict[str, Interval]:
    """95 % intervals of accuracy, log loss and Brier loss."""
    return {
        "accuracy": resamples.mean_interval(losses.hits),
        "log_loss": resamples.mean_interval(losses.log_losses),
        "brier": resamples.mean_interval(losses.brier_losses),
    }


def shape_intervals(chances: Float, labels: Labels, resamples: Resamples) -> dict[str, Interval]:
    """95 % intervals of the ROC-AUC and the calibration error, which are no means of rows.

    The error of a resample is larger than that of the sample, as its bins are noisier: the lower
    end is too high rather than too low.
    """
    return {
        "roc_auc": resamples.interval(lambda rows: mean_auc(chances[rows], labels[rows]), DRAWS),
        "ece": resamples.interval(
            lambda rows: calibration_of(chances[rows], labels[rows]).error, DRAWS
        ),
    }
