# SPDX-License-Identifier: Apache-2.0
"""What is read out of a reasoning: quotes, claims, and where they contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtquant.llm.rewards.evidence import evidence_of
from mtquant.llm.rewards.figures import facts_of
from mtquant.llm.rewards.reasoning import Reading, read_bet, read_direction
from mtquant.llm.tasks.task import Answer

PROMPT = (
    "Company: OMNI\nDay 1: $1,100.00\nDay 2: $1,122.00 (+2.00%)\nDay 3: $1,116.39 (-0.50%)\n"
    "volatility_20 0.013\nDay 4: ?\n"
)


def reading(text: str, says: str = "UP", confidence: float = 0.6) -> Reading:
    rise = confidence if says == "UP" else 1.0 - confidence
    answer = Answer(np.array([1.0 - rise, rise]), int(says == "UP"), says, confidence, text)
    return read_direction(PROMPT, answer, 600)


@pytest.mark.parametrize(
    ("text", "quotes", "right"),
    [
        ("+2.00% and -0.50%", 2, 2),
        ("2.00% and 0.5%", 2, 2),
        ("+2.0%", 1, 1),
        ("-2.00%", 1, 0),
        ("+2.01%", 1, 0),
        ("$1,100.00 to $1122.00", 2, 2),
        ("+1.49% over three days", 1, 1),  # 1116.39 / 1100 - 1
        ("volatility 0.013", 1, 1),
        ("volatility 0.014", 1, 0),
        ("+2.00% +2.00% +2.00%", 3, 1),
        ("in 3 days, 20 sessions", 0, 0),
        ("Day 2 +2.00%, Day 3 -0.50%", 2, 2),
        ("Day 3 +2.00%", 1, 0),
    ],
)
def test_figures_are_checked_against_the_prompt(text, quotes, right):
    found = evidence_of(PROMPT, text)
    assert (found.quotes, found.right) == (quotes, right)


PIECES = ["$", "%", "+", "-", ".", ",", " ", "0", "1", "23", "\u0663"]  # an Arabic 3 is a digit too
PIECES += ["Day ", "from ", "rose ", "OMNI"]


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), free=st.text(max_size=12))
@example(pieces=["$", "1", "%"], free="")
def test_whatever_a_model_writes_is_read(pieces, free):
    """A reward that raises would end the training: seen once, of the answer "$1%"."""
    text = "".join(pieces) + free
    bet = Answer(np.array([0.5, 0.5]), 1, "OMNI", 0.5, text)
    for found in (reading(text), read_bet(PROMPT, bet, 600)):
        assert 0.0 <= found.data_usage <= 1.0 and 0.0 <= found.coherence <= 1.0
    facts_of("Day 1: $0.00\nDay 2: $0.01\n" + text)  # and whatever stands in a prompt's texts


@pytest.mark.parametrize(
    ("text", "trend", "turn", "mismatches"),
    [
        ("the price rose +2.00%", 1, 0, 0),
        ("-0.50%: it fell", -1, 0, 0),
        ("the price fell +2.00%", -1, 0, 1),
        ("+2.00%: it fell", -1, 0, 1),
        ("-0.50%: a rebound is likely", 0, 1, 0),
        ("it is not rising", -1, 0, 0),
        ("no negative days, strong gains", 3, 0, 0),
        ("Day 3 +2.00%", 0, 0, 1),
        ("it may well be", 0, 0, 0),
        # Without a sign: the prompt knows it, and which of two prices was later.
        ("it rose 0.50%", 1, 0, 1),
        ("it fell 0.50%", -1, 0, 0),
        ("2.00%: it fell", -1, 0, 1),
        ("2.00%: it rose", 1, 0, 0),
        ("it fell from $1,100.00 to $1,122.00", -1, 0, 1),
        ("it rose from $1,100.00 to $1,122.00", 1, 0, 0),
        ("$1,100.00 to $1,122.00: it fell", -1, 0, 1),
        ("at $1,122.00 from $1,100.00: it fell", -1, 0, 1),
        ("Day 2 $1,122.00, Day 1 $1,100.00: it fell", -1, 0, 1),
        ("$1,100.00 long ago, and much later on $1,122.00: it fell", -1, 0, 0),  # no pair
    ],
)
def test_words_of_direction_are_counted(text, trend, turn, mismatches):
    found = evidence_of(PROMPT, text)
    assert (found.trend, found.turn, found.mismatches) == (trend, turn, mismatches)


def test_data_usage_is_precision_times_how_much_of_two_figures():
    assert reading("+2.00%, -0.50%").data_usage == 1.0
    assert reading("+2.00%").data_usage == 0.5
    assert reading("+2.00%, +7.00%").data_usage == 0.25  # half are right, one of two
    assert reading("+2.00%, -0.50%, +7.00%").data_usage == pytest.approx(2 / 3)


def test_coherence_has_three_shares():
    assert reading("Day 2 +2.00%: it rose.").coherence == 1.0
    assert reading("Day 2 +2.00%: it rose.", "DOWN").coherence == 0.25  # shape is left
    assert reading("Day 2 +2.00%: it fell, but gains, rises, rose.").coherence == 0.75
    assert reading("It rose.").coherence == 0.5  # nothing backs the claim
    assert reading("Day 3 -0.50%: it rose by a lot more.").coherence == 0.25
    assert reading("Day 2 +2.00%: it rose.", confidence=0.4).coherence == 0.75
    # A rebound needs a fall, a pullback a rise.
    assert reading("Day 3 -0.50%: a rebound is likely.").coherence == 1.0
    assert reading("Day 2 +2.00%: a rebound is likely.").coherence == 0.5
    assert reading("Day 2 +2.00%: a pullback is likely.", "DOWN").coherence == 1.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Day 2 +2.00%, it rose and gained: DOWN.", "UP"),
        ("Day 2 +2.00%, strong gains, it rose, but it will fall.", "UP"),
        ("Day 2 +2.00%, strong gains, it rose: a pullback is likely.", "UP"),
        ("Day 2 2.00%: it fell, but strong gains, it rose.", "UP"),
        ("It fell from $1,100.00 to $1,122.00, but strong gains, it rose.", "UP"),
        ("Day 3 -0.50%, weak, it fell, losses: unlikely to fall.", "DOWN"),
        ("Day 3 -0.50%, weak, it fell, losses: UP.", "DOWN"),
        ("Day 3 -0.50%, weak, it fell, losses: a rebound is likely.", "DOWN"),
    ],
)
def test_a_reasoning_against_its_own_prediction_always_costs(text, says):
    """Also where most of its words are for the prediction, which its figures back."""
    assert reading(text, says).coherence == 0.75


@pytest.mark.parametrize(
    "text",
    [
        "Day 2 +2.00%: it rose, not DOWN but UP.",
        "Day 2 +2.00%: it rose and will rise, a pullback is unlikely, no correction.",
        "From $1,100.00 to $1,122.00, it rose 2.00%: it should climb on, unlikely to fall.",
    ],
)
def test_what_is_denied_is_no_contradiction(text):
    assert reading(text.replace("a pullback is unlikely, ", "")).coherence == 1.0


def test_a_copy_across_lines_is_a_copy():
    copied = " ".join(PROMPT.split()) + " It rose."
    assert reading(copied) == Reading(0.0, 0.25)
    assert reading("Day 2: $1,122.00 (+2.00%): it rose.").coherence == 1.0


@pytest.mark.parametrize(
    ("says", "text", "coherence"),
    [
        ("SA", "SA Elo 1600 to 1500: SA it is.", 1.0),
        ("SA", "SA Elo 1600 to 1500: SAC it is.", 0.25),
        ("SA", "SAC Elo 1600 to 1500, they know no sands.", 0.25),  # "sa" is in "sands"
        ("SA", "Elo 1600 to 1500: not SAC, SA.", 1.0),
        ("SA", "SA it is.", 0.5),  # no figure
        ("SA", "Elo 1600 to 1500: not SAC but SA.", 1.0),
        ("SA", "Elo 1600 to 1500: not SA.", 0.25),
        ("SA", "Elo 1600 to 1500: SA loses.", 0.25),
        ("SA", "Elo 1600 to 1500: SA will not win.", 0.25),
        ("SA", "Elo 1600 to 1500: SA cannot do it.", 0.25),
        ("SA", "Elo 1600 to 1500: SAC beats SA.", 0.25),
        ("SA", "Elo 1600 to 1500: a win is unlikely for SA.", 0.25),
    ],
)
def test_a_bet_names_its_side_last(says, text, coherence):
    prompt = "SA: Elo 1600\nSAC: Elo 1500\nWho will win: SA vs SAC?\n"
    answer = Answer(np.array([0.4, 0.6]), 1, says, 0.6, text)
    assert read_bet(prompt, answer, 600).coherence == coherence


@pytest.mark.parametrize(
    ("says", "text", "coherence"),
    [
        ("Yes", "Scored 107.4 and 108.6: over.", 1.0),
        ("Yes", "Scored 107.4 and 108.6: it will not go over.", 0.25),
        ("No", "Scored 107.4 and 108.6: not under.", 0.25),
        ("No", "Scored 107.4 and 108.6: not over, under.", 1.0),
    ],
)
def test_a_denied_side_is_not_the_side(says, text, coherence):
    prompt = "PHX: scored 107.4\nATL: scored 108.6\nWill the total be over 222?\n"
    answer = Answer(np.array([0.4, 0.6]), 1, says, 0.6, text)
    assert read_bet(prompt, answer, 600).coherence == coherence


def test_a_prompt_without_figures_states_none():
    assert facts_of("Company: OMNI\n").figures == frozenset()
