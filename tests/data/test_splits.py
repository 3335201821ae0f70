# SPDX-License-Identifier: Apache-2.0
"""Splits: one calendar, no bar in two parts, and nothing reaches over a cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.splits import Part, Split, split_by_time
from tests.support.builders import make_bars

HOUR_NS = 3600 * NANOSECONDS


def hours(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64) * HOUR_NS


def parts(split: Split) -> tuple[Part, Part, Part]:
    return split.train, split.validation, split.test


def inside(stamps: np.ndarray, part: Part) -> np.ndarray:
    return (stamps >= part.start_ns) & (stamps < part.end_ns)


def test_by_hand() -> None:
    # Half-hourly bars over 10 hours: the cuts fall at hours 6 and 8. Of purge and embargo 1, the
    # purge takes the bars at 5:30 and 7:30, the embargo those at 6:00 and 8:00.
    split = split_by_time({"X": np.arange(21) * HOUR_NS // 2}, 0.6, 0.2, 1, 1, 1800)
    assert split == Split(
        Part(0, 11 * HOUR_NS // 2),
        Part(13 * HOUR_NS // 2, 15 * HOUR_NS // 2),
        Part(17 * HOUR_NS // 2, 10 * HOUR_NS + 1),
    )


def test_earlier_history_trains_and_later_history_tests() -> None:
    # Common span: hours 100 to 200, cut at 150 and 180.
    split = split_by_time(
        {"old": np.arange(0, 201) * HOUR_NS, "new": np.arange(100, 301) * HOUR_NS},
        0.5,
        0.3,
        0,
        0,
        3600,
    )
    assert split == Split(
        Part(0, 150 * HOUR_NS),
        Part(150 * HOUR_NS, 180 * HOUR_NS),
        Part(180 * HOUR_NS, 300 * HOUR_NS + 1),
    )


def test_purge_and_embargo_also_last_their_bars_in_time() -> None:
    # Two instruments half an hour apart: two union bars are one hour, but two bars last two hours.
    on_the_hour = np.arange(0, 101) * HOUR_NS
    split = split_by_time(
        {"a": on_the_hour, "b": on_the_hour + HOUR_NS // 2}, 0.5, 0.25, 2, 2, 3600
    )
    assert split.validation.start_ns - split.train.end_ns == 4 * HOUR_NS


@st.composite
def calendars(draw: st.DrawFn) -> dict[str, np.ndarray]:
    return {
        f"S{n}": make_bars(
            n=draw(st.integers(40, 300)),
            seed=draw(st.integers(0, 1000)),
            start_ns=draw(st.integers(0, 100)) * HOUR_NS // 2,
            missing_frac=draw(st.sampled_from((0.0, 0.5))),
        ).stamps
        for n in range(draw(st.integers(1, 4)))
    }


@given(
    calendars(),
    st.floats(0.3, 0.6),
    st.floats(0.15, 0.3),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_parts_are_ordered_disjoint_and_apart(
    calendar: dict[str, np.ndarray], train: float, validation: float, purge: int, embargo: int
) -> None:
    try:
        split = split_by_time(calendar, train, validation, purge, embargo, 3600)
    except DataError:
        assume(False)
    union = np.unique(np.concatenate(list(calendar.values())))
    for before, after in pairwise(parts(split)):
        assert before.start_ns < before.end_ns <= after.start_ns < after.end_ns
        between = (union >= before.end_ns) & (union < after.start_ns)
        assert between.sum() >= purge + embargo
        last = union[inside(union, before)][-1]
        first = union[inside(union, after)][0]
        assert first - last >= (purge + embargo) * HOUR_NS
    for stamps in calendar.values():
        memberships = np.sum([inside(stamps, part) for part in parts(split)], axis=0)
        assert memberships.max() == 1
        assert all(inside(stamps, part).sum() >= 2 for part in parts(split))
    # The two ends of the union belong to training and test.
    assert inside(union, split.train)[0]
    assert inside(union, split.test)[-1]


@pytest.mark.parametrize(
    ("fractions", "purge", "embargo", "message"),
    [
        ((0.0, 0.5), 0, 0, "must be positive and leave something"),
        ((0.5, 0.5), 0, 0, "must be positive and leave something"),
        ((0.5, float("nan")), 0, 0, "must be positive and leave something"),
        ((0.5, 0.2), -1, 0, "must not be negative"),
        ((0.5, 0.2), 0, -1, "must not be negative"),
        # 100 hours: validation holds 20 of them.
        ((0.5, 0.2), 10, 9, "validation must hold at least 2 bars of X; found 1"),
        ((0.5, 0.2), 90, 0, "train must hold at least 2 bars of X; found 0"),
        ((0.7, 0.2), 0, 90, "validation must hold at least 2 bars of X; found 0"),
        ((0.1, 0.8), 0, 9, "test must hold at least 2 bars of X; found 1"),
    ],
)
def test_what_cannot_be_split_is_refused(
    fractions: tuple[float, float], purge: int, embargo: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_by_time({"X": hours(*range(100))}, *fractions, purge, embargo, 3600)


def test_instruments_that_share_no_time_are_refused() -> None:
    with pytest.raises(DataError, match="late, early must have a time in common"):
        split_by_time({"early": hours(0, 1), "late": hours(2, 3)}, 0.5, 0.2, 0, 0, 3600)
    with pytest.raises(DataError, match=r"must hold bars of every instrument.*'empty'"):
        split_by_time({"X": hours(0, 1), "empty": hours()}, 0.5, 0.2, 0, 0, 3600)
    with pytest.raises(DataError, match="must hold bars of every instrument"):
        split_by_time({}, 0.5, 0.2, 0, 0, 3600)


def test_stretches_are_the_training_part_without_its_holes() -> None:
    train = Part(0, 100)
    assert Split(train, Part(110, 120), Part(130, 140)).stretches == (train,)
    holes = (Part(20, 40), Part(60, 70))
    found = Split(train, Part(110, 120), Part(25, 35), holes).stretches
    assert found == (Part(0, 20), Part(40, 60), Part(70, 100))
