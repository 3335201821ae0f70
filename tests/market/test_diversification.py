# SPDX-License-Identifier: Apache-2.0
"""The share of risk that is spread: known books, bounds, and equal in ledger and training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.lanes import LANES
from mtquant.market.account import B_MARK, B_POSITION, B_RATE, O_DIVERSIFICATION, at, block_size
from mtquant.market.diversification import write_diversification
from mtquant.risk.dependence import risk_rows
from tests.support.judges import run_desk
from tests.support.tapes import hand_rules, random_tape


def spread(values: list[float], deviation: list[float], correlation: np.ndarray) -> float:
    """The column for positions of these values, in the account's second lane."""
    n = len(values)
    block = np.zeros(block_size(n))
    for k, value in enumerate(values):
        block[at(k, B_POSITION) + 1] = value / 50.0
        block[at(k, B_MARK) + 1] = 50.0
        block[at(k, B_RATE) + 1] = 1.0
    own = np.array(deviation)
    known = np.where(np.isfinite(own), own, 0.0)
    risk = risk_rows((correlation * np.outer(known, known))[None], own[None])[0]
    write_diversification(block, 1, hand_rules(n).matrix((False,) * n), risk)
    assert not block[O_DIVERSIFICATION : O_DIVERSIFICATION + LANES : 2].any()  # other lanes
    return float(block[O_DIVERSIFICATION + 1])


def test_known_books() -> None:
    alone, together = np.eye(4), np.ones((4, 4))
    # N equal independent risks are N bets: 1 - 1/4.
    assert spread([8.0, 4.0, 2.0, 1.0], [1.0, 2.0, 4.0, 8.0], alone) == pytest.approx(0.75)
    assert spread([8.0, -4.0, 0.0, 0.0], [1.0, 2.0, 4.0, 8.0], alone) == pytest.approx(0.5)
    assert spread([3.0, 0.0, 0.0, 0.0], [0.1] * 4, alone) == 0.0
    assert spread([0.0] * 4, [0.1] * 4, alone) == 0.0
    assert spread([3.0, 1.0, 2.0, 5.0], [0.1] * 4, together) == pytest.approx(0.0, abs=1e-12)
    # A perfect hedge leaves no risk at all.
    assert spread([3.0, -3.0, 0.0, 0.0], [0.1] * 4, together) == pytest.approx(1.0)


def test_unknown_risk_is_not_spread() -> None:
    assert spread([3.0, 1.0], [0.1, np.inf], np.eye(2)) == 0.0
    # What is not held may be unknown.
    assert spread([3.0, 1.0, 0.0], [0.1, 0.3, np.inf], np.eye(3)) == pytest.approx(0.5)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(1e-9, 1e9))
def test_it_is_a_share_and_knows_no_size(seed: int, n: int, scale: float) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    correlation = np.corrcoef(generator.normal(size=(n, n + 1)))
    values, deviation = generator.normal(size=n), np.exp(generator.normal(size=n))
    share = spread(list(values), list(deviation), correlation)
    assert 0.0 <= share <= 1.0
    signed = values * deviation
    expected = 1.0 - signed @ correlation @ signed / np.abs(signed).sum() ** 2
    assert share == pytest.approx(expected, abs=1e-9)
    assert spread(list(scale * values), list(deviation), correlation) == pytest.approx(share)


def test_a_ledger_without_limits_on_risk_does_not_ask() -> None:
    tape = random_tape(np.random.Generator(np.random.PCG64(1)), 60, foreign=False)
    targets = np.full((60, 3), 0.2)
    targets[:40] = 0.0
    quiet = run_desk(tape, hand_rules(3), targets).outcomes[:, oc.DIVERSIFICATION]
    asked = run_desk(tape, hand_rules(3, max_volatility=1e9), targets)
    assert not quiet.any()
    assert (asked.outcomes[45:, oc.DIVERSIFICATION] > 0.2).all()
