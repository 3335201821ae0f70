# SPDX-License-Identifier: Apache-2.0
"""What a reasoning is made of: quotes that are checked, and words that claim a direction.

One pass over the text finds them in their order; the scores of `reasoning.py` follow from counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mtquant.llm.rewards.figures import FIGURE, Facts, checked_form, facts_of

# Past moves, and turns that are expected: a fall supports "down", and a rebound needs one.
TREND_UP = (
    "rose rise rises rising risen up upward upwards gain gains gained gaining increase increases"
    " increased increasing higher climb climbs climbed climbing bullish strong strength growth"
    " rally rallied positive"
)
TREND_DOWN = (
    "fell fall falls falling fallen down downward downwards lose loses lost losing loss losses"
    " decrease decreases decreased decreasing lower drop drops dropped dropping bearish weak"
    " weakness decline declines declined declining slide slid negative"
)
TURN_UP = "rebound rebounds recover recovers recovery bounce oversold"
TURN_DOWN = "pullback pullbacks correction reversal overbought retreat"
NEGATIONS = "no not never without nor isn't hasn't won't didn't"
# Word -> whether it is a trend (else a turn, or a negation), and its direction.
WORDS = {
    **{word: ("trend", 1) for word in TREND_UP.split()},
    **{word: ("trend", -1) for word in TREND_DOWN.split()},
    **{word: ("turn", 1) for word in TURN_UP.split()},
    **{word: ("turn", -1) for word in TURN_DOWN.split()},
    **{word: ("negation", 0) for word in NEGATIONS.split()},
}
_TOKENS = re.compile(rf"Day (\d+)\b|([A-Za-z][A-Za-z']+)|(?<![\w.])({FIGURE})")
DAY, WORD, FIGURE_GROUP = 1, 2, 3  # groups of the expression above
AFTER_CHARACTERS = 24  # a word of a trend this close behind a figure speaks of it
BEFORE_CHARACTERS = 12  # and this close before it: "fell by 1.2%"
NEGATION_CHARACTERS = 20


@dataclass(slots=True)
class Evidence:
    """Counts from one reasoning.

    Attributes:
        quotes: Figures that are checked.
        right: Different ones among them that the prompt states.
        rises, falls: Right figures with a plus and with a minus.
        trend: Words for past rises minus words for past falls.
        turn: Words for an expected rise after a fall, minus words for the opposite.
        claims: Words of direction.
        mismatches: Words that contradict the figure beside them, and figures given to a wrong day.
    """

    quotes: int = 0
    right: int = 0
    rises: int = 0
    falls: int = 0
    trend: int = 0
    turn: int = 0
    claims: int = 0
    mismatches: int = 0


def evidence_of(prompt: str, reasoning: str) -> Evidence:
    """Reads a reasoning against its prompt."""
    reader = _Reader(facts_of(prompt))
    for match in _TOKENS.finditer(reasoning):
        group = match.lastindex
        if group == FIGURE_GROUP:
            reader.figure(match.group(), match.start(), match.end())
        elif group == DAY:
            reader.day = match.group(DAY)
        else:
            known = WORDS.get(match.group().lower())
            if known is not None:
                reader.claim(*known, match.start(), match.end())
    return reader.found


class _Reader:
    """What has been read so far, and what the next word may refer to."""

    __slots__ = ("_facts", "_seen", "_sign", "_sign_at", "_word", "_word_at", "day", "found",
                 "negated_at")  # fmt: skip

    def __init__(self, facts: Facts) -> None:
        self.found = Evidence()
        self._facts, self._seen = facts, set[str]()
        self.day, self.negated_at = "", -NEGATION_CHARACTERS
        self._sign, self._sign_at = 0, -AFTER_CHARACTERS
        self._word, self._word_at = 0, -BEFORE_CHARACTERS

    def figure(self, text: str, start: int, end: int) -> None:
        """A figure: right if the prompt states it, and of that day if a day is named."""
        plain, found = checked_form(text), self.found
        if plain is None:
            return
        found.quotes += 1
        right = plain in self._facts.figures
        own = self._facts.of_day.get(self.day)
        if own is not None and plain in self._facts.on_days and plain not in own:
            right = False
            found.mismatches += 1
        self.day = ""
        sign = (plain[0] == "+") - (plain[0] == "-")
        if self._word * sign < 0 and start - self._word_at < BEFORE_CHARACTERS:
            found.mismatches += 1
        self._word, self._sign, self._sign_at = 0, sign, end
        if right and plain not in self._seen:
            self._seen.add(plain)
            found.right += 1
            found.rises += sign > 0
            found.falls += sign < 0

    def claim(self, kind: str, direction: int, start: int, end: int) -> None:
        """A word of direction, or one that turns the next around: "not rising" is falling."""
        found = self.found
        if kind == "negation":
            self.negated_at = end
            return
        if start - self.negated_at < NEGATION_CHARACTERS:
            direction, self.negated_at = -direction, -NEGATION_CHARACTERS
        found.claims += 1
        if kind == "trend":
            found.trend += direction
            if self._sign * direction < 0 and start - self._sign_at < AFTER_CHARACTERS:
                found.mismatches += 1
            self._word, self._word_at = direction, end
        else:
            found.turn += direction
        self._sign = 0
