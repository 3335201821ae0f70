# SPDX-License-Identifier: Apache-2.0
"""Made-up stocks whose best answer is known: daily changes follow an AR(1) process.

x_t = m + phi (x_(t-1) - m) + e_t, e normal, in percent. Given the past, the next change is normal
around its mean, so a rise has the chance F((m + phi (x_T - m)) / sigma_e), and with m = 0 the rule
"as yesterday" is right 1/2 + asin(phi) / pi of the time (Sheppard 1899 on the sign of correlated
normals): 0.823 for phi = 0.85. No rule is right more often: it is the ceiling of every score.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.reference import reference_percents, reference_says
from mtquant.llm.tasks.stock_text import stock_answer, stock_prompt
from mtquant.llm.tasks.task import Examples, SplitName
from mtquant.llm.tasks.templates import Template

Float = NDArray[np.float64]

COMPANIES = (
    "OMNI (Omni Group)",
    "NOVA (Nova Systems)",
    "ATLS (Atlas Steel)",
    "ZEPH (Zephyr Air)",
    "KITE (Kite Foods)",
    "LUMA (Luma Energy)",
    "QRTZ (Quartz Mining)",
    "VELO (Velo Motors)",
)
FIRST_PRICES = (20.0, 400.0)
FIRST_DAY_NS = 1_262_304_000 * NANOSECONDS  # 2010-01-01: parts follow each other in time from there
DAY_NS = 86_400 * NANOSECONDS
PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


class SyntheticStocks:
    """Examples of the synthetic stock task; one decision a day, parts one after the other.

    Columns beside label, event and stamp: ``realised_return`` and ``fill_return`` (the next
    change, a fraction), ``bayes_chance`` (of a rise), ``days`` shown, the features change_1 (the
    last day's change, percent) to change_D.

    Args:
        config: The task.
        template: Of its prompts.
    """

    def __init__(self, config: TaskConfig, template: Template) -> None:
        self._config, self._template = config, template

    @cached_property
    def parts(self) -> dict[SplitName, Examples]:
        """All parts; the same seed gives the same bytes."""
        counts = [getattr(self._config.synthetic, name) for name in PARTS]
        starts = np.concatenate([[0], np.cumsum(counts)])
        return {
            name: self._part(name, int(start), count)
            for name, start, count in zip(PARTS, starts, counts, strict=False)
        }

    def _part(self, name: SplitName, start: int, count: int) -> Examples:
        seeds = SeedTree(self._config.seed).child("llm", "synthetic_stocks", name)
        generator = seeds.generator()
        changes, chances = self._paths(generator, count)
        shown, following = changes[:, :-1], changes[:, -1]
        labels = (following > 0.0).astype(np.int64)
        first = generator.uniform(*FIRST_PRICES, size=count)
        factors = np.cumprod(1.0 + shown[:, 1:] / 100.0, axis=1)
        closes = first[:, None] * np.column_stack([np.ones(count), factors])
        companies = generator.integers(len(COMPANIES), size=count)
        both = np.column_stack([1.0 - chances, chances])
        says = reference_says(self._config.answer, both, labels)
        percents = reference_percents(self._config.answer, both, generator)
        stamps = FIRST_DAY_NS + DAY_NS * np.arange(start, start + count)
        rows = list(zip(closes.tolist(), shown.tolist(), strict=True))
        prompts = tuple(
            stock_prompt(self._template, COMPANIES[company], *row, "")
            for company, row in zip(companies, rows, strict=True)
        )
        answers = tuple(
            stock_answer(self._template, bool(up), percent, len(row[1]), row[1])
            for up, percent, row in zip(says, percents, rows, strict=True)
        )
        columns = {
            "label": labels,
            "event": np.arange(start, start + count),
            "stamp": stamps,
            "realised_return": following / 100.0,
            "fill_return": following / 100.0,
            "bayes_chance": chances,
            "days": np.full(count, self._config.days),
        }
        features = {f"feature:change_{k + 1}": shown[:, -1 - k] for k in range(shown.shape[1] - 1)}
        return Examples(prompts, answers, stamps, columns | features, self._template.hash)

    def _paths(self, generator: np.random.Generator, count: int) -> tuple[Float, Float]:
        """Changes in percent, float64 [M, D + 1], the last one to be predicted, and its chance to
        be above 0, float64 [M].
        """
        own, days = self._config.synthetic, self._config.days
        noise = own.volatility_percent * (1.0 - own.momentum**2) ** 0.5
        deviations = np.empty((count, days + 1))
        deviations[:, 0] = own.volatility_percent * generator.standard_normal(count)
        for day in range(1, days + 1):
            fresh = noise * generator.standard_normal(count)
            deviations[:, day] = own.momentum * deviations[:, day - 1] + fresh
        expected = own.drift_percent + own.momentum * deviations[:, -2]
        return own.drift_percent + deviations, ndtr(expected / noise)
