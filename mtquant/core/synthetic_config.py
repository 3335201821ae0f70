# SPDX-License-Identifier: Apache-2.0
"""The `data.synthetic` section: which bars are made up, and how hard they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from mtquant.core.checked import Section

ScenarioName = Literal[
    "gbm",
    "jumps",
    "garch",
    "regimes",
    "correlated_crash",
    "flash_crash",
    "gap",
    "dead",
    "bootstrap",
    "mixed",
]


class SyntheticConfig(Section):
    """Made-up bars, for ``data.source: synthetic``.

    Attributes:
        scenario: What happens in them; `mtquant/data/synthetic.py` describes each.
        bars: Number of bars of every instrument.
        difficulty: From 0 to 1; how wild the scenario is, and how much of ``mixed`` is made up.
        mean_block_bars: Mean length of the blocks of real bars that ``bootstrap`` and ``mixed``
            draw.
        seed: Of the bars; another seed of training does not change them.
    """

    scenario: ScenarioName = "gbm"
    bars: Annotated[int, Field(ge=100)] = 5_000
    difficulty: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    mean_block_bars: Annotated[float, Field(ge=1.0)] = 20.0
    seed: NonNegativeInt = 7
