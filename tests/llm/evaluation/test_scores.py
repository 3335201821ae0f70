# SPDX-License-Identifier: Apache-2.0
"""Scores against scikit-learn, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mtquant.llm.evaluation import scores as own

DAY = own.DAY


def forecasts(count: int, classes: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    chances = generator.dirichlet(np.ones(classes), size=count)
    labels = np.array([generator.choice(classes, p=row) for row in chances])
    return chances, labels


def test_the_area_is_scikit_learns():
    chances, labels = forecasts(300, 2)
    rounded = np.round(chances[:, 1], 1)  # with ties
    assert own.roc_auc(rounded, labels) == pytest.approx(roc_auc_score(labels, rounded))
    chances, labels = forecasts(300, 3)
    expected = roc_auc_score(labels, chances, multi_class="ovr")
    assert own.mean_auc(chances, labels) == pytest.approx(expected)
    assert np.isnan(own.roc_auc(rounded, np.ones(300, dtype=np.int64)))


def test_the_decomposition_adds_up_to_the_brier_loss():
    chances, labels = forecasts(2_000, 2)
    chances[:, 1] = np.round(chances[:, 1] * 9.99 - 0.5) / 10 + 0.05  # one value in each bin
    chances[:, 0] = 1.0 - chances[:, 1]
    found = own.forecast_scores(chances, labels)
    murphy = found["reliability"] - found["resolution"] + found["uncertainty"]
    assert murphy == pytest.approx(found["brier"])


def test_a_tie_is_half_a_hit_unless_a_side_was_said():
    chances, labels = np.full((4, 2), 0.5), np.array([0, 1, 1, 1])
    assert own.forecast_scores(chances, labels)["accuracy"] == 0.5
    says = np.array([1, 1, 1, 0])
    assert own.forecast_scores(chances, labels, says)["accuracy"] == 0.5
    assert own.row_losses(chances, labels, says).hits.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_without_forecasts_nothing_is_defined():
    empty = own.forecast_scores(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    assert all(np.isnan(value) for value in empty.values())


def test_a_day_stays_together_in_every_resample():
    # Ten rows a day, all equal: the interval has to be that of the 40 days, about 1 / sqrt(40),
    # and not that of 400 rows.
    generator = np.random.default_rng(0)
    values = np.repeat(generator.standard_normal(40), 10)
    stamps = np.repeat(np.arange(40) * DAY, 10)
    low, high = own.Resamples(stamps, values, 500, generator).mean_interval(values)
    width = values.std() * 2 * 1.96 / np.sqrt(40)
    assert 0.6 * width < high - low < 1.6 * width
    assert low < values.mean() < high

    def whole_days(rows) -> float:
        counts = np.bincount(rows // 10, minlength=40)
        assert (np.bincount(rows, minlength=400).reshape(40, 10) == counts[:, None] // 10).all()
        return float(len(rows))

    assert own.Resamples(stamps, values, 20, generator).interval(whole_days, 20) == (400.0, 400.0)


def test_intervals_of_means_and_of_shapes_agree():
    chances, labels = forecasts(400, 2)
    stamps = np.arange(400) // 4 * DAY
    losses = own.row_losses(chances, labels)
    resamples = own.Resamples(stamps, losses.log_losses, 200, np.random.default_rng(0))
    by_sums = resamples.mean_interval(losses.brier_losses)
    by_rows = resamples.interval(lambda rows: losses.brier_losses[rows].mean(), 200)
    np.testing.assert_allclose(by_sums, by_rows)
