# SPDX-License-Identifier: Apache-2.0
"""Proper scores of probabilistic predictions, and the rewards that language models get from them.

    brier_loss(np.array([0.8, 0.3]), np.array([1, 0]))  # [0.04, 0.09]
    direction_reward(np.array([0.87]), np.array([1]))  # [0.59]: 0.6 (1 - 0.13^2)

Every function returns one number per prediction, float64 [n]. A *loss* is 0 for certainty that came
true and grows from there; a loss is proper if nobody can lower its mean by saying another
probability than the one believed, strictly proper if any other raises it (Gneiting & Raftery 2007,
"Strictly proper scoring rules, prediction, and estimation", JASA 102, where all of these are).
Everything here but the pinball loss of a single quantile is strictly proper for what it is given.

Chances are either float64 [n], those of outcome 1 with outcomes 0 or 1, or float64 [n, K], those of
K classes with the class that happened, int [n]. NaN and chances outside [0, 1] are refused, since a
prediction that is not there must not count as one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import RewardError

Float = NDArray[np.float64]
Classes = NDArray[np.int64]

# Chances are cut here before their logarithm: the largest log loss is 13.8, so one certain mistake
# costs as much as 20 coin flips, and not everything.
LEAST_CHANCE = 1e-6
CHANCE_TOLERANCE = 1e-6
SPEC_ACCURACY_SHARE = 0.6  # Stonk-Trainer: 0.6 for the prediction, 0.4 for its reasoning


def brier_loss(chances: Float, outcomes: Classes) -> Float:
    """Squared error of the chances, float64 [n]; in [0, 1] for [n], in [0, 2] for [n, K].

    Brier 1950, "Verification of forecasts expressed in terms of probability". (p - y)^2 for two
    outcomes, the sum over classes of (p_k - y_k)^2 for K.

    Raises:
        RewardError: Chances or outcomes break a rule of the module.
    """
    chances, outcomes = _checked(chances, outcomes)
    if chances.ndim == 1:
        return (chances - outcomes) ** 2
    return ((chances - _one_hot(outcomes, chances.shape[1])) ** 2).sum(axis=1)


def log_loss(chances: Float, outcomes: Classes) -> Float:
    """-log of the chance given to what happened, float64 [n], nats; in [0, 13.8].

    Good 1952, "Rational decisions". Chances below `LEAST_CHANCE` count as `LEAST_CHANCE`; between
    it and 1 - `LEAST_CHANCE` the loss is strictly proper.
    """
    return -np.log(np.maximum(_chance_of(chances, outcomes), LEAST_CHANCE))


def spherical_loss(chances: Float, outcomes: Classes) -> Float:
    """1 - p_y / |p|, float64 [n], in [0, 1].

    Roby 1965, "Belief states and the uses of evidence". |p| is the Euclidean norm of the chances.
    """
    chance = _chance_of(chances, outcomes)
    chances, _ = _checked(chances, outcomes)
    squares = chances**2 + (1.0 - chances) ** 2 if chances.ndim == 1 else (chances**2).sum(axis=1)
    return 1.0 - chance / np.sqrt(squares)


def ranked_loss(chances: Float, outcomes: Classes) -> Float:
    """Ranked probability score of ordered classes, float64 [n], in [0, 1].

    Epstein 1969, "A scoring system for probability forecasts of ranked categories": the mean over
    the K - 1 borders of the squared error of the cumulative chance. Home, draw, away are ordered.

    Args:
        chances: float64 [n, K], K >= 2.
        outcomes: int [n], the class that happened.
    """
    chances, outcomes = _checked(chances, outcomes, classes=True)
    happened = _one_hot(outcomes, chances.shape[1])
    error = np.cumsum(chances - happened, axis=1)[:, :-1]
    return (error**2).mean(axis=1)


def pinball_loss(quantiles: Float, levels: Float, values: Float) -> Float:
    """Mean pinball loss of predicted quantiles, float64 [n], in the unit of the values.

    Koenker & Bassett 1978, "Regression quantiles": (y - q) tau above the quantile, (q - y)(1 - tau)
    below. Twice its mean over evenly spread levels approaches the CRPS.

    Args:
        quantiles: float64 [n, Q], not falling along the levels.
        levels: float64 [Q], rising, inside (0, 1).
        values: float64 [n], what happened.

    Raises:
        RewardError: Numbers that are not finite, or not ordered.
    """
    quantiles, levels = np.asarray(quantiles, dtype=np.float64), np.asarray(levels, np.float64)
    _require_finite("quantiles", quantiles)
    _require_finite("values", values)
    inside = (levels > 0.0) & (levels < 1.0)
    if not (inside.all() and (np.diff(levels) > 0.0).all()):
        remedy = "For example [0.1, 0.5, 0.9]."
        raise RewardError("levels", "must rise inside (0, 1)", levels.tolist(), remedy)
    if (np.diff(quantiles, axis=1) < 0.0).any():
        worst = int(np.flatnonzero((np.diff(quantiles, axis=1) < 0.0).any(axis=1))[0])
        remedy = "Sort them: quantiles that cross say nothing."
        raise RewardError("quantiles", "must not fall", quantiles[worst].tolist(), remedy)
    error = np.asarray(values, dtype=np.float64)[:, None] - quantiles
    return np.maximum(levels * error, (levels - 1.0) * error).mean(axis=1)


def crps_normal(mean: Float, deviation: Float, values: Float) -> Float:
    """Continuous ranked probability score of normal predictions, float64 [n], unit of the values.

    Gneiting et al. 2005, "Calibrated probabilistic forecasting using ensemble model output
    statistics": s (z (2 F(z) - 1) + 2 f(z) - 1 / sqrt(pi)), z = (y - m) / s.

    Raises:
        RewardError: Numbers that are not finite, or a deviation that is not positive.
    """
    deviation = np.asarray(deviation, dtype=np.float64)
    for name, numbers in (("mean", mean), ("deviation", deviation), ("values", values)):
        _require_finite(name, numbers)
    if not (deviation > 0.0).all():
        remedy = "A certain prediction has no deviation to score: use its absolute error."
        raise RewardError("deviation", "must be positive", float(deviation.min()), remedy)
    z = (values - mean) / deviation
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    below = 0.5 * (1.0 + np.array([math.erf(one) for one in np.ravel(z / math.sqrt(2.0))]))
    shape = z * (2.0 * below.reshape(z.shape) - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi)
    return deviation * shape


def crps_sample(draws: Float, values: Float) -> Float:
    """Continuous ranked probability score of drawn predictions, float64 [n], unit of the values.

    mean |x - y| - mean |x - x'| / 2 over all pairs of different draws (Ferro 2014, "Fair scores for
    ensemble forecasts": an unbiased estimate of the score of the distribution drawn from, so that
    more draws are not a better score).

    Args:
        draws: float64 [n, S], S >= 2.
        values: float64 [n].
    """
    _require_finite("draws", draws)
    _require_finite("values", values)
    ordered = np.sort(np.asarray(draws, dtype=np.float64), axis=1)
    count = ordered.shape[1]
    if count < 2:
        raise RewardError("draws", "must be 2 or more each", count, "Draw more often.")
    # sum over pairs of |x_i - x_j| from order statistics: each rank's coefficient is 2 i - S + 1.
    spread = ordered @ (2.0 * np.arange(count) - count + 1.0) / (count * (count - 1.0))
    return np.abs(ordered - np.asarray(values)[:, None]).mean(axis=1) - spread


def chance_of_up(says_up: NDArray[np.bool_], confidence: Float) -> Float:
    """The chance of a rise, float64 [n], behind "UP" or "DOWN" and a confidence in [0, 1].

    Confidence is the chance that the answer is right; below one half it speaks against itself, and
    is read as said.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    _require_chances("confidence", confidence)
    return np.where(says_up, confidence, 1.0 - confidence)


