# SPDX-License-Identifier: Apache-2.0
"""The book and the use of limits, against what the loop itself measured."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from mtquant.dashboard.accounts import account, opened
from mtquant.dashboard.limits import limits_used, positions
from mtquant.paper import reading
from mtquant.paper.ledger import PaperLedger
from mtquant.paper.memory import pack_arrays
from tests.support.long_ledger import SYMBOLS, N


def test_positions_are_those_of_the_account(replayed):
    with opened(replayed.path) as ledger:
        found, expected = positions(ledger), reading.positions(ledger)
    assert found.loc[found["quantity"] != 0.0, "quantity"].to_dict() == expected
    gross = account(replayed.path).outcome["gross"]
    assert found["exposure"].abs().sum() == pytest.approx(gross, rel=1e-12)


def test_value_at_risk_is_the_one_that_the_guard_judged(replayed):
    with opened(replayed.path) as ledger:
        used = limits_used(ledger).set_index("limit")
    assert replayed.loop.exposure.var > 0.0
    expected = replayed.loop.exposure.var
    assert used.loc["value at risk, 1 day", "used"] == pytest.approx(expected, rel=1e-12)
    assert used.loc["gross exposure", "used"] == pytest.approx(replayed.loop.exposure.gross)
    assert used.loc["value at risk, 1 day", "bound"] == 0.02
    assert "net exposure" not in used.index  # it is off


def test_the_largest_position_is_named(long):
    with opened(long.path) as ledger:
        used = limits_used(ledger).set_index("limit")
    held = np.abs(long.walk.positions[-1] * long.walk.prices[-1] / long.walk.equity[-1])
    assert used.loc["largest position", "whose"] == SYMBOLS[int(held.argmax())]
    assert used.loc["largest position", "share"] == pytest.approx(held.max() / 0.1)


def _with_risk(path: Path, folder: Path, risk: np.ndarray | None) -> Path:
    copy = Path(shutil.copy(path, folder))
    with PaperLedger.open(copy) as ledger, ledger.transaction():
        state = {} if risk is None else {"tape/risk": risk}
        ledger.keep_state(1, "loop", pack_arrays(state))
    return copy


@pytest.mark.parametrize("risk", [None, np.full((2, 2 * N + 2, N), np.inf)])
def test_a_risk_that_nobody_knows_is_not_zero(long, tmp_path, risk):
    with opened(_with_risk(long.path, tmp_path, risk)) as ledger:
        used = limits_used(ledger).set_index("limit")
    assert not math.isfinite(used.loc["value at risk, 1 day", "share"])
    assert math.isfinite(used.loc["gross exposure", "share"])
