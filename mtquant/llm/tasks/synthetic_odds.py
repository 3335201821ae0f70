# SPDX-License-Identifier: Apache-2.0
"""Made-up games whose best answer is known, with a bookmaker who errs.

Two teams have ratings and days of rest, both in the prompt; the expected margin of the home side is
linear in their differences, and margin and total are normal around their means. So every chance is
known, and a bookmaker who sees the means with noise quotes prices that can be beaten: the return of
the best rule is known too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtr

from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.odds_examples import Columns, stated_references
from mtquant.llm.tasks.odds_settling import (
    spread_results,
    three_way_results,
    total_results,
    winner_results,
)
from mtquant.llm.tasks.odds_text import game_prompt, odds_text
from mtquant.llm.tasks.task import FEATURE_PREFIX, Examples, SplitName
from mtquant.llm.tasks.templates import Template

Float = NDArray[np.float64]

TEAMS = ("ARC", "BAY", "COR", "DUN", "ELM", "FOX", "GLN", "HAV", "IVY", "JET", "KEL", "LYN")
MEAN_ELO, ELO_DEVIATION = 1_500.0, 120.0
POINTS_PER_ELO, POINTS_PER_REST_DAY, HOME_MARGIN = 0.04, 1.0, 2.5
TOTAL_PER_ELO, LINE_ERROR, TOTAL_LINE_ERROR = 0.03, 4.0, 6.0
MARGIN_DEVIATION, MEAN_TOTAL, TOTAL_DEVIATION = 12.0, 210.5, 17.0
DRAW_MARGIN = 4.0  # three-way: a margin within it counts as a draw
OVERROUND = 1.04
MOST_REST = 4
DAY_NS = 86_400 * NANOSECONDS
FIRST_DAY_NS = 1_262_304_000 * NANOSECONDS  # 2010-01-01
PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


class SyntheticOdds:
    """Examples of the synthetic odds tasks; columns as in `odds_examples`, and ``bayes_chance_k``,
    for two classes also ``bayes_chance``.

    Args:
        config: The task.
        template: Of its prompts.
    """

    def __init__(self, config: TaskConfig, template: Template) -> None:
        self._config, self._template = config, template

    @cached_property
    def parts(self) -> dict[SplitName, Examples]:
        """All parts, one after the other in time; the same seed gives the same bytes."""
        starts = np.cumsum([0, *(getattr(self._config.synthetic, name) for name in PARTS)])
        return {
            name: self._part(name, int(start), getattr(self._config.synthetic, name))
            for name, start in zip(PARTS, starts, strict=False)
        }

    def _part(self, name: SplitName, start: int, count: int) -> Examples:
        seeds = SeedTree(self._config.seed).child("llm", "synthetic_odds", self._config.name, name)
        generator = seeds.generator()
        home = generator.integers(len(TEAMS), size=count)
        away = (home + generator.integers(1, len(TEAMS), size=count)) % len(TEAMS)
        elo = np.rint(MEAN_ELO + ELO_DEVIATION * generator.standard_normal((count, 2)))
        rest = generator.integers(1, MOST_REST + 1, size=(count, 2))
        margin, total = self._means(elo, rest)
        line, bayes = self._chances(margin, total, generator)
        noise = self._config.synthetic.market_noise * generator.standard_normal((count, 1))
        slant = np.linspace(-0.5, 0.5, bayes.shape[1])
        tilted = bayes * np.exp(noise * slant)
        market = tilted / tilted.sum(axis=1, keepdims=True)
        odds = np.maximum(1.01, np.round(1.0 / (market * OVERROUND), 2))
        labels, results = self._play(margin, total, line, generator)
        names = np.array(TEAMS, dtype=object)
        prompts = tuple(
            self._prompt(TEAMS[one], TEAMS[two], *row)
            for one, two, *row in zip(home, away, elo, rest, odds, line, strict=True)
        )
        stamps = FIRST_DAY_NS + DAY_NS * np.arange(start, start + count)
        columns: Columns = {
            "label": labels,
            "event": np.arange(start, start + count),
            "stamp": stamps,
            "home": names[home],
            "away": names[away],
            "elo_home": elo[:, 0],
            "elo_away": elo[:, 1],
            "line": line,
            FEATURE_PREFIX + "elo_gap": elo[:, 0] - elo[:, 1],
            FEATURE_PREFIX + "rest_gap": (rest[:, 0] - rest[:, 1]).astype(np.float64),
        }
        columns |= _by_class(odds, results, market, bayes)
        whole = Examples(prompts, ("",) * count, stamps, columns, self._template.hash)
        answers = stated_references(self._config, self._template, whole, bayes, name)
        return replace(whole, answers=answers)

    def _means(self, elo: Float, rest: NDArray[np.int64]) -> tuple[Float, Float]:
        """Expected margin of the home side and expected total, points, float64 [M] each."""
        margin = (
            HOME_MARGIN
            + POINTS_PER_ELO * (elo[:, 0] - elo[:, 1])
            + POINTS_PER_REST_DAY * (rest[:, 0] - rest[:, 1])
        )
        return margin, MEAN_TOTAL + TOTAL_PER_ELO * (elo.sum(axis=1) - 2.0 * MEAN_ELO)

    def _chances(
        self, margin: Float, total: Float, generator: np.random.Generator
    ) -> tuple[Float, Float]:
        """Line [M] (half points, so that no stake is given back) and true chances [M, K]."""
        task, error = self._config.name, generator.standard_normal(len(margin))
        if task == "odds_1x2":
            home = ndtr((margin - DRAW_MARGIN) / MARGIN_DEVIATION)
            away = ndtr((-margin - DRAW_MARGIN) / MARGIN_DEVIATION)
            return np.zeros(len(margin)), np.column_stack([home, 1.0 - home - away, away])
        line = np.zeros(len(margin))
        above = margin / MARGIN_DEVIATION
        if task == "odds_spread":
            line = np.floor(LINE_ERROR * error - margin) + 0.5
            above = (margin + line) / MARGIN_DEVIATION
        elif task == "odds_total":
            line = np.floor(total + TOTAL_LINE_ERROR * error) + 0.5
            above = (total - line) / TOTAL_DEVIATION
        return line, np.column_stack([ndtr(-above), ndtr(above)])

    def _play(
        self, margin: Float, total: Float, line: Float, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Labels [M] and results [M, K] of games played once."""
        task, noise = self._config.name, generator.standard_normal((2, len(margin)))
        won = margin + MARGIN_DEVIATION * noise[0]
        scored = total + TOTAL_DEVIATION * noise[1]
        home, away = (scored + won) / 2.0, (scored - won) / 2.0
        if task == "odds_1x2":
            close = np.abs(won) <= DRAW_MARGIN
            return three_way_results(np.where(close, away, home), away)
        if task == "odds_winner":
            return winner_results(home, away)
        if task == "odds_spread":
            return spread_results(home, away, line)
        return total_results(home, away, line)

    def _prompt(
        self, home: str, away: str, elo: Float, rest: Float, odds: Float, line: float
    ) -> str:
        """Ratings, rest and prices; in the compact form of the real prompts."""
        facts = (
            f"{home}: Elo {elo[0]:.0f}, rest {rest[0]} days\n"
            f"{away}: Elo {elo[1]:.0f}, rest {rest[1]} days\n"
        )
        if self._config.name == "odds_winner":
            facts += odds_text((away, home), odds)
        elif self._config.name == "odds_1x2":
            facts += odds_text((home, "Draw", away), odds)
        return game_prompt(self._template, "Next", home, away, facts, float(line))


def _by_class(odds: Float, results: NDArray[np.int64], market: Float, bayes: Float) -> Columns:
    """The columns that every class has, [M] each, from [M, K]."""
    columns: Columns = {}
    for k in range(bayes.shape[1]):
        columns[f"odds_{k}"], columns[f"result_{k}"] = odds[:, k], results[:, k]
        columns[f"market_{k}"], columns[f"bayes_chance_{k}"] = market[:, k], bayes[:, k]
        columns[f"{FEATURE_PREFIX}market_{k}"] = logit(np.clip(market[:, k], 1e-6, 1.0 - 1e-6))
    if bayes.shape[1] == 2:
        columns["bayes_chance"] = bayes[:, 1]
    return columns
