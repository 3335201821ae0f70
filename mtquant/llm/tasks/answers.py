# SPDX-License-Identifier: Apache-2.0
"""Reading answers: three labelled parts in their order, each once, or nothing at all.

There is no default prediction. A completion with a part missing, twice, out of order or out of
range does not parse, and earns the least there is.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from mtquant.llm.tasks.task import Answer

# Thinking models write their thoughts first; "Model Prediction" is how spec 002 shows it.
_LEAD = r"\s*(?:<think>.*?</think>\s*)?(?:Model )?Prediction:[ \t]*"
_CONFIDENCE = r"[ \t]*\n\s*Confidence:[ \t]*(\d{1,3}(?:\.\d{1,2})?)[ \t]?%[ \t]*"
_REASONING = r"[ \t]*\n\s*Reasoning:\s*(\S.*)"
_PERCENT = r"(\d{1,3}(?:\.\d)?)[ \t]?%"
CONFIDENT = re.compile(_LEAD + r"([^\n]{1,60}?)" + _CONFIDENCE + _REASONING, re.DOTALL)
CHANCES = re.compile(
    _LEAD
    + r"([^\n]{1,60}?)[ \t]*\n\s*Chances:[ \t]*"
    + rf"{_PERCENT} home,[ \t]*{_PERCENT} draw"
    + _REASONING,
    re.DOTALL,
)
_LABELS = re.compile("(?:Prediction|Confidence|Chances|Reasoning):")
_LINE = re.compile(r"line ([+-]?\d+(?:\.\d+)?|pick)")
_TEAMS = re.compile(r"Who will win: (.+?) vs (.+?)(?:, or Draw)?\?")
_NUMBER = re.compile(r"[+-]?\d{1,3}(?:\.\d)?")


def parse_direction(prompt: str, completion: str) -> Answer | None:
    """UP or DOWN with a confidence; chances in the order down, up."""
    parts = _confident(completion)
    if parts is None or parts[0] not in ("UP", "DOWN"):
        return None
    says, confidence, reasoning = parts
    return _binary(says, confidence, reasoning, says == "UP")


def parse_winner(prompt: str, completion: str) -> Answer | None:
    """A team of the prompt with a confidence; chances in the order away, home."""
    parts, teams = _confident(completion), teams_of(prompt)
    if parts is None or teams is None or parts[0] not in teams:
        return None
    says, confidence, reasoning = parts
    return _binary(says, confidence, reasoning, says == teams[0])


def parse_spread(prompt: str, completion: str) -> Answer | None:
    """A score difference, home minus away, with the confidence that its side of the line is right;
    chances in the order away covers, home covers. A difference on the line takes no side.
    """
    parts, line = _confident(completion), line_of(prompt)
    if parts is None or line is None or _NUMBER.fullmatch(parts[0]) is None:
        return None
    says, confidence, reasoning = parts
    ahead = float(says) + line
    if ahead == 0.0:
        return Answer(np.array([0.5, 0.5]), -1, says, 0.5, reasoning)
    return _binary(says, confidence, reasoning, ahead > 0.0)


def parse_total(prompt: str, completion: str) -> Answer | None:
    """Yes or No to "over?" with a confidence; chances in the order under, over."""
    parts = _confident(completion)
    if parts is None or parts[0] not in ("Yes", "No"):
        return None
    says, confidence, reasoning = parts
    return _binary(says, confidence, reasoning, says == "Yes")


def parse_1x2(prompt: str, completion: str) -> Answer | None:
    """A team or Draw with the chances of home and draw; the away team's is what is left to 100 %;
    where less than nothing is left, the answer does not parse. Order home, draw, away.
    """
    match, teams = CHANCES.fullmatch(completion), teams_of(prompt)
    if match is None or teams is None:
        return None
    says, home, draw, reasoning = match.groups()
    names = (teams[0], "Draw", teams[1])
    away = round(100.0 - float(home) - float(draw), 1)  # of numbers with one decimal at most
    if says not in names or away < 0.0 or _again(reasoning):
        return None
    chances = np.array([float(home), float(draw), away]) / 100.0
    predicted = names.index(says)
    return Answer(chances, predicted, says, float(chances[predicted]), reasoning.strip())


@lru_cache(maxsize=65_536)
def teams_of(prompt: str) -> tuple[str, str] | None:
    """Home and away team of a question; None where it names none."""
    found = _TEAMS.findall(prompt)
    return found[-1] if found else None


@lru_cache(maxsize=65_536)
def line_of(prompt: str) -> float | None:
    """What a spread's line adds to the home score; None where there is none."""
    found = _LINE.findall(prompt)
    return (0.0 if found[-1] == "pick" else float(found[-1])) if found else None


def _confident(completion: str) -> tuple[str, float, str] | None:
    """Prediction, confidence in [0, 1] and reasoning; None where a part is missing or twice."""
    match = CONFIDENT.fullmatch(completion)
    if match is None:
        return None
    says, percent, reasoning = match.groups()
    if float(percent) > 100.0 or _again(reasoning):
        return None
    return says, float(percent) / 100.0, reasoning.strip()


def _again(reasoning: str) -> bool:
    """Whether a label comes a second time: which one counts would be a guess."""
    return _LABELS.search(reasoning) is not None


def _binary(says: str, confidence: float, reasoning: str, says_second: bool) -> Answer:
    """Two chances; `says_second` is whether the answer says class 1."""
    second = confidence if says_second else 1.0 - confidence
    return Answer(np.array([1.0 - second, second]), int(says_second), says, confidence, reasoning)
