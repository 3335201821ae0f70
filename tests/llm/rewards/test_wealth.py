# SPDX-License-Identifier: Apache-2.0
"""Risk-aware terms are the agents' own, on wealth in order of date."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks.config import BettingConfig
from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN, Bankroll
from mtquant.rewards.compose import STATES, TERMS, Reward, start_reward, step_reward

WEIGHTS = {"growth": 1.0, "drawdown": 0.5, "tail_loss": 1.0, "differential_sharpe": 0.1}


def terms(weights=None, positions=True) -> WealthTerms:
    return WealthTerms(weights or WEIGHTS, 0.02, BettingConfig(), positions)


def columns(returns, events=None) -> dict:
    count = len(returns)
    return {
        "fill_return": np.asarray(returns, dtype=np.float64),
        "event": np.arange(count) if events is None else np.asarray(events),
        "stamp": np.arange(count) if events is None else np.asarray(events),
    }


def test_growth_is_the_log_of_the_wealth():
    returns, rises = np.array([0.02, -0.03, 0.01]), np.array([0.9, 0.6, 0.2])
    paid = terms({"growth": 1.0}).of_positions(rises, np.ones(3, bool), columns(returns))
    expected = np.log1p((2 * rises - 1) * returns) / 0.02
    np.testing.assert_allclose(paid, expected, atol=1e-12)


def test_every_row_is_scored_by_the_function_that_scores_a_bar():
    generator = np.random.default_rng(0)
    stakes, odds = generator.uniform(0, 0.1, (40, 2)), generator.uniform(1.5, 4.0, (40, 2))
    results = generator.choice([RESULT_WIN, RESULT_LOSE], (40, 2))
    order = generator.permutation(40)
    shuffled = {"event": order, "stamp": order}
    own = terms(positions=False)
    paid = own.of_stakes(stakes[order], odds[order], results[order], np.ones(40, bool), shuffled)
    bankroll, reward, state = Bankroll(1_000.0), Reward(WEIGHTS, 0.02), np.zeros(STATES)
    start_reward(state)
    for row in range(40):  # in order of date, whatever the order of the call
        money = stakes[row] * bankroll.equity
        outcome, _ = bankroll.settle(money, odds[row], results[row])
        expected = step_reward(
            state, outcome, reward.parameter_vector(), reward.weight_vector(), np.zeros(TERMS)
        )
        assert paid[order == row] == pytest.approx(expected, abs=1e-12)


def test_a_group_plays_on_bankrolls_of_its_own():
    returns = np.array([-0.5, 0.02])
    pair = np.repeat(returns, 2)
    rises = np.array([1.0, 0.5, 1.0, 1.0])  # the first history loses half, the second holds nothing
    paid = terms({"drawdown": 1.0}).of_positions(
        rises, np.ones(4, bool), columns(pair, np.repeat([0, 1], 2))
    )
    assert paid[0] < 0.0 and paid[1] == 0.0 and paid[3] == 0.0


def test_what_does_not_parse_earns_the_worst_of_the_call():
    parsed = np.array([True, False, True])
    paid = terms().of_positions(np.array([0.9, 0.5, 0.1]), parsed, columns([0.02, 0.02, 0.02]))
    assert paid[1] == paid.min() < 0.0
