# SPDX-License-Identifier: Apache-2.0
"""Tables and the thinning of long lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.evaluation import report_charts as charts
from mtquant.evaluation import report_tables as t
from mtquant.evaluation.summary import METRIC_TEXTS, summarize
from tests.support.ledgers import ledger_from_fills, ledger_from_returns, trading_ledger


def test_every_row_of_the_metrics_table_is_documented() -> None:
    assert {key for _, key, _ in t.METRIC_ROWS} <= set(METRIC_TEXTS)


def test_sharpe_without_interval_is_not_shown() -> None:
    # 15 bars have a Sharpe ratio but are too few for an interval.
    summary = summarize(ledger_from_returns(np.tile([0.01, -0.02, 0.03], 5)))
    assert not np.isnan(summary["sharpe"])
    table = t.metrics_table(["a"], [summary])
    assert table.loc["Sharpe (95 % interval)", "a"] == t.UNDEFINED


def test_numbers_have_no_negative_zero() -> None:
    assert (t.percent(-1e-9), t.ratio(-1e-9), t.count(-0.2)) == ("0.0 %", "0.00", "0")


def test_monthly_returns_multiply_to_the_total() -> None:
    ledger = trading_ledger(bars=600)
    table = t.monthly_returns(ledger)
    total = ledger.equity[-1] / ledger.initial_equity
    assert (1.0 + table["year"]).prod() == pytest.approx(total)
    assert (1.0 + table[list(range(1, 13))]).prod(axis=1).prod() == pytest.approx(total)
    # 600 weekdays from January 2018 end in April 2020: the months after it are unknown, not zero.
    assert list(table.index) == [2018, 2019, 2020]
    assert np.isnan(table.loc[2020, 12])


def test_limits_are_counted_bit_by_bit() -> None:
    ledger = ledger_from_returns([0.0] * 4)
    ledger.outcomes[:, oc.BINDING] = [0, oc.LIMIT_NAME, oc.LIMIT_NAME | oc.LIMIT_GROSS, 0]
    shares = t.limits_table(ledger)["share of bars"]
    assert list(shares.index) == list(oc.LIMIT_TEXTS.values())
    assert list(shares) == ["50.0 %", "25.0 %"] + ["0.0 %"] * (len(oc.LIMIT_TEXTS) - 2)


def test_refusals_are_counted_by_reason() -> None:
    fills = [
        {"row": 1, "quantity": 1, "price": 10},
        {"row": 2, "quantity": 0, "wanted": 1, "price": 10, "reason": oc.REASON_MARKET_CLOSED},
        {"row": 3, "quantity": 1, "wanted": 2, "price": 1, "reason": oc.REASON_SHRUNK_BY_MARGIN},
        {"row": 4, "quantity": 0, "wanted": 1, "price": 10, "reason": oc.REASON_MARKET_CLOSED},
    ]
    table = t.refusals_table(ledger_from_fills(fills))
    assert dict(table["orders"]) == {
        oc.REASON_TEXTS[oc.REASON_MARKET_CLOSED]: "2",
        oc.REASON_TEXTS[oc.REASON_SHRUNK_BY_MARGIN]: "1",
    }


def test_card_is_flattened() -> None:
    table = t.card_table({"a": {"b": 1, "c": {"d": "x"}}, "e": [1, 2]})
    assert dict(table["value"]) == {"a.b": "1", "a.c.d": "x", "e": "1, 2"}


def test_markdown_escapes_bars() -> None:
    assert "a\\|b" in t.markdown_table(pd.DataFrame({"x": ["a|b"]}, index=["r"]))


@given(st.integers(1, 9000), st.integers(4, 3000), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_thinning_keeps_ends_and_extremes(bars: int, limit: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=bars).cumsum()
    values[: bars // 3] = np.nan  # before an instrument's first bar
    rows = charts.thin(values, limit)
    assert len(rows) <= max(limit, 2)
    assert (rows[0], rows[-1]) == (0, bars - 1)
    assert (np.diff(rows) > 0).all()
    assert np.nanmax(values[rows]) == np.nanmax(values)
    assert np.nanmin(values[rows]) == np.nanmin(values)


def test_exposure_of_a_bankrupt_account_is_drawn_as_zero() -> None:
    ledger = trading_ledger(bars=40)
    ledger.outcomes[20:, oc.EQUITY] = 0.0
    ledger.positions[20:] = 0.0
    figure = charts.exposure_chart(ledger)
    assert all(np.isfinite(trace.y).all() for trace in figure.data)


def test_dressing_leaves_the_callers_figure_alone() -> None:
    figure = charts.go.Figure(charts.go.Scatter(y=[1, 2]), layout={"width": 700, "height": 250})
    dressed = charts.dress(figure)
    assert (figure.layout.width, figure.layout.paper_bgcolor) == (700, None)
    assert (dressed.layout.width, dressed.layout.height) == (None, 250)


def test_markers_beyond_the_limit_are_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MAX_MARKERS", 2)
    fills = [{"row": k, "quantity": q, "price": 10} for k, q in enumerate((1.0, 9.0, -2.0, -7.0))]
    figure = charts.instrument_chart(ledger_from_fills(fills), "AAA")
    shown = {trace.name: list(trace.customdata) for trace in figure.data if trace.mode == "markers"}
    assert shown == {"buy": [9.0], "sell": [-7.0]}
