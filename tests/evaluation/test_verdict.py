# SPDX-License-Identifier: Apache-2.0
"""Every branch of the verdict, and the order of its sentences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.errors import RunError
from mtquant.evaluation import verdict as v
from mtquant.evaluation.significance.bootstrap import SharpeEstimate
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.evaluation.verdict import Grade
from tests.support.ledgers import ledger_from_returns, trading_ledger

DRAWS = np.random.default_rng(7).normal(0.0, 0.01, 600)
NOISE = DRAWS - DRAWS.mean()  # no edge at all
# Half a standard deviation a bar is a Sharpe ratio of 8 a year: no interval of 600 bars holds zero.
GOOD, BAD = NOISE + 0.005, NOISE - 0.005


def position(lines: tuple[str, ...], word: str) -> int:
    return next(k for k, line in enumerate(lines) if word in line)


ONE_TRY = Tried(1, 1.0)


@pytest.mark.parametrize(
    ("returns", "grade"),
    [(NOISE, Grade.NONE), (GOOD, Grade.EVIDENCE), (BAD, Grade.LOSS)],
)
def test_grade_follows_the_interval(returns: np.ndarray, grade: Grade) -> None:
    found = v.verdict(ledger_from_returns(returns), seed=1, tried=ONE_TRY)
    assert (found.assessment.grade, found.hardly_trades) == (grade, False)
    assert found.lines[0] == found.assessment.sentence
    assert found.lines[0].startswith(v.OPENINGS[grade])
    assert found.sharpe.low < found.sharpe.ratio < found.sharpe.high


def test_without_a_record_of_tries_evidence_is_weak() -> None:
    found = v.verdict(ledger_from_returns(GOOD), seed=1)
    assert found.assessment.grade is Grade.WEAK
    assert "kept a record" in found.assessment.reason
    assert np.isnan(found.deflated)


def test_what_one_try_shows_is_luck_among_many() -> None:
    # 600 bars of a year of 260.9: an error of 0.66 a year. A ratio of 2.4 is 3.6 errors; the best
    # of 1,000 is expected at 3.26 of them.
    ledger = ledger_from_returns(NOISE / NOISE.std() * 0.01 + 2.4 / 16.15 * 0.01)
    one, many = (v.verdict(ledger, 1, Tried(n, float(n))) for n in (1, 1000))
    assert one.assessment.grade is Grade.EVIDENCE
    assert many.assessment.grade is Grade.WEAK
    assert "luck alone" in many.assessment.reason
    assert one.deflated > 0.95 > many.deflated
    assert "1,000 tries" in many.lines[position(many.lines, "Deflated")]
    assert not any("Too short" in line for line in many.lines)


def test_a_backtest_shorter_than_its_search_is_called_so() -> None:
    # (3.26 / 1.7)^2 = 3.7 years for the best of 1,000; these are 2.3.
    ledger = ledger_from_returns(NOISE / NOISE.std() * 0.01 + 1.7 / 16.15 * 0.01)
    lines = v.verdict(ledger, 1, Tried(1000, 1000.0)).lines
    assert "within 3.7 years, and these are 2.3" in lines[position(lines, "Too short")]
    # A ratio next to nothing would take luck's best of 1,000 more than a million years to fall to.
    ledger = ledger_from_returns(NOISE / NOISE.std() * 0.01 + 0.002 / 16.15 * 0.01)
    lines = v.verdict(ledger, 1, Tried(1000, 1000.0)).lines
    assert "over any span of years" in lines[position(lines, "Too short")]


def test_a_return_that_rounds_to_nothing_has_no_sign() -> None:
    summary = {"total_return": -0.0016, "annual_return": -0.0004, "max_drawdown": 0.059}
    line = "Total return -0.2% (0.0% a year), largest fall 5.9%."
    assert v._return_line(summary) == line


def test_the_market_is_no_edge() -> None:
    market = ledger_from_returns(GOOD, name="buy and hold")
    policy = ledger_from_returns(GOOD + np.random.default_rng(3).normal(0.0, 1e-3, 600))
    found = v.verdict(policy, 1, ONE_TRY, [market])
    assert found.assessment.grade is Grade.WEAK
    assert "not shown to be better than buy and hold" in found.assessment.reason
    flat = ledger_from_returns(NOISE, name="flat")
    assert v.verdict(policy, 1, ONE_TRY, [flat]).assessment.grade is Grade.EVIDENCE


def test_optimistic_fills_weaken_the_verdict() -> None:
    found = v.verdict(ledger_from_returns(GOOD, fill_at="close"), 1, ONE_TRY)
    assert found.assessment.grade is Grade.WEAK
    assert "close" in found.assessment.reason


def test_a_bankrupt_account_is_no_evidence() -> None:
    ledger = ledger_from_returns(GOOD)
    ledger.outcomes[-1, oc.STATUS] = oc.STATUS_BANKRUPT
    assert v.verdict(ledger, 1, ONE_TRY).assessment.grade is Grade.NONE


def test_the_threshold_itself_is_evidence() -> None:
    found = SharpeEstimate(2.0, 0.1, 4.0, 1.0, 500, 252.0)
    assert v.assess(found, v.CONFIDENCE, ONE_TRY).grade is Grade.EVIDENCE
    assert v.assess(found, float("nan"), ONE_TRY).grade is Grade.WEAK
    assert v.assess(found, 1.0, ONE_TRY, ["x", "y"]).reason.endswith("but x; and y")


def test_sharpe_is_never_shown_without_its_interval() -> None:
    lines = v.verdict(ledger_from_returns(NOISE)).lines
    assert "95 % interval" in lines[position(lines, "Sharpe ratio 0")]
    short = v.verdict(ledger_from_returns(NOISE[:15]))
    assert "not shown" in short.lines[position(short.lines, "Sharpe ratio")]
    assert short.assessment.grade is Grade.NONE


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
    assert found.assessment.grade is Grade.NONE
    assert "too few trades" in found.assessment.reason
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
    assert v.verdict(ledger, 4, ONE_TRY) == v.verdict(ledger, 4, ONE_TRY)


def test_no_bars_are_refused() -> None:
    with pytest.raises(RunError):
        v.verdict(ledger_from_returns([]))
