# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from mtquant.core import outcome as oc
from mtquant.core.errors import DataError
from mtquant.market import settlement as sm
from mtquant.market.settlement import Bankroll, kelly_fraction, kelly_fractions, line_result
from mtquant.rewards.compose import STATES, TERM_NAMES, TERMS, Reward, start_reward, step_reward

RESULTS = tuple(sm.RESULT_TEXTS)
PLACED = (sm.STAKE_DONE, sm.STAKE_OVER_CAP)
bets = st.tuples(st.floats(0.0, 400.0), st.floats(1.01, 20.0), st.sampled_from(RESULTS))
days = st.lists(st.lists(bets, max_size=4), min_size=1, max_size=15)


def settle(bankroll, day):
    stakes, odds, results = zip(*day, strict=True) if day else ((), (), ())
    return bankroll.settle(stakes, odds, results)


@pytest.mark.parametrize(
    ("result", "profit"),
    [
        # Stake 100 at 1.90, as bookmakers' Asian handicap tables have it.
        (sm.RESULT_WIN, 90.0),
        (sm.RESULT_HALF_WIN, 45.0),
        (sm.RESULT_PUSH, 0.0),
        (sm.RESULT_VOID, 0.0),
        (sm.RESULT_HALF_LOSE, -50.0),
        (sm.RESULT_LOSE, -100.0),
    ],
)
def test_a_stake_pays_by_its_result(result, profit):
    bankroll = Bankroll(1_000.0)
    outcome, reasons = bankroll.settle([100.0], [1.9], [result])
    assert bankroll.equity == pytest.approx(1_000.0 + profit)
    assert outcome[oc.SIMPLE_RETURN] == pytest.approx(profit / 1_000.0)
    assert outcome[oc.GROWTH] == pytest.approx(math.log1p(profit / 1_000.0))
    assert outcome[oc.TURNOVER] == pytest.approx(0.1)
    assert reasons.tolist() == [sm.STAKE_DONE]


@pytest.mark.parametrize(
    ("margin", "line", "result"),
    [
        # Handicap -1.5: a win by one is not enough; +0.5 turns a draw into a win.
        (1, -1.5, sm.RESULT_LOSE),
        (2, -1.5, sm.RESULT_WIN),
        (0, 0.5, sm.RESULT_WIN),
        # A level score on the line is given back.
        (0, 0.0, sm.RESULT_PUSH),
        (3, -3.0, sm.RESULT_PUSH),
        # Quarter lines: -0.25 loses half on a draw, +0.25 wins half; -0.75 wins half by one goal.
        (0, -0.25, sm.RESULT_HALF_LOSE),
        (0, 0.25, sm.RESULT_HALF_WIN),
        (1, -0.75, sm.RESULT_HALF_WIN),
        (1, -1.25, sm.RESULT_HALF_LOSE),
        (2, -1.25, sm.RESULT_WIN),
        # Over 2.5, 3 goals; over 2.25, 2 goals.
        (3, -2.5, sm.RESULT_WIN),
        (2, -2.25, sm.RESULT_HALF_LOSE),
    ],
)
def test_lines_are_settled_as_the_rules_say(margin, line, result):
    assert line_result(margin, line) == result
    # The other side of the bet: both signs turned.
    mirrored = {
        sm.RESULT_WIN: sm.RESULT_LOSE,
        sm.RESULT_LOSE: sm.RESULT_WIN,
        sm.RESULT_PUSH: sm.RESULT_PUSH,
        sm.RESULT_HALF_WIN: sm.RESULT_HALF_LOSE,
        sm.RESULT_HALF_LOSE: sm.RESULT_HALF_WIN,
    }
    assert line_result(-margin, -line) == mirrored[result]


@given(st.integers(-5, 5), st.integers(-20, 20), st.floats(1.01, 20.0))
def test_a_quarter_line_is_two_half_stakes(margin, quarters, odds):
    line = quarters / 4.0
    if quarters % 2 == 0:
        return
    whole, halves = Bankroll(1_000.0), Bankroll(1_000.0)
    whole.settle([100.0], [odds], [line_result(margin, line)])
    sides = [line_result(margin, line - 0.25), line_result(margin, line + 0.25)]
    halves.settle([50.0, 50.0], [odds, odds], sides)
    assert whole.equity == pytest.approx(halves.equity, rel=1e-12)


