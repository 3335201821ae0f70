# SPDX-License-Identifier: Apache-2.0
"""The second book and vectorbt against a ledger that lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger
from mtquant.workflows.verify import Subject
from mtquant.workflows.verify.accounting import check_accounting, rebuilt
from mtquant.workflows.verify.auditing import check_audit
from mtquant.workflows.verify.behaviour import live
from tests.support.judges import run_desk
from tests.support.leaks.market import subject_of
from tests.support.tapes import random_world


@pytest.fixture(scope="module")
def subject() -> Subject:
    return subject_of()


@pytest.fixture(scope="module")
def ledger(subject: Subject) -> Ledger:
    return live(subject, subject.market, subject.features, subject.test_rows)[1]


def test_an_honest_ledger_passes_both(subject: Subject, ledger: Ledger) -> None:
    assert len(ledger.fills) > 100
    assert check_accounting(subject, ledger).verdict == "passed"
    assert check_audit(subject, ledger).verdict == "passed"


def changed(name: str, column: int, by: float) -> Callable[[Ledger], Ledger]:
    def change(ledger: Ledger) -> Ledger:
        table = getattr(ledger, name).copy()
        table[40, column] += by
        return replace(ledger, **{name: table})

    return change


LIES = {
    "equity": changed("outcomes", oc.EQUITY, 1.0),
    "equity_before": changed("outcomes", oc.EQUITY_BEFORE, 1.0),
    "fee": changed("outcomes", oc.FEE, 1.0),
    "slippage": changed("outcomes", oc.SLIPPAGE, 1.0),
    "financing": changed("outcomes", oc.FINANCING, 1.0),
    "simple_return": changed("outcomes", oc.SIMPLE_RETURN, 1e-3),
    "position of EURUSD": changed("positions", 0, 10.0),
}


@pytest.mark.parametrize("name", LIES)
def test_a_ledger_that_lies_is_found_at_its_row(
    subject: Subject, ledger: Ledger, name: str
) -> None:
    found = check_accounting(subject, LIES[name](ledger))
    assert found.verdict == "failed"
    own = next(finding for finding in found.findings if finding.what == name)
    assert own.row == ledger.rows[40] and own.size > 0.0


def test_a_fill_at_another_price_fails_both(subject: Subject, ledger: Ledger) -> None:
    fills = ledger.fills.copy()
    fills[10, oc.FILL_PRICE] *= 1.01
    lying = replace(ledger, fills=fills)
    assert check_accounting(subject, lying).verdict == "failed"
    found = check_audit(subject, lying)
    assert found.verdict == "failed" and found.findings[0].size > 1e-9


@pytest.mark.parametrize("seed", range(25))
def test_the_second_book_follows_every_world(seed: int) -> None:
    """Random tapes with stops, liquidations, currencies and fills at the close."""
    world = random_world(seed)
    ledger = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    equity, positions, fees, slippage = rebuilt(ledger)
    scale = np.maximum(np.abs(ledger.equity), ledger.initial_equity)
    assert float(np.max(np.abs(equity - ledger.equity) / scale, initial=0.0)) < 1e-9
    np.testing.assert_allclose(positions, ledger.positions, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(fees, ledger.column("fee"), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(slippage, ledger.column("slippage"), rtol=1e-9, atol=1e-9)
