# SPDX-License-Identifier: Apache-2.0
"""Examples of the odds tasks on real games: form, market line, settlement, by date.

Columns beside label, event and stamp: ``home``, ``away``, ``elo_home``, ``elo_away``, ``line``, and
for each class k ``odds_k`` (offered at the decision), ``result_k`` (RESULT_* of a bet on it),
``market_k`` (chances behind the offered odds, margin taken out) and, where bets are made at opening
prices, ``closing_k`` (chances behind the closing odds).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.llm.baselines import logistic_chances
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.form import Form, form_of
from mtquant.llm.tasks.games import KEY_MARK, Games
from mtquant.llm.tasks.odds_settling import (
    UNDECIDED,
    Results,
    spread_results,
    three_way_results,
    total_results,
    winner_results,
)
from mtquant.llm.tasks.odds_text import game_prompt, line_text, odds_text, team_text, write_odds
from mtquant.llm.tasks.parts import split_examples
from mtquant.llm.tasks.reference import reference_percents, reference_says, stepped_chances
from mtquant.llm.tasks.task import FEATURE_PREFIX, Examples, SplitName
from mtquant.llm.tasks.templates import Template
from mtquant.market.odds import fair_chances

Float = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Offer:
    """What is bet on, and how it ended, M games by K classes.

    Attributes:
        line: float64 [M]; 0 where there is none.
        odds, closing: float64 [M, K]; NaN where there are none.
        labels: int64 [M]; UNDECIDED where every stake was given back.
        results: int64 [M, K].
    """

    line: Float
    odds: Float
    closing: Float
    labels: Results
    results: Results


def offer_of(config: TaskConfig, games: Games) -> Offer:
    """The offer of the configured task."""
    own = games.schedule
    home, away = own.home_score, own.away_score
    no_line = np.zeros(len(games))
    if config.name == "odds_1x2":
        return Offer(no_line, games.offered, games.closing, *three_way_results(home, away))
    if config.name == "odds_winner":  # the tables say home first, the classes away first
        odds, closing = games.offered[:, ::-1], games.closing[:, ::-1]
        return Offer(no_line, odds, closing, *winner_results(home, away))
    line = games.spread_home if config.name == "odds_spread" else games.total
    settle: Callable[[Float, Float, Float], tuple[Results, Results]] = (
        spread_results if config.name == "odds_spread" else total_results
    )
    known = np.isfinite(line)
    labels, results = np.full(len(line), UNDECIDED), np.zeros((len(line), 2), dtype=np.int64)
    labels[known], results[known] = settle(home[known], away[known], line[known])
    prices = np.where(known[:, None], config.odds.price_spread_total, np.nan) * np.ones((1, 2))
    return Offer(line, prices, np.full_like(prices, np.nan), labels, results)


def price_notes(config: TaskConfig) -> tuple[str, ...]:
    """What a report has to say of prices that no table names."""
    if config.name not in ("odds_spread", "odds_total"):
        return ()
    price = config.odds.price_spread_total
    return (
        f"Both sides are bet at {price:g}, since the table has no prices of its own: the line's"
        " chances are one half each, and returns hold for that price only.",
    )


def game_prompts(config: TaskConfig, template: Template, games: Games, form: Form) -> list[str]:
    """A prompt for each game, from what was known at its decision."""
    return [
        _prompt(config, template, games, form, game) if _priced(config, games, game) else ""
        for game in range(len(games))
    ]


def odds_parts(config: TaskConfig, template: Template, games: Games) -> dict[SplitName, Examples]:
    """All parts, with reference answers; the natural distribution.

    Games without odds, and those whose stakes were given back, are no examples.

    Raises:
        DataError: No game is left, or a part would be empty.
    """
    own = config.odds
    form = form_of(games.schedule, own.form_games, own.elo_step, own.home_points)
    offer = offer_of(config, games)
    prompts = game_prompts(config, template, games, form)
    priced = np.isfinite(offer.odds).all(axis=1) & np.isfinite(offer.line)
    rows = np.flatnonzero(priced & (offer.labels != UNDECIDED))
    if not len(rows):
        raise DataError("games", "must have odds and a result", len(games), "Use another table.")
    columns = _columns(config, games, form, offer, rows)
    whole = Examples(
        tuple(prompts[row] for row in rows),
        ("",) * len(rows),
        games.schedule.decided_on[rows],
        columns,
        template.hash,
    )
    parts = split_examples(whole, config.split)
    train = parts["train"]
    return {
        name: replace(part, answers=_references(config, template, train, part, name))
        for name, part in parts.items()
    }


def _prompt(config: TaskConfig, template: Template, games: Games, form: Form, game: int) -> str:
    names = _names(games, game)
    draws = config.odds.sport == "football"
    facts = "".join(
        team_text(
            names[side],
            form.elo[game, side],
            (form.wins[game, side], form.draws[game, side], form.losses[game, side]),
            (form.scored[game, side], form.allowed[game, side]),
            form.rest_days[game, side],
            draws,
        )
        for side in (0, 1)
    )
    shown = (names[0], "Draw", names[1]) if draws else names
    if np.isfinite(games.offered[game]).all():
        facts += odds_text(shown, games.offered[game])
    if np.isfinite(games.spread_home[game]) and np.isfinite(games.total[game]):
        spread, total = line_text(games.spread_home[game]), games.total[game]
        facts += f"Spread {names[0]} {spread}, total {total:g}\n"
    line = games.total[game] if config.name == "odds_total" else games.spread_home[game]
    return game_prompt(template, games.days[game], names[0], names[1], facts, line)


def _priced(config: TaskConfig, games: Games, game: int) -> bool:
    """Whether the game has what its prompt asks about."""
    if config.name in ("odds_winner", "odds_1x2"):
        return bool(np.isfinite(games.offered[game]).all())
    line = games.spread_home if config.name == "odds_spread" else games.total
    return bool(np.isfinite(line[game]))


def _names(games: Games, game: int) -> tuple[str, str]:
    own = games.schedule
    return (
        str(own.home[game]).rpartition(KEY_MARK)[2],
        str(own.away[game]).rpartition(KEY_MARK)[2],
    )


def _columns(
    config: TaskConfig, games: Games, form: Form, offer: Offer, rows: NDArray[np.int64]
) -> Columns:
    market = fair_chances(offer.odds[rows], config.odds.devig)
    names = [_names(games, row) for row in rows.tolist()]
    columns: Columns = {
        "label": offer.labels[rows],
        "event": np.arange(len(rows)),
        "stamp": games.schedule.decided_on[rows],
        "home": np.array([home for home, _ in names], dtype=object),
        "away": np.array([away for _, away in names], dtype=object),
        "elo_home": form.elo[rows, 0],
        "elo_away": form.elo[rows, 1],
        "line": offer.line[rows],
    }
    fair = _closing_chances(config, offer.closing[rows])
    for k in range(market.shape[1]):
        columns[f"odds_{k}"] = offer.odds[rows, k]
        columns[f"result_{k}"] = offer.results[rows, k]
        columns[f"market_{k}"] = market[:, k]
        if fair is not None:
            columns[f"closing_{k}"] = fair[:, k]
    return columns | _features(games, form, offer, market, rows)


def _closing_chances(config: TaskConfig, closing: Float) -> Float | None:
    """Chances behind closing odds, NaN in games without; None where bets are made at them, or at
    prices that never move.
    """
    quoted = np.isfinite(closing).all(axis=1)
    if config.odds.line == "close" or not quoted.any():
        return None
    fair = np.full_like(closing, np.nan)
    fair[quoted] = fair_chances(closing[quoted], config.odds.devig)
    return fair


def _features(
    games: Games, form: Form, offer: Offer, market: Float, rows: NDArray[np.int64]
) -> Columns:
    """The prompts' facts as numbers: differences home minus away, and the market's log odds."""
    played = np.maximum(form.wins + form.draws + form.losses, 1.0)
    pairs = {
        "elo": form.elo,
        "win_share": form.wins / played,
        "scored": form.scored,
        "allowed": form.allowed,
        "rest_days": form.rest_days,
    }
    features = {f"{name}_gap": (pair[:, 0] - pair[:, 1])[rows] for name, pair in pairs.items()}
    features["scored_sum"] = form.scored.sum(axis=1)[rows]
    features["allowed_sum"] = form.allowed.sum(axis=1)[rows]
    for k in range(1, market.shape[1]):
        features[f"market_{k}"] = np.log(market[:, k] / market[:, 0])
    for name, line in (("spread", games.spread_home), ("total", games.total)):
        if np.isfinite(line[rows]).all():
            features[name] = line[rows]
    return {FEATURE_PREFIX + name: column for name, column in features.items()}


def _references(
    config: TaskConfig, template: Template, train: Examples, part: Examples, name: str
) -> tuple[str, ...]:
    """Reference answers as sure as a regression fitted on training rows is."""
    classes = 3 if config.name == "odds_1x2" else 2
    chances = logistic_chances(train, part, classes)
    return stated_references(config, template, part, chances, name)


def stated_references(
    config: TaskConfig, template: Template, part: Examples, chances: Float, name: str
) -> tuple[str, ...]:
    """Reference answers that state a forecast as `AnswerConfig` says.

    Args:
        config: The task.
        template: Of the prompts.
        part: The examples.
        chances: float64 [M, K], the best known forecast.
        name: Of the part, for its noise.
    """
    if chances.shape[1] > 2:  # all chances are stated: saying a rarer outcome would contradict them
        stated = stepped_chances(chances, config.answer.step_percent)
        return write_odds(template, part, chances.argmax(axis=1), stated)
    generator = SeedTree(config.seed).child("llm", "references", name).generator()
    says = reference_says(config.answer, chances, part.columns["label"])
    stated = reference_percents(config.answer, chances, generator) / 100.0
    second = np.where(says == 1, stated, 1.0 - stated)
    return write_odds(template, part, says, np.column_stack([1.0 - second, second]))
