# SPDX-License-Identifier: Apache-2.0
"""Moves: bars without prices and dates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import Bars
from mtquant.data.moves import block_rows, diffuse, moves_from_bars
from tests.support.builders import make_bars

DAY = 86_400


def test_bars_to_moves_and_back() -> None:
    bars = {name: make_bars(name, 200, seed, DAY) for seed, name in enumerate(("A", "B"))}
    made = moves_from_bars(bars).to_bars(("A", "B"), ("USD", "USD"), DAY, "again")
    for name, own in bars.items():
        scale = own.close[0] / 100.0  # made-up prices begin at 100
        for column in ("open", "high", "low", "close"):
            again = getattr(made[name], column) * scale
            np.testing.assert_allclose(again, getattr(own, column)[1:], rtol=1e-10)
        assert (made[name].volume == own.volume[1:]).all()


def test_bars_that_share_no_days_are_refused() -> None:
    early = make_bars("A", 100, 1, DAY)
    late = make_bars("B", 100, 2, DAY).rows(slice(90, None))
    with pytest.raises(DataError, match="must share more than 30 close stamps; found 10"):
        moves_from_bars({"A": early, "B": late})


def with_a_hole(bars: Bars, rows: int, level: float) -> Bars:
    """The first 300 bars, then `rows` that are missing, over which the price went to `level`."""
    kept = bars.rows(np.delete(np.arange(len(bars)), np.arange(300, 300 + rows)))
    factor = np.where(np.arange(len(kept)) < 300, 1.0, level)
    prices = {name: getattr(kept, name) * factor for name in ("open", "high", "low", "close")}
    return replace(kept, **prices)


def test_no_move_leads_across_missing_bars() -> None:
    """Ten days without a bar are a long holiday, and seventy are missing."""
    whole = {name: make_bars(name, 600, seed, DAY) for seed, name in enumerate(("A", "B"))}
    closed = {name: with_a_hole(own, 10, 1.1) for name, own in whole.items()}
    assert moves_from_bars(closed).returns.max() == pytest.approx(np.log(1.1), abs=0.02)
    missing = {name: with_a_hole(own, 70, 3.0) for name, own in whole.items()}
    found = moves_from_bars(missing)
    assert len(found) == 600 - 70 - 2
    np.testing.assert_allclose(
        found.returns, np.delete(moves_from_bars(whole).returns, np.arange(299, 370), axis=0)
    )
    # One instrument's gap is everybody's: the others' bars there are shared by nobody.
    assert len(moves_from_bars({**whole, "A": missing["A"]})) == 600 - 70 - 2


@given(
    available=st.integers(1, 300),
    count=st.integers(1, 500),
    mean=st.floats(1.0, 100.0),
    seed=st.integers(0, 1_000),
)
def test_blocks_go_round_a_circle(available: int, count: int, mean: float, seed: int) -> None:
    rows = block_rows(available, count, mean, np.random.default_rng(seed))
    assert rows.shape == (count,)
    assert rows.min() >= 0
    assert rows.max() < available


@pytest.mark.parametrize("mean", [1.0, 5.0, 40.0])
def test_blocks_have_the_mean_length(mean: float) -> None:
    """Lengths are geometric, so over 200,000 rows of a long circle the number of blocks has a
    standard error below 2.3 per mille of itself at mean 1 .. 40 (sqrt(mean / 200,000)).
    """
    rows = block_rows(1_000_000, 200_000, mean, np.random.default_rng(5))
    blocks = 1 + np.count_nonzero(np.diff(rows) != 1)
    assert 200_000 / blocks == pytest.approx(mean, rel=0.06)


def test_extremes_follow_the_reflection_principle() -> None:
    """Of a Brownian path that ends where it began, the mean maximum is sqrt(pi / 8) deviations:
    the integral of exp(-2 x^2) over x > 0.
    """
    still = np.zeros((200_000, 1))
    up, down = diffuse(still, np.ones_like(still), np.random.default_rng(3))
    # Standard error: deviation of a Rayleigh variable of mean 0.627, 0.328, over sqrt(200,000).
    assert up.mean() == pytest.approx(np.sqrt(np.pi / 8.0), abs=4 * 0.328 / np.sqrt(200_000))
    assert down.mean() == pytest.approx(np.sqrt(np.pi / 8.0), abs=4 * 0.328 / np.sqrt(200_000))
    assert (np.vstack((up, down)) >= 0.0).all()
