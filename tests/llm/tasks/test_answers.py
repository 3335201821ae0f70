# SPDX-License-Identifier: Apache-2.0
"""Answers parse in one form, and in no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtquant.llm.tasks import answers

GOOD = "Prediction: UP\nConfidence: 87%\nReasoning: it rose +1.76%"
GAME = "Mon, LAL at BOS\nElo 1510\nWho will win: BOS vs LAL?\n"
LINED = "Mon, LAL at BOS\nPredict score difference: BOS vs LAL, line -4.5\n"
FOOTBALL = "Sat, Everton at Arsenal\nWho will win: Arsenal vs Everton, or Draw?\n"


def test_the_spec_example_is_read():
    spec = "Model Prediction: DOWN\nConfidence: 87%\n\nReasoning:\nApple shows\na trend"
    answer = answers.parse_direction("", spec)
    assert answer is not None
    assert (answer.says, answer.confidence) == ("DOWN", 0.87)
    assert answer.reasoning == "Apple shows\na trend"
    np.testing.assert_allclose(answer.chances, [0.87, 0.13])


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "UP",
        "Prediction: UP",
        "Prediction: UP\nConfidence: 87%",
        "Prediction: UP\nConfidence: 87%\nReasoning: ",
        "Prediction: SIDEWAYS\nConfidence: 87%\nReasoning: x",
        "Prediction: up\nConfidence: 87%\nReasoning: x",
        "Prediction: UP\nConfidence: 101%\nReasoning: x",
        "Prediction: UP\nConfidence: -5%\nReasoning: x",
        "Prediction: UP\nConfidence: high\nReasoning: x",
        "Confidence: 87%\nPrediction: UP\nReasoning: x",
        GOOD + "\nPrediction: DOWN",
        GOOD + "\nConfidence: 12%",
        GOOD + " Reasoning: again",
        "I think so.\n" + GOOD,
    ],
)
def test_nothing_else_is_guessed(broken):
    assert answers.parse_direction("", broken) is None


def test_thoughts_before_the_answer_are_skipped():
    answer = answers.parse_direction("", "<think>Prediction: DOWN?</think>\n" + GOOD)
    assert answer is not None and answer.says == "UP"


def test_a_winner_is_a_team_of_the_prompt():
    text = "Prediction: {}\nConfidence: 64%\nReasoning: Elo"
    home = answers.parse_winner(GAME, text.format("BOS"))
    away = answers.parse_winner(GAME, text.format("LAL"))
    assert home is not None and away is not None
    np.testing.assert_allclose(home.chances, [0.36, 0.64])
    np.testing.assert_allclose(away.chances, [0.64, 0.36])
    assert answers.parse_winner(GAME, text.format("NYK")) is None


def test_a_score_difference_takes_a_side_of_the_line():
    text = "Prediction: {}\nConfidence: 55%\nReasoning: x"
    for said, chances in {"+7.5": [0.45, 0.55], "-2": [0.55, 0.45], "4.5": [0.5, 0.5]}.items():
        answer = answers.parse_spread(LINED, text.format(said))
        assert answer is not None
        np.testing.assert_allclose(answer.chances, chances)
    assert answers.parse_spread(LINED, text.format("a lot")) is None


def test_a_total_is_yes_or_no():
    answer = answers.parse_total("", "Prediction: No\nConfidence: 55%\nReasoning: x")
    assert answer is not None
    np.testing.assert_allclose(answer.chances, [0.55, 0.45])
    assert answers.parse_total("", "Prediction: Maybe\nConfidence: 55%\nReasoning: x") is None


THREE_WAYS = "Prediction: {}\nChances: {}% home, {}% draw\nReasoning: x"


@given(tenths=st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)))
@example(tenths=(644, 356))  # 100 less both is below 0 in binary fractions
def test_the_away_chance_is_what_home_and_draw_leave(tenths):
    home, draw = tenths
    text = THREE_WAYS.format("Arsenal", home / 10, draw / 10)
    answer = answers.parse_1x2(FOOTBALL, text)
    if home + draw > 1_000:  # nothing is left, and nothing is guessed
        assert answer is None
        return
    assert answer is not None
    expected = np.array([home, draw, 1_000 - home - draw]) / 1_000
    np.testing.assert_allclose(answer.chances, expected, atol=1e-12)
    assert (answer.chances >= 0.0).all()


def test_three_ways_name_a_side_of_the_prompt():
    for says, predicted in {"Arsenal": 0, "Draw": 1, "Everton": 2}.items():
        answer = answers.parse_1x2(FOOTBALL, THREE_WAYS.format(says, 48, 27))
        assert answer is not None and answer.predicted == predicted
        assert answer.confidence == answer.chances[predicted]
    assert answers.parse_1x2(FOOTBALL, THREE_WAYS.format("Chelsea", 48, 27)) is None
    for broken in ("48% home", "48% home, 27% draw, 25% away", "48% draw, 27% home", "48%, 27%"):
        text = f"Prediction: Arsenal\nChances: {broken}\nReasoning: x"
        assert answers.parse_1x2(FOOTBALL, text) is None


PIECES = ["Prediction: ", "UP", "Yes", "-4.5", "BOS", "Draw", "\n", "Confidence: ", "Chances: "]
PIECES += [
    "48",
    "% home, ",
    "% draw",
    "%",
    ".",
    "\u0663",
    "Reasoning: ",
    "<think>",
    "</think>",
    "x",
]


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14))
def test_whatever_a_model_writes_is_read_or_not(pieces):
    text = "".join(pieces)
    for parse, prompt in (
        (answers.parse_direction, ""),
        (answers.parse_winner, GAME),
        (answers.parse_spread, LINED),
        (answers.parse_total, ""),
        (answers.parse_1x2, FOOTBALL),
    ):
        answer = parse(prompt, text)
        assert answer is None or answer.chances.sum() == pytest.approx(1.0)
