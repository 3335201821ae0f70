# SPDX-License-Identifier: Apache-2.0
"""Losses of a held book against the value at risk that was known before them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.market.account import B_POSITION
from mtquant.paper.exposure import Exposure
from mtquant.paper.loop import PaperLoop
from tests.support.paper import Stage


@pytest.fixture
def held(tmp_path) -> Iterator[PaperLoop]:
    """A loop that holds something whose risk is known."""
    loop = Stage.of(tmp_path, "environment.max_portfolio_var=0.02").open()
    loop.run(8)
    assert 0.0 < loop.exposure.var < np.inf
    yield loop
    loop.recorder.ledger.close()


def measured(loop: PaperLoop) -> Exposure:
    return Exposure(loop.terms.rules, loop.tape)


def lost(share: float) -> np.ndarray:
    outcome = np.zeros(len(oc.OUTCOME_COLUMNS))
    outcome[oc.SIMPLE_RETURN] = -share
    return outcome


def test_a_shock_does_not_excuse_itself(held):
    """What a bar does to the estimate of risk must not move the line that it is judged by."""
    for wild in (1.0, 1e4):
        own = measured(held)
        own.expect(held.desk)
        line = own._var_before * own._bar_share
        held.tape.risk[:] *= wild
        own.lived(lost(1.01 * line), held.desk)
        assert own.exceeded == 1.0
        own.lived(lost(0.99 * line), held.desk)
        assert own.exceeded == 0.0
    own.lived(lost(0.0), held.desk)
    assert own.var > 1e3  # for the limit it counts at once


def test_what_a_bar_bought_counts(held):
    own, positions = measured(held), held.desk.column(B_POSITION)
    bought = positions.copy()
    positions[:] = 0.0
    own.expect(held.desk)
    positions[:] = bought
    own.lived(lost(1e-9), held.desk)
    assert own.exceeded == 0.0
    own.lived(lost(0.5), held.desk)
    assert own.exceeded == 1.0


def test_a_risk_that_nobody_knew_judges_nothing(held):
    own = measured(held)
    known = held.tape.risk.copy()
    held.tape.risk[:] = np.nan
    own.expect(held.desk)
    held.tape.risk[:] = known
    own.lived(lost(0.5), held.desk)
    assert np.isnan(own.exceeded)


def test_nothing_held_is_no_risk_known_or_not(held):
    own, positions = measured(held), held.desk.column(B_POSITION)
    positions[:] = 0.0
    held.tape.risk[:] = np.nan
    own.expect(held.desk)
    own.lived(lost(0.5), held.desk)
    assert (own.var, own.exceeded) == (0.0, 0.0)
