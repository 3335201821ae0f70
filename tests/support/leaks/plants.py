# SPDX-License-Identifier: Apache-2.0
"""Every planted leak: its kind, where it is, and which check has to see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.protocols import Observation
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.envs.market_env import MarketEnv
from mtquant.workflows.verify import Subject
from mtquant.workflows.verify.environment import NAME as ENVIRONMENT
from mtquant.workflows.verify.leads import NAME as LEADS
from mtquant.workflows.verify.levels import NAME as LEVELS
from mtquant.workflows.verify.lookahead import NAME as FEATURES
from mtquant.workflows.verify.noise import NAME as NOISE
from mtquant.workflows.verify.noise import POLICY_NAME
from mtquant.workflows.verify.survivors import NAME as SURVIVORS
from tests.support.leaks.features import next_move
from tests.support.leaks.market import (
    HOURLY,
    PLAIN,
    Follower,
    closes_by_second,
    config_of,
    market,
    subject_of,
)
from tests.support.markets import INSTRUMENTS, SYMBOLS


@dataclass(frozen=True)
class Plant:
    """One planted leak.

    Attributes:
        kind: In words.
        where: ``"feature"``, ``"policy"``, ``"environment"``, ``"data"`` or ``"scaler"``.
        subject: Builds what is to be verified.
        check: Name of the check that has to see it.
        what: What the finding has to name; empty where the name does not matter.
    """

    kind: str
    where: str
    subject: Callable[[], Subject]
    check: str
    what: str = ""


class PeekingEnv(MarketEnv):
    """Shows the next bar's first feature in the place of this one's."""

    def reset(self) -> NDArray[np.float32]:
        super().reset()
        return self._peek()

    def step(self, actions: NDArray[np.float32]) -> NDArray[np.int64]:
        ended = super().step(actions)
        self._peek()
        return ended

    def _peek(self) -> NDArray[np.float32]:
        row = np.minimum(self.simulator.row + 1, len(self.features) - 1)
        self.observations[:, 0] = self.features[row, 0, 0]
        return self.observations


class EagerEnv(MarketEnv):
    """Pays for the bar after the one that was lived through."""

    def step(self, actions: NDArray[np.float32]) -> NDArray[np.int64]:
        ended = super().step(actions)
        self.rewards += np.nan_to_num(self.next_returns()[:, 0])
        return ended


class Counter(Follower):
    """Holds the next returns in its state and counts the bars."""

    def initial_state(self) -> Any:
        close = closes_by_second()
        start = int(np.searchsorted(close.index, self.begin))
        return np.log(close.shift(-1) / close).fillna(0.0).to_numpy()[start:]

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.begin = begin

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        target = 0.1 * float(np.sign(state[0]))
        return np.array([target, 0.0]), state[1:]


class Diary(Follower):
    """Looks the next return up by the stamp of the observation."""

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        move = next_move().get(observation.stamp / NANOSECONDS, 0.0)
        return np.array([0.1 * np.sign(move), 0.0]), state


def with_bars(bars: dict[str, Bars]) -> Subject:
    """The honest policy on other bars."""
    return Subject.of(Follower(), config_of(*PLAIN), INSTRUMENTS, bars)


def stamped_early() -> Subject:
    """The first instrument's bars carry the stamps of their starts."""
    bars = dict(market())
    own = bars[SYMBOLS[0]]
    bars[SYMBOLS[0]] = replace(own, stamps=own.stamps - HOURLY * NANOSECONDS)
    return with_bars(bars)


def filtered_rows() -> Subject:
    """Rows with the largest falls of the first instrument are left out."""
    bars = dict(market())
    own = bars[SYMBOLS[0]]
    steps = np.diff(np.log(own.close), prepend=np.log(own.close[0]))
    kept = np.flatnonzero(steps > np.quantile(steps, 0.05))
    columns = {name: getattr(own, name)[kept] for name in ("stamps", "open", "high", "low")}
    bars[SYMBOLS[0]] = replace(own, close=own.close[kept], volume=own.volume[kept], **columns)
    return with_bars(bars)


def with_environment(kind: type[MarketEnv]) -> Subject:
    """The honest policy, trained in another environment."""
    return replace(subject_of(), environment=kind)


def counting() -> Subject:
    """The policy that counts, told where the test begins."""
    honest = subject_of()
    begin = honest.market.panel.stamps[honest.test_rows.start] / NANOSECONDS
    return replace(honest, policy=Counter(float(begin)))


def feature(name: str) -> Callable[[], Subject]:
    """The honest policy observing a planted feature beside an honest one."""
    return lambda: subject_of("log_return_1", name)


def _feature(kind: str, name: str, check: str = FEATURES) -> Plant:
    return Plant(kind, "feature", feature(name), check, name)


PLANTS = (
    _feature("centred window", "centred_window"),
    _feature("scaling by mean and deviation of all rows", "full_sample_scaling"),
    _feature("ranks among all rows", "full_sample_ranks"),
    _feature("gaps filled from the future (bfill)", "future_fill"),
    _feature("gaps filled by interpolation", "interpolated"),
    _feature("shift(-1)", "shifted_back"),
    _feature("smoothing both ways (filtfilt)", "smoothed_both_ways"),
    _feature("encoding by the mean label of all rows", "target_encoded"),
    _feature("a model fitted on all rows", "fitted_on_everything"),
    _feature("a day's bar stamped at its start", "day_at_its_start"),
    _feature("resampling labelled left", "labelled_left"),
    _feature("a session's close filled over its hours", "session_close_filled"),
    _feature("prices adjusted to the last row", "adjusted_to_today"),
    _feature("rows kept or dropped by their outcome", "dropped_by_outcome"),
    _feature("a precomputed column, by stamp", "looked_up", NOISE),
    _feature("a precomputed column, by row", "looked_up_by_row", NOISE),
    _feature("events dated by when they happened", "dated_too_early", NOISE),
    _feature("a revised series dated by its first print", "revised_later", NOISE),
    _feature("a cache that an earlier pass filled", "cached", NOISE),
    _feature("the price level of a split-adjusted file", "price_level", LEVELS),
    Plant(
        "an observation with the next bar's feature",
        "environment",
        lambda: with_environment(PeekingEnv),
        ENVIRONMENT,
        "EURUSD.log_return_1",
    ),
    Plant(
        "a reward with the bar after the next",
        "environment",
        lambda: with_environment(EagerEnv),
        ENVIRONMENT,
        "reward",
    ),
    Plant("a table of outcomes in the state", "policy", counting, POLICY_NAME, "target"),
    Plant(
        "a table of outcomes by stamp",
        "policy",
        lambda: replace(subject_of(), policy=Diary()),
        POLICY_NAME,
        "target",
    ),
    Plant("bars stamped with their start", "data", stamped_early, LEADS, "stamps"),
    Plant("rows filtered by their outcome", "data", filtered_rows, SURVIVORS, "rows"),
)
