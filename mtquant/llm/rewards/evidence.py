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
NEGATIONS = "no not never without nor cannot can't isn't hasn't didn't doesn't"
DENIED_OUTLOOKS = "unlikely won't wouldn't"
# What is said behind these is about the day to come, as the names of the answers themselves are.
OUTLOOKS = "will likely expect expects expected should going tomorrow next predict forecast"
# Word -> whether it is a trend (else a turn, or a negation), and its direction.
WORDS = {
    **{word: ("trend", 1) for word in TREND_UP.split()},
    **{word: ("trend", -1) for word in TREND_DOWN.split()},
    **{word: ("turn", 1) for word in TURN_UP.split()},
    **{word: ("turn", -1) for word in TURN_DOWN.split()},
    **{word: ("negation", 0) for word in NEGATIONS.split()},
    **{word: ("outlook", 0) for word in OUTLOOKS.split()},
    **{word: ("denied outlook", 0) for word in DENIED_OUTLOOKS.split()},
}
ANSWERS = ("UP", "DOWN")
_TOKENS = re.compile(rf"Day (\d+)\b|([A-Za-z][A-Za-z']+)|(?<![\w.])({FIGURE})")
DAY, WORD, FIGURE_GROUP = 1, 2, 3  # groups of the expression above
AFTER_CHARACTERS = 24  # a word of a trend this close behind a figure speaks of it
BEFORE_CHARACTERS = 12  # and this close before it: "fell by 1.2%"
NEGATION_CHARACTERS = 20
OUTLOOK_CHARACTERS = 20
PAIR_CHARACTERS = 20  # two prices this close tell a move: "from $100.00 to $102.00"


@dataclass(slots=True)
class Evidence:
    """Counts from one reasoning.

    Attributes:
        quotes: Figures that are checked.
        right: Different ones among them that the prompt states.
        rises, falls: Right figures that moved up and down; the prompt knows the sign of a
            percentage that is quoted without one.
        trend: Words for past rises minus words for past falls.
        turn: Words for an expected rise after a fall, minus words for the opposite.
        claims: Words of direction.
        mismatches: Words that contradict the figure or the two prices beside them, and figures
            given to a wrong day.
        expected_up, expected_down: Claims about the day to come: turns, what is said behind words
            of outlook, and UP and DOWN themselves.
    """

    quotes: int = 0
    right: int = 0
    rises: int = 0
    falls: int = 0
    trend: int = 0
    turn: int = 0
    claims: int = 0
    mismatches: int = 0
    expected_up: int = 0
    expected_down: int = 0


def evidence_of(prompt: str, reasoning: str) -> Evidence:
    """Reads a reasoning against its prompt."""
    reader = _Reader(facts_of(prompt), reasoning)
    for match in _TOKENS.finditer(reasoning):
        group = match.lastindex
        if group == FIGURE_GROUP:
            reader.figure(match.group(), match.start(), match.end())
        elif group == DAY:
            reader.day = match.group(DAY)
        else:
            word = match.group()
            known = WORDS.get(word.lower())
            if known is not None:
                reader.claim(*known, match.start(), match.end(), answer=word in ANSWERS)
    return reader.found


class _Reader:
    """What has been read so far, and what the next word may refer to."""

    __slots__ = ("_facts", "_outlook_at", "_price", "_price_at", "_price_day", "_price_word",
                 "_seen", "_sign", "_sign_at", "_text", "_word", "_word_at", "day", "found",
                 "negated_at")  # fmt: skip

    def __init__(self, facts: Facts, text: str) -> None:
        self.found = Evidence()
        self._facts, self._seen, self._text = facts, set[str](), text
        self.day, self.negated_at = "", -NEGATION_CHARACTERS
        self._outlook_at = -OUTLOOK_CHARACTERS
        self._sign, self._sign_at = 0, -AFTER_CHARACTERS
        self._word, self._word_at = 0, -BEFORE_CHARACTERS
        self._price, self._price_at = 0.0, -PAIR_CHARACTERS
        self._price_day, self._price_word = "", 0

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
        word = self._word if start - self._word_at < BEFORE_CHARACTERS else 0
        sign = self._sign_of(plain)
        if word * sign < 0:
            found.mismatches += 1
        if right and plain not in self._seen:
            self._seen.add(plain)
            found.right += 1
            found.rises += sign > 0
            found.falls += sign < 0
        if plain[0] == "$" and plain[-1] != "%":  # models do write "$1%", which is no price
            sign = self._move(float(plain[1:]), word, start, end)
        self.day = ""
        self._word, self._sign, self._sign_at = 0, sign, end

    def _sign_of(self, plain: str) -> int:
        """Of a figure: its own, or the only one that the prompt has it with."""
        if plain[0] in "+-" or plain[0] == "$":
            return (plain[0] == "+") - (plain[0] == "-")
        return (f"+{plain}" in self._facts.figures) - (f"-{plain}" in self._facts.figures)

    def _move(self, price: float, word: int, start: int, end: int) -> int:
        """The direction from the price before to this one; 0 where none stands close before."""
        sign = 0
        if start - self._price_at < PAIR_CHARACTERS:
            sign = (price > self._price) - (price < self._price)
            days = self._price_day, self.day
            backwards = all(days) and int(days[1]) < int(days[0])
            if backwards or "from" in self._text[self._price_at : start]:
                sign = -sign
            if self._price_word * sign < 0:
                self.found.mismatches += 1
            word = 0
        self._price, self._price_at = price, end
        self._price_day, self._price_word = self.day, word
        return sign

    def claim(self, kind: str, direction: int, start: int, end: int, *, answer: bool) -> None:
        """A word of direction, or one that turns the next around: "not rising" is falling."""
        found = self.found
        if direction == 0:
            self.negated_at = self.negated_at if kind == "outlook" else end
            self._outlook_at = self._outlook_at if kind == "negation" else end
            return
        if start - self.negated_at < NEGATION_CHARACTERS:
            direction, self.negated_at = -direction, -NEGATION_CHARACTERS
        found.claims += 1
        if answer or kind == "turn" or start - self._outlook_at < OUTLOOK_CHARACTERS:
            found.expected_up += direction > 0
            found.expected_down += direction < 0
        if kind == "trend":
            found.trend += direction
            if self._sign * direction < 0 and start - self._sign_at < AFTER_CHARACTERS:
                found.mismatches += 1
            self._word, self._word_at = direction, end
        else:
            found.turn += direction
        self._sign = 0
