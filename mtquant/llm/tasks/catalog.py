# SPDX-License-Identifier: Apache-2.0
"""Tasks by name: `make_task(config)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mtquant.core.seeding import SeedTree
from mtquant.llm.tasks import answers
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.parts import balanced
from mtquant.llm.tasks.stock_text import CLASSES
from mtquant.llm.tasks.synthetic_stocks import COMPANIES, SyntheticStocks
from mtquant.llm.tasks.task import Answer, Examples, Reward, SplitName, Stage
from mtquant.llm.tasks.templates import Template, template_of

Parser = Callable[[str, str], Answer | None]
Parts = Mapping[SplitName, Examples]


@dataclass(frozen=True)
class Kind:
    """What is fixed about a task name.

    Attributes:
        classes: Names of the labels.
        parse: Reads an answer.
        answer_tokens: Most tokens of an answer in good form.
    """

    classes: tuple[str, ...]
    parse: Parser
    answer_tokens: int


KINDS: Mapping[str, Kind] = {
    "stock_direction": Kind(CLASSES, answers.parse_direction, 56),
    "odds_winner": Kind(("away", "home"), answers.parse_winner, 64),
    "odds_spread": Kind(("away covers", "home covers"), answers.parse_spread, 64),
    "odds_total": Kind(("under", "over"), answers.parse_total, 64),
    "odds_1x2": Kind(("home", "draw", "away"), answers.parse_1x2, 72),
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
    """

    config: TaskConfig
    template: Template
    words: tuple[str, ...]
    make_parts: Callable[[], Parts] = field(repr=False)

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

    @property
    def max_answer_tokens(self) -> int:
        """Tokens of an answer in good form, at most."""
        return KINDS[self.name].answer_tokens

    @cached_property
    def parts(self) -> Parts:
        """All parts with the natural distribution."""
        return self.make_parts()

    def examples(self, split: SplitName, *, balanced: bool) -> Examples:
        """One part by date; `balanced` draws equally many examples of each class."""
        natural = self.parts[split]
        if not balanced:
            return natural
        return _balanced(natural, len(self.classes), SeedTree(self.config.seed).child("llm", split))

    def parse(self, prompt: str, completion: str) -> Answer | None:
        """What a completion says; None where it does not parse."""
        return KINDS[self.name].parse(prompt, completion)

    def reward(self, stage: Stage) -> Reward:
        """The reward of a stage of training."""
        raise NotImplementedError

    def corpus(self) -> Iterator[str]:
        """Training prompts with their answers."""
        train = self.parts["train"]
        for prompt, answer in zip(train.prompts, train.answers, strict=True):
            yield prompt + answer

    def domain_words(self) -> tuple[str, ...]:
        """Labels, tickers and team names."""
        return (*LABEL_WORDS, *self.words)


def make_task(config: TaskConfig) -> CatalogTask:
    """The task that a config asks for; nothing is read or drawn before its examples are asked for."""
    template = template_of(config.name, config.template)
    synthetic = SyntheticStocks(config, template)
    words = (*CLASSES, *(company.split()[0] for company in COMPANIES))
    return CatalogTask(config, template, words, lambda: synthetic.parts)


_balanced = balanced  # the method of that argument's name hides it
