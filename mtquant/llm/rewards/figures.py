# SPDX-License-Identifier: Apache-2.0
"""Figures: what a prompt states, and whether a reasoning quotes it right.

A figure is a price ($150.00), a percentage (+2.33%), a number with decimals (61.2) or one of three
digits and more (1530). Shorter whole numbers ("3 days", "1.") are language and are not checked.
Percentages may also be computed from two prices of the prompt, as spec 002's example does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

FIGURE = r"[+-]?\$?\d[\d,]*(?:\.\d+)?%?"
_FIGURES = re.compile(r"(?<![\w.])" + FIGURE)
_DAY = re.compile(r"Day (\d+): (?=(?:\$(\d[\d,]*(?:\.\d+)?))?)")
LEAST_DIGITS = 3
KNOWN_PROMPTS = 65_536  # prompts repeat within a group of completions and across epochs


@dataclass(frozen=True)
class Facts:
    """The figures of a prompt, as text that quotes are compared with.

    Attributes:
        figures: Every figure, with its sign and without, at its own and at fewer decimals.
        of_day: The figures on the line of each day, by the day's number.
        on_days: Those of all days.
    """

    figures: frozenset[str]
    of_day: dict[str, frozenset[str]]
    on_days: frozenset[str]


@lru_cache(maxsize=KNOWN_PROMPTS)
def facts_of(prompt: str) -> Facts:
    """The figures of a prompt."""
    figures, prices, on_days = set[str](), [], set[str]()
    days: dict[str, frozenset[str]] = {}
    for line in prompt.split("\n"):
        found = set[str]()
        day = _DAY.match(line)
        for text in _FIGURES.findall(line, day.end() if day else 0):
            spellings(text, found)
        figures |= found
        if day is not None:
            days[day[1]] = frozenset(found)
            on_days |= found
            prices += [float(day[2].replace(",", ""))] if day[2] else []
    prices = [price for price in prices if price > 0.0]  # fractions of a cent are shown as $0.00
    for early, first in enumerate(prices):
        for last in prices[early + 1 :]:
            change = f"{100.0 * (last / first - 1.0):+.2f}%"
            figures |= {change, change[1:]}
    return Facts(frozenset(figures), days, frozenset(on_days))


def checked_form(text: str) -> str | None:
    """A quoted figure without thousands separators; None if it is no figure that is checked."""
    plain = text.replace(",", "") if "," in text else text
    if plain[-1] == "%" or "$" in plain or "." in plain:
        return plain
    return plain if len(plain.lstrip("+-")) >= LEAST_DIGITS else None


def spellings(text: str, found: set[str]) -> None:
    """Adds how a figure of a prompt may be quoted: as it stands, without sign, with one decimal."""
    plain = checked_form(text)
    if plain is None:
        return
    bare = plain.lstrip("+-")
    found.update((plain, bare))
    number = bare.strip("$%")
    decimals = number.partition(".")[2]
    if len(decimals) > 1:
        short = bare.replace(number, f"{float(number):.1f}")
        found.update((short, plain[: len(plain) - len(bare)] + short))
