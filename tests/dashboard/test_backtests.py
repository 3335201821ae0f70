# SPDX-License-Identifier: Apache-2.0
"""A backtest beside paper: equal where they are equal, and told apart where they are not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mtquant.core.errors import MtquantError, RunError
from mtquant.dashboard import backtests, curves
from mtquant.dashboard.accounts import opened
from mtquant.evaluation.report import write_report
from tests.support.reports import full_material


def test_a_replay_lies_on_its_backtest(replayed, tmp_path):
    ledger, _ = replayed.stage.backtest()
    ledger.save(tmp_path / "run" / "ledgers" / "hierarchy")
    ledger.save(tmp_path / "run" / "ledgers" / "cash")
    found = backtests.find_backtests([tmp_path])
    assert list(found.values()) == [tmp_path / "run"]
    assert backtests.policies(tmp_path / "run") == ["hierarchy", "cash"]
    with opened(replayed.path) as connection:
        paper = curves.equity_curve(connection)["equity"]
    pair = backtests.beside(paper, backtests.equity_of(tmp_path / "run", "hierarchy"))
    assert len(pair.frame) == len(ledger)
    assert pair.gap == 0.0
    assert pair.paper_return == pair.backtest_return != 0.0
    assert pair.correlation == pytest.approx(1.0)


def test_a_report_alone_is_enough(tmp_path):
    material = full_material()
    write_report(tmp_path / "report", material)
    (folder,) = backtests.find_backtests([tmp_path]).values()
    run = material.runs[0]
    assert backtests.policies(folder)[0] == run.name
    found = backtests.equity_of(folder, run.name)
    np.testing.assert_allclose(found, 100.0 * run.equity / run.initial_equity, rtol=1e-6)
    with pytest.raises(RunError, match="must know nobody"):
        backtests.equity_of(folder, "nobody")


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"chapters": [{"blocks": []}]})])
def test_a_report_without_equity_is_one_sentence(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(MtquantError, match="must hold the equity of a backtest"):
        backtests.policies(tmp_path)


def _series(first: str, values: list[float], step: str = "h") -> pd.Series:
    return pd.Series(values, index=pd.date_range(first, periods=len(values), freq=step))


def test_both_begin_at_100_where_they_meet():
    paper = _series("2025-01-01 00:00", [10.0, 20.0, 22.0, 33.0])
    backtest = _series("2025-01-01 01:00", [500.0, 600.0])
    pair = backtests.beside(paper, backtest)
    assert pair.frame["paper"].tolist() == pytest.approx([100.0, 110.0])
    assert pair.frame["backtest"].tolist() == pytest.approx([100.0, 120.0])
    assert (pair.paper_return, pair.backtest_return) == pytest.approx((0.1, 0.2))
    assert pair.gap == pytest.approx(1.0 - 110.0 / 120.0)
    assert np.isnan(pair.correlation)  # one move is no correlation


def test_a_backtest_of_longer_bars_is_known_as_of_its_last_close():
    paper = _series("2025-01-01 00:00", [1.0, 2.0, 3.0, 4.0, 5.0], "h")
    backtest = _series("2025-01-01 00:00", [1.0, 9.0, 2.0], "2h")
    frame = backtests.beside(paper, backtest).frame
    assert frame["backtest"].tolist() == [100.0, 100.0, 900.0, 900.0, 200.0]


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [1.0, 2.0]])
def test_no_common_time_is_one_sentence(values):
    paper = _series("2025-01-01", [1.0, 2.0])
    with pytest.raises(RunError, match="common bars"):
        backtests.beside(paper, _series("2019-01-01", values))
