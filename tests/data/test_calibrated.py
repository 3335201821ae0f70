# SPDX-License-Identifier: Apache-2.0
"""Calibrated scenarios: the given bars' volatility, correlation, calendar and prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.calibrated import calibrated, mean_correlation
from mtquant.data.moves import moves_from_bars
from mtquant.data.synthetic import SCENARIOS, Dials
from tests.support.builders import make_bars

DAY = 86_400
REAL = {
    name: make_bars(name, 900, n, DAY, volatility=0.005 * (1 + 2 * n))
    for n, name in enumerate(("A", "B"))
}
CALM = Dials(volatility=1.0)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_they_lie_on_the_calendar_and_repeat_themselves(scenario: str) -> None:
    made = calibrated(scenario, REAL, Dials.at(0.5), SeedTree(3), bars=300)
    again = calibrated(scenario, REAL, Dials.at(0.5), SeedTree(3), bars=300)
    for name, bars in made.items():
        assert bars.stamps.tolist() == REAL[name].stamps[-300:].tolist()
        assert bars.quote == REAL[name].quote
        assert bars.close.tobytes() == again[name].close.tobytes()


@pytest.mark.parametrize("scenario", ["gbm", "bootstrap"])
def test_they_are_as_volatile_as_the_given_bars(scenario: str) -> None:
    made = calibrated(scenario, REAL, CALM, SeedTree(3))
    wanted, found = (moves_from_bars(bars).returns.std(axis=0) for bars in (REAL, made))
    # 898 draws: a standard error of 2.4 %; blocks of real bars vary more.
    assert found == pytest.approx(wanted, rel=0.12)


def test_they_begin_at_the_price_before() -> None:
    made = calibrated("gbm", REAL, CALM, SeedTree(3), bars=100)
    for name, bars in made.items():
        assert bars.open[0] == pytest.approx(REAL[name].close[-101])


def test_never_more_bars_than_there_are() -> None:
    assert len(calibrated("gbm", REAL, CALM, SeedTree(3), bars=5_000)["A"]) == 899


def hollow() -> dict[str, Bars]:
    """900 days of which 200 are missing in the middle, over which prices rose tenfold."""
    rows = np.delete(np.arange(900), np.arange(400, 600))
    factor = np.where(rows < 400, 1.0, 10.0)
    found = {}
    for name, own in REAL.items():
        kept = own.rows(rows)
        prices = {p: getattr(kept, p) * factor for p in ("open", "high", "low", "close")}
        found[name] = replace(kept, **prices)
    return found


@pytest.mark.parametrize("scenario", ["gbm", "garch", "bootstrap", "mixed"])
def test_a_hole_is_no_bar(scenario: str) -> None:
    """Neither its move nor its time: volatility is that of the bars, and the calendar is the
    longest stretch without it.
    """
    made = calibrated(scenario, hollow(), CALM, SeedTree(3))
    for name, bars in made.items():
        assert bars.stamps.tolist() == REAL[name].stamps[1:400].tolist()
        assert np.abs(np.diff(np.log(bars.close))).max() < np.log(2.0)
    if scenario in ("gbm", "bootstrap"):
        wanted = moves_from_bars(REAL).returns.std(axis=0)
        assert moves_from_bars(made).returns.std(axis=0) == pytest.approx(wanted, rel=0.15)


def test_the_mean_correlation() -> None:
    returns = np.random.default_rng(0).standard_normal((500, 3))
    returns[:, 1] = returns[:, 0]
    wanted = np.corrcoef(returns.T)[np.triu_indices(3, 1)].mean()
    assert mean_correlation(returns) == pytest.approx(wanted)
    assert mean_correlation(returns[:, :1]) == 0.0
    assert mean_correlation(returns[:, :2]) == 0.94  # the largest that dials take
