# SPDX-License-Identifier: Apache-2.0
"""The reward of a stock answer: what earns it, and what tries to."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.llm.rewards.stock import DirectionReward
from mtquant.llm.tasks.config import TaskRewardConfig

# The two examples of spec 002, word for word.
SPEC_PROMPT = (
    "Company: AAPL (Apple Inc.)\nDay 1: $150.00\nDay 2: $153.50\nDay 3: $156.20\nDay 4: ?\n"
)
SPEC_GOOD = """Model Prediction: UP
Confidence: 87%

Reasoning:
Apple shows a consistent upward trend over the 3-day period with increasing momentum:
1. Day 1 to Day 2: +2.33% increase
2. Day 2 to Day 3: +1.76% increase
While the growth rate is slightly decreasing, the stock maintains strong upward movement
and has shown no negative days. Apple's recent product announcements and strong market
position further support this continued upward trajectory."""
SPEC_BAD = "Model Prediction: UP\nConfidence: 65%\n\nReasoning:\nIt will go up."

PROMPT = (
    "Company: OMNI (Omni Group)\nDay 1: $100.00\nDay 2: $102.00 (+2.00%)\n"
    "Day 3: $101.49 (-0.50%)\nDay 4: $103.01 (+1.50%)\nDay 5: ?\n"
)
EVIDENCE = {
    "UP": "Day 3 -0.50%, Day 4 +1.50%: momentum is up.",
    "DOWN": "Day 3 -0.50%, Day 4 +1.50%: a pullback is likely.",
}


def answer(says: str, percent: float, reasoning: str | None = None) -> str:
    reasoning = EVIDENCE[says] if reasoning is None else reasoning
    return f"Prediction: {says}\nConfidence: {percent:.0f}%\nReasoning: {reasoning}"


def reward(stage="stage1", **changes) -> DirectionReward:
    return DirectionReward(TaskRewardConfig(**changes), base_chance=0.55, stage=stage)


def mean_total(text: str, chance_up: float, stage="stage1", **changes) -> float:
    """The expected reward where a rise has a known chance."""
    scores = reward(stage, **changes)([PROMPT] * 2, [text] * 2, {"label": [1, 0]})
    return float(scores.total @ [chance_up, 1.0 - chance_up])


def test_the_examples_of_the_spec_are_told_apart():
    scores = reward()([SPEC_PROMPT] * 2, [SPEC_GOOD, SPEC_BAD], {"label": [1, 1]})
    # 0.6 (1 - 0.13^2) + 0.2 + 0.2; and 0.6 (1 - 0.35^2) + 0 + half of 0.2 for shape and agreement.
    np.testing.assert_allclose(scores.total, [0.98986, 0.6265])


def test_parts_add_up_and_stay_in_their_shares():
    texts = [answer("UP", 80), answer("DOWN", 95), "nothing", answer("UP", 60, "up")]
    scores = reward("stage2")([PROMPT] * 4, texts, {"label": [1, 1, 1, 0]})
    assert set(scores.parts) == {"accuracy", "data_usage", "coherence", "skew"}
    np.testing.assert_allclose(sum(scores.parts.values()), scores.total)
    assert scores.parsed.tolist() == [True, True, False, True]
    for name, largest in {"accuracy": 0.6, "data_usage": 0.2, "coherence": 0.2}.items():
        assert (scores.parts[name] >= 0.0).all() and (scores.parts[name] <= largest).all()


@given(
    percent=st.integers(0, 100),
    says=st.sampled_from(["UP", "DOWN"]),
    label=st.integers(0, 1),
    words=st.text(max_size=80),
    stage=st.sampled_from(["stage1", "stage2"]),
)
def test_nothing_earns_less_than_what_does_not_parse(percent, says, label, words, stage):
    texts = [answer(says, percent, words), "no answer"]
    scores = reward(stage)([PROMPT] * 2, texts, {"label": [label] * 2})
    assert scores.total[1] <= scores.total[0] + 1e-12


@given(believed=st.integers(2, 98), said=st.integers(0, 100), stage=st.sampled_from([1, 2]))
def test_honest_confidence_earns_most(believed, said, stage):
    honest = answer("UP", believed)
    other = answer("UP", said)
    for score in ("brier", "log"):
        args = (believed / 100, f"stage{stage}")
        if said >= 50 or believed >= 50:  # else both lose the same for speaking against themselves
            assert mean_total(other, *args, score=score, coherence_weight=0.0) <= (
                mean_total(honest, *args, score=score, coherence_weight=0.0) + 1e-9
            )


ALL_FIGURES = "$100.00 $102.00 +2.00% $101.49 -0.50% $103.01 +1.50% $100.00 $102.00 up"
GAMES = {
    "empty": "",
    "no reasoning": answer("UP", 55, " "),
    "always sure": answer("UP", 99),
    "sure of the rare side": answer("DOWN", 90),
    "the prompt again": PROMPT,
    "the prompt as reasoning": answer("UP", 55, PROMPT.strip()),
    "contradicts itself": answer("UP", 55, "Day 4 +1.50%: the price fell, momentum is down."),
    "both sides": answer("UP", 55) + "\n" + answer("DOWN", 55),
    "names the wrong sign": answer("UP", 55, "Day 3 +0.50%, Day 4 -1.50%: momentum is up."),
    "wrong day": answer("UP", 55, "Day 3 +1.50%, Day 4 -0.50%: momentum is up."),
    "made-up figures": answer("UP", 55, "Day 3 +7.77%, Day 4 +8.88%: momentum is up."),
    "over-long": answer("UP", 55, EVIDENCE["UP"] + " The trend is strong." * 40),
    "stuffed": answer("UP", 55, ALL_FIGURES),
    "the spec's bad one": answer("UP", 55, "It will go up."),
    "does not believe itself": answer("UP", 30),
}


@pytest.mark.parametrize("name", GAMES)
@given(base=st.floats(0.5, 0.6))
def test_no_game_beats_an_honest_base_rate_answer(name, base):
    # The base rates of the real sets lie between 0.5 and 0.6 (docs/llm-tasks.md).
    honest = answer("UP", round(100 * base))
    for stage in ("stage1", "stage2"):
        assert mean_total(GAMES[name], base, stage) < mean_total(honest, base, stage) - 0.02


def test_stage_two_pays_the_gain_over_the_base_rate():
    texts = [answer("UP", 55), answer("UP", 50), answer("UP", 80)]
    scores = reward("stage2")([PROMPT] * 3, texts, {"label": [1, 1, 1]})
    # 0.3 (0.45^2 - (1 - p)^2) for a rise; the base rate is 0.55.
    np.testing.assert_allclose(scores.parts["skew"], [0.0, 0.3 * -0.0475, 0.3 * 0.1625], atol=1e-12)
    assert mean_total(texts[1], 0.55, "stage2") < mean_total(texts[0], 0.55, "stage2")


def test_rewards_travel_to_worker_processes():
    own = reward("stage2")
    again = pickle.loads(pickle.dumps(own))
    assert again == own and again.needs == ("label",)
