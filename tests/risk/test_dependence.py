# SPDX-License-Identifier: Apache-2.0
"""Covariances per bar: RiskMetrics by hand, unequal hours, what is unknown, stream and batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf_shrinkage

from mtquant.core.errors import DataError
from mtquant.risk import dependence as d
from mtquant.risk import limits as lim
from mtquant.risk.measures import TRADING_DAYS_PER_YEAR

DAILY = float(TRADING_DAYS_PER_YEAR)


def prices(seed, rows, n, common=1.0):
    """Correlated random walks in full sessions."""
    generator = np.random.default_rng(seed)
    moves = generator.normal(size=(rows, n)) + common * generator.normal(size=(rows, 1))
    return 100.0 * np.exp(np.cumsum(0.01 * moves, axis=0)), np.ones((rows, n), dtype=bool)


def with_gaps(seed, rows, n):
    """Random walks of which each instrument sees its own random subset of rows, some late."""
    generator = np.random.default_rng(seed)
    close, _ = prices(seed, rows, n)
    tradable = generator.random((rows, n)) < generator.uniform(0.3, 1.0, n)
    tradable[: rows // 4, 0] = False
    for k in range(n):
        last = np.nan
        for t in range(rows):
            last = close[t, k] if tradable[t, k] else last
            close[t, k] = last
    return close, tradable


def covariance_of(row):
    """S of a row of the table, float64 [N, N], 0 where unknown."""
    n = row.shape[1]
    deviation = np.where(np.isfinite(row[lim.RISK_DEVIATION]), row[lim.RISK_DEVIATION], 0.0)
    correlation = row[lim.RISK_CORRELATION : lim.RISK_CORRELATION + n]
    return correlation * np.outer(deviation, deviation)


def test_full_sessions_give_riskmetrics():
    close, tradable = prices(0, 600, 3)
    covariance, _ = d.ewma_covariance(close, tradable, 1.0)
    # RiskMetrics 1996, equation 5.7: S = 0.94 S + 0.06 r r'; its start is forgotten to 0.94^599.
    expected = np.zeros((3, 3))
    for returns in close[1:] / close[:-1] - 1.0:
        expected = 0.94 * expected + 0.06 * np.outer(returns, returns)
    np.testing.assert_allclose(covariance[-1], expected, rtol=1e-10)


def test_a_day_is_a_day_on_bars_of_any_length():
    # One random walk, seen hourly and seen once a day of 24 rows: the same one-day variance, up to
    # the noise of some 16 remembered days (a standard error of 1/sqrt(16) of the daily one).
    close, tradable = prices(3, 24 * 400, 1, common=0.0)
    hourly, _ = d.ewma_covariance(close, tradable, 24.0)
    daily, _ = d.ewma_covariance(close[::24].copy(), tradable[::24].copy(), 1.0)
    days = np.arange(100, 399)
    ratio = hourly[24 * days, 0, 0].mean() / daily[days, 0, 0].mean()
    assert ratio == pytest.approx(1.0, abs=0.1)
    assert np.sqrt(hourly[24 * days, 0, 0].mean()) == pytest.approx(0.01 * 24**0.5, rel=0.05)


def test_markets_that_close_at_different_rows_keep_their_correlation():
    """Two instruments with one and the same price, of which one is seen on even rows and the other
    on odd ones. Row by row they never trade together, and products of returns would give 0.
    """
    walk, _ = prices(4, 4_000, 1, common=0.0)
    close = np.repeat(walk, 2, axis=1)
    tradable = np.zeros(close.shape, dtype=bool)
    tradable[::2, 0] = tradable[1::2, 1] = True
    close[1::2, 0] = close[0::2, 0]
    close[2::2, 1] = close[1:-1:2, 1]
    close[0, 1] = np.nan
    covariance, _ = d.ewma_covariance(close, tradable, 2.0)
    mean = covariance[200:].mean(axis=0)
    # Hayashi & Yoshida 2005, theorem 3.1: unbiased. 0.1 for the noise of 4,000 rows.
    assert mean[0, 1] / np.sqrt(mean[0, 0] * mean[1, 1]) == pytest.approx(1.0, abs=0.1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_stream_equals_the_batch(seed, n):
    close, tradable = with_gaps(seed, 60, n)
    table = d.risk_table(close, tradable, 3.0 * DAILY)
    stream = d.StreamingCovariance(n, 3.0)
    for t in range(len(close)):
        assert stream.update(close[t], tradable[t]).tobytes() == table.rows[t].tobytes()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["ewma", "parametric", "historical"]))
def test_no_row_knows_the_future(seed, method):
    close, tradable = with_gaps(seed, 90, 3)
    before = d.risk_table(close, tradable, DAILY, method)
    changed = close.copy()
    changed[70:] *= 1.5
    after = d.risk_table(changed, tradable, DAILY, method)
    assert after.rows[:70].tobytes() == before.rows[:70].tobytes()
    last = before.window[69, 1]
    assert np.array_equal(after.scenarios[:, :last], before.scenarios[:, :last])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_row_holds_one_covariance_in_two_forms(seed, n):
    close, tradable = with_gaps(seed, 80, n)
    row = d.risk_table(close, tradable, DAILY).rows[-1]
    values, vectors = row[lim.RISK_EIGENVALUE], row[lim.RISK_CORRELATION + n :]
    assert (values >= 0.0).all()
    np.testing.assert_allclose(
        vectors.T @ np.diag(values) @ vectors, covariance_of(row), atol=1e-15
    )
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(n), atol=1e-12)
    book = np.random.default_rng(seed).normal(size=n)
    book[~np.isfinite(row[lim.RISK_DEVIATION])] = 0.0
    assert lim.portfolio_deviation(row, book) == pytest.approx(
        np.sqrt(max(book @ covariance_of(row) @ book, 0.0)), rel=1e-9, abs=1e-12
    )


def test_clipping_never_lowers_a_variance():
    # An indefinite matrix of two: correlation 1.2.
    row = d.risk_rows(np.array([[[1.0, 1.2], [1.2, 1.0]]]), np.ones((1, 2)))[0]
    assert (row[lim.RISK_DEVIATION] >= 1.0).all()
    # Eigenvalues 2.2 and -0.2, of which the second becomes 0.
    np.testing.assert_allclose(sorted(row[lim.RISK_EIGENVALUE]), [0.0, 2.2], atol=1e-15)


class TestUnknown:
    def test_until_twenty_returns(self):
        close, tradable = prices(5, 40, 2)
        close[:10, 1] = np.nan
        tradable[:10, 1] = False
        known = np.isfinite(d.risk_table(close, tradable, DAILY).rows[:, lim.RISK_DEVIATION])
        assert known[:, 0].argmax() == d.WARM_UP_RETURNS
        assert known[:, 1].argmax() == 10 + d.WARM_UP_RETURNS

    def test_while_its_last_bar_is_old(self):
        close, tradable = prices(6, 60, 2)
        tradable[30:50, 1] = False
        close[30:50, 1] = close[29, 1]
        known = np.isfinite(d.risk_table(close, tradable, DAILY).rows[:, lim.RISK_DEVIATION, 1])
        # Row 29 was its last: ten days later it still counts, eleven later not.
        assert known[29 + d.STALE_DAYS]
        assert not known[29 + d.STALE_DAYS + 1 : 50].any()
        assert known[50:].all()

    def test_from_a_price_that_cannot_be_used(self):
        close, tradable = prices(7, 70, 2)
        close[30, 1] = -37.63  # WTI, 20 April 2020
        known = np.isfinite(d.risk_table(close, tradable, DAILY).rows[:, lim.RISK_DEVIATION, 1])
        assert known[29]
        assert not known[30 : 31 + d.WARM_UP_RETURNS].any()
        assert known[31 + d.WARM_UP_RETURNS :].all()

    def test_without_scenarios_enough(self):
        close, tradable = prices(8, 120, 2)
        close[:20, 1] = np.nan
        tradable[:20, 1] = False
        table = d.risk_table(close, tradable, DAILY, "historical")
        known = np.isfinite(table.rows[:, lim.RISK_DEVIATION])
        assert known[:, 0].argmax() == d.LEAST_DAYS
        assert not known[:, 1].any()  # its first twenty days stay in the window of 250
        assert table.window[d.LEAST_DAYS - 1].tolist() == [0, 0]
        assert table.window[d.LEAST_DAYS].tolist() == [0, d.LEAST_DAYS]


def test_parametric_takes_the_shrunk_covariance_of_the_window():
    close, tradable = prices(9, 400, 3)
    table = d.risk_table(close, tradable, DAILY, "parametric")
    first, last = table.window[-1]
    assert last - first == d.WINDOW_DAYS
    sample = table.scenarios[:, first:last].T
    np.testing.assert_allclose(
        covariance_of(table.rows[-1]), d.shrunk_covariance(sample, "ledoit_wolf"), rtol=1e-9
    )


@pytest.mark.parametrize("estimator", ["ledoit_wolf", "oas"])
def test_shrinking_moves_correlations_towards_zero_and_leaves_variances(estimator):
    returns = prices(10, 41, 5)[0]
    returns = returns[1:] / returns[:-1] - 1.0
    returns[:, 0] *= 30.0  # oil beside a currency
    shrunk = d.shrunk_covariance(returns, estimator)
    np.testing.assert_allclose(np.diag(shrunk), returns.var(axis=0), rtol=1e-12)
    ratio = shrunk / np.cov(returns.T, bias=True)
    off = ratio[~np.eye(5, dtype=bool)]
    assert np.ptp(off) < 1e-9
    assert 0.0 < off[0] < 1.0
    if estimator == "ledoit_wolf":
        standardised = (returns - returns.mean(axis=0)) / returns.std(axis=0)
        assert 1.0 - off[0] == pytest.approx(ledoit_wolf_shrinkage(standardised), rel=1e-9)


def test_scenarios_are_one_day_long():
    close = np.array([[100.0], [101.0], [102.0], [103.0], [104.0]])
    scenarios, known = d.daily_scenarios(close, 2.0)
    np.testing.assert_allclose(scenarios[:, 0], [0.02, 104 / 102 - 1])
    assert known.tolist() == [0, 0, 1, 1, 2]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="tradable"):
        d.risk_table(np.ones((3, 2)), np.ones((3, 1), dtype=bool), DAILY)
