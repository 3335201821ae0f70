# SPDX-License-Identifier: Apache-2.0
"""Adjusted prices: nothing later changes them, and their return is price and dividend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.actions import (
    Actions,
    adjusted,
    as_traded,
    check_actions,
    no_actions,
    read_actions,
    write_actions,
)
from mtquant.data.bars import PRICE_COLUMNS, Bars, check_bars
from tests.support.builders import assert_same_bars, bars_from_closes, make_bars

DAY_NS = 86_400 * 10**9


@st.composite
def traded(draw: st.DrawFn) -> tuple[Bars, Actions]:
    """Daily bars as traded and actions before, within and after them, two on a bar included."""
    n = draw(st.integers(3, 40))
    bars = make_bars("ACME", n, draw(st.integers(0, 999)), 86_400, missing_frac=0.3)
    first, last = int(bars.stamps[0]) - 3 * DAY_NS, int(bars.stamps[-1]) + 3 * DAY_NS
    days = draw(st.lists(st.integers(first // DAY_NS, last // DAY_NS), max_size=12, unique=True))
    stamps = np.sort(np.array(days, dtype=np.int64)) * DAY_NS + 5 * 3_600 * 10**9
    ratios = draw(
        st.lists(
            st.sampled_from((1.0, 1.0, 2.0, 0.1, 1.5, 7.0)),
            min_size=len(days),
            max_size=len(days),
        )
    )
    dividends = draw(
        st.lists(
            st.sampled_from((0.0, 0.01, 0.2)),
            min_size=len(days),
            max_size=len(days),
        )
    )
    return bars, Actions("ACME", stamps, np.array(ratios), np.array(dividends))


def wealth(bars: Bars, actions: Actions) -> np.ndarray:
    """A share bought at the first close, dividends put back at the ex bar's close: float64 [T].

    Written from the words of the module's docstring, bar by bar, without any scaling.
    """
    shares, worth = 1.0, [bars.close[0]]
    for row in range(1, len(bars)):
        cash = 0.0
        for stamp, ratio, dividend in zip(actions.ex_stamps, actions.split_ratio, actions.dividend):
            if bars.stamps[row - 1] <= stamp < bars.stamps[row]:
                shares *= ratio
                cash += shares * dividend
        shares += cash / bars.close[row]
        worth.append(shares * bars.close[row])
    return np.array(worth)


@given(traded())
def test_the_total_return_is_price_and_dividends(market: tuple[Bars, Actions]) -> None:
    bars, actions = market
    result = adjusted(bars, actions, int(bars.stamps[-1]))
    worth = wealth(bars, actions)
    np.testing.assert_allclose(result.close / result.close[-1], worth / worth[-1], rtol=1e-12)
    assert result.close[-1] == bars.close[-1]
    check_bars(result)


@given(traded(), st.data())
def test_nothing_later_changes_what_was_known(
    market: tuple[Bars, Actions], data: st.DataObject
) -> None:
    bars, actions = market
    row = data.draw(st.integers(1, len(bars) - 1))
    moment = int(bars.stamps[row]) + data.draw(st.integers(0, DAY_NS // 2))
    rows = int((bars.stamps <= moment).sum())
    known = bars.rows(slice(0, rows))
    before = adjusted(known, actions.rows(actions.ex_stamps <= moment), moment)
    # The later bars are others, and so are the later actions.
    worse = {name: np.array(getattr(bars, name)) for name in PRICE_COLUMNS}
    for column in worse.values():
        column[rows:] *= 3.0
    later = actions.ex_stamps > moment
    changed = replace(
        actions,
        split_ratio=np.where(later, 5.0, actions.split_ratio),
        dividend=np.where(later, 0.5, actions.dividend),
    )
    assert_same_bars(adjusted(replace(bars, **worse), changed, moment), before)


@given(traded(), st.data())
def test_later_actions_only_rescale(market: tuple[Bars, Actions], data: st.DataObject) -> None:
    """Returns between bars that were known stay what they were."""
    bars, actions = market
    row = data.draw(st.integers(1, len(bars) - 1))
    then = adjusted(bars, actions, int(bars.stamps[row])).close
    today = adjusted(bars, actions, int(bars.stamps[-1])).close[: row + 1]
    np.testing.assert_allclose(np.diff(np.log(today)), np.diff(np.log(then)), rtol=0, atol=1e-12)


@given(traded())
def test_todays_shares_are_undone(market: tuple[Bars, Actions]) -> None:
    """As Yahoo does: prices and dividends divided by, volumes multiplied with, later ratios."""
    bars, actions = market
    pairs = list(zip(actions.ex_stamps, actions.split_ratio))
    shares = np.array([np.prod([r for s, r in pairs if s >= t]) for t in bars.stamps])
    own = np.array([np.prod([r for s, r in pairs if s > t]) for t in actions.ex_stamps])
    prices = {name: getattr(bars, name) / shares for name in PRICE_COLUMNS}
    today = replace(bars, **prices, volume=bars.volume * shares)
    undone, paid = as_traded(today, replace(actions, dividend=actions.dividend / own))
    for name in (*PRICE_COLUMNS, "volume"):
        np.testing.assert_allclose(getattr(undone, name), getattr(bars, name), rtol=1e-12)
    np.testing.assert_allclose(paid.dividend, actions.dividend, rtol=1e-12)


def test_a_split_and_a_dividend_by_hand() -> None:
    """100 a share; then 2:1 and 1 per new share, closing at 51: one share became 2 x 52 = 104."""
    bars = bars_from_closes([100.0, 51.0, 51.0], "ACME", bar_seconds=86_400)
    bars = replace(bars, volume=np.array([10.0, 20.0, 20.0]))
    ex = bars.stamps[:1] + 1
    actions = Actions("ACME", ex, np.array([2.0]), np.array([1.0]))
    result = adjusted(bars, actions, int(bars.stamps[-1]))
    # 100 x 51 / 104 = 49.0384..., so that 51 / 49.0384... = 1.04.
    np.testing.assert_allclose(result.close, [100.0 * 51.0 / 104.0, 51.0, 51.0], rtol=1e-15)
    assert list(result.volume) == [20.0, 20.0, 20.0]
    assert result.notes == (
        "adjusted with the splits (1) and dividends (1) known by 2020-01-09 00:00:00Z: earlier "
        "price levels are not those that were traded",
    )
    # On the eve nothing has happened.
    assert_same_bars(adjusted(bars, actions, int(ex[0])), bars.rows(slice(0, 1)))


def test_without_actions_the_bars_are_the_bars() -> None:
    bars = make_bars("EURUSD", 20)
    assert_same_bars(adjusted(bars, no_actions("EURUSD"), int(bars.stamps[-1])), bars)


def test_the_vendors_way_differs_by_yield_times_return() -> None:
    """Close 100, then 110 after a dividend of 2.

    Yahoo: 110 / (100 - 2) = 1.12245; ours: (110 + 2) / 100 = 1.12. The difference is near
    2 % x 10 % = 0.2 % of 1.12.
    """
    bars = bars_from_closes([100.0, 110.0], "ACME", bar_seconds=86_400)
    actions = Actions("ACME", bars.stamps[:1] + 1, np.array([1.0]), np.array([2.0]))
    close = adjusted(bars, actions, int(bars.stamps[-1])).close
    assert close[1] / close[0] == pytest.approx(1.12, rel=1e-15)


def test_the_file_returns_the_same(tmp_path: Path) -> None:
    actions = Actions("ACME", np.array([5, DAY_NS]), np.array([4.0, 1.0]), np.array([0.0, 0.3]))
    for own in (actions, no_actions("ACME")):
        write_actions(own, tmp_path / "a.parquet")
        read = read_actions(tmp_path / "a.parquet")
        for name in ("symbol", "ex_stamps", "split_ratio", "dividend"):
            assert np.array_equal(getattr(read, name), getattr(own, name))
    assert (actions.splits, actions.dividends) == (1, 1)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match=r"a\.parquet: content must be a readable file of corp"):
        read_actions(path)
    pd.DataFrame({"split_ratio": [1.0]}).to_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet: content must be a readable file of corp"):
        read_actions(path)


@pytest.mark.parametrize(
    ("ex_stamps", "ratios", "dividends", "rule"),
    [
        ([5, 5], [1.0, 1.0], [1.0, 1.0], "row 1 .*ex-date after"),
        ([5, 6], [1.0, 0.0], [1.0, 1.0], "row 1 .*positive split ratio; found 0.0"),
        ([5, 6], [np.nan, 1.0], [1.0, 1.0], "row 0 .*positive split ratio; found nan"),
        ([5, 6], [1.0, 1.0], [-0.5, 1.0], "row 0 .*no negative dividend; found -0.5"),
        ([5, 6], [1.0], [-0.5, 1.0], "one ratio and dividend each"),
    ],
)
def test_broken_actions_are_refused(
    ex_stamps: list[int], ratios: list[float], dividends: list[float], rule: str
) -> None:
    with pytest.raises(DataError, match=rule):
        check_actions(Actions("ACME", np.array(ex_stamps), np.array(ratios), np.array(dividends)))


def test_actions_of_another_are_refused() -> None:
    with pytest.raises(DataError, match="must be those of the bars' instrument; found 'ACME'"):
        adjusted(make_bars("EURUSD", 5), no_actions("ACME"), 0)
