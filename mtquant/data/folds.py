# SPDX-License-Identifier: Apache-2.0
"""Folds: many splits of one history, so that most of it is a test once.

    anchored        training grows from the first bar on; tests follow one another
    rolling         training keeps its length and moves along; tests follow one another
    combinatorial   the history is cut into groups; every choice of some of them is a test, and the
                    training lies before, between and behind it

In every scheme the tests of one path touch: no bar is lost between them. What is purged and
embargoed is taken from training and validation, on both sides of a test where there are two.

Source: M. Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7 (purge, embargo)
and chapter 12 (walk-forward, 12.2; combinatorial purged cross-validation, 12.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, pairwise
from math import comb
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mtquant.core.data_config import Period, PeriodsConfig
from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.splits import Part, Split, check_parts, common_span

Stamps = NDArray[np.int64]
Scheme = Literal["anchored", "rolling", "combinatorial"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)


@dataclass(frozen=True)
class FoldPlan:
    """How a history is cut.

    Attributes:
        scheme: See above.
        folds: Tests of a walk-forward; groups of the combinatorial scheme.
        test_groups: Groups that are a test at a time, of the combinatorial scheme.
        first_test_frac: Share of the common span before the first test of a walk-forward.
        validation_frac: Share of what precedes a test that chooses, of a walk-forward.
        gap_bars: Bars between a test and what was learnt or chosen on: purge and embargo together.
    """

    scheme: Scheme
    folds: int
    test_groups: int
    first_test_frac: float
    validation_frac: float
    gap_bars: int


@dataclass(frozen=True)
class Fold:
    """One split.

    Attributes:
        number: From 1.
        train: Stretches in order of time.
        validation: Where the best is chosen.
        tests: What is measured; one but for the combinatorial scheme.
        groups: Which parts of the history `tests` are, from 0.
    """

    number: int
    train: tuple[Part, ...]
    validation: Part
    tests: tuple[Part, ...]
    groups: tuple[int, ...]

    def periods(self) -> PeriodsConfig:
        """As a configuration holds it; its test is the first one."""
        return PeriodsConfig(
            train=tuple(_period(own) for own in self.train),
            validation=_period(self.validation),
            test=_period(self.tests[0]),
        )


def make_folds(
    stamps_by_symbol: Mapping[str, Stamps], plan: FoldPlan, bar_seconds: int
) -> list[Fold]:
    """The folds of a plan, the same calendar cuts for all instruments.

    Tests share the span that all instruments have; earlier history belongs to the first training,
    later history to the last test.

    Args:
        stamps_by_symbol: Close stamps per instrument, int64 [T_i], nanoseconds, increasing.
        plan: How to cut.
        bar_seconds: Length of one bar.

    Raises:
        DataError: The plan is out of range, or a part would hold fewer than 2 bars of an
            instrument.
    """
    _check(plan)
    first, last = common_span(stamps_by_symbol)
    union = np.unique(np.concatenate(list(stamps_by_symbol.values())))
    begin = plan.first_test_frac if plan.scheme != "combinatorial" else 0.0
    shares = np.linspace(begin, 1.0, plan.folds + 1)[:-1]
    cuts = union[np.searchsorted(union, first + (shares * (last - first)).astype(np.int64))]
    edges = [int(cut) for cut in cuts] + [int(union[-1]) + NANOSECONDS]  # whole seconds
    ruler = _Ruler(union, plan.gap_bars, bar_seconds * NANOSECONDS, int(first))
    make = _combined if plan.scheme == "combinatorial" else _walked
    folds = make(edges, ruler, plan)
    for fold in folds:
        for test in fold.tests:
            check_parts(_split(fold, test), stamps_by_symbol)
    return folds


def split_by_dates(stamps_by_symbol: Mapping[str, Stamps], periods: PeriodsConfig) -> Split:
    """The split that a configuration names by dates.

    Raises:
        DataError: A part holds fewer than 2 bars of an instrument.
    """
    train = [_part(own) for own in periods.train]
    fold = Fold(1, tuple(train), _part(periods.validation), (_part(periods.test),), (0,))
    split = _split(fold, fold.tests[0])
    check_parts(split, stamps_by_symbol)
    return split


def paths_of(folds: Sequence[Fold]) -> list[list[tuple[int, int]]]:
    """Ways through the whole tested history, each group tested by one fold.

    A walk-forward has one. Of the combinatorial scheme every fold tests some groups, and each group
    is tested by as many folds as there are paths (chapter 12.4.1).

    Returns:
        For each path, by group: index of the fold and which of its tests it is.
    """
    testers: dict[int, list[tuple[int, int]]] = {}
    for index, fold in enumerate(folds):
        for k, group in enumerate(fold.groups):
            testers.setdefault(group, []).append((index, k))
    count = min(len(own) for own in testers.values())
    return [[testers[group][path] for group in sorted(testers)] for path in range(count)]


def trainings(plan: FoldPlan) -> int:
    """How many folds a plan has."""
    whole = plan.scheme == "combinatorial"
    return comb(plan.folds, plan.test_groups) if whole else plan.folds


@dataclass(frozen=True)
class _Ruler:
    """Where a gap before or behind a cut ends, counted in bars of all and in bar lengths; and from
    when on all instruments have bars.
    """

    union: Stamps
    bars: int
    bar_ns: int
    common: int

    def bar_from(self, moment: int) -> int:
        return int(self.union[np.searchsorted(self.union, moment)])

    def before(self, cut: int) -> int:
        row = max(int(np.searchsorted(self.union, cut)) - self.bars, 0)
        return int(min(self.union[row], cut - self.bars * self.bar_ns))

    def behind(self, cut: int) -> int:
        row = min(int(np.searchsorted(self.union, cut)) + self.bars, len(self.union) - 1)
        return int(max(self.union[row], cut + self.bars * self.bar_ns))


def _walked(edges: list[int], ruler: _Ruler, plan: FoldPlan) -> list[Fold]:
    """Tests between neighbouring edges, each behind its own training and validation.

    Lengths and shares are those of the years that all instruments have: beside one that is twenty
    years older, another would else be chosen on most of its history. Anchored training begins with
    the oldest bars all the same.
    """
    folds, origin = [], int(ruler.union[0])
    length = edges[0] - ruler.common
    for number, (first, end) in enumerate(pairwise(edges), start=1):
        begin = origin if plan.scheme == "anchored" else first - length
        shared = first - max(begin, ruler.common)
        chosen = ruler.bar_from(first - int(plan.validation_frac * shared))
        train = Part(begin, ruler.before(chosen))
        validation = Part(chosen, ruler.before(first))
        folds.append(Fold(number, (train,), validation, (Part(first, end),), (number - 1,)))
    return folds


def _combined(edges: list[int], ruler: _Ruler, plan: FoldPlan) -> list[Fold]:
    """Every choice of test groups. The group behind the last of them that is free chooses, going
    round at the end of the history, so that every group chooses about as often.
    """
    edges = [int(ruler.union[0]), *edges[1:]]
    groups, folds = range(plan.folds), []
    for number, tests in enumerate(combinations(groups, plan.test_groups), start=1):
        free = ((tests[-1] + step) % plan.folds for step in range(1, plan.folds))
        chosen = next(group for group in free if group not in tests)
        apart = {*tests, chosen}
        owned = [_inside(edges, group, apart - {group}, ruler) for group in groups]
        train = [owned[group] for group in groups if group not in apart]
        parts = tuple(Part(edges[group], edges[group + 1]) for group in tests)
        folds.append(Fold(number, _joined(train), owned[chosen], parts, tests))
    return folds


def _inside(edges: list[int], group: int, others: set[int], ruler: _Ruler) -> Part:
    """A group without the gaps beside neighbours that serve another purpose."""
    first, end = edges[group], edges[group + 1]
    first = ruler.behind(first) if group - 1 in others else first
    return Part(first, ruler.before(end) if group + 1 in others else end)


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """Parts that touch made one."""
    joined = [parts[0]]
    for part in parts[1:]:
        if part.start_ns == joined[-1].end_ns:
            joined[-1] = Part(joined[-1].start_ns, part.end_ns)
        else:
            joined.append(part)
    return tuple(joined)


def _split(fold: Fold, test: Part) -> Split:
    first, last = fold.train[0], fold.train[-1]
    holes = tuple(Part(one.end_ns, other.start_ns) for one, other in pairwise(fold.train))
    return Split(Part(first.start_ns, last.end_ns), fold.validation, test, holes)


def _check(plan: FoldPlan) -> None:
    whole = plan.scheme == "combinatorial"
    if plan.scheme not in SCHEMES:
        raise DataError("scheme", f"must be one of {', '.join(SCHEMES)}", plan.scheme, "Take one.")
    if plan.folds < 1 or (whole and not 1 <= plan.test_groups <= plan.folds - 2):
        raise DataError(
            "folds, test_groups",
            "must leave a group to train on and one to choose on" if whole else "must be positive",
            (plan.folds, plan.test_groups),
            "For example 6 groups of which 2 are tests at a time.",
        )
    if not (0.0 < plan.first_test_frac < 1.0 and 0.0 < plan.validation_frac < 1.0):
        raise DataError(
            "first_test_frac, validation_frac",
            "must lie between 0 and 1",
            (plan.first_test_frac, plan.validation_frac),
            "For example 0.5 and 0.25.",
        )
    if plan.gap_bars < 0:
        raise DataError("gap_bars", "must not be negative", plan.gap_bars, "0 leaves no gap.")


def _period(part: Part) -> Period:
    start, end = (
        datetime.fromtimestamp(stamp // NANOSECONDS, UTC) for stamp in (part.start_ns, part.end_ns)
    )
    return start, end


def _part(period: Period) -> Part:
    first, end = (int(moment.timestamp()) * NANOSECONDS for moment in period)
    return Part(first, end)
