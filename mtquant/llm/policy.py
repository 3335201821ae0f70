# SPDX-License-Identifier: Apache-2.0
"""Predictions as a policy: stated confidence becomes target exposure, traded by the same desk.

    policy = PredictionPolicy(read_signals(path), max_exposure=0.1)
    ledger = run_backtest(policy, tape, rules, features, rows, reward)

An instrument is held at (2p - 1) x `max_exposure` of equity, p the last predicted chance of a rise:
the mean-variance position of a bet whose win and loss are of one size, and 0 for a coin flip.
Orders are filled at the next open, with costs and limits, as every policy's.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation
from mtquant.data.events import Events
from mtquant.features.signals import MAX_AGE, LastKnown

Float = NDArray[np.float64]


class PredictionPolicy:
    """Trades a signal table; implements `mtquant.core.protocols.Policy`.

    Args:
        signals: The table, from `read_signals`.
        max_exposure: Exposure of a certain prediction, fraction of equity, > 0.
        max_gross: Largest sum of absolute exposures; more is scaled down in proportion.
        max_age_seconds: An older prediction counts as none, and the instrument is left.
        name: What ledgers and reports call it.

    Raises:
        PolicyError: An exposure that is not positive.
    """

    feature_names: tuple[str, ...] = ("log_return_1",)  # predictions come from the table alone
    window_bars = 1

    def __init__(
        self,
        signals: Events,
        max_exposure: float = 0.1,
        max_gross: float = 1.0,
        max_age_seconds: float = MAX_AGE,
        name: str = "predictions",
    ) -> None:
        if not (max_exposure > 0.0 and max_gross > 0.0):
            remedy = "For example max_exposure=0.1 and max_gross=1."
            found = (max_exposure, max_gross)
            raise PolicyError("max_exposure, max_gross", "must be positive", found, remedy)
        self.name = name
        self._signals, self._age = signals, max_age_seconds
        self._exposure, self._gross = max_exposure, max_gross

    def initial_state(self) -> None:
        """No memory."""

    def act(self, observation: Observation, state: None) -> tuple[Float, None]:
        """Target exposures float64 [N]; 0 where nothing is predicted."""
        now = np.array([observation.stamp])
        chances = np.concatenate([self._last.chances_up(one, now) for one in observation.symbols])
        targets = self._exposure * (2.0 * chances - 1.0)
        return targets / max(1.0, float(np.abs(targets).sum()) / self._gross), state

    @cached_property
    def _last(self) -> LastKnown:
        return LastKnown(self._signals, self._age)
