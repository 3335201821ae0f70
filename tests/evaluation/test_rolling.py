# SPDX-License-Identifier: Apache-2.0
"""Moving ratios against pandas, and how often their interval holds the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtquant.evaluation.rolling import rolling


def test_moving_figures_are_those_of_pandas() -> None:
    returns = np.random.default_rng(1).normal(5e-4, 0.01, 900)
    found = rolling(returns, 252.0)
    assert found.window == 126
    windows = pd.Series(returns).rolling(126)
    expected = (windows.mean() / windows.std() * np.sqrt(252.0)).to_numpy()
    np.testing.assert_allclose(found.sharpe, expected, rtol=1e-9)
    np.testing.assert_allclose(found.volatility, windows.std() * np.sqrt(252.0), rtol=1e-9)


def test_the_interval_holds_the_truth_in_95_of_100_windows() -> None:
    # 2,000 disjoint windows of 100 bars with a ratio of 0.1 per bar: 95 % +- 0.5 %.
    returns = np.random.default_rng(2).normal(0.001, 0.01, 200_000)
    found = rolling(returns, 200.0)
    assert found.window == 100
    ends, truth = slice(99, None, 100), 0.1 * np.sqrt(200.0)
    held = (found.low[ends] < truth) & (truth < found.high[ends])
    assert held.mean() == pytest.approx(0.95, abs=0.02)


def test_what_does_not_vary_has_no_ratio() -> None:
    found = rolling(np.zeros(100), 252.0)
    assert found.window == 25
    assert np.isnan(found.sharpe).all()
    assert found.volatility[-1] == 0.0
    assert np.isnan(rolling(np.zeros(5), float("nan")).volatility).all()  # shorter than a window
