# SPDX-License-Identifier: Apache-2.0
"""The reward of an odds answer: honest chances earn most, and games do not pay."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.llm.rewards.betting import BettingReward, stated_chances
from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks.config import BettingConfig, TaskRewardConfig
from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN

PROMPT = (
    "2016-01-05, GS at LAL\nLAL: Elo 1402, rest 2 days\nGS: Elo 1731, rest 1 days\n"
    "Odds: LAL 3.60, GS 1.32\nWho will win: LAL vs GS?\n"
)
GOOD = "LAL Elo 1402 to 1731: {} it is."
ODDS = (1.32, 3.60)  # away, home


def answer(team: str, percent: float, reasoning: str | None = None) -> str:
    reasoning = GOOD.format(team) if reasoning is None else reasoning
    return f"Prediction: {team}\nConfidence: {percent:.0f}%\nReasoning: {reasoning}"


def reward(stage="stage1", **changes) -> BettingReward:
    return BettingReward(
        "odds_winner", TaskRewardConfig(**changes), BettingConfig(), (0.4, 0.6), stage
    )


def columns(odds=ODDS) -> dict:
    """Both outcomes of one game."""
    home_won = np.array([0, 1])
    return {
        "label": home_won,
        "odds_0": np.full(2, odds[0]),
        "odds_1": np.full(2, odds[1]),
        "result_0": np.where(home_won, RESULT_LOSE, RESULT_WIN),
        "result_1": np.where(home_won, RESULT_WIN, RESULT_LOSE),
    }


def mean_total(text: str, chance_home: float, stage="stage1", odds=ODDS, **changes) -> float:
    scores = reward(stage, **changes)([PROMPT] * 2, [text] * 2, columns(odds))
    return float(scores.total @ [1.0 - chance_home, chance_home])


def test_the_parts_are_those_of_the_documents():
    scores = reward()([PROMPT] * 2, [answer("LAL", 40)] * 2, columns())
    # 1 + log p for the chance of what happened; two figures quoted; "40 %" does not believe
    # itself, so agreement and support are lost and shape is left: a quarter of 0.2.
    np.testing.assert_allclose(scores.parts["score"], 1 + np.log([0.6, 0.4]))
    np.testing.assert_allclose(scores.parts["data_usage"], 0.2)
    np.testing.assert_allclose(scores.parts["coherence"], 0.05)
    # Kelly: (0.4 x 3.6 - 1) / 2.6 = 0.169, a quarter of it 0.0423.
    stake = 0.25 * (0.4 * 3.6 - 1.0) / 2.6
    np.testing.assert_allclose(scores.parts["growth"], np.log1p([-stake, 2.6 * stake]))


@given(believed=st.integers(2, 98), said=st.integers(0, 100))
def test_honest_chances_earn_most(believed, said):
    chance = believed / 100
    args = {"coherence_weight": 0.0, "odds": (1.9, 1.9)}
    honest = mean_total(answer("LAL", believed), chance, **args)
    other = mean_total(answer("LAL", said), chance, **args)
    # Below the cap log growth is largest near the full Kelly stake of what is believed, of which a
    # quarter is staked: overstating stakes more, and gains less than the score loses.
    assert other <= honest + 0.02
    assert mean_total(answer("LAL", said), chance, growth_weight=0.0, **args) <= (
        mean_total(answer("LAL", believed), chance, growth_weight=0.0, **args) + 1e-9
    )


GAMES = {
    "empty": "",
    "no team of the game": answer("BOS", 60),
    "always sure": answer("LAL", 100),
    "the prompt again": PROMPT,
    "the prompt as reasoning": answer("LAL", 60, PROMPT.replace("\n", " ").strip()),
    "names the other side last": answer("LAL", 60, "Elo 1402 to 1731, LAL, but GS."),
    "no figure": answer("LAL", 60, "LAL will win."),
    "made-up figures": answer("LAL", 60, "Elo 1999 to 1888: LAL it is."),
    "stuffed": answer("LAL", 60, "LAL 1402 1731 3.60 1.32 1402 1731 3.60 1.32 1402 LAL"),
    "over-long": answer("LAL", 60, GOOD.format("LAL") + " They are good." * 60),
}


@pytest.mark.parametrize("name", GAMES)
@given(base=st.floats(0.52, 0.68))
def test_no_game_beats_an_honest_base_rate_answer(name, base):
    # NBA home teams win 55 to 60 % (docs/llm-tasks.md); 1.6 and 2.4 are usual prices.
    odds = (2.4, 1.6)
    honest = answer("LAL", round(100 * base))
    for stage in ("stage1", "stage2"):
        game = mean_total(GAMES[name], base, stage, odds)
        assert game < mean_total(honest, base, stage, odds) - 0.01


@given(percent=st.integers(0, 100), team=st.sampled_from(["LAL", "GS"]))
def test_nothing_earns_less_than_what_does_not_parse(percent, team):
    for stage in ("stage1", "stage2"):
        own = reward(stage)
        said = own([PROMPT] * 2, [answer(team, percent, "x")] * 2, columns())
        nothing = own([PROMPT] * 2, ["?"] * 2, columns())
        assert (nothing.total <= said.total + 1e-12).all()
        assert not nothing.parsed.any()


def test_rounded_certainty_is_half_a_percent_short():
    np.testing.assert_allclose(stated_chances(np.array([[0.0, 1.0]])).sum(), 1.0)
    assert stated_chances(np.array([[0.0, 1.0]]))[0, 0] == pytest.approx(0.005, abs=1e-4)


def test_risk_terms_are_added_and_it_travels_to_worker_processes():
    wealth = WealthTerms({"drawdown": 1.0}, 0.05, BettingConfig())
    own = BettingReward(
        "odds_winner", TaskRewardConfig(), BettingConfig(), (0.4, 0.6), wealth=wealth
    )
    again = pickle.loads(pickle.dumps(own))
    assert again == own
    assert {"event", "stamp", "odds_1", "result_0"} <= set(again.needs)
    table = columns() | {"event": np.arange(2), "stamp": np.arange(2)}
    scores = again([PROMPT] * 2, [answer("LAL", 90)] * 2, table)
    # The first game is lost: a drawdown of 5 %, within the target of 15 %.
    assert scores.parts["wealth"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(sum(scores.parts.values()), scores.total)