@given(days, st.floats(0.05, 1.0), st.floats(0.0, 0.1))
def test_the_rows_are_those_of_an_account(book, cap, commission):
    bankroll = Bankroll(1_000.0, max_stake_frac=cap, commission_frac=commission)
    before, peak, growth = 1_000.0, 1_000.0, 0.0
    for day in book:
        outcome, reasons = settle(bankroll, day)
        assert outcome[oc.EQUITY_BEFORE] == before and outcome[oc.EQUITY] == bankroll.equity >= 0.0
        peak = max(peak, bankroll.equity)
        assert outcome[oc.DRAWDOWN] == pytest.approx(1.0 - bankroll.equity / peak)
        assert (outcome[oc.STATUS] == oc.STATUS_BANKRUPT) == (bankroll.equity <= 10.0)
        placed = [stake > 0.0 and code in PLACED for (stake, *_), code in zip(day, reasons)]
        if not any(placed):
            assert bankroll.equity == before
            assert outcome[oc.GROWTH] == outcome[oc.TURNOVER] == outcome[oc.FEE] == 0.0
        assert outcome[oc.TURNOVER] <= 1.0 + 1e-9
        assert outcome[oc.COST] == pytest.approx(outcome[oc.FEE] / max(before, 1e-3))
        before = bankroll.equity
        growth += outcome[oc.GROWTH]
    # Below the line the bankroll counts as 1e-6 of its start, as a ruined account does.
    assert growth == pytest.approx(math.log(max(before, 1e-3) / 1_000.0), abs=1e-9)


@given(st.floats(0.0, 400.0), st.floats(1.01, 20.0), st.floats(0.0, 0.1))
def test_an_exchange_keeps_its_share_of_the_profit(stake, odds, commission):
    bankroll = Bankroll(1_000.0, commission_frac=commission)
    outcome, _ = bankroll.settle([stake], [odds], [sm.RESULT_WIN])
    won = stake * (odds - 1.0)
    assert outcome[oc.FEE] == pytest.approx(commission * won, abs=1e-9)
    assert bankroll.equity == pytest.approx(1_000.0 + (1.0 - commission) * won)


def test_stakes_are_cut_or_refused_by_name():
    bankroll = Bankroll(1_000.0, max_stake_frac=0.5)
    # 600 is cut to 500; 400 fits; 200 does not any more, though 100 does; 0 is no bet.
    stakes, lose = [600.0, 400.0, 200.0, 100.0, 0.0, -5.0, np.nan, 1_001.0], [sm.RESULT_LOSE] * 8
    outcome, reasons = bankroll.settle(stakes, [2.0] * 8, lose)
    assert [sm.STAKE_TEXTS[code] for code in reasons] == [
        "cut to the cap",
        "placed as asked",
        "refused: more than the bankroll has left",
        "placed as asked",
        "placed as asked",
        "refused: no positive number",
        "refused: no positive number",
        "refused: more than the bankroll has left",
    ]
    assert bankroll.equity == 0.0 and bankroll.bankrupt
    assert outcome[oc.BINDING] == oc.LIMIT_NAME
    assert outcome[oc.STATUS] == oc.STATUS_BANKRUPT
    assert outcome[oc.GROWTH] == pytest.approx(math.log(1e-6))
    outcome, reasons = bankroll.settle([1.0], [2.0], [sm.RESULT_WIN])
    assert reasons.tolist() == [sm.STAKE_BANKRUPT] and bankroll.equity == 0.0
    assert outcome[oc.GROWTH] == 0.0 and outcome[oc.STATUS] == oc.STATUS_BANKRUPT