def direction_reward(
    chances: Float, outcomes: Classes, share: float = SPEC_ACCURACY_SHARE
) -> Float:
    """`share` x (1 - Brier loss), float64 [n], in [0, `share`].

    Stonk-Trainer pays up to 0.6 for a right direction. Paid by right or wrong times confidence it
    would be improper: a model that believes 0.6 gains most by saying 1. Here it gains most by
    saying 0.6; a coin flip said as one is worth three quarters of the share.
    """
    return share * (1.0 - brier_loss(chances, outcomes))


def prediction_reward(
    chances: Float,
    outcomes: Classes,
    growth: Float,
    score_weight: float = 1.0,
    growth_weight: float = 1.0,
) -> Float:
    """score_weight (1 - log loss) + growth_weight x log growth of the bankroll, float64 [n].

    VEGAIS pays lambda_1 (1 - LogLoss) + lambda_2 ROI. The chance that "actually" was is not known,
    so the outcome stands in its place. ROI is linear in the stake: it is largest for the whole
    bankroll on any edge, which ruins with certainty. The log of the growth that
    `market/settlement.py` settles is largest at the Kelly stake of what the model believes, so both
    parts ask for the same honesty. Multiplying the sum by the model's own risk or momentum, as the
    document does, would let it choose how much a mistake costs, and is not done.
    """
    _require_finite("growth", growth)
    return score_weight * (1.0 - log_loss(chances, outcomes)) + growth_weight * growth


