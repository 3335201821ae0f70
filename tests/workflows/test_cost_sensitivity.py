# SPDX-License-Identifier: Apache-2.0
"""Cost curves of returns that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.workflows.cost_sensitivity import CostPoint, break_even, cost_curve, cost_section
from tests.support.ledgers import ledger_from_returns

GROSS = np.random.Generator(np.random.PCG64(0)).normal(0.001, 0.005, 500)
GROSS += 0.001 - GROSS.mean()
COST = 0.0004  # a bar, at scale 1: break-even near 2.5


def test_the_break_even_is_where_the_gain_is_gone() -> None:
    curve = cost_curve(lambda scale: ledger_from_returns(GROSS - scale * COST), seed=0)
    # Compounded: the mean of log(1 + r) is about the mean less half the variance.
    exact = (GROSS.mean() - GROSS.var() / 2.0) / COST
    assert curve.break_even == pytest.approx(exact, rel=0.01)
    returns = [point.annual_return for point in curve.points]
    assert returns == sorted(returns, reverse=True)
    assert f"Break-even at {curve.break_even:.2f} times the costs." == curve.sentence
    section = cost_section(curve)
    assert [row[0] for row in section.rows][:3] == ["0 x", "0.5 x", "1 x"]


def point(scale: float, annual: float) -> CostPoint:
    return CostPoint(scale, 0.0, (0.0, 0.0), annual, 0.0, 0.0)


def test_by_hand() -> None:
    assert break_even([point(0.0, 0.3), point(1.0, 0.1), point(2.0, -0.1)]) == 1.5
    assert break_even([point(0.0, 0.1), point(1.0, 0.0)]) == 1.0
    assert np.isnan(break_even([point(0.0, 0.1), point(1.0, 0.05)]))
    assert np.isnan(break_even([point(0.0, -0.1), point(1.0, -0.2)]))


def test_the_sentence_tells_always_from_never() -> None:
    always = cost_curve(lambda _: ledger_from_returns(np.abs(GROSS)), seed=0, scales=(0.0, 5.0))
    never = cost_curve(lambda _: ledger_from_returns(-np.abs(GROSS)), seed=0, scales=(0.0, 5.0))
    assert always.sentence == "No break-even up to 5 times the costs."
    assert never.sentence.startswith("No break-even: it does not gain")
