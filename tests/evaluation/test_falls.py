# SPDX-License-Identifier: Apache-2.0
"""Stretches below a peak."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtquant.evaluation.falls import Fall, falls
from mtquant.evaluation.metrics import longest_drawdown, max_drawdown


def test_stretches_by_hand() -> None:
    # 100 -> 90 (below), 110 (peak), 99, 55 (trough), 105, 110 (back), 120, 60 to the end.
    equity = np.array([90.0, 110.0, 99.0, 55.0, 105.0, 110.0, 120.0, 60.0])
    assert falls(equity, 100.0) == [
        Fall(1, 3, 5, 3, 0.5),
        Fall(6, 7, None, 1, 0.5),
        Fall(-1, 0, 1, 1, 0.09999999999999998),
    ]
    assert falls(np.array([100.0, 101.0]), 100.0) == []


@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=80))
def test_they_agree_with_the_measures(returns: list[float]) -> None:
    equity = 100.0 * np.cumprod(1.0 + np.array(returns))
    found = falls(equity, 100.0)
    assert (found[0].depth if found else 0.0) == max_drawdown(equity, 100.0)
    assert max((fall.bars for fall in found), default=0) == longest_drawdown(equity, 100.0)
