# SPDX-License-Identifier: Apache-2.0
"""Scores of a reasoning in [0, 1]: how it uses the data, and whether it hangs together.

Spec 002 gives each 0.2 of a reward and does not say how. Here nothing is paid for length: two
right figures and one claim that they support earn everything, and more text can only lose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mtquant.llm.rewards.evidence import Evidence, evidence_of
from mtquant.llm.rewards.figures import KNOWN_PROMPTS
from mtquant.llm.tasks.answers import teams_of
from mtquant.llm.tasks.task import Answer

WANTED_QUOTES = 2
MOST_QUOTES = 8  # beyond that numbers are stuffing
COPIED_WORDS = 8  # a run of this many words out of the prompt is a copy
COPIED_SHARE = 0.5
SIDE_WORDS = ("draw", "over", "under", "home", "away")
_CLAUSE = r"[^,.;:]{0,24}"
_DENY = r"(?:no|not|never|neither|nor|unlikely|cannot|can't|won't|isn't|doesn't|against)"
_DENIED_BEFORE = re.compile(rf"\b{_DENY}\b{_CLAUSE}$", re.IGNORECASE)
_BEATEN_BEFORE = re.compile(
    r"\b(?:beats?|beating|defeats?|(?:stronger|better) than|ahead of)\s+(?:the\s+)?$", re.IGNORECASE
)
_DENIED_AFTER = re.compile(rf"{_CLAUSE}\b(?:{_DENY}|loses?|losing)\b", re.IGNORECASE)
SHAPE_SHARE, SUPPORT_SHARE, AGREEMENT_SHARE = 0.25, 0.5, 0.25  # of coherence


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reasoning earned, each in [0, 1].

    Attributes:
        data_usage: Share of its figures that the prompt states, times how many of the two wanted
            there are; 0 for stuffing, copies and over-long texts.
        coherence: A quarter for its shape (not too long, not copied, not stuffed), half for
            evidence that supports the prediction, a quarter for not contradicting itself.
    """

    data_usage: float
    coherence: float


def read_direction(prompt: str, answer: Answer, most_characters: int) -> Reading:
    """The reasoning of an UP or DOWN."""
    evidence = evidence_of(prompt, answer.reasoning)
    shaped = _shaped(prompt, answer.reasoning, evidence, most_characters)
    side = 1 if answer.says == "UP" else -1
    net = side * (evidence.trend + evidence.turn)
    # Trends are backed by a move to the predicted side, turns by one to the other.
    with_it, against = (
        (evidence.rises, evidence.falls) if side > 0 else (evidence.falls, evidence.rises)
    )
    unsigned = evidence.right - evidence.rises - evidence.falls
    backed = (side * evidence.trend > 0 and with_it + unsigned > 0) or (
        side * evidence.turn > 0 and against + unsigned > 0
    )
    against_it = evidence.expected_down if side > 0 else evidence.expected_up
    agrees = net >= 0 and evidence.mismatches == 0 and against_it == 0 and _believes(answer)
    agrees = agrees and evidence.claims + evidence.right > 0
    return _reading(evidence, shaped, net > 0 and backed, agrees)


def read_bet(prompt: str, answer: Answer, most_characters: int) -> Reading:
    """The reasoning of an answer to an odds question: it names what it bets on, last of all sides,
    and quotes figures of the prompt.
    """
    evidence = evidence_of(prompt, answer.reasoning)
    shaped = _shaped(prompt, answer.reasoning, evidence, most_characters)
    own, others = _sides(prompt, answer)
    named = _last_place(own, answer.reasoning)
    supports = named >= 0 and evidence.right > 0
    agrees = named >= 0 and _believes(answer)
    agrees = agrees and not _disowned(own, others, answer.reasoning, named)
    agrees = agrees and all(named > _last_place(other, answer.reasoning) for other in others)
    return _reading(evidence, shaped, supports and agrees, agrees)


def _reading(evidence: Evidence, shaped: bool, supports: bool, agrees: bool) -> Reading:
    usage = 0.0
    if shaped and evidence.quotes:
        precision = evidence.right / evidence.quotes
        usage = precision * min(1.0, evidence.right / WANTED_QUOTES)
    coherence = SHAPE_SHARE * shaped + SUPPORT_SHARE * (shaped and supports)
    return Reading(usage, coherence + AGREEMENT_SHARE * agrees)


def _believes(answer: Answer) -> bool:
    """Whether no other outcome is given a larger chance than the one it says."""
    return all(answer.confidence >= chance - 1e-9 for chance in answer.chances.tolist())


def _sides(prompt: str, answer: Answer) -> tuple[str, tuple[str, ...]]:
    """What the reasoning has to name, and the names of the other sides."""
    teams = teams_of(prompt)
    if teams is not None:  # a winner, or a draw
        names = (*teams, "Draw")
        return answer.says, tuple(name for name in names if name != answer.says)
    if answer.says in ("Yes", "No"):
        return ("over", ("under",)) if answer.says == "Yes" else ("under", ("over",))
    return ("home", ("away",)) if answer.predicted == 1 else ("away", ("home",))


def _shaped(prompt: str, reasoning: str, evidence: Evidence, most_characters: int) -> bool:
    """Whether it is neither too long, nor stuffed with figures, nor copied."""
    if len(reasoning) > most_characters or evidence.quotes > MOST_QUOTES:
        return False
    words = reasoning.split()
    runs = len(words) - COPIED_WORDS + 1
    if runs <= 0:
        return True
    step = COPIED_WORDS // 2
    starts = range(0, runs, step)
    source = _in_one_line(prompt)
    copied = sum(" ".join(words[start : start + COPIED_WORDS]) in source for start in starts)
    return copied < COPIED_SHARE * len(starts)


@lru_cache(maxsize=KNOWN_PROMPTS)
def _in_one_line(prompt: str) -> str:
    return " ".join(prompt.split())


def _last_place(name: str, text: str) -> int:
    """Where a name stands last in a text as a word of its own ("SA" is not in "SAC"), or -1."""
    place = -1
    for match in _whole_word(name).finditer(text):
        place = match.start()
    return place


def _disowned(own: str, others: tuple[str, ...], text: str, named: int) -> bool:
    """Whether the place that names the own side says that it will not be: "not SA", "SA loses",
    "SAC beats SA".
    """
    before, after = text[:named], text[named + len(own) :]
    denied = _DENIED_BEFORE.search(before)
    if denied is not None:
        between = before[denied.start() :]
        if all(_last_place(other, between) < 0 for other in others):
            return True
    return bool(_BEATEN_BEFORE.search(before) or _DENIED_AFTER.match(after))


@lru_cache(maxsize=4_096)
def _whole_word(name: str) -> re.Pattern[str]:
    # "GS" is a name and "over" a word: only words may be written with a capital.
    flags = re.IGNORECASE if name.lower() in SIDE_WORDS else re.NOFLAG
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", flags)
