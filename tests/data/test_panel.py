# SPDX-License-Identifier: Apache-2.0
"""The panel: a slow reference in plain Python agrees, and no row knows its future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.panel import Panel
from mtquant.data.splits import Part
from tests.support.builders import bars_from_closes, make_bars, replaced

HOUR_NS = 3600 * NANOSECONDS
PRICES = ("open", "high", "low", "close")


@st.composite
def several_bars(draw: st.DrawFn) -> list[Bars]:
    """One to four instruments of different hours and histories."""
    return [
        make_bars(
            symbol=f"S{n}",
            n=draw(st.integers(2, 30)),
            seed=draw(st.integers(0, 1000)),
            gap=0.01,
            start_ns=draw(st.integers(0, 40)) * HOUR_NS // 2,
            missing_frac=draw(st.sampled_from((0.0, 0.5))),
        )
        for n in range(draw(st.integers(1, 4)))
    ]


@given(several_bars())
def test_against_a_slow_reference(bars: list[Bars]) -> None:
    panel = Panel.from_bars(bars)
    assert panel.stamps.tolist() == sorted({int(s) for own in bars for s in own.stamps})
    for t, stamp in enumerate(panel.stamps):
        for n, own in enumerate(bars):
            known = [i for i, s in enumerate(own.stamps) if s <= stamp]
            row = known[-1] if known else -1
            assert panel.own_row[t, n] == row
            assert panel.tradable[t, n] == (stamp in own.stamps)
            opened = max([stamp - HOUR_NS, *own.stamps[max(row - 1, 0) : row]])
            overlaps = t > 0 and opened < panel.stamps[t - 1]
            age = (stamp - own.stamps[row]) / HOUR_NS if known else 0.0
            assert panel.age_bars[t, n] == np.float32(age)
            for name in PRICES:
                found = getattr(panel, name)[t, n]
                if not known:
                    assert np.isnan(found)
                elif panel.tradable[t, n] and not overlaps:
                    assert found == getattr(own, name)[row]
                else:
                    assert found == own.close[row]


@given(several_bars(), st.data())
def test_the_future_changes_no_row(bars: list[Bars], data: st.DataObject) -> None:
    panel = Panel.from_bars(bars)
    t = data.draw(st.integers(0, len(panel) - 1))
    stamp = int(panel.stamps[t])
    altered = []
    for own in bars:
        later = own.stamps > stamp
        prices = {name: getattr(own, name) * np.where(later, 3.0, 1.0) for name in PRICES}
        # Later bars also move in time, so that the union of stamps changes too.
        altered.append(replaced(own, stamps=own.stamps + later * 7 * NANOSECONDS, **prices))
    other = Panel.from_bars(altered)
    for name in ("stamps", "own_row", "tradable", "elapsed_seconds", "age_bars", *PRICES):
        assert getattr(panel, name)[: t + 1].tobytes() == getattr(other, name)[: t + 1].tobytes()
    values = [np.column_stack([own.close, own.open]) for own in bars]
    changed = [np.column_stack([own.close, own.open]) for own in altered]
    assert panel.carry(values)[: t + 1].tobytes() == other.carry(changed)[: t + 1].tobytes()


@given(several_bars())
def test_one_instrument_is_its_own_bars(bars: list[Bars]) -> None:
    own = bars[0]
    panel = Panel.from_bars([own])
    assert panel.stamps.tobytes() == own.stamps.tobytes()
    for name in PRICES:
        assert getattr(panel, name)[:, 0].tobytes() == getattr(own, name).tobytes()
    assert panel.tradable.all()
    assert not panel.age_bars.any()
    assert panel.bars_per_year == own.bars_per_year
    values = own.close[:, None]
    assert (panel.carry([values])[:, 0] == values.astype(np.float32)).all()


@given(several_bars())
def test_carried_values_are_the_last_known_ones(bars: list[Bars]) -> None:
    panel = Panel.from_bars(bars)
    carried = panel.carry([np.column_stack([own.close, -own.close]) for own in bars])
    assert carried.shape == (len(panel), len(bars), 2)
    assert carried.dtype == np.float32
    close = panel.close.astype(np.float32)
    np.testing.assert_array_equal(carried, np.stack([close, -close], axis=2))


def test_by_hand() -> None:
    # A closes at 01:00 to 04:00; B begins later and closes at 03:00 and 05:00.
    a = bars_from_closes([1.0, 2.0, 3.0, 4.0], "A", start_ns=0, notes=("first",))
    b = bars_from_closes([7.0, 8.0, 9.0], "B", start_ns=2 * HOUR_NS, quote="JPY").rows(slice(0, 2))
    b = replaced(b, stamps=np.array([3, 5]) * HOUR_NS, notes=("second",))
    panel = Panel.from_bars([a, b])
    assert (panel.stamps / HOUR_NS).tolist() == [1, 2, 3, 4, 5]
    assert panel.elapsed_seconds.tolist() == [0, 3600, 3600, 3600, 3600]
    assert panel.own_row.tolist() == [[0, -1], [1, -1], [2, 0], [3, 0], [3, 1]]
    assert panel.age_bars[:, 0].tolist() == [0, 0, 0, 0, 1]
    assert panel.age_bars[:, 1].tolist() == [0, 0, 0, 1, 0]
    assert panel.open[2:, 1].tolist() == [7.0, 7.0, 7.0]
    assert panel.high[4].tolist() == [4.0, 8.0]
    assert (panel.symbols, panel.quotes) == (("A", "B"), ("USD", "JPY"))
    assert panel.notes == ("A: first", "B: second")
    # 4 steps in 4 hours: 365.25 x 24.
    assert panel.bars_per_year == pytest.approx(8766.0, rel=1e-12)


def test_a_bar_that_opened_before_the_row_above_is_its_close_alone() -> None:
    """Sessions of 16:00 and 17:00: what is decided at 16:00 must not fill at yesterday's 17:00."""
    day = 24 * HOUR_NS
    index = replaced(make_bars("SPX500", 4, 1, 86_400), stamps=np.array([16, 40, 64, 88]) * HOUR_NS)
    pair = replaced(make_bars("EURUSD", 4, 2, 86_400), stamps=index.stamps + HOUR_NS)
    panel = Panel.from_bars([index, pair])
    rows = panel.own_row[:, 1]
    assert panel.tradable[1::2, 1].all()
    for name in PRICES:
        # The row above is the index's close, an hour ago; the pair opened 23 hours before that.
        assert panel.open[1::2, 1].tolist() == pair.close.tolist()
        assert getattr(panel, name)[1::2, 1].tolist() == pair.close[rows[1::2]].tolist()
        # The index opened a day before its close, an hour before the pair closed; its first bar
        # has nothing above it.
        expected = np.concatenate((getattr(index, name)[:1], index.close[1:]))
        assert getattr(panel, name)[::2, 0].tolist() == expected.tolist()
    assert panel.notes == (
        "SPX500: 3 bars opened before the row above them, at another's close: they count as their"
        " close alone",
        "EURUSD: 4 bars opened before the row above them, at another's close: they count as their"
        " close alone",
    )
    together = Panel.from_bars([index, replaced(pair, stamps=index.stamps)])
    assert together.open[:, 1].tolist() == pair.open.tolist()
    assert together.notes == ()
    # A session may be shorter than its nominal day; it opened after the close before it.
    short = replaced(index, stamps=index.stamps - np.array([0, 0, 0, 2]) * HOUR_NS)
    assert Panel.from_bars([short]).open[:, 0].tolist() == index.open.tolist()
    assert int(short.stamps[3] - short.stamps[2]) < day


