# SPDX-License-Identifier: Apache-2.0
"""What forecasts are worth on fills: days, signs, and how many of them a year has."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.llm.evaluation.scores import DAY
from mtquant.llm.evaluation.worth import fill_worth

DAYS, STOCKS = 60, 2
RETURNS = np.random.default_rng(0).normal(0.001, 0.01, DAYS * STOCKS)
CHANCES = np.tile([[0.2, 0.8], [0.6, 0.4]], (DAYS, 1))


def worth(every: int) -> dict[str, float]:
    """Two stocks, decided on every so many days."""
    stamps = np.repeat(np.arange(1, DAYS + 1) * every * DAY, STOCKS)
    found, (low, high) = fill_worth(CHANCES, {"fill_return": RETURNS}, stamps, 0)
    assert low < found["fill_sharpe"] < high
    return found


def test_a_day_is_the_mean_of_its_stocks() -> None:
    daily = (0.6 * RETURNS[0::2] - 0.2 * RETURNS[1::2]) / 2
    found = worth(1)
    assert found["daily_bps"] == pytest.approx(1e4 * daily.mean())
    right = np.sign([0.6, -0.2] * DAYS) == np.sign(RETURNS)
    assert found["fill_accuracy"] == right.mean()
    assert found["fill_sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * 365.25**0.5)


def test_a_forecast_a_week_is_no_forecast_a_day() -> None:
    assert worth(7)["fill_sharpe"] == pytest.approx(worth(1)["fill_sharpe"] / 7**0.5)
