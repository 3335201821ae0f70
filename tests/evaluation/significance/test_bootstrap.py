# SPDX-License-Identifier: Apache-2.0
"""The interval of the Sharpe ratio against theory and against arch."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap

from mtquant.evaluation.metrics import sharpe
from mtquant.evaluation.significance import bootstrap as b

PERIODS = 252.0
RETURNS = np.random.default_rng(5).normal(3e-4, 0.01, 700)


def momentum(coefficient: float, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    steps, noise = np.zeros(count), generator.normal(0.0, 0.01, count)
    for t in range(1, count):
        steps[t] = coefficient * steps[t - 1] + noise[t]
    return steps


def width(found: b.SharpeEstimate) -> float:
    return found.high - found.low


def test_interval_is_as_wide_as_theory_says() -> None:
    # Lo (2002), "The Statistics of Sharpe Ratios": for independent returns the standard error
    # per bar is sqrt((1 + SR^2 / 2) / T). 2,000 normal draws, 0.05 a bar, 400 resamples.
    steps = np.random.default_rng(11).normal(0.0005, 0.01, 2000)
    found = b.sharpe_estimate(steps, 1.0, seed=3, draws=400)
    error = np.sqrt((1.0 + found.ratio**2 / 2.0) / 2000)
    assert found.low < found.ratio < found.high
    assert found.error == pytest.approx(error, rel=0.2)
    assert width(found) / 2.0 == pytest.approx(1.96 * error, rel=0.2)


def test_interval_is_wider_for_dependent_returns() -> None:
    # AR(1) with coefficient 0.5: the variance of the mean is (1 + .5) / (1 - .5) = 3 times as
    # large and the interval up to sqrt(3) = 1.73 times as wide; shuffling takes that away.
    steps = momentum(0.5, 2000, 12)
    shuffled = np.random.default_rng(0).permutation(steps)
    found, without = (b.sharpe_estimate(x, 1.0, seed=3, draws=300) for x in (steps, shuffled))
    assert width(found) > 1.3 * width(without)


def test_interval_is_the_one_of_arch_up_to_the_draws() -> None:
    # The same method by another program: 2,000 draws each leave a few percent of noise.
    steps = momentum(0.3, 600, 4)
    found = b.sharpe_estimate(steps, PERIODS, seed=1, draws=2000)
    other = StationaryBootstrap(b.mean_block_bars(steps), steps, seed=np.random.default_rng(2))
    ratios = other.apply(lambda sample: np.array([sharpe(sample, PERIODS)]), 2000)
    assert [found.low, found.high] == pytest.approx(
        list(np.quantile(ratios, [0.025, 0.975])), abs=0.08 * width(found)
    )
    assert found.error == pytest.approx(float(ratios.std()), rel=0.08)


def test_sums_give_the_ratios_of_mean_and_deviation() -> None:
    # A mean a million times the deviation, where squares would swallow it.
    steps = 1e4 + RETURNS
    rows = list(b.stationary_rows(len(steps), 5.0, 20, np.random.default_rng(3)))
    expected = [sharpe(steps[part], 1.0) for part in rows]
    np.testing.assert_allclose(b._resampled_ratios(steps, iter(rows)), expected, rtol=1e-6)


def test_interval_is_drawn_from_its_seed_alone() -> None:
    first = b.sharpe_estimate(RETURNS, PERIODS, seed=1, draws=50)
    np.random.default_rng(0).normal()
    assert b.sharpe_estimate(RETURNS, PERIODS, seed=1, draws=50) == first
    assert b.sharpe_estimate(RETURNS, PERIODS, seed=2, draws=50) != first


@pytest.mark.parametrize(
    "steps",
    [RETURNS[:19], np.zeros(100), np.where(np.arange(100) == 50, np.nan, 0.01)],
    ids=["short", "flat", "unknown"],
)
def test_interval_is_nan_where_it_means_nothing(steps: np.ndarray) -> None:
    found = b.sharpe_estimate(steps, PERIODS, seed=0, draws=50)
    assert np.isnan([found.low, found.high, found.error]).all()


def test_one_lucky_bar_is_no_evidence() -> None:
    # One bar of 1,000 moved: e^-1 = 37 % of the resamples miss it, more than the 2.5 % below the
    # lower end, which is therefore 0.
    steps = np.zeros(1000)
    steps[500] = 0.05
    found = b.sharpe_estimate(steps, 1.0, seed=0, draws=200)
    assert found.low == 0.0 < found.ratio < found.high


def test_blocks_grow_with_dependence_and_stay_within_the_series() -> None:
    assert b.mean_block_bars(momentum(0.9, 500, 1)) > 3.0 * b.mean_block_bars(RETURNS[:500])
    assert b.mean_block_bars(np.zeros(50)) == b.mean_block_bars(RETURNS[:5]) == 1.0
    assert 1.0 <= b.mean_block_bars(np.arange(30.0)) <= 30.0


def test_percentiles_leave_out_what_is_undefined() -> None:
    found = np.array([*np.arange(101.0), np.nan, np.inf])
    assert b.percentile_interval(found) == pytest.approx((2.5, 97.5))
    assert np.isnan(b.percentile_interval(np.array([1.0, np.nan]))).all()
