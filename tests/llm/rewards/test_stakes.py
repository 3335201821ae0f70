# SPDX-License-Identifier: Apache-2.0
"""Stakes on arrays are those of `market/settlement.py`, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtquant.core import outcome as oc
from mtquant.llm.rewards.stakes import kelly_stakes, settled
from mtquant.llm.tasks.config import BettingConfig
from mtquant.market.settlement import RESULT_TEXTS, Bankroll, kelly_fractions

BETTING = BettingConfig(kelly_fraction=0.5, max_stake_frac=0.2, commission_frac=0.02)


@pytest.mark.parametrize("classes", [2, 3])
@given(data=st.data())
def test_each_row_is_what_one_bankroll_does(classes, data):
    shape = (5, classes)
    weights = data.draw(arrays(np.float64, shape, elements=st.floats(0.01, 1.0)))
    odds = data.draw(arrays(np.float64, shape, elements=st.floats(1.05, 20.0)))
    results = data.draw(arrays(np.int64, shape, elements=st.integers(0, len(RESULT_TEXTS) - 1)))
    chances = weights / weights.sum(axis=1, keepdims=True)
    stakes = kelly_stakes(chances, odds, BETTING)
    profit, growth = settled(stakes, odds, results, BETTING)
    for row in range(len(stakes)):
        expected = kelly_fractions(chances[row], odds[row], fraction=0.5, cap=0.2)
        if not (chances[row] * odds[row] > 1.0).any():
            expected = np.zeros(classes)
        np.testing.assert_allclose(stakes[row], expected, atol=1e-12)
        bankroll = Bankroll(1_000.0, commission_frac=0.02)
        outcome, _ = bankroll.settle(stakes[row] * 1_000.0, odds[row], results[row])
        np.testing.assert_allclose(growth[row], outcome[oc.GROWTH], atol=1e-12)
        np.testing.assert_allclose(profit[row], outcome[oc.SIMPLE_RETURN], atol=1e-12)


def test_a_small_edge_can_be_left_alone():
    wanting = BETTING.model_copy(update={"min_edge": 0.05})
    chances, odds = np.array([[0.51, 0.49], [0.6, 0.4]]), np.full((2, 2), 2.0)
    np.testing.assert_allclose(kelly_stakes(chances, odds, wanting)[:, 0], [0.0, 0.1])
