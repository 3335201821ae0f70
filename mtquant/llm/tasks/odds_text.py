# SPDX-License-Identifier: Apache-2.0
"""The words of odds prompts and of their reference answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.task import Examples
from mtquant.llm.tasks.templates import QUESTIONS, Template

Float = NDArray[np.float64]


def line_text(line: float) -> str:
    """A handicap with its sign, "pick" for none."""
    return "pick" if line == 0.0 else f"{line:+g}"


def team_text(
    name: str,
    elo: float,
    record: tuple[float, float, float],
    scores: tuple[float, float],
    rest_days: float,
    draws: bool,
) -> str:
    """One line about a team: rating, last results, mean scores, rest."""
    wins, drawn, losses = (int(count) for count in record)
    text = f"{wins}-{drawn}-{losses}" if draws else f"{wins}-{losses}"
    return (
        f"{name}: Elo {elo:.0f}, last games {text}, scored {scores[0]:.1f}, "
        f"allowed {scores[1]:.1f}, rest {rest_days:.0f} days\n"
    )


def odds_text(names: tuple[str, ...], odds: Float) -> str:
    """One line of decimal odds."""
    prices = ", ".join(f"{name} {price:.2f}" for name, price in zip(names, odds, strict=True))
    return f"Odds: {prices}\n"


def game_prompt(
    template: Template, day: str, home: str, away: str, facts: str, line: float = 0.0
) -> str:
    """A whole prompt; the line is read by spread and total."""
    shown = line_text(line) if template.task == "odds_spread" else f"{line:g}"
    question = QUESTIONS[template.task].format(home=home, away=away, line=shown)
    return template.prompt.format(day=day, home=home, away=away, facts=facts, question=question)


def write_odds(
    template: Template, examples: Examples, says: NDArray[np.int64], chances: Float
) -> tuple[str, ...]:
    """Answers in good form that state given chances, one per example.

    They quote what a reader would look at first: both ratings.

    Args:
        template: Of the prompts.
        examples: With the columns home, away, elo_home, elo_away and, for spreads, line and margin.
        says: int [M], the class.
        chances: float64 [M, K].
    """
    columns, write = examples.columns, _WRITERS[template.task]
    return tuple(
        write(template, {name: columns[name][row] for name in _NEEDED[template.task]}, said, own)
        for row, (said, own) in enumerate(zip(says.tolist(), chances, strict=True))
    )


def _ratings(row: dict[str, object]) -> str:
    return f"{row['home']} Elo {row['elo_home']:.0f} to {row['elo_away']:.0f}"


def _winner(template: Template, row: dict[str, object], said: int, chances: Float) -> str:
    name = row["home"] if said == 1 else row["away"]
    return template.answer.format(
        says=name, percent=_percent(chances[said]), reasoning=f"{_ratings(row)}: {name} it is."
    )


def _spread(template: Template, row: dict[str, object], said: int, chances: Float) -> str:
    line, half = float(str(row["line"])), 1.0 if said == 1 else -1.0
    # One point on the predicted side of the line: the confidence says how sure, not the margin.
    margin = -line + half
    side = "home" if said == 1 else "away"
    return template.answer.format(
        says=f"{margin:+g}",
        percent=_percent(chances[said]),
        reasoning=f"{_ratings(row)}, line {line_text(line)}: the {side} side covers.",
    )


def _total(template: Template, row: dict[str, object], said: int, chances: Float) -> str:
    side = "over" if said == 1 else "under"
    return template.answer.format(
        says="Yes" if said == 1 else "No",
        percent=_percent(chances[said]),
        reasoning=f"{_ratings(row)}, line {float(str(row['line'])):g}: {side}.",
    )


def _three_way(template: Template, row: dict[str, object], said: int, chances: Float) -> str:
    name = (row["home"], "Draw", row["away"])[said]
    percents = [_percent(chance) for chance in chances]
    percents[said] += 100 - sum(percents)  # rounding must not make another one the likeliest
    return template.answer.format(
        says=name,
        home=percents[0],
        draw=percents[1],
        reasoning=f"{_ratings(row)}: {name} it is.",
    )


def _percent(chance: float) -> int:
    return int(np.rint(100.0 * chance))


_TEAMS = ("home", "away", "elo_home", "elo_away")
_NEEDED = {
    "odds_winner": _TEAMS,
    "odds_spread": (*_TEAMS, "line"),
    "odds_total": (*_TEAMS, "line"),
    "odds_1x2": _TEAMS,
}
_WRITERS = {
    "odds_winner": _winner,
    "odds_spread": _spread,
    "odds_total": _total,
    "odds_1x2": _three_way,
}
