# SPDX-License-Identifier: Apache-2.0
"""Tasks by name: `make_task(config)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtquant.core.seeding import SeedTree
from mtquant.llm.rewards.stock import DirectionReward
from mtquant.llm.rewards.wealth import WealthTerms
from mtquant.llm.tasks import answers
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.parts import balanced
from mtquant.llm.tasks.stock_text import CLASSES, write_directions
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
        answer_tokens: Most tokens of an answer in good form.
    """

    classes: tuple[str, ...]
    parse: Parser
    write: Writer
    answer_tokens: int


KINDS: Mapping[str, Kind] = {
    "stock_direction": Kind(CLASSES, answers.parse_direction, write_directions, 56),
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
        columns = self.parts["train"].columns
        base_chance = float(np.mean(columns["label"] == 1))
        return DirectionReward(self.config.reward, base_chance, stage, self._wealth())

    def _wealth(self) -> WealthTerms | None:
        """The risk-aware terms, where any has a weight."""
        weights = self.config.reward.risk_weights
        if not weights:
            return None
        returns = self.parts["train"].columns["fill_return"]
        return WealthTerms(weights, float(np.std(returns)), self.config.betting, positions=True)

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
