# SPDX-License-Identifier: Apache-2.0
"""Scores against scikit-learn, numeric integration and their own definition of properness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn import metrics

from mtquant.core.errors import RewardError
from mtquant.rewards import scoring

GRID = np.linspace(0.001, 0.999, 999)
BINARY = {
    "brier": scoring.brier_loss,
    "log": scoring.log_loss,
    "spherical": scoring.spherical_loss,
    "direction reward": lambda p, y: -scoring.direction_reward(p, y),
    "prediction reward": lambda p, y: -scoring.prediction_reward(p, y, np.zeros(len(p))),
}
CLASSES = {
    "brier": scoring.brier_loss,
    "log": scoring.log_loss,
    "spherical": scoring.spherical_loss,
    "ranked": scoring.ranked_loss,
}
chances = st.integers(1, 998).map(lambda k: float(GRID[k]))
beliefs = st.lists(st.floats(0.02, 1.0), min_size=3, max_size=3).map(
    lambda weights: np.array(weights) / np.sum(weights)
)


def expected(loss, said, believed):
    """Mean loss of saying each row of `said` when outcomes come with `believed`."""
    count = len(believed)
    each = [loss(said, np.full(len(said), k)) for k in range(count)]
    return believed @ np.array(each)


@pytest.mark.parametrize("name", BINARY)
@given(believed=chances)
def test_saying_what_one_believes_is_best(name, believed):
    """Proper, numerically: over a grid of what can be said, the belief has the least mean loss."""
    losses = expected(BINARY[name], GRID, np.array([1.0 - believed, believed]))
    assert GRID[int(np.argmin(losses))] == believed
    assert (np.sort(losses)[1:] > losses.min()).all()  # strictly


@pytest.mark.parametrize("name", CLASSES)
@given(believed=beliefs, other=beliefs)
def test_saying_what_one_believes_of_three_classes_is_best(name, believed, other):
    honest, lying = expected(CLASSES[name], np.array([believed, other]), believed)
    assert honest <= lying + 1e-12
    if np.abs(believed - other).max() > 1e-3:
        assert honest < lying


def test_right_times_confidence_would_be_improper():
    """What the direction reward replaces: a believer of 0.6 would gain most by saying 0.999."""
    linear = expected(lambda p, y: -np.where(y == 1, p, 1.0 - p), GRID, np.array([0.4, 0.6]))
    assert GRID[int(np.argmin(linear))] == 0.999


@given(st.lists(st.tuples(chances, st.integers(0, 1)), min_size=2, max_size=30))
def test_binary_losses_are_scikit_learns(pairs):
    said, happened = np.array([p for p, _ in pairs]), np.array([y for _, y in pairs])
    brier, log = scoring.brier_loss(said, happened), scoring.log_loss(said, happened)
    assert brier.mean() == pytest.approx(metrics.brier_score_loss(happened, said, labels=[0, 1]))
    assert log.mean() == pytest.approx(metrics.log_loss(happened, said, labels=[0, 1]))
    both = np.column_stack([1.0 - said, said])
    np.testing.assert_allclose(scoring.brier_loss(both, happened), 2.0 * brier, atol=1e-12)
    np.testing.assert_allclose(scoring.log_loss(both, happened), log, atol=1e-12)
    np.testing.assert_allclose(
        scoring.spherical_loss(both, happened), scoring.spherical_loss(said, happened), atol=1e-12
    )


def test_losses_of_classes_are_scikit_learns():
    generator = np.random.Generator(np.random.PCG64(0))
    said, happened = generator.dirichlet(np.ones(3), 200), generator.integers(0, 3, 200)
    log = scoring.log_loss(said, happened).mean()
    assert log == pytest.approx(metrics.log_loss(happened, said, labels=[0, 1, 2]))
    brier = scoring.brier_loss(said, happened).mean()
    reference = metrics.brier_score_loss(happened, said, labels=[0, 1, 2], scale_by_half=False)
    assert brier == pytest.approx(reference)


def test_certainty_costs_what_is_said():
    for loss in (scoring.brier_loss, scoring.log_loss, scoring.spherical_loss):
        np.testing.assert_array_equal(loss(np.array([1.0, 0.0]), np.array([1, 0])), 0.0)
    wrong = scoring.log_loss(np.array([0.0]), np.array([1]))
    np.testing.assert_allclose(wrong, -np.log(1e-6))  # LEAST_CHANCE
    np.testing.assert_allclose(wrong / np.log(2.0), 20.0, atol=0.1)  # "20 coin flips"


def test_the_ranked_score_knows_the_order():
    """By hand: home, draw, away said as (0.5, 0.3, 0.2); cumulative 0.5, 0.8."""
    said = np.array([[0.5, 0.3, 0.2]] * 3)
    found = scoring.ranked_loss(said, np.array([0, 1, 2]))
    # home (0.5^2 + 0.2^2) / 2, draw (0.5^2 + 0.2^2) / 2, away (0.5^2 + 0.8^2) / 2
    np.testing.assert_allclose(found, [0.145, 0.145, 0.445])


@given(st.floats(-3.0, 3.0), st.floats(0.1, 5.0), st.floats(-10.0, 10.0))
def test_the_normal_score_is_its_integral(mean, deviation, value):
    """CRPS is the integral of (F(x) - 1[x >= y])^2 (Gneiting & Raftery 2007)."""

    def squared(x):
        return (stats.norm.cdf(x, mean, deviation) - (x >= value)) ** 2

    low, high = min(mean, value) - 12.0 * deviation, max(mean, value) + 12.0 * deviation
    whole = sum(
        integrate.quad(squared, a, b, limit=200)[0] for a, b in ((low, value), (value, high))
    )
    (found,) = scoring.crps_normal(np.array([mean]), np.array([deviation]), np.array([value]))
    assert found == pytest.approx(whole, rel=1e-6, abs=1e-8)


def test_drawn_and_ranked_scores_approach_the_normal_one():
    generator = np.random.Generator(np.random.PCG64(2))
    value, count = np.array([0.7]), 4_000
    exact = scoring.crps_normal(np.array([0.0]), np.array([1.0]), value)[0]
    levels = (np.arange(999) + 0.5) / 999.0
    quantiles = stats.norm.ppf(levels)[None, :]
    assert 2.0 * scoring.pinball_loss(quantiles, levels, value)[0] == pytest.approx(exact, rel=1e-4)
    # Few draws cost nothing in the mean: 2 draws each, 4,000 times; 4 standard errors.
    few = scoring.crps_sample(generator.standard_normal((count, 2)), np.full(count, value))
    assert few.mean() == pytest.approx(exact, abs=4.0 * few.std() / np.sqrt(count))


@given(st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=12), st.floats(-5.0, 5.0))
def test_the_drawn_score_is_its_definition(draws, value):
    x = np.array(draws)
    pairs = np.abs(x[:, None] - x).sum() / (len(x) * (len(x) - 1))
    definition = np.abs(x - value).mean() - 0.5 * pairs
    (found,) = scoring.crps_sample(x[None, :], np.array([value]))
    assert found == pytest.approx(definition, abs=1e-12)


def test_the_pinball_loss_is_least_at_the_quantile():
    values = np.random.Generator(np.random.PCG64(3)).gamma(2.0, size=20_000)
    candidates = np.linspace(0.5, 6.0, 111)  # steps of 0.05
    for level in (0.1, 0.5, 0.9):
        losses = [
            scoring.pinball_loss(np.full((len(values), 1), q), np.array([level]), values).mean()
            for q in candidates
        ]
        best = candidates[int(np.argmin(losses))]
        assert best == pytest.approx(np.quantile(values, level), abs=0.051)
        reference = metrics.mean_pinball_loss(values, np.full(len(values), best), alpha=level)
        assert min(losses) == pytest.approx(reference)


def test_a_confidence_is_a_chance():
    up = np.array([True, False, True])
    found = scoring.chance_of_up(up, np.array([0.87, 0.87, 0.4]))
    np.testing.assert_allclose(found, [0.87, 0.13, 0.4])
    # The specification's example, UP at 87 %: 0.6 (1 - 0.13^2) if right, 0.6 (1 - 0.87^2) if not.
    paid = scoring.direction_reward(found[[0, 0]], np.array([1, 0]))
    np.testing.assert_allclose(paid, [0.58986, 0.14586])
    flip = scoring.direction_reward(np.array([0.5]), np.array([1]))
    assert flip[0] == pytest.approx(0.75 * 0.6)


def test_the_prediction_reward_adds_score_and_growth():
    found = scoring.prediction_reward(
        np.array([0.5]), np.array([1]), np.array([0.02]), score_weight=2.0, growth_weight=3.0
    )
    np.testing.assert_allclose(found, 2.0 * (1.0 - np.log(2.0)) + 0.06)


ONE, YES = np.array([0.5]), np.array([1])
REFUSED = {
    "NaN": (lambda: scoring.brier_loss(np.array([np.nan]), YES), r"chances must lie in \[0, 1\]"),
    "per cent": (lambda: scoring.log_loss(np.array([87.0]), YES), "A chance of 87 % is 0.87"),
    "open bet": (lambda: scoring.brier_loss(ONE, np.array([np.nan])), "must be one of 0 to 1"),
    "class 3": (
        lambda: scoring.log_loss(np.array([[0.5, 0.3, 0.2]]), np.array([3])),
        "must be one of 0 to 2",
    ),
    "margin": (
        lambda: scoring.ranked_loss(np.array([[0.5, 0.3, 0.25]]), YES),
        "must add up to 1; found 1.05",
    ),
    "shape": (lambda: scoring.brier_loss(ONE, np.array([1, 0])), "must have fitting shapes"),
    "no classes": (lambda: scoring.ranked_loss(ONE, YES), "must have fitting shapes"),
    "levels": (
        lambda: scoring.pinball_loss(np.zeros((1, 2)), np.array([0.9, 0.1]), ONE),
        r"must rise inside \(0, 1\)",
    ),
    "crossing": (
        lambda: scoring.pinball_loss(np.array([[1.0, 0.0]]), np.array([0.1, 0.9]), ONE),
        "quantiles must not fall",
    ),
    "no deviation": (
        lambda: scoring.crps_normal(ONE, np.zeros(1), ONE),
        "deviation must be positive",
    ),
    "one draw": (lambda: scoring.crps_sample(np.zeros((1, 1)), ONE), "must be 2 or more"),
    "infinite draw": (
        lambda: scoring.crps_sample(np.array([[np.inf, 0.0]]), ONE),
        "draws must be finite; found '1 that are not'",
    ),
    "growth": (
        lambda: scoring.prediction_reward(ONE, YES, np.array([-np.inf])),
        "growth must be finite",
    ),
    "confidence": (
        lambda: scoring.chance_of_up(np.array([True]), np.array([87.0])),
        r"confidence must lie in \[0, 1\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_prediction_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(RewardError, match=message):
        call()