def _checked(chances: Float, outcomes: Classes, classes: bool = False) -> tuple[Float, Classes]:
    """Both as arrays that keep the rules of the module."""
    chances, outcomes = np.asarray(chances, dtype=np.float64), np.asarray(outcomes)
    if chances.ndim not in ((2,) if classes else (1, 2)) or outcomes.shape != chances.shape[:1]:
        shapes = (chances.shape, outcomes.shape)
        remedy = "Give chances [n, K] and outcomes [n], or for two outcomes both [n]."
        raise RewardError("chances and outcomes", "must have fitting shapes", shapes, remedy)
    _require_chances("chances", chances)
    count = 2 if chances.ndim == 1 else chances.shape[1]
    known = np.isin(outcomes, np.arange(count))
    if not known.all():
        remedy = "Leave out bets and bars that are not settled yet."
        raise RewardError(
            "outcomes", f"must be one of 0 to {count - 1}", outcomes[~known][0], remedy
        )
    if chances.ndim == 2:
        sums = chances.sum(axis=1)
        off = np.abs(sums - 1.0) > CHANCE_TOLERANCE
        if off.any():
            remedy = "Normalise them; from odds, take the margin out first."
            raise RewardError("chances", "must add up to 1", float(sums[off][0]), remedy)
    return chances, outcomes.astype(np.int64)


def _chance_of(chances: Float, outcomes: Classes) -> Float:
    """The chance that was given to what happened, float64 [n]."""
    chances, outcomes = _checked(chances, outcomes)
    if chances.ndim == 1:
        return np.where(outcomes == 1, chances, 1.0 - chances)
    chosen: Float = np.take_along_axis(chances, outcomes[:, None], axis=1)[:, 0]
    return chosen


def _one_hot(outcomes: Classes, count: int) -> Float:
    return np.asarray(outcomes[:, None] == np.arange(count), dtype=np.float64)


def _require_chances(name: str, numbers: Float) -> None:
    wrong = ~((numbers >= 0.0) & (numbers <= 1.0))
    if wrong.any():
        remedy = "A chance of 87 % is 0.87; leave out predictions that are missing."
        raise RewardError(name, "must lie in [0, 1]", float(numbers[wrong][0]), remedy)


def _require_finite(name: str, numbers: Float) -> None:
    if not np.isfinite(numbers).all():
        found = int((~np.isfinite(np.asarray(numbers, dtype=np.float64))).sum())
        raise RewardError(name, "must be finite", f"{found} that are not", "Leave those out.")
