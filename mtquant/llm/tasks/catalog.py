# SPDX-License-Identifier: Apache-2.0
"""Tasks by name: `make_task(config)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import load_instruments
from mtquant.data.sources import load_bars
from mtquant.llm.baselines import base_rate
from mtquant.llm.rewards.betting import BettingReward
from mtquant.llm.rewards.stock import DirectionReward
from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks import answers
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.games import KEY_MARK, read_games
from mtquant.llm.tasks.odds_examples import odds_parts, price_notes
from mtquant.llm.tasks.odds_text import write_odds
from mtquant.llm.tasks.parts import balance
from mtquant.llm.tasks.stock_examples import stock_parts
from mtquant.llm.tasks.stock_sources import read_companies, read_prices, read_texts
from mtquant.llm.tasks.stock_text import CLASSES, write_directions
from mtquant.llm.tasks.synthetic_odds import TEAMS, SyntheticOdds
from mtquant.llm.tasks.synthetic_stocks import COMPANIES, SyntheticStocks
from mtquant.llm.tasks.task import Answer, Examples, Reward, SplitName, Stage
from mtquant.llm.tasks.templates import Template, template_of

Float = NDArray[np.float64]
Parser = Callable[[str, str], Answer | None]
Writer = Callable[[Template, Examples, NDArray[np.int64], Float], tuple[str, ...]]
Parts = Mapping[SplitName, Examples]


@dataclass(frozen=True)
class Kind:
    """What is fixed about a task name.

    Attributes:
        classes: Names of the labels.
        parse: Reads an answer.
        write: Writes answers that state given chances.
    """

    classes: tuple[str, ...]
    parse: Parser
    write: Writer


KINDS: Mapping[str, Kind] = {
    "stock_direction": Kind(CLASSES, answers.parse_direction, write_directions),
    "odds_winner": Kind(("away", "home"), answers.parse_winner, write_odds),
    "odds_spread": Kind(("away covers", "home covers"), answers.parse_spread, write_odds),
    "odds_total": Kind(("under", "over"), answers.parse_total, write_odds),
    "odds_1x2": Kind(("home", "draw", "away"), answers.parse_1x2, write_odds),
}
LABEL_WORDS = ("Prediction:", "Confidence:", "Reasoning:")


@dataclass(frozen=True, eq=False)
class CatalogTask:
    """A task of the catalogue; implements `task.Task`.

    Attributes:
        config: What was asked for.
        template: Of prompts and answers.
        words: Domain words beside the labels.
        make_parts: Makes the examples; called once, when they are first asked for.
        notes: What a report has to say of the data.
    """

    config: TaskConfig
    template: Template
    words: tuple[str, ...]
    make_parts: Callable[[], Parts] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For example ``"stock_direction"``."""
        return self.config.name

    @property
    def template_hash(self) -> str:
        """Identity of the prompt template."""
        return self.template.hash

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels mean."""
        return KINDS[self.name].classes

    @cached_property
    def parts(self) -> Parts:
        """All parts with the natural distribution."""
        return self.make_parts()

    def examples(self, split: SplitName, *, balanced: bool) -> Examples:
        """One part by date; `balanced` draws equally many examples of each class."""
        natural = self.parts[split]
        if not balanced:
            return natural
        if self.config.name == "stock_direction":
            moved = np.abs(natural.columns["realised_return"])
            natural = natural.take(moved >= self.config.stocks.neutral_percent / 100.0)
        return balance(natural, len(self.classes), SeedTree(self.config.seed).child("llm", split))

    def parse(self, prompt: str, completion: str) -> Answer | None:
        """What a completion says; None where it does not parse."""
        return KINDS[self.name].parse(prompt, completion)

    def write(self, examples: Examples, chances: Float) -> tuple[str, ...]:
        """Answers in good form that state given chances and say the likeliest class.

        The base-rate answer, the answers of a baseline and those of the best rule are written so,
        and scored like a model's.

        Args:
            examples: M examples of this task.
            chances: float64 [M, K], or [K] for the same in every answer.
        """
        full = np.broadcast_to(chances, (len(examples), len(self.classes)))
        says: NDArray[np.int64] = full.argmax(axis=1)
        return KINDS[self.name].write(self.template, examples, says, full)

    def reward(self, stage: Stage) -> Reward:
        """The reward of a stage of training."""
        config, train = self.config, self.parts["train"]
        base = base_rate(train, len(self.classes))
        if config.name == "stock_direction":
            return DirectionReward(config.reward, float(base[1]), stage, self._wealth(train))
        wealth = self._wealth(train)
        return BettingReward(
            config.name, config.reward, config.betting, tuple(base.tolist()), stage, wealth
        )

    def _wealth(self, train: Examples) -> WealthTerms | None:
        """The risk-aware terms, where any has a weight."""
        weights, betting = self.config.reward.risk_weights, self.config.betting
        if not weights:
            return None
        if self.config.name == "stock_direction":
            scale = float(np.std(train.columns["fill_return"]))
            return WealthTerms(weights, scale, betting, positions=True)
        return WealthTerms(weights, betting.max_stake_frac, betting)

    def corpus(self) -> Iterator[str]:
        """Training prompts with their answers."""
        train = self.parts["train"]
        for prompt, answer in zip(train.prompts, train.answers, strict=True):
            yield prompt + answer

    def domain_words(self) -> tuple[str, ...]:
        """Labels, tickers and team names."""
        return (*LABEL_WORDS, *self.words)


def make_task(config: TaskConfig, bars: Mapping[str, Bars] | None = None) -> CatalogTask:
    """The task that a config asks for; no example is made before the first is asked for.

    Args:
        config: The task.
        bars: Bars by symbol, for ``source: bars``; None: those of `config.data`.

    Raises:
        DataError: Bars are given that nobody asked for, or data cannot be read.
    """
    template = template_of(config.name, config.template)
    if bars is not None and config.source != "bars":
        remedy = "Pass bars with source: bars, and only then."
        raise DataError("task.source", "must be bars where bars are given", config.source, remedy)
    if config.name == "stock_direction":
        return _stock_task(config, template, bars)
    if config.source == "synthetic":
        return CatalogTask(config, template, TEAMS, lambda: SyntheticOdds(config, template).parts)
    games = read_games(config)
    teams = {str(name).rpartition(KEY_MARK)[2] for name in games.schedule.home}
    words = (*sorted(teams), "Draw", "Elo")
    notes = (*games.notes, *price_notes(config))
    return CatalogTask(config, template, words, lambda: odds_parts(config, template, games), notes)


def _prices(config: TaskConfig) -> Mapping[str, Bars]:
    """Bars by symbol, from the table or from the project's own sources."""
    if config.source == "tables":
        return read_prices(config.stocks)
    file = None if config.instruments is None else Path(config.instruments)
    return load_bars(config.data, load_instruments(file))


def _stock_task(
    config: TaskConfig, template: Template, bars: Mapping[str, Bars] | None
) -> CatalogTask:
    if config.source == "synthetic":
        words = (*CLASSES, *(company.split()[0] for company in COMPANIES))
        return CatalogTask(config, template, words, lambda: SyntheticStocks(config, template).parts)
    prices = _prices(config) if bars is None else bars
    texts, companies = read_texts(config.stocks), read_companies(config.stocks)
    words = (*CLASSES, *prices)
    notes = tuple(dict.fromkeys(note for own in prices.values() for note in own.notes))
    make = partial(stock_parts, config, template, prices, texts, companies)
    return CatalogTask(config, template, words, make, notes)
