# SPDX-License-Identifier: Apache-2.0
"""The cost curve and its break-even point."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.errors import RunError
from mtquant.evaluation.cost_curve import CostCurve
from tests.support.ledgers import ledger_from_returns


def curve_of(*gains: float) -> CostCurve:
    sharpes = ()
    return CostCurve(np.arange(len(gains), dtype=np.float64), np.array(gains), sharpes)


def test_break_even_lies_on_the_line_between_its_neighbours() -> None:
    assert curve_of(0.3, 0.1, -0.3).break_even == pytest.approx(1.25)  # 0.1 / 0.4 of the way
    assert curve_of(0.3, 0.0).break_even == pytest.approx(1.0)


def test_without_a_loss_it_is_infinite_and_without_a_gain_undefined() -> None:
    assert curve_of(0.3, 0.1).break_even == np.inf
    assert np.isnan(curve_of(-0.1, -0.2).break_even)
    assert np.isnan(curve_of(0.0, -0.2).break_even)


def test_ledgers_are_put_in_the_order_of_their_costs() -> None:
    runs = {2.0: ledger_from_returns([-0.1] * 30), 0.0: ledger_from_returns([0.1, 0.0] * 15)}
    found = CostCurve.of(runs)
    assert found.factors.tolist() == [0.0, 2.0]
    assert found.total_returns == pytest.approx([1.1**15 - 1.0, 0.9**30 - 1.0])
    assert [each.bars for each in found.sharpes] == [30, 30]
    with pytest.raises(RunError, match="at least 2 costs"):
        CostCurve.of({1.0: ledger_from_returns([0.1])})