@given(st.lists(st.floats(0.1, 1.0), min_size=1, max_size=12))
def test_stakes_may_add_up_to_the_bankroll(parts):
    """Whatever rounding makes of their sum."""
    weights = np.array(parts)
    bankroll = Bankroll(1_000.0)
    stakes = 1_000.0 * weights / weights.sum()
    _, reasons = bankroll.settle(stakes, np.full(len(parts), 2.0), [sm.RESULT_LOSE] * len(parts))
    assert set(reasons.tolist()) == {sm.STAKE_DONE}
    assert bankroll.equity == pytest.approx(0.0, abs=1e-9)


@given(days)
def test_a_refused_stake_leaves_the_bankroll_alone(book):
    bankroll = Bankroll(1_000.0)
    for day in book:
        settle(bankroll, day)
    kept = dict(vars(bankroll))
    bankroll.settle([bankroll.equity * 2.0 + 1.0], [3.0], [sm.RESULT_WIN])
    changed = {name for name, value in vars(bankroll).items() if value != kept[name]}
    assert changed <= {"_variance"}  # a period in which nothing was won or lost


@given(days)
def test_bets_are_rewarded_by_the_same_terms_as_bars(book):
    bankroll, reward = Bankroll(1_000.0), Reward({"growth": 1.0, "drawdown": 1.0}, scale=0.5)
    state, trace = np.zeros(STATES), np.zeros(TERMS)
    start_reward(state)
    worst = 0.0
    for day in book:
        outcome, _ = settle(bankroll, day)
        worst = max(worst, outcome[oc.DRAWDOWN])
        step_reward(state, outcome, reward.parameter_vector(), reward.weight_vector(), trace)
    paid = dict(zip(TERM_NAMES, 0.5 * trace, strict=True))
    final = max(bankroll.equity, 1e-3) / 1_000.0
    assert paid["growth"] == pytest.approx(math.log(final), abs=1e-9)
    assert paid["drawdown"] == pytest.approx(-max(0.0, worst - 0.15), abs=1e-9)


def test_tail_losses_are_those_of_the_desk():
    """max(0, -r - 1.645 sigma), sigma^2 an average of squares with decay 0.94, known before."""
    bankroll, variance = Bankroll(1_000.0), 0.0
    for result in (sm.RESULT_LOSE, sm.RESULT_WIN, sm.RESULT_LOSE, sm.RESULT_LOSE):
        outcome, _ = bankroll.settle([bankroll.stake(0.1)], [2.0], [result])
        r = outcome[oc.SIMPLE_RETURN]
        expected = max(0.0, -r - 1.645 * math.sqrt(variance))
        assert outcome[oc.TAIL_LOSS] == pytest.approx(expected)
        variance = 0.94 * variance + 0.06 * r * r


@pytest.mark.parametrize(
    ("chance", "odds", "share"),
    [
        # Kelly 1956: a 60 % chance at even money is a stake of 20 %.
        (0.6, 2.0, 0.2),
        # Thorp 2006: f* = (b p - q) / b; b = 2, p = 0.5 gives 0.25.
        (0.5, 3.0, 0.25),
        (0.5, 2.0, 0.0),
        (0.4, 2.0, 0.0),
        (1.0, 1.5, 1.0),
        (0.0, 50.0, 0.0),
    ],
)
def test_kelly_stakes_by_hand(chance, odds, share):
    assert kelly_fraction(chance, odds) == pytest.approx(share, abs=1e-12)
    assert kelly_fraction(chance, odds, fraction=0.5) == pytest.approx(0.5 * share, abs=1e-12)
    assert kelly_fraction(chance, odds, cap=0.1) == pytest.approx(min(0.1, share), abs=1e-12)


@st.composite
def races(draw):
    """Chances that add up to 1 and odds of a bookmaker who is wrong about them."""
    count = draw(st.integers(2, 5))
    numbers = st.lists(st.floats(0.1, 1.0), min_size=count, max_size=count)
    chances, implied = (np.array(draw(numbers)) for _ in range(2))
    return chances / chances.sum(), 0.93 * implied.sum() / implied  # prices with 7.5 % on top


def growth_of(shares, chances, odds):
    """Mean log growth when one of the outcomes happens."""
    return chances @ np.log(np.maximum(1e-12, 1.0 - shares.sum() + shares * odds))


