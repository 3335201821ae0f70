# SPDX-License-Identifier: Apache-2.0
"""What a task is: the shapes that trainers, rewards and the evaluation rely on.

    task = make_task(config)
    train = task.examples("train", balanced=True)
    answer = task.parse(train.prompts[0], completion)  # None: it does not parse
    scores = task.reward("stage1")(prompts, completions, columns)

A column of `Examples` whose name begins with ``"feature:"`` is an input of the baselines: the same
facts as in the prompt, as numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError

Float = NDArray[np.float64]
Columns = Mapping[str, Sequence[Any] | NDArray[Any]]
SplitName = Literal["train", "validation", "test"]
Stage = Literal["stage1", "stage2"]

FEATURE_PREFIX = "feature:"


@dataclass(frozen=True, eq=False)
class Examples:
    """M prompts with what happened, in the order of their decisions.

    Attributes:
        prompts: Rendered by a versioned template.
        answers: Reference completions for supervised training, without the end token.
        stamps: int64 [M], UTC nanoseconds of the decisions, not falling; nothing in a prompt became
            known later.
        columns: [M] each. Every task has ``"label"`` (int, the class that happened), ``"event"``
            (int, one number per example of the whole task) and ``"stamp"``; what else, its own
            docstring says.
        template_hash: Identity of the template that made the prompts and the answers' format.

    Raises:
        DataError: Lengths differ, or decisions are out of order.
    """

    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    stamps: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    template_hash: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        lengths = {"prompts": len(self.prompts), "answers": len(self.answers)}
        lengths |= {name: len(column) for name, column in self.columns.items()}
        wrong = {name: length for name, length in lengths.items() if length != len(self.stamps)}
        if wrong:
            rule = f"must have one entry for each of {len(self.stamps)} decisions"
            raise DataError("examples", rule, wrong, "Give columns of one length.")
        if (np.diff(self.stamps) < 0).any():
            row = int((np.diff(self.stamps) < 0).argmax()) + 1
            raise DataError("examples.stamps", "must not fall", f"row {row}", "Sort by decision.")

    def __len__(self) -> int:
        return len(self.stamps)

    def take(self, rows: NDArray[Any]) -> Examples:
        """Some rows, by mask or by increasing positions."""
        positions = np.arange(len(self))[rows]
        return Examples(
            tuple(self.prompts[row] for row in positions),
            tuple(self.answers[row] for row in positions),
            self.stamps[positions],
            {name: column[positions] for name, column in self.columns.items()},
            self.template_hash,
        )

    def features(self) -> tuple[Float, tuple[str, ...]]:
        """The baselines' inputs, float64 [M, F], and their names without the prefix."""
        names = tuple(name for name in self.columns if name.startswith(FEATURE_PREFIX))
        matrix = np.empty((len(self), len(names)))
        for place, name in enumerate(names):
            matrix[:, place] = self.columns[name]
        return matrix, tuple(name.removeprefix(FEATURE_PREFIX) for name in names)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a completion says.

    Attributes:
        chances: float64 [classes], adding up to 1, in the order of the task's labels.
        predicted: The class that it says, which stated chances may contradict; -1 where a score
            difference on the line takes no side.
        says: The prediction as written, for example ``"UP"``.
        confidence: Chance given to what it says, in [0, 1].
        reasoning: The text after ``Reasoning:``.
    """

    chances: Float
    predicted: int
    says: str
    confidence: float
    reasoning: str


@dataclass(frozen=True, eq=False)
class Scores:
    """What M completions earned.

    Attributes:
        total: float64 [M], finite; the sum of the parts.
        parts: float64 [M] each, for example accuracy, data_usage, coherence.
        parsed: bool [M]; a completion that does not parse has the smallest total there is.
    """

    total: Float
    parts: Mapping[str, Float]
    parsed: NDArray[np.bool_]


@runtime_checkable
class Reward(Protocol):
    """Scores completions; picklable, without state between calls."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of `Examples` that a call must be given."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the parts that `Scores` has: the largest sizes that they were made with."""
        ...

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns
    ) -> Scores:
        """Scores M completions; prompts and columns are aligned with them, [M] each."""
        ...


@runtime_checkable
class Task(Protocol):
    """A prediction problem: examples, the format of answers, and their worth."""

    @property
    def name(self) -> str:
        """For example ``"stock_direction"``."""
        ...

    @property
    def template_hash(self) -> str:
        """Identity of the prompt template, 64 hexadecimal digits."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels 0, 1, ... mean."""
        ...

    def examples(self, split: SplitName, *, balanced: bool) -> Examples:
        """One part by date; `balanced` draws equally many examples of each class."""
        ...

    def parse(self, prompt: str, completion: str) -> Answer | None:
        """What a completion says, read against its prompt; None where it does not parse."""
        ...

    def write(self, examples: Examples, chances: Float) -> tuple[str, ...]:
        """Answers in good form that state chances [M, K] or [K]: what a base rate, a baseline or
        the best rule would say.
        """
        ...

    def reward(self, stage: Stage) -> Reward:
        """The reward of a stage of training."""
        ...

    def corpus(self) -> Iterator[str]:
        """Training prompts with their answers, for the tokenizer; never later parts."""
        ...

    def domain_words(self) -> tuple[str, ...]:
        """Words that should be tokens of their own: labels, tickers, team names."""
        ...
