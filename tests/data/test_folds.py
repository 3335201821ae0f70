# SPDX-License-Identifier: Apache-2.0
"""Folds: every test bar once per path, and nothing learnt or chosen near it."""

from __future__ import annotations

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.data_config import DataConfig
from mtquant.core.errors import ConfigError, DataError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.folds import (
    Fold,
    FoldPlan,
    Scheme,
    make_folds,
    paths_of,
    split_by_dates,
    trainings,
)
from mtquant.data.splits import Part

HOUR_NS = 3600 * NANOSECONDS
STAMPS = np.arange(1, 1001) * HOUR_NS


def plan(scheme: Scheme = "anchored", folds: int = 4, **changes: float) -> FoldPlan:
    facts = {"test_groups": 2, "first_test_frac": 0.5, "validation_frac": 0.25, "gap_bars": 3}
    return FoldPlan(scheme, folds, **{**facts, **changes})


def rows(part: Part) -> np.ndarray:
    return np.flatnonzero((part.start_ns <= STAMPS) & (part.end_ns > STAMPS))


def known(fold: Fold) -> np.ndarray:
    """Rows that were learnt or chosen on."""
    return np.concatenate([rows(own) for own in (*fold.train, fold.validation)])


PLANS = st.builds(
    plan,
    st.sampled_from(["anchored", "rolling", "combinatorial"]),
    st.integers(3, 8),
    test_groups=st.just(1),
    first_test_frac=st.floats(0.3, 0.7),
    validation_frac=st.floats(0.1, 0.5),
    gap_bars=st.integers(0, 10),
) | st.builds(
    plan,
    st.just("combinatorial"),
    st.integers(4, 7),
    test_groups=st.integers(1, 2),
    gap_bars=st.integers(0, 10),
)


@pytest.mark.parametrize("scheme", ["anchored", "rolling"])
def test_an_older_instrument_changes_nothing_for_a_younger_one(scheme: Scheme) -> None:
    """Shares and lengths are those of the years that both have."""
    young = STAMPS + 3_000 * HOUR_NS
    old = np.arange(1, 4_001) * HOUR_NS
    alone = make_folds({"Y": young}, plan(scheme, gap_bars=0), 3600)
    both = make_folds({"O": old, "Y": young}, plan(scheme, gap_bars=0), 3600)
    for one, two in zip(alone, both, strict=True):
        assert (one.validation, one.tests) == (two.validation, two.tests)
        learnt = [max(fold.train[0].start_ns, int(young[0])) for fold in (one, two)]
        assert learnt[0] == learnt[1]
    began = both[0].train[0].start_ns
    assert began == (old[0] if scheme == "anchored" else young[0])


@given(PLANS)
def test_nothing_is_learnt_or_chosen_near_a_test(plan: FoldPlan) -> None:
    folds = make_folds({"X": STAMPS}, plan, 3600)
    assert len(folds) == trainings(plan)
    for fold in folds:
        seen = known(fold)
        assert len(np.unique(seen)) == len(seen)
        for test in fold.tests:
            away = np.abs(seen[:, None] - rows(test)).min()
            assert away > plan.gap_bars
        chosen = rows(fold.validation)
        learnt = np.concatenate([rows(own) for own in fold.train])
        assert np.abs(learnt[:, None] - chosen).min() > plan.gap_bars


@given(PLANS)
def test_a_path_tests_every_bar_once_and_in_order(plan: FoldPlan) -> None:
    folds = make_folds({"X": STAMPS}, plan, 3600)
    for path in paths_of(folds):
        tested = np.concatenate([rows(folds[index].tests[k]) for index, k in path])
        begin = 0 if plan.scheme == "combinatorial" else tested[0]
        assert tested.tolist() == list(range(begin, len(STAMPS)))


def test_walks_learn_from_the_past_alone() -> None:
    for scheme in ("anchored", "rolling"):
        for fold in make_folds({"X": STAMPS}, plan(scheme), 3600):
            assert known(fold).max() < rows(fold.tests[0]).min()
            assert rows(fold.train[0]).max() < rows(fold.validation).min()


