# SPDX-License-Identifier: Apache-2.0
"""Yahoo's new word against the cached one: every difference by itself, and the reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.actions import Actions, no_actions
from mtquant.data.bars import PRICE_COLUMNS, Bars, check_bars
from mtquant.data.yahoo.revisions import (
    compare,
    merge,
    merge_actions,
    refuse_hole,
    refuse_rescaling,
    rescaling,
)
from tests.support.builders import assert_same_bars, make_bars, replaced

DAY_NS = 86_400 * 10**9


def daily(n: int = 20) -> Bars:
    return make_bars("ACME", n, bar_seconds=86_400)


def without(bars: Bars, *rows: int) -> Bars:
    kept = [k for k in range(len(bars)) if k not in rows]
    names = ("stamps", *PRICE_COLUMNS, "volume")
    return replaced(bars, **{name: getattr(bars, name)[kept] for name in names})


def test_equal_bars_have_no_differences() -> None:
    bars = daily()
    assert compare(bars, bars) == ()
    # 32-bit floats of the same prices are the same prices.
    rounded = {n: getattr(bars, n).astype(np.float32).astype(float) for n in PRICE_COLUMNS}
    assert compare(bars, replaced(bars, **rounded)) == ()
    assert compare(bars.rows(slice(0, 9)), bars.rows(slice(9, 20))) == ()


def test_each_difference_is_named() -> None:
    bars = daily()
    close, volume = bars.close.copy(), bars.volume.copy()
    close[4] *= 1.001
    volume[6] = 2.0 * volume[6] + 10.0
    volume[7] *= 1.001  # late reports
    fresh = without(replaced(bars, close=close, volume=volume), 8)
    revisions = compare(without(bars, 2), fresh)
    assert [(r.column, int(np.searchsorted(bars.stamps, r.stamp))) for r in revisions] == [
        ("bar", 2),
        ("close", 4),
        ("volume", 6),
        ("bar", 8),
    ]
    assert (revisions[1].kept, revisions[1].now) == (bars.close[4], close[4])
    assert str(revisions[0]) == "2020-01-09 00:00:00Z bar is new"
    assert str(revisions[3]) == "2020-01-15 00:00:00Z bar is gone"
    assert str(revisions[1]).startswith("2020-01-11 00:00:00Z close was 1.1")
    assert rescaling(revisions) is None


@pytest.mark.parametrize("factor", [4.0, 0.25, 1.5])
def test_another_unit_is_recognised(factor: float) -> None:
    bars = daily()
    scaled = {name: getattr(bars, name) * factor for name in PRICE_COLUMNS}
    revisions = compare(bars, replaced(bars, **scaled))
    assert rescaling(revisions) == pytest.approx(factor)
    split = Actions("ACME", bars.stamps[5:6], np.array([4.0]), np.zeros(1))
    # Bars close at midnight UTC, so the ex-date of row 5 is told as the 12th (UTC noon).
    reason = "4:1 of 2020-01-12 is listed" if factor != 1.5 else "no split of that size is listed"
    with pytest.raises(DataError, match=rf"ACME must be answered in the unit.*{reason}"):
        refuse_rescaling("ACME", factor, split)


def test_a_small_shift_is_a_correction() -> None:
    bars = daily()
    shifted = {name: getattr(bars, name) * 1.01 for name in PRICE_COLUMNS}
    assert rescaling(compare(bars, replaced(bars, **shifted))) is None
    few = {
        name: np.r_[getattr(bars, name)[:2] * 4.0, getattr(bars, name)[2:]]
        for name in PRICE_COLUMNS
    }
    assert rescaling(compare(bars, replaced(bars, **few))) is None


ROWS = st.sets(st.integers(0, 29), min_size=2)


@given(ROWS, ROWS)
def test_merged_bars_are_one_series(cached: set[int], answered: set[int]) -> None:
    """Keep: cached bars as they are, and all others of the answer. Replace: the answer for all the
    time it covers, cached bars around it.
    """
    bars = daily(30)
    doubled = {name: getattr(bars, name) * 2.0 for name in PRICE_COLUMNS}
    kept = without(bars, *(set(range(30)) - cached))
    fresh = without(replaced(bars, **doubled), *(set(range(30)) - answered))
    covered = set(range(min(answered), max(answered) + 1))
    for policy, rows, from_cache in (
        ("keep", cached | answered, cached),
        ("replace", (cached - covered) | answered, cached - covered),
    ):
        merged = merge(kept, fresh, policy)  # type: ignore[arg-type]
        check_bars(merged)
        assert list(merged.stamps) == [bars.stamps[k] for k in sorted(rows)]
        expected = [(1.0 if k in from_cache else 2.0) * bars.close[k] for k in sorted(rows)]
        assert list(merged.close) == expected


def test_a_hole_between_cache_and_answer_is_refused() -> None:
    bars = daily()
    refuse_hole("ACME", bars.rows(slice(0, 10)), bars.rows(slice(9, 20)))
    rule = r"ACME must be answered from the last cached bar on .*begins with .*revised: replace"
    with pytest.raises(DataError, match=rule):
        refuse_hole("ACME", bars.rows(slice(0, 10)), bars.rows(slice(10, 20)))


def test_actions_are_merged_and_differences_said() -> None:
    bars = daily()
    days = bars.stamps - DAY_NS // 2  # noon before each close
    kept = Actions("ACME", days[[2, 8, 12]], np.array([2.0, 1.0, 1.0]), np.array([0.0, 0.3, 0.2]))
    fresh = Actions("ACME", days[[8, 15]], np.array([1.0, 1.0]), np.array([0.4, 0.1]))
    recent = bars.rows(slice(6, 20))
    merged, said = merge_actions(kept, fresh, recent, "keep")
    assert list(merged.dividend) == [0.0, 0.3, 0.2, 0.1]
    assert said == (
        "action of 2020-01-15 was split 1:1, dividend 0.3, is split 1:1, dividend 0.4",
        "action of 2020-01-19 was split 1:1, dividend 0.2, is gone",
    )
    merged, _ = merge_actions(kept, fresh, recent, "replace")
    assert list(merged.dividend) == [0.0, 0.4, 0.1]
    assert list(merged.split_ratio) == [2.0, 1.0, 1.0]
    none, said = merge_actions(no_actions("ACME"), no_actions("ACME"), recent, "keep")
    assert (len(none), said) == (0, ())
    assert_same_bars(merge(bars, recent, "keep"), replaced(bars, notes=()))


@pytest.mark.parametrize(("now", "said"), [(0.120064, 0), (0.125, 1), (0.12 * 1.0005, 0)])
def test_the_rounding_of_small_dividends_is_no_revision(now: float, said: int) -> None:
    """0.12 over later splits of 224 (AAPL in 1987) is told as 0.000536, which is 0.120064.

    As long as the splits come to 32 it is 0.00375, which is 0.12.
    """
    bars = daily()
    days = bars.stamps - DAY_NS // 2
    kept = Actions("ACME", days[[2, 8]], np.array([1.0, 32.0]), np.array([0.12, 0.0]))
    fresh = Actions("ACME", days[[2, 8, 12]], np.array([1.0, 32.0, 7.0]), np.array([now, 0.0, 0.0]))
    merged, differences = merge_actions(kept, fresh, bars, "keep")
    assert len(differences) == said
    assert merged.dividend[0] == 0.12


def test_a_large_dividend_is_compared_to_a_hundredth_of_a_percent() -> None:
    bars = daily()
    day = bars.stamps[2:3] - DAY_NS // 2
    kept, fresh = (Actions("ACME", day, np.ones(1), np.array([d])) for d in (2.0, 2.001))
    assert len(merge_actions(kept, fresh, bars, "keep")[1]) == 1
