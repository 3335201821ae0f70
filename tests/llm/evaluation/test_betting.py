# SPDX-License-Identifier: Apache-2.0
"""The betting backtest by hand, and that its caps hold."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.llm.evaluation.betting import play_bets
from mtquant.llm.evaluation.scores import DAY
from mtquant.llm.tasks.config import BettingConfig
from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN

FREE = BettingConfig(kelly_fraction=1.0, max_stake_frac=1.0, max_day_frac=1.0, bankroll=100.0)


def columns(odds, results, closing=None) -> dict:
    table = {f"odds_{k}": np.asarray(odds)[:, k] for k in range(2)}
    table |= {f"result_{k}": np.asarray(results)[:, k] for k in range(2)}
    if closing is not None:
        table |= {f"closing_{k}": np.asarray(closing)[:, k] for k in range(2)}
    return table


LOST, WON = [RESULT_WIN, RESULT_LOSE], [RESULT_LOSE, RESULT_WIN]


def test_two_days_by_hand():
    chances = np.array([[0.4, 0.6], [0.5, 0.5]])
    odds = [[1.9, 2.0], [1.75, 2.2]]
    closing = [[0.45, 0.55], [0.52, 0.48]]
    run = play_bets(chances, columns(odds, [WON, LOST], closing), np.array([0, DAY]), FREE)
    # Kelly: (0.6 x 2 - 1) / 1 = 0.2 of 100 wins 20; (0.5 x 2.2 - 1) / 1.2 = 1/12 of 120 loses 10.
    np.testing.assert_allclose(run.outcomes[:, oc.EQUITY], [120.0, 110.0])
    assert (run.bets, run.bet_days) == (2, 2)
    assert run.ratios["roi"].below.tolist() == pytest.approx([20.0, 10.0])
    summary = run.summary()
    assert summary["roi"] == pytest.approx(10.0 / 30.0)
    assert summary["flat_roi"] == pytest.approx((1.0 - 1.0) / 2)
    assert summary["bet_hit_rate"] == 0.5
    # Odds 2.0 at a closing chance of 0.55, and 2.2 at 0.48.
    assert summary["closing_line_value"] == pytest.approx((0.10 + 0.056) / 2)
    assert summary["bankroll_return"] == pytest.approx(0.10)
    assert summary["max_drawdown"] == pytest.approx(10.0 / 120.0)


def test_bets_of_one_day_share_the_bankroll_of_its_beginning_and_its_cap():
    chances, odds = np.tile([0.4, 0.6], (4, 1)), np.tile([1.9, 2.0], (4, 1))
    stamps = np.array([0, 1, 2, 3])
    run = play_bets(chances, columns(odds, [WON] * 4), stamps, FREE)
    assert run.outcomes.shape[0] == 1
    assert run.outcomes[0, oc.TURNOVER] == pytest.approx(0.8)  # four times 0.2
    capped = FREE.model_copy(update={"max_day_frac": 0.4})
    run = play_bets(chances, columns(odds, [WON] * 4), stamps, capped)
    assert run.outcomes[0, oc.TURNOVER] == pytest.approx(0.4)
    assert run.capped_days == 1.0
    capped = FREE.model_copy(update={"max_stake_frac": 0.05})
    run = play_bets(chances, columns(odds, [WON] * 4), stamps, capped)
    assert run.outcomes[0, oc.TURNOVER] == pytest.approx(0.2)


def test_without_an_edge_nothing_is_staked():
    chances, odds = np.tile([0.5, 0.5], (2, 1)), np.tile([1.9, 1.9], (2, 1))
    run = play_bets(chances, columns(odds, [WON] * 2), np.array([0, DAY]), FREE)
    assert run.bets == 0 and run.outcomes[-1, oc.EQUITY] == 100.0
    assert run.bet_days == 0
    assert all(np.isnan(ratio.value) for ratio in run.ratios.values())


def test_ratios_are_sums_over_rows_whose_money_lies_on_the_first_of_its_day():
    generator = np.random.default_rng(3)
    count = 300
    odds = generator.uniform(1.5, 1.9, (count, 2))  # with a margin: one side a game
    chances = generator.uniform(0.2, 0.8, (count, 1))
    chances = np.hstack([chances, 1.0 - chances])
    results = np.where(generator.random((count, 1)) < 0.5, [WON], [LOST])
    closing = np.where(generator.random((count, 1)) < 0.1, np.nan, chances[::-1])
    stamps = np.sort(generator.integers(0, 60, count)) * DAY
    run = play_bets(chances, columns(odds, results, closing), stamps, BettingConfig())
    equity = run.outcomes[:, oc.EQUITY]
    roi = run.ratios["roi"]
    assert roi.above.sum() == pytest.approx(equity[-1] - BettingConfig().bankroll)
    assert np.count_nonzero(roi.below) == run.bet_days
    placed = chances * odds > 1.0
    assert run.bets == placed.sum() == run.ratios["flat_roi"].below.sum()
    won = results == RESULT_WIN
    assert run.ratios["bet_hit_rate"].value == pytest.approx(won[placed].mean())
    profits = np.where(won, odds - 1.0, -1.0)[placed]
    assert run.ratios["flat_roi"].value == pytest.approx(profits.mean())
    values = (odds * closing - 1.0)[placed]
    assert run.ratios["closing_line_value"].value == pytest.approx(np.nanmean(values))
