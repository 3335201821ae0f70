# SPDX-License-Identifier: Apache-2.0
"""Is any of these better than the benchmark, which of them, and which are among the best?

Mean returns are compared, so bring strategies to one volatility first if their size is not what is
asked about. The bootstrap is arch's; differences are divided by their long-run deviation before
they get there, which is Hansen's studentised statistic: `studentize=True` of arch 8.0.0 leaves the
p-value as it is, and a volatile strategy then hides what a calm one shows.

Sources: White, "A Reality Check for Data Snooping", Econometrica 68 (2000); Hansen, "A Test for
Superior Predictive Ability", Journal of Business & Economic Statistics 23 (2005); Romano and Wolf,
"Stepwise Multiple Testing as Formalized Data Snooping", Econometrica 73 (2005); Hansen, Lunde and
Nason, "The Model Confidence Set", Econometrica 79 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.evaluation.significance.bootstrap import DRAWS, MIN_BARS, mean_block_bars

if TYPE_CHECKING:
    from arch.bootstrap import SPA

Float = NDArray[np.float64]

SIZE = 0.05  # chance of naming any strategy that is not better


@dataclass(frozen=True)
class Superiority:
    """p-values of the null hypothesis that no strategy is better than the benchmark.

    Attributes:
        lower: Optimistic bound: strategies worse than the benchmark do not count.
        consistent: Hansen's SPA: those clearly worse do not count. The one to report.
        upper: White's reality check: all count as if they were as good as the benchmark.
    """

    lower: float
    consistent: float
    upper: float


def superior_ability(
    benchmark: Float, strategies: Float, generator: np.random.Generator, draws: int = DRAWS
) -> Superiority:
    """Hansen's test of superior predictive ability: studentised, consistent.

    Args:
        benchmark: float64 [T], returns of the benchmark; zeros ask for any gain at all.
        strategies: float64 [T, N], returns of the strategies on the same bars.
        generator: Draws.
        draws: Resamples.

    Raises:
        DataError: Shapes that do not fit, too few bars, or a return that is not finite.
    """
    test = _test(benchmark, strategies, generator, draws)
    test.compute()
    return Superiority(*(float(test.pvalues[name]) for name in ("lower", "consistent", "upper")))


def superior_strategies(
    benchmark: Float, strategies: Float, generator: np.random.Generator, draws: int = DRAWS
) -> list[int]:
    """Which strategies are better, with a chance of 5 % to name any that is not: StepM.

    Those found better are set aside and the rest tested against the smaller crowd, until none is
    found. (arch's own StepM stops with an error where the last one is found in a later step.)

    Args, Raises: As for `superior_ability`.

    Returns:
        Columns of `strategies`, ascending.
    """
    test = _test(benchmark, strategies, generator, draws)
    left = np.ones(strategies.shape[1], dtype=np.bool_)
    while left.any():
        test.subset(left)
        test.compute()
        better = test.better_models(SIZE)
        if not len(better):
            break
        left[better] = False
    return [int(column) for column in np.flatnonzero(~left)]


def confidence_set(
    strategies: Float, generator: np.random.Generator, draws: int = DRAWS
) -> list[int]:
    """The strategies that may be the best, by 95 % confidence: the model confidence set (T_R).

    Args:
        strategies: float64 [T, N], returns on the same bars, N at least 2.
        generator: Draws.
        draws: Resamples.

    Returns:
        Columns that are not worse than the others, ascending; all of them if the bars cannot tell.

    Raises:
        DataError: Too few bars or strategies, or a return that is not finite.
    """
    from arch.bootstrap import MCS

    if strategies.ndim != 2 or strategies.shape[1] < 2:
        raise DataError("strategies", "must be at least 2", strategies.shape, "Add another one.")
    _check(np.zeros(len(strategies)), strategies)
    block = _block(strategies - strategies.mean(axis=1, keepdims=True))
    test = MCS(-strategies, SIZE, reps=draws, block_size=block, method="R", seed=generator)
    test.compute()
    return sorted(np.asarray(test.included, dtype=np.int64).tolist())


def long_run_deviation(series: Float, mean_block: float) -> Float:
    """Standard deviation of sqrt(T) times the mean of each column, as the bootstrap sees it.

    Autocovariances weighted by ``(1 - i / T) (1 - p)^i + i / T (1 - p)^(T - i)`` with p one over
    the mean block (Politis and Romano 1994; so Hansen 2005 estimates it).

    Args:
        series: float64 [T, N].
        mean_block: Mean block length, bars.
    """
    count = len(series)
    centred = series - series.mean(axis=0)
    spectrum = np.fft.rfft(centred, 2 * count, axis=0)
    covariances = np.fft.irfft(np.abs(spectrum) ** 2, 2 * count, axis=0)[:count] / count
    lags, stays = np.arange(1, count), 1.0 - 1.0 / mean_block
    weights = (1.0 - lags / count) * stays**lags + lags / count * stays ** (count - lags)
    variance: Float = covariances[0] + 2.0 * weights @ covariances[1:]
    deviation: Float = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def _test(benchmark: Float, strategies: Float, generator: np.random.Generator, draws: int) -> SPA:
    """The test of arch on studentised differences; losses are returns with the sign turned."""
    from mtquant.evaluation.significance.spa import LongSPA  # arch takes a second to load

    _check(benchmark, strategies)
    differences = strategies - benchmark[:, None]
    block = _block(differences)
    deviation = long_run_deviation(differences, block)
    scaled = differences / np.where(deviation > 0.0, deviation, 1.0)
    nothing = np.zeros(len(benchmark))
    return LongSPA(nothing, -scaled, block_size=block, reps=draws, studentize=False, seed=generator)


def _block(differences: Float) -> int:
    """The longest of the block lengths that the columns ask for."""
    return int(np.ceil(max(mean_block_bars(column) for column in differences.T)))


def _check(benchmark: Float, strategies: Float) -> None:
    if strategies.ndim != 2 or benchmark.shape != strategies.shape[:1] or not strategies.size:
        rule, found = "must be [T] and [T, N]", (benchmark.shape, strategies.shape)
        raise DataError("benchmark and strategies", rule, found, "Cut both to the same bars.")
    if len(benchmark) < MIN_BARS or not np.isfinite(strategies.sum() + benchmark.sum()):
        rule = f"must be finite, at least {MIN_BARS} bars"
        raise DataError("returns", rule, strategies.shape, "Leave out bars without a return.")
