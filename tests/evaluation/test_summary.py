# SPDX-License-Identifier: Apache-2.0
"""The summary of a ledger: its keys, counts and sums, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.errors import RunError
from mtquant.evaluation.metrics import periods_per_year
from mtquant.evaluation.summary import METRIC_TEXTS, summarize
from tests.support.ledgers import ledger_from_returns, trading_ledger


def test_summary_has_the_documented_keys_in_order() -> None:
    assert list(summarize(trading_ledger(bars=300))) == list(METRIC_TEXTS)


def test_summary_counts_and_sums() -> None:
    ledger = trading_ledger(bars=400, seed=8)
    ledger.outcomes[:100, oc.NET] = -0.4
    summary = summarize(ledger)
    assert summary["mean_net"] == pytest.approx(-0.1)
    quantity = ledger.fills_frame()["quantity"]
    assert summary["fills"] == (quantity != 0).sum() > 0
    assert summary["refusals"] == (quantity == 0).sum() > 0
    assert summary["fees"] == pytest.approx(ledger.fills_frame()["fee"].sum())
    assert summary["turnover_per_year"] == pytest.approx(
        ledger.column("turnover").mean() * periods_per_year(ledger.stamps)
    )
    assert summary["time_in_market"] == np.mean(np.abs(ledger.positions).sum(axis=1) > 0)


def test_summary_refuses_an_empty_ledger() -> None:
    with pytest.raises(RunError, match="at least one bar"):
        summarize(ledger_from_returns([]))


def test_summary_of_one_bar_is_mostly_undefined() -> None:
    summary = summarize(ledger_from_returns([0.01]))
    assert summary["total_return"] == pytest.approx(0.01)
    names = ("sharpe", "sharpe_error", "annual_return", "turnover_per_year", "value_at_risk")
    assert np.isnan([summary[name] for name in names]).all()