@given(races())
def test_kelly_stakes_grow_fastest(race):
    chances, odds = race
    shares = kelly_fractions(chances, odds)
    assert (shares >= 0.0).all() and shares.sum() <= 1.0 + 1e-12
    best = growth_of(shares, chances, odds)
    assert best >= -1e-12
    found = optimize.minimize(
        lambda x: -growth_of(x, chances, odds),
        np.full(len(odds), 0.05),
        bounds=[(0.0, 1.0)] * len(odds),
        constraints={"type": "ineq", "fun": lambda x: 0.999999 - x.sum()},
        method="SLSQP",
    )
    assert best >= -found.fun - 1e-6


def test_overbetting_grows_slower_and_then_shrinks():
    """60 % at even money: full Kelly, 0.2, grows fastest in a simulation; half of it has three
    quarters of the growth; beyond about twice of it the bankroll shrinks (Thorp 2006, section 2).
    """
    wins = np.random.Generator(np.random.PCG64(0)).random(5_000) < 0.6
    growth = {}
    for share in (0.1, 0.2, 0.3, 0.42):
        bankroll = Bankroll(1.0, bankruptcy_frac=1e-300)
        rows = [
            bankroll.settle(
                [bankroll.stake(share)], [2.0], [sm.RESULT_WIN if won else sm.RESULT_LOSE]
            )[0]
            for won in wins
        ]
        growth[share] = float(np.mean([math.log1p(row[oc.SIMPLE_RETURN]) for row in rows]))
    assert max(growth, key=lambda share: growth[share]) == 0.2
    # 0.6 log 1.2 + 0.4 log 0.8 = 0.0201; 4 standard errors of the mean are 0.011.
    assert growth[0.2] == pytest.approx(0.0201, abs=0.011)
    assert growth[0.42] < 0.0


def test_a_row_pays_the_outcomes_it_names():
    """Smoczynski & Tomkins 2010: two of three outcomes are backed, one of them below fair odds,
    because it insures the other.
    """
    chances, odds = np.array([0.6, 0.3, 0.1]), np.array([2.2, 3.2, 4.0])
    # R after the first: 0.4 / (1 - 1/2.2) = 0.7333 < 0.3 x 3.2 = 0.96, so the second enters:
    # R = 0.1 / (1 - 1/2.2 - 1/3.2) = 0.42927 > 0.1 x 4.0 = 0.4, so the third does not.
    expected = [0.6 - 0.42927 / 2.2, 0.3 - 0.42927 / 3.2, 0.0]
    np.testing.assert_allclose(kelly_fractions(chances, odds), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bankroll(0.0), "initial bankroll must be positive"),
        (lambda: Bankroll(1.0, max_stake_frac=1.5), r"max_stake_frac must lie in \(0, 1\]"),
        (lambda: Bankroll(1.0, commission_frac=1.0), "commission_frac must lie"),
        (lambda: Bankroll(1.0, bankruptcy_frac=0.0), "bankruptcy_frac must lie"),
        (lambda: Bankroll(1.0).settle([1.0], [2.0, 3.0], [0]), "must be of one length"),
        (lambda: Bankroll(1.0).settle([1.0], [1.0], [0]), "decimal odds must be above 1"),
        (lambda: Bankroll(1.0).settle([1.0], [2.0], [9]), "must be a RESULT_. code"),
        (lambda: line_result(1.0, 0.3), "Lines go in quarters"),
        (lambda: line_result(math.nan, 0.5), "must be numbers"),
        (lambda: kelly_fraction(1.1, 2.0), "must be chances of the outcomes"),
        (lambda: kelly_fraction(math.nan, 2.0), "must be chances of the outcomes"),
        (lambda: kelly_fraction(0.5, 2.0, fraction=2.0), "fraction must lie"),
        (lambda: kelly_fraction(0.5, 2.0, cap=0.0), "cap must lie"),
        (
            lambda: kelly_fractions(np.array([0.6, 0.6]), np.array([2.0, 2.0])),
            "must be chances of the outcomes",
        ),
    ],
)
def test_what_cannot_be_settled_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
