# SPDX-License-Identifier: Apache-2.0
"""The whole limit set: compliance, a general solver, and the properties of a projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.risk import limits as lim
from tests.support.books import Book, random_book, risk_of

seeds = st.integers(0, 2**32 - 1)
books = seeds.map(lambda seed: random_book(np.random.default_rng(seed)))


@given(books, st.booleans())
def test_every_plan_holds_every_limit(book, project):
    allowed, _ = book.limited(project)
    assert max(book.ratios(allowed).values()) <= 1.0 + 1e-9


@given(books, st.booleans())
def test_a_book_inside_is_left_alone_and_nothing_binds(book, project):
    inside = 0.99 * book.wanted / max(1.0, *book.ratios(book.wanted).values())
    allowed, binding = book.limited(project, inside)
    assert np.array_equal(allowed, inside)
    assert binding == 0


@given(books, st.booleans())
def test_nothing_wanted_is_nothing_allowed(book, project):
    allowed, binding = book.limited(project, np.zeros_like(book.wanted))
    assert not allowed.any()
    assert binding == 0


@given(books, st.booleans())
def test_what_is_allowed_is_allowed_again(book, project):
    allowed, _ = book.limited(project)
    again, _ = book.limited(project, allowed)
    np.testing.assert_allclose(again, allowed, rtol=1e-9, atol=1e-12)


@given(books, st.booleans())
def test_short_is_the_mirror_of_long(book, project):
    allowed, binding = book.limited(project)
    mirrored, same = book.limited(project, -book.wanted)
    np.testing.assert_allclose(mirrored, -allowed, atol=1e-12)
    assert same == binding


@given(books, seeds)
def test_the_projection_never_drives_two_books_apart(book, seed):
    other = book.wanted + np.random.default_rng(seed).normal(size=len(book.wanted)) * 0.3
    first, _ = book.limited()
    second, _ = book.limited(wanted=other)
    # 1e-6: the general projection is iterative.
    assert np.linalg.norm(first - second) <= np.linalg.norm(book.wanted - other) + 1e-6


@given(books, st.booleans())
def test_a_limit_is_named_if_the_clipped_book_breaks_it(book, project):
    clipped = np.clip(book.wanted, -book.caps, book.caps)
    _, binding = book.limited(project)
    for limit, ratio in book.ratios(clipped).items():
        if limit != oc.LIMIT_NAME and ratio > 1.0 + 1e-9:
            assert binding & limit
    assert bool(binding & oc.LIMIT_NAME) or (np.abs(book.wanted) <= book.caps).all()


@given(books)
def test_a_limit_that_is_named_was_broken_or_is_touched(book):
    clipped = np.clip(book.wanted, -book.caps, book.caps)
    allowed, binding = book.limited()
    before, after = book.ratios(clipped), book.ratios(allowed)
    before[oc.LIMIT_NAME] = float((np.abs(book.wanted) / book.caps).max())
    for limit in before:
        if binding & limit:
            assert before[limit] > 1.0 - 1e-9 or after[limit] > 1.0 - 1e-5


@given(books)
def test_scaling_is_the_largest_multiple_of_the_clipped_book(book):
    clipped = np.clip(book.wanted, -book.caps, book.caps)
    allowed, _ = book.limited(project=False)
    share = 1.0 / max(1.0, *book.ratios(clipped).values())
    np.testing.assert_allclose(allowed, share * clipped, rtol=1e-9, atol=1e-15)


def nearest(book: Book) -> np.ndarray:
    """The projection as cvxpy states it and Clarabel, an interior-point solver, finds it."""
    import cvxpy as cp

    n = len(book.wanted)
    w = cp.Variable(n)
    rules = [cp.abs(w) <= book.caps]
    for s, cap in enumerate(book.sector_caps):
        if np.isfinite(cap) and (book.sector_of == s).any():
            rules.append(cp.norm1(w[np.flatnonzero(book.sector_of == s)]) <= cap)
    bounds = book.bounds
    if np.isfinite(bounds[lim.BOUND_GROSS]):
        rules.append(cp.norm1(w) <= bounds[lim.BOUND_GROSS])
    if np.isfinite(bounds[lim.BOUND_NET]):
        rules.append(cp.abs(cp.sum(w)) <= bounds[lim.BOUND_NET])
    if np.isfinite(bounds[lim.BOUND_CORRELATION]):
        rules.append(cp.abs(book.correlation @ w) <= bounds[lim.BOUND_CORRELATION])
    deviation = min(bounds[lim.BOUND_VAR], bounds[lim.BOUND_VOLATILITY])
    if np.isfinite(deviation):
        root = np.linalg.cholesky(book.covariance)
        rules.append(cp.norm2(root.T @ w / deviation) <= 1.0)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(w - book.wanted)), rules)
    problem.solve(solver=cp.CLARABEL)
    return w.value


@pytest.mark.parametrize("count", [200, pytest.param(4_000, marks=pytest.mark.slow)])
def test_the_projection_equals_a_general_solver(count):
    generator = np.random.default_rng(20_240_601)
    together = 0
    for _ in range(count):
        book = random_book(generator)
        allowed, binding = book.limited()
        together += bin(binding).count("1") > 2
        solved = nearest(book)
        # Clarabel stops at a gap of 1e-8 of the squared distance, so its books are good to 1e-4;
        # distances, which are flat at the nearest book, to 1e-5. Ours are the shorter ones.
        np.testing.assert_allclose(allowed, solved, atol=1e-4)
        distance = np.linalg.norm(solved - book.wanted)
        assert np.linalg.norm(allowed - book.wanted) <= distance + 1e-5
    assert together > count / 5  # the sample is not of easy cases


def plain(wanted, **limits) -> Book:
    """Two names of one-day deviations 1 % and 2 %, correlation 0.5, in two sectors; no limits."""
    covariance = np.array([[0.0001, 0.0001], [0.0001, 0.0004]])
    book = Book(
        wanted=np.array(wanted),
        caps=np.array([2.0, 2.0]),
        sector_of=np.array([0, 1]),
        sector_caps=np.array([np.inf, np.inf]),
        bounds=np.full(lim.BOUND_COLUMNS, np.inf),
        covariance=covariance,
        held=np.zeros(2),
        risk=risk_of(covariance),
    )
    for name, value in limits.items():
        setattr(book, name, value)
    return book


def bound(column: int, value: float) -> np.ndarray:
    bounds = np.full(lim.BOUND_COLUMNS, np.inf)
    bounds[column] = value
    return bounds


@pytest.mark.parametrize(
    ("limits", "project", "expected", "binding"),
    [
        # By hand, wanted (0.6, 0.4).
        ({}, True, [0.6, 0.4], 0),
        ({"caps": np.array([0.5, 2.0])}, True, [0.5, 0.4], oc.LIMIT_NAME),
        ({"bounds": bound(lim.BOUND_GROSS, 0.8)}, True, [0.5, 0.3], oc.LIMIT_GROSS),
        ({"bounds": bound(lim.BOUND_GROSS, 0.8)}, False, [0.48, 0.32], oc.LIMIT_GROSS),
        ({"bounds": bound(lim.BOUND_NET, 0.8)}, True, [0.5, 0.3], oc.LIMIT_NET),
        ({"sector_caps": np.array([0.3, np.inf])}, True, [0.3, 0.4], oc.LIMIT_SECTOR),
        # rho w = (0.6 + 0.2, 0.3 + 0.4); the first name's normal is (1, 0.5), of square 1.25.
        (
            {"bounds": bound(lim.BOUND_CORRELATION, 0.75)},
            True,
            [0.6 - 0.05 / 1.25, 0.4 - 0.025 / 1.25],
            oc.LIMIT_CORRELATION,
        ),
        # w' S w = 0.36e-4 + 2 x 0.24e-4 + 0.64e-4 = 1.48e-4; half of that deviation.
        (
            {"bounds": bound(lim.BOUND_VAR, 0.5 * 1.48e-4**0.5)},
            False,
            [0.3, 0.2],
            oc.LIMIT_VAR,
        ),
        (
            {"bounds": bound(lim.BOUND_VOLATILITY, 0.5 * 1.48e-4**0.5)},
            False,
            [0.3, 0.2],
            oc.LIMIT_VOLATILITY,
        ),
        ({"bounds": bound(lim.BOUND_TURNOVER, 0.8)}, True, [0.5, 0.3], oc.LIMIT_TURNOVER),
        ({"bounds": bound(lim.BOUND_TURNOVER, 0.5)}, False, [0.3, 0.2], oc.LIMIT_TURNOVER),
    ],
)
def test_each_limit_by_hand(limits, project, expected, binding):
    allowed, found = plain([0.6, 0.4], **limits).limited(project)
    np.testing.assert_allclose(allowed, expected, rtol=1e-9)
    assert found == binding


def test_the_variance_alone_is_met_on_the_ray_of_the_inverse():
    # The nearest point satisfies w = (I + mu S)^-1 wanted; put the other way round, wanted - w is
    # a positive multiple of S w.
    book = plain([0.6, 0.4], bounds=bound(lim.BOUND_VAR, 0.004))
    allowed, binding = book.limited()
    pull = np.array([0.6, 0.4]) - allowed
    slope = book.covariance @ allowed
    assert pull[0] / slope[0] == pytest.approx(pull[1] / slope[1], rel=1e-9)
    assert allowed @ book.covariance @ allowed == pytest.approx(0.004**2, rel=1e-11)
    assert binding == oc.LIMIT_VAR


@pytest.mark.parametrize("project", [True, False])
def test_unknown_risk_allows_no_exposure(project):
    book = plain([0.6, 0.4], bounds=bound(lim.BOUND_VAR, 1.0))
    book.risk = risk_of(book.covariance, np.array([True, False]))
    allowed, binding = book.limited(project)
    assert allowed.tolist() == [0.6, 0.0]
    assert binding == oc.LIMIT_UNKNOWN
    # Without a limit that needs it, risk need not be known.
    book.bounds = bound(lim.BOUND_GROSS, 5.0)
    assert book.limited(project)[0].tolist() == [0.6, 0.4]


def test_trades_that_reduce_are_exempt_from_the_turnover_cap():
    # From (0.5, -0.4): the first is cut to 0.1 freely; the second is closed freely and its new long
    # of 0.6 is an addition, of which 0.2 is allowed.
    book = plain([0.1, 0.6], bounds=bound(lim.BOUND_TURNOVER, 0.2), held=np.array([0.5, -0.4]))
    allowed, binding = book.limited()
    np.testing.assert_allclose(allowed, [0.1, 0.2], rtol=1e-12)
    assert binding == oc.LIMIT_TURNOVER


@given(books, seeds, st.booleans())
def test_turnover_gives_way_to_the_other_limits_only(book, seed, project):
    generator = np.random.default_rng(seed)
    uncut, _ = book.limited(project)
    book.held = generator.normal(size=len(book.wanted)) * 0.3
    book.bounds[lim.BOUND_TURNOVER] = generator.uniform(0.01, 0.3)
    allowed, binding = book.limited(project)
    assert max(book.ratios(allowed).values()) <= 1.0 + 1e-9
    same_side = book.held * allowed > 0.0
    added = np.where(same_side, np.maximum(np.abs(allowed) - np.abs(book.held), 0.0), abs(allowed))
    if added.sum() > book.bounds[lim.BOUND_TURNOVER] * (1.0 + 1e-9):
        assert binding & oc.LIMIT_TURNOVER
        # Only because the other limits are at their edge, and never beyond what they allow.
        assert max(book.ratios(allowed).values()) >= 1.0 - 1e-6
    if not binding & oc.LIMIT_TURNOVER:
        np.testing.assert_array_equal(allowed, uncut)
