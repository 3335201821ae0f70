# SPDX-License-Identifier: Apache-2.0
"""Bars with another future are bars, and their past is the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtquant.data.bars import PRICE_COLUMNS, Bars, check_bars
from mtquant.workflows.verify.changes import cut, redrawn, split, without_first
from tests.support.builders import bars_strategy

DRAWS = st.integers(0, 2**32 - 1)


@given(bars_strategy(), st.integers(0, 60), DRAWS)
def test_a_redrawn_future_keeps_the_past(bars: Bars, row: int, seed: int) -> None:
    stamp = int(bars.stamps[min(row, len(bars) - 1)])
    found = redrawn(bars, stamp, np.random.default_rng(seed))
    check_bars(found)
    kept = int(np.searchsorted(bars.stamps, stamp, side="right"))
    assert np.array_equal(found.stamps, bars.stamps)
    for name in (*PRICE_COLUMNS, "volume"):
        assert np.array_equal(getattr(found, name)[:kept], getattr(bars, name)[:kept])


def test_a_redrawn_future_is_another() -> None:
    from tests.support.builders import make_bars

    bars = make_bars(n=200)
    found = redrawn(bars, int(bars.stamps[99]), np.random.default_rng(0))
    assert (found.close[100:] != bars.close[100:]).all()
    again = redrawn(bars, int(bars.stamps[99]), np.random.default_rng(0))
    assert np.array_equal(found.close, again.close)


@given(bars_strategy(), st.integers(1, 59))
def test_cut_bars_end_and_begin_where_they_were_told_to(bars: Bars, row: int) -> None:
    row = min(row, len(bars) - 1)
    stamp = int(bars.stamps[row])
    assert len(cut(bars, stamp)) == row + 1
    assert len(cut(bars, stamp - 1)) == row
    assert without_first(bars, stamp).stamps[0] == stamp


@given(bars_strategy())
def test_a_split_halves_prices(bars: Bars) -> None:
    found = split(bars)
    assert np.array_equal(found.close * 2.0, bars.close)
    assert np.array_equal(found.volume, bars.volume * 2.0)
