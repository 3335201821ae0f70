# SPDX-License-Identifier: Apache-2.0
"""The limits against their defining inequality and a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtquant.core.outcome import LIMIT_GROSS, LIMIT_NAME
from mtquant.risk.limits import limit_exposures

sizes = st.floats(-5.0, 5.0)
names = st.integers(1, 6)
cases = names.flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=sizes),
        hnp.arrays(np.float64, n, elements=st.floats(0.01, 3.0)),
        st.floats(0.05, 6.0),
    )
)


def limited(wanted, caps, gross_cap, project):
    allowed = np.full(len(wanted), np.nan)
    return allowed, limit_exposures(wanted, allowed, caps, gross_cap, project)


@given(cases, st.booleans())
def test_the_result_holds_every_limit_and_never_asks_for_more(case, project):
    wanted, caps, gross_cap = case
    allowed, binding = limited(*case, project)
    assert (np.abs(allowed) <= caps).all()
    assert np.abs(allowed).sum() <= gross_cap * (1.0 + 1e-12)
    assert (np.abs(allowed) <= np.abs(wanted)).all()
    assert (allowed * wanted >= 0.0).all()
    assert bool(binding & LIMIT_NAME) == (np.abs(wanted) > caps).any()
    clipped = np.minimum(np.abs(wanted), caps)
    if abs(clipped.sum() - gross_cap) > 1e-9:
        assert bool(binding & LIMIT_GROSS) == (clipped.sum() > gross_cap)
    if not binding:
        assert np.array_equal(allowed, wanted)


@given(cases, st.booleans())
def test_what_is_allowed_is_allowed_again(case, project):
    _, caps, gross_cap = case
    allowed, _ = limited(*case, project)
    again, _ = limited(allowed, caps, gross_cap, project)
    np.testing.assert_allclose(again, allowed, rtol=1e-12, atol=1e-14)


@given(cases)
def test_the_projection_satisfies_its_defining_inequality(case):
    """x is the nearest point of a convex set to w if and only if (w - x) (y - x) <= 0 for every y
    in it (Boyd & Vandenberghe 2004, Convex Optimization, 4.2.3). The y that is furthest along
    w - x fills the largest entries first, up to their caps, until the gross cap is used up.
    """
    wanted, caps, gross_cap = case
    allowed, _ = limited(*case, True)
    pull = wanted - allowed
    best, room = 0.0, gross_cap
    for n in np.argsort(-np.abs(pull)):
        size = min(caps[n], room)
        best += abs(pull[n]) * size
        room -= size
    assert best - pull @ allowed <= 1e-10


def test_the_projection_equals_a_general_solver():
    from scipy.optimize import minimize

    generator = np.random.Generator(np.random.PCG64(0))
    for _ in range(40):
        n = int(generator.integers(1, 5))
        wanted, caps = generator.normal(0.0, 1.5, n), generator.uniform(0.1, 1.5, n)
        gross_cap = float(generator.uniform(0.2, 2.0))
        # SLSQP on w = long - short with both parts >= 0, which makes |w| smooth.
        found = minimize(
            lambda z, w=wanted, n=n: 0.5 * np.sum((z[:n] - z[n:] - w) ** 2, axis=0),
            np.zeros(2 * n),
            method="SLSQP",
            bounds=[(0.0, cap) for cap in np.tile(caps, 2)],
            constraints={"type": "ineq", "fun": lambda z, g=gross_cap: g - z.sum(axis=0)},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        allowed, _ = limited(wanted, caps, gross_cap, True)
        # 1e-5: SLSQP's own accuracy at this ftol.
        np.testing.assert_allclose(allowed, found.x[:n] - found.x[n:], atol=1e-5)


@given(cases)
def test_scaling_keeps_the_proportions_of_the_clipped_book(case):
    wanted, caps, gross_cap = case
    allowed, binding = limited(*case, False)
    clipped = np.clip(wanted, -caps, caps)
    if binding & LIMIT_GROSS:
        assert np.abs(allowed).sum() == pytest.approx(gross_cap, rel=1e-12)
        np.testing.assert_allclose(
            allowed * np.abs(clipped).sum(), clipped * gross_cap, rtol=1e-12, atol=1e-300
        )
    else:
        assert np.array_equal(allowed, clipped)


@pytest.mark.parametrize(
    ("wanted", "project", "expected", "binding"),
    [
        # Caps 1.0 and 0.5, gross cap 1.2. By hand: nothing; the cap of the second name; the gross
        # cap takes (2.0 - 1.2) / 2 off each of (1.0, 1.0), where 0.6 is above the second cap, so
        # the second stands at 0.5 and the first gives up the rest.
        ([0.4, -0.5], True, [0.4, -0.5], 0),
        ([0.4, -0.9], True, [0.4, -0.5], LIMIT_NAME),
        ([1.0, -1.0], True, [0.7, -0.5], LIMIT_NAME | LIMIT_GROSS),
        ([1.0, -0.4], True, [0.9, -0.3], LIMIT_GROSS),
        ([1.0, -0.5], False, [0.8, -0.4], LIMIT_GROSS),
        ([9.0, -9.0], False, [0.8, -0.4], LIMIT_NAME | LIMIT_GROSS),
    ],
)
def test_limits_by_hand(wanted, project, expected, binding):
    allowed, found = limited(np.array(wanted), np.array([1.0, 0.5]), 1.2, project)
    np.testing.assert_allclose(allowed, expected, rtol=1e-12)
    assert found == binding