def test_anchored_grows_and_rolling_moves_along() -> None:
    grown = make_folds({"X": STAMPS}, plan("anchored"), 3600)
    moved = make_folds({"X": STAMPS}, plan("rolling"), 3600)
    assert {fold.train[0].start_ns for fold in grown} == {HOUR_NS}
    spans = [fold.tests[0].start_ns - fold.train[0].start_ns for fold in moved]
    assert len(set(spans)) == 1
    assert all(
        later.train[0].start_ns > earlier.train[0].start_ns for earlier, later in pairwise(moved)
    )
    assert [fold.tests for fold in grown] == [fold.tests for fold in moved]


@pytest.mark.parametrize(("groups", "tests"), [(6, 2), (5, 1), (5, 3)])
def test_paths_are_as_many_as_the_book_says(groups: int, tests: int) -> None:
    """Lopez de Prado 2018, 12.4.1: k / N C(N, k) paths; of 6 groups and 2 tests 15 splits, 5."""
    folds = make_folds({"X": STAMPS}, plan("combinatorial", groups, test_groups=tests), 3600)
    assert len(folds) == comb(groups, tests)
    assert len(paths_of(folds)) == comb(groups, tests) * tests // groups
    if (groups, tests) == (6, 2):
        assert (len(folds), len(paths_of(folds))) == (15, 5)
    used = [pair for path in paths_of(folds) for pair in path]
    assert len(set(used)) == len(used) == len(folds) * tests


def test_by_hand() -> None:
    # 1,000 hours, tests from hour 501 on in two parts of 250; a quarter of what is before chooses.
    first, second = make_folds({"X": STAMPS}, plan(folds=2, gap_bars=2), 3600)
    assert rows(first.tests[0])[[0, -1]].tolist() == [500, 749]
    assert rows(first.validation)[[0, -1]].tolist() == [375, 497]
    assert rows(first.train[0])[[0, -1]].tolist() == [0, 372]
    assert rows(second.tests[0])[[0, -1]].tolist() == [750, 999]


def test_rare_instruments_widen_the_gap() -> None:
    """Stamps minutes apart do not shorten it: it also lasts as many bar lengths."""
    stamps = {"X": STAMPS, "Y": STAMPS + HOUR_NS // 60}
    for fold in make_folds(stamps, plan(), 3600):
        assert fold.tests[0].start_ns - fold.validation.end_ns >= 3 * HOUR_NS


@given(PLANS)
def test_dates_in_a_configuration_are_the_same_split(plan: FoldPlan) -> None:
    for fold in make_folds({"X": STAMPS}, plan, 3600):
        told = fold.periods().model_dump(mode="json")
        read = DataConfig.model_validate({"periods": told}).periods
        assert read is not None
        split = split_by_dates({"X": STAMPS}, read)
        assert (split.validation, split.test) == (fold.validation, fold.tests[0])
        holes = np.concatenate([[], *(rows(own) for own in split.holes)])
        learnt = np.setdiff1d(rows(split.train), holes)
        assert learnt.tolist() == np.concatenate([rows(own) for own in fold.train]).tolist()
        assert split.known_until_ns == max(fold.train[-1].end_ns, fold.validation.end_ns)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"folds": 0}, "folds"),
        ({"scheme": "combinatorial", "folds": 4, "test_groups": 3}, "test_groups"),
        ({"first_test_frac": 1.0}, "first_test_frac"),
        ({"gap_bars": -1}, "gap_bars"),
        ({"folds": 400}, "test"),  # a test of one bar
    ],
)
def test_impossible_plans_are_refused(changes: dict, field: str) -> None:
    with pytest.raises(DataError) as caught:
        make_folds({"X": STAMPS}, plan(**{"scheme": "anchored", **changes}), 3600)
    assert field in caught.value.field


def test_periods_that_overlap_are_refused() -> None:
    period = ["2020-01-01T00:00:00Z", "2020-06-01T00:00:00Z"]
    later = ["2020-05-01T00:00:00Z", "2020-07-01T00:00:00Z"]
    last = ["2020-08-01T00:00:00Z", "2020-09-01T00:00:00Z"]
    with pytest.raises(ConfigError, match="overlap"):
        DataConfig(periods={"train": [period], "validation": later, "test": last})
    with pytest.raises(ConfigError, match="begin before they end"):
        DataConfig(periods={"train": [period[::-1]], "validation": last, "test": later})
