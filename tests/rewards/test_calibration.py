# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from mtquant.core.errors import RewardError
from mtquant.rewards.calibration import reliability

pairs = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 1)), min_size=1, max_size=60)


def split(drawn):
    return np.array([p for p, _ in drawn]), np.array([y for _, y in drawn])


@given(pairs, st.integers(1, 12), st.booleans())
def test_the_parts_add_up_to_the_brier_loss(drawn, bins, equal_counts):
    said, happened = split(drawn)
    table = reliability(said, happened, bins, equal_counts)
    parts = table.reliability - table.resolution + table.uncertainty + table.within
    assert parts == pytest.approx(np.mean((said - happened) ** 2), abs=1e-12)
    assert table.brier == pytest.approx(parts, abs=1e-12)
    assert table.counts.sum() == len(said)
    assert 0.0 <= table.error <= 1.0


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 1)), min_size=1, max_size=60))
def test_chances_that_are_equal_in_a_bin_leave_nothing_out(drawn):
    """Murphy's own three parts: chances 0, 0.1, ... 1, each in a bin of its own."""
    said, happened = split(drawn)
    table = reliability(said / 10.0, happened, 1_000)
    assert table.within == pytest.approx(0.0, abs=1e-12)


@given(pairs, st.integers(1, 12))
def test_the_table_is_scikit_learns(drawn, bins):
    said, happened = split(drawn)
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Its bins hold their upper border and ours the lower one: keep off the borders.
    off = np.abs(said[:, None] - edges).min(axis=1) > 1e-9
    said, happened = said[off], happened[off]
    if len(said) == 0:
        return
    table = reliability(said, happened, bins)
    true, mean = calibration_curve(happened, said, n_bins=bins)
    filled = table.counts > 0
    np.testing.assert_allclose(table.happened[filled], true, atol=1e-12)
    np.testing.assert_allclose(table.said[filled], mean, atol=1e-12)
    assert np.isnan(table.said[~filled]).all()


def test_the_calibration_error_by_hand():
    """Bins [0, 0.5) and [0.5, 1]: said 0.2 and happened 1/2 over two; said 0.8, happened 1 over
    three. (2 x 0.3 + 3 x 0.2) / 5 = 0.24.
    """
    table = reliability(np.array([0.1, 0.3, 0.7, 0.8, 0.9]), np.array([0, 1, 1, 1, 1]), bins=2)
    assert table.error == pytest.approx(0.24)
    np.testing.assert_allclose(table.said, [0.2, 0.8])
    np.testing.assert_allclose(table.happened, [0.5, 1.0])
    assert table.counts.tolist() == [2, 3]
    assert table.uncertainty == pytest.approx(0.8 * 0.2)


def test_an_honest_forecaster_is_calibrated_and_an_overconfident_one_is_not():
    generator = np.random.Generator(np.random.PCG64(1))
    chances = generator.uniform(0.0, 1.0, 50_000)
    happened = (generator.uniform(size=len(chances)) < chances).astype(np.int64)
    # An empirical share of 5,000 is off by 0.007 at most in the mean.
    assert reliability(chances, happened).error < 0.01
    bold = np.clip(chances + 0.2 * np.sign(chances - 0.5), 0.0, 1.0)
    assert reliability(bold, happened).error > 0.1
    assert reliability(bold, happened).brier > reliability(chances, happened).brier


def test_bins_of_equal_counts_keep_equal_chances_together():
    said = np.array([0.5] * 8 + [0.9, 0.95])
    table = reliability(said, np.ones(10, dtype=np.int64), bins=5, equal_counts=True)
    assert 8 in table.counts


def test_nothing_to_judge_is_refused():
    for chances, bins in ((np.zeros(0), 10), (np.zeros(3), 0)):
        with pytest.raises(RewardError, match=r"must be \[n\] in bins"):
            reliability(chances, np.zeros(len(chances), dtype=np.int64), bins)
