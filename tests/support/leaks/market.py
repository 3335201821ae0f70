# SPDX-License-Identifier: Apache-2.0
"""The bars that leaks are planted in: two instruments that move together, hourly."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.config import Config, load_config
from mtquant.core.protocols import Observation
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.workflows.verify import Subject
from tests.support.builders import bars_from_closes
from tests.support.markets import INSTRUMENTS, SYMBOLS

HOURLY = 3_600
ROWS = 1_500
PLAIN = ("log_return_1", "volatility_20")
USER = "tests.support.leaks.features:REGISTRY"


@cache
def market() -> dict[str, Bars]:
    """Symbol -> bars; returns go together with a correlation of 0.8."""
    draw = np.random.default_rng(11)
    common = draw.standard_normal(ROWS)
    found = {}
    for symbol, price in zip(SYMBOLS, (1.1, 1.3), strict=True):
        own = 0.9 * common + 0.44 * draw.standard_normal(ROWS)
        closes = price * np.exp(0.002 * np.cumsum(own))
        found[symbol] = bars_from_closes(closes, symbol, bar_seconds=HOURLY)
    return found


def closes_by_second() -> pd.Series:
    """Closes of the first instrument by close stamp in seconds: a table computed elsewhere."""
    bars = market()[SYMBOLS[0]]
    return pd.Series(bars.close, index=(bars.stamps // NANOSECONDS).astype(np.float64))


def config_of(*features: str) -> Config:
    """The configuration of a policy that observes `features`."""
    return load_config(
        None,
        [
            f"data.instruments=[{', '.join(SYMBOLS)}]",
            "data.source=synthetic",
            "data.bar=1h",
            f"features.user={USER}",
            f"features.catalog=[{', '.join(features)}]",
            "environment.warmup_steps=0",
        ],
    )


class Follower:
    """An honest policy: it follows the first feature of each instrument.

    Args:
        features: What it observes.
    """

    name, window_bars = "follower", 1

    def __init__(self, features: tuple[str, ...] = PLAIN) -> None:
        self.feature_names = features

    def initial_state(self) -> Any:
        return None

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        blocks = observation.values[: len(SYMBOLS) * (len(self.feature_names) + 5)]
        signal = blocks.reshape(len(SYMBOLS), -1)[:, 0].astype(np.float64)
        return 0.1 * np.tanh(100.0 * signal), state


def subject_of(*features: str) -> Subject:
    """The honest policy observing these features, on the planted bars."""
    names = features or PLAIN
    return Subject.of(Follower(names), config_of(*names), INSTRUMENTS, market())