def test_rows_of_a_part_are_half_open() -> None:
    panel = Panel.from_bars([make_bars(n=10)])
    part = Part(int(panel.stamps[2]), int(panel.stamps[5]))
    assert panel.rows(part) == slice(2, 5)
    assert panel.rows(Part(0, int(panel.stamps[0]))) == slice(0, 0)


def test_arrays_are_read_only() -> None:
    panel = Panel.from_bars([make_bars(n=10)])
    with pytest.raises(ValueError, match="read-only"):
        panel.close[0, 0] = 1.0


def test_bars_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="at least one instrument"):
        Panel.from_bars([])
    with pytest.raises(DataError, match=r"each instrument once.*'EURUSD'"):
        Panel.from_bars([make_bars(), make_bars()])
    with pytest.raises(DataError, match="share one bar length"):
        Panel.from_bars([make_bars("A"), make_bars("B", bar_seconds=60)])


def test_values_that_do_not_fit_are_refused() -> None:
    panel = Panel.from_bars([make_bars("A", n=5), make_bars("B", n=6)])
    for values in (
        [],
        [np.zeros((5, 1))],
        [np.zeros((5, 1)), np.zeros((5, 1))],
        [np.zeros((5, 1)), np.zeros((6, 2))],
        [np.zeros(5), np.zeros(6)],
    ):
        with pytest.raises(DataError, match="one row per own bar"):
            panel.carry(values)
