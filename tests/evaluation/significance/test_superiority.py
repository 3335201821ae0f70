# SPDX-License-Identifier: Apache-2.0
"""SPA, StepM and MCS: arch where it can be asked, and what must hold by construction."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, StepM

from mtquant.core.errors import DataError
from mtquant.evaluation.significance import superiority as s
from mtquant.evaluation.significance.spa import LongSPA

DRAWS = 300


def random(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(count: int, bars: int = 500, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (bars, count))


NOTHING = np.zeros(500)


def test_test_is_that_of_arch_for_strategies_of_one_size() -> None:
    # Divided by their long-run deviation, arch sees the same numbers.
    returns = noise(6)
    returns[:, 2] += 0.001
    block = s._block(returns)
    losses = -returns / s.long_run_deviation(returns, block)
    expected = SPA(NOTHING, losses, block_size=block, reps=DRAWS, seed=random())
    expected.compute()
    found = s.superior_ability(NOTHING, returns, random(), DRAWS)
    assert [found.lower, found.consistent, found.upper] == list(expected.pvalues)
    assert found.lower <= found.consistent <= found.upper
    stepped = StepM(NOTHING, losses, block_size=block, reps=DRAWS, seed=random())
    stepped.compute()
    assert s.superior_strategies(NOTHING, returns, random(), DRAWS) == stepped.superior_models


@pytest.mark.parametrize("block", [1, 7, 60])
def test_variances_are_those_of_arch(block: int) -> None:
    losses = np.cumsum(noise(3, 400), axis=0) * 0.1 + noise(3, 400, 8)
    ours, theirs = (
        kind(NOTHING[:400], losses, block_size=block, reps=2, studentize=False, seed=random())
        for kind in (LongSPA, SPA)
    )
    ours.compute()
    theirs.compute()
    np.testing.assert_allclose(ours._loss_diff_var, theirs._loss_diff_var, rtol=1e-9)


def test_a_wild_strategy_does_not_hide_a_calm_one() -> None:
    # A calm strategy 6 errors above nothing (0.27 deviations a bar, 500 bars) beside one of 100
    # times its size and no edge.
    returns = noise(2)
    returns[:, 0] += 0.0027 - returns[:, 0].mean()
    returns[:, 1] = 100.0 * (returns[:, 1] - returns[:, 1].mean())
    assert s.superior_ability(NOTHING, returns, random(), DRAWS).consistent < 0.01
    assert s.superior_strategies(NOTHING, returns, random(), DRAWS) == [0]


def test_size_does_not_matter() -> None:
    returns = noise(4)
    sizes = np.array([1.0, 50.0, 0.02, 3.0])
    assert s.superior_ability(NOTHING, returns, random(), DRAWS) == s.superior_ability(
        NOTHING, returns * sizes, random(), DRAWS
    )


def test_every_strategy_may_be_better_in_several_steps() -> None:
    # arch 8.0.0 stops with an error where the last strategy is found after the first step.
    centred = noise(3) - noise(3).mean(axis=0)
    deviation = s.long_run_deviation(centred, 1.0)
    found = []
    for distance in np.arange(1.7, 2.3, 0.05):  # in standard errors; 1.64 is enough alone
        returns = centred + np.array([10.0, 10.0, distance]) * deviation / np.sqrt(500)
        found.append(s.superior_strategies(NOTHING, returns, random(), DRAWS))
    assert [0, 1, 2] in found and found[0] in ([0, 1], [0, 1, 2])


def test_noise_is_rarely_superior() -> None:
    # 40 sets of 8: at 5 % two are expected, and more than six have a chance of 0.3 %.
    values = [
        s.superior_ability(np.zeros(200), noise(8, 200, seed), random(seed), 150).consistent
        for seed in range(40)
    ]
    assert np.sum(np.array(values) < 0.05) <= 6
    assert np.mean(values) == pytest.approx(0.5, abs=0.15)


def test_benchmark_is_what_is_compared_with() -> None:
    returns = noise(3) + 0.005
    assert s.superior_strategies(NOTHING, returns, random(), DRAWS) == [0, 1, 2]
    assert s.superior_strategies(NOTHING + 0.02, returns, random(), DRAWS) == []


def test_confidence_set_keeps_what_may_be_best() -> None:
    returns = noise(4)
    returns[:, 1] += 0.004
    returns[:, 3] += 0.004
    assert s.confidence_set(returns, random(), DRAWS) == [1, 3]
    assert s.confidence_set(noise(3, seed=11), random(), DRAWS) == [0, 1, 2]


@pytest.mark.parametrize("block", [1.0, 6.0])
def test_long_run_deviation_is_that_of_the_bootstrap(block: float) -> None:
    # Of 6,000 draws the deviation is known to 1 %.
    steps = np.convolve(np.random.default_rng(5).normal(size=403), np.ones(4), "valid")
    drawn = StationaryBootstrap(block, steps, seed=random()).apply(np.mean, 6000)
    found = s.long_run_deviation(steps[:, None], block)[0] / np.sqrt(400)
    assert found == pytest.approx(float(drawn.std()), rel=0.04)


@pytest.mark.parametrize(
    ("benchmark", "returns"),
    [
        (NOTHING, noise(2, 400)),
        (np.zeros(10), noise(2, 10)),
        (NOTHING, np.full((500, 2), np.nan)),
        (NOTHING, np.empty((500, 0))),
    ],
    ids=["other bars", "short", "unknown", "none"],
)
def test_what_cannot_be_tested_is_refused(benchmark: np.ndarray, returns: np.ndarray) -> None:
    with pytest.raises(DataError):
        s.superior_ability(benchmark, returns, random(), DRAWS)


def test_a_set_of_one_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2"):
        s.confidence_set(noise(1), random(), DRAWS)
