# SPDX-License-Identifier: Apache-2.0
"""Every branch of the verdict, and the order of its sentences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.errors import RunError
from mtquant.evaluation import verdict as v
from mtquant.evaluation.metrics import summarize
from tests.support.ledgers import ledger_from_returns, trading_ledger

DRAWS = np.random.default_rng(7).normal(0.0, 0.01, 600)
NOISE = DRAWS - DRAWS.mean()  # no edge at all
# Half a standard deviation a bar is a Sharpe ratio of 8 a year: no interval of 600 bars holds zero.
GOOD, BAD = NOISE + 0.005, NOISE - 0.005


def position(lines: tuple[str, ...], word: str) -> int:
    return next(k for k, line in enumerate(lines) if word in line)


@pytest.mark.parametrize(
    ("returns", "evidence"), [(NOISE, v.NO_EDGE), (GOOD, v.SOME_EDGE), (BAD, v.LOSS)]
)
def test_evidence_follows_the_interval(returns: np.ndarray, evidence: str) -> None:
    found = v.verdict(ledger_from_returns(returns), seed=1)
    assert (found.evidence, found.hardly_trades) == (evidence, False)
    assert found.lines[0] == v.EVIDENCE_TEXTS[evidence]
    assert found.interval[0] < found.sharpe < found.interval[1]


def test_sharpe_is_never_shown_without_its_interval() -> None:
    lines = v.verdict(ledger_from_returns(NOISE)).lines
    assert "95 % interval" in lines[position(lines, "Sharpe ratio")]
    short = v.verdict(ledger_from_returns(NOISE[:15]))
    assert "not shown" in next(x for x in short.lines if "Sharpe ratio" in x)
    assert short.evidence == v.NO_EDGE


@pytest.mark.parametrize(
    ("held", "turnover"),
    [
        (1.0, 1 / 600),  # buy and hold: half a turn in 600 bars
        (0.001, 0.001),  # many turns of a book that is next to nothing
        (0.0, 0.0),
    ],
)
def test_hardly_trading_is_said_before_any_ratio(held: float, turnover: float) -> None:
    found = v.verdict(ledger_from_returns(GOOD, held=held, turnover=turnover))
    assert found.hardly_trades
    assert found.evidence == v.TOO_FEW_TRADES
    assert "trade" in found.lines[0]
    assert position(found.lines, "Sharpe") > position(found.lines, "No evidence") > 0


def test_few_bars_in_the_market_are_hardly_trading() -> None:
    # One bar of 100 held, below the 2 % of the rule, with exposure 5: 0.05 on average.
    ledger = trading_ledger(bars=100)
    positions = np.zeros(ledger.positions.shape)
    positions[50, 0] = 1.0
    outcomes = ledger.outcomes.copy()
    outcomes[:, oc.GROSS] = np.where(np.arange(100) == 50, 5.0, 0.0)
    changed = dataclasses.replace(ledger, positions=positions, outcomes=outcomes)
    assert "1.0% of them" in v.verdict(changed).lines[0]


def test_never_traded_and_hardly_trades_read_differently() -> None:
    cash = ledger_from_returns(np.zeros(300), held=0.0, turnover=0.0)
    found = v.verdict(cash)
    assert found.lines[0] == "It never traded: not one fill in 300 bars."
    assert "undefined" in found.lines[position(found.lines, "Sharpe")]
    once = dataclasses.replace(trading_ledger(bars=300), outcomes=cash.outcomes)
    assert v.verdict(once).lines[0].startswith("It hardly trades:")


def test_a_policy_that_rebalances_without_being_flat_does_trade() -> None:
    # 2 % a bar for 600 bars on a book of 1: 12 / 2 = 6 turns, where 600 / 250 = 2.4 are asked for.
    ledger = ledger_from_returns(NOISE, turnover=0.02)
    assert v.book_turns(summarize(ledger)) == pytest.approx(6.0)
    assert not v.verdict(ledger).hardly_trades


def test_close_fills_bankruptcy_and_notes_are_said() -> None:
    ledger = ledger_from_returns(NOISE, fill_at="close", notes=("closes only",))
    ledger.outcomes[-1, oc.STATUS] = oc.STATUS_BANKRUPT
    lines = v.verdict(ledger).lines
    assert "bankrupt" in lines[0]
    assert "Optimistic" in lines[-2]
    assert lines[-1] == "closes only"
    assert not any("Optimistic" in x for x in v.verdict(ledger_from_returns(NOISE)).lines)


def test_same_seed_same_verdict() -> None:
    ledger = trading_ledger(bars=300)
    assert v.verdict(ledger, seed=4) == v.verdict(ledger, seed=4)


def test_no_bars_are_refused() -> None:
    with pytest.raises(RunError):
        v.verdict(ledger_from_returns([]))
