# SPDX-License-Identifier: Apache-2.0
"""What the charts are handed: bands and marks of the guard, stacks, colours, no empty layers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("altair", reason="altair is not installed")
figures = pytest.importorskip("mtquant.dashboard.figures")
from mtquant.dashboard import curves  # noqa: E402
from mtquant.dashboard.accounts import opened  # noqa: E402
from mtquant.dashboard.backtests import beside  # noqa: E402
from mtquant.evaluation.report.style import COLOURS, LOSS_COLOUR, STOP_COLOUR  # noqa: E402


def _layers(chart):
    """Data of each layer, by its mark."""
    return {own.mark.type: own.data for own in chart.layer}


def test_the_guards_time_is_shaded_and_its_changes_marked(long):
    with opened(long.path) as ledger:
        curve, marks = curves.equity_curve(ledger), curves.guard_marks(ledger)
    upper, lower = figures.equity_charts(curve, marks, "USD")
    bands = _layers(upper)["rect"]
    stamps = pd.DatetimeIndex(long.walk.stamps[[450, 675, 1125, 1170]]).tz_localize("UTC")
    assert list(zip(bands["at"], bands["until"], bands["tone"])) == [
        (stamps[0], stamps[1], STOP_COLOUR),
        (stamps[2], stamps[3], LOSS_COLOUR),
    ]
    points = _layers(upper)["point"]
    assert points["guard"].tolist() == ["reducing", "active", "halted", "active"]
    assert points["reasons"].tolist()[:2] == ["drawdown beyond its limit", "all clear"]
    assert (_layers(lower)["area"]["fall"] <= 0.0).all()


def test_a_guard_that_never_acted_leaves_no_layer(long):
    with opened(long.path) as ledger:
        curve, marks = curves.equity_curve(ledger), curves.guard_marks(ledger)
    upper, _ = figures.equity_charts(curve, marks.iloc[:0], "USD")
    assert set(_layers(upper)) == {"line", "rule"}


def test_longs_and_shorts_are_stacked_apart():
    index = pd.date_range("2025-01-01", periods=3, freq="h")
    held = pd.DataFrame({"A": [0.1, -0.1, 0.0], "B": 0.0, "C": [0.2, 0.2, np.nan]}, index=index)
    chart, legend = figures.allocation_chart(held)
    longs, shorts = (own.data for own in chart.layer)
    assert legend == [("A", COLOURS[0]), ("C", COLOURS[2])]  # B was never held
    assert longs["exposure"].sum() == pytest.approx(0.5)
    assert shorts["exposure"].sum() == pytest.approx(-0.1)
    chart.to_dict()


def test_a_map_of_messages_has_the_more_colour_the_further_from_nothing():
    index = pd.DatetimeIndex(["2025-01-01 10:00", "2025-01-01 11:00", "2025-01-01 13:00"])
    frame = pd.DataFrame({"B": [0.5, -0.25, np.nan], "A": [0.0, 0.5, 0.5]}, index=index)
    chart, legend = figures.messages_chart(frame, "signal")
    cells = chart.data.set_index(["symbol", "when"])
    assert len(cells) == 5  # nobody spoke of B at the end
    assert cells.loc[("B", "2025-01-01 11:00"), ["size", "sign"]].tolist() == [0.5, "below 0"]
    assert cells.loc[("A", "2025-01-01 10:00"), "size"] == 0.0
    lasts = (cells["until"] - cells["at"]).loc["A"].dt.total_seconds().tolist()
    assert lasts == [3_600.0, 7_200.0, 5_400.0]  # the last bar as long as others
    assert [name for name, _ in legend] == ["above 0, up to 0.5", "below 0, up to 0.5"]
    drawn = chart.to_dict()["layer"][0]["encoding"]
    assert drawn["y"]["sort"] == ["B", "A"]  # as in the account
    _, alone = figures.messages_chart(frame.abs(), "confidence")
    assert [name for name, _ in alone] == ["above 0, up to 0.5"]


@pytest.mark.parametrize("values", [[0.0], [np.nan], [np.nan, np.nan]])
def test_a_map_of_nothing_said_can_be_drawn(values):
    index = pd.date_range("2025-01-01", periods=len(values), freq="h")
    chart, _ = figures.messages_chart(pd.DataFrame({"A": values}, index=index), "signal")
    assert bool(chart.to_dict()["layer"]) == np.isfinite(values).any()


def test_equal_lines_have_a_difference_of_nothing():
    paper = pd.Series([1.0, 1.1, 1.2], index=pd.date_range("2025-01-01", periods=3, freq="h"))
    _, lower, _ = figures.beside_charts(beside(paper, paper))
    area = next(own for own in lower.to_dict()["layer"] if own["mark"]["type"] == "area")
    assert area["encoding"]["y"]["scale"]["domain"] == [-0.001, 0.001]


def test_curves_of_every_specialist_are_named():
    series = {name: pd.Series([1.0, 2.0], index=[0, 9]) for name in ("EURUSD", "USDJPY")}
    chart, legend = figures.curves_chart(series)
    assert [name for name, _ in legend] == ["EURUSD", "USDJPY"]
    assert sorted(chart.data["name"].unique()) == ["EURUSD", "USDJPY"]
    chart.to_dict()
