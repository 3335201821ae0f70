# SPDX-License-Identifier: Apache-2.0
"""Reward terms of your own, paid beside the built-in ones.

    own = OwnTerms([calm], {"calm": 0.1}, reward, n_accounts=len(env))
    own.start()
    ...
    rewards = env.rewards + own.step(outcomes)  # outcomes float64 [E, len(OUTCOME_COLUMNS)]
    own.start(ended)  # accounts that begin a new episode

The registry is the object itself: nothing is registered anywhere else. A term is a compiled kernel
(some nanoseconds a row) or plain Python (a microsecond). A user's function is code that runs with
your rights: use your own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.errors import RewardError
from mtquant.core.outcome import OUTCOME_COLUMNS
from mtquant.rewards.catalog import BUILT_IN, Term
from mtquant.rewards.compose import Reward, require_term

Float = NDArray[np.float64]


class OwnTerms:
    """Weighted terms of a user, with the states of E accounts.

    Args:
        terms: The terms, each of another name, none of a built-in's.
        weights: Term name -> weight; terms left out weigh 0 but keep their state.
        reward: Where the parameters come from.
        n_accounts: E.

    Attributes:
        names: K names.
        states: float64 [E, S], the terms' states side by side: part of a checkpoint.
        trace: float64 [E, K], what each term paid since the episode's start.

    Raises:
        RewardError: A name is used twice or is not known, or a weight is not finite.
    """

    def __init__(
        self, terms: Sequence[Term], weights: Mapping[str, float], reward: Reward, n_accounts: int
    ) -> None:
        self.names = tuple(term.name for term in terms)
        taken = [n for n in self.names if n in BUILT_IN or self.names.count(n) > 1]
        if taken:
            remedy = "Rename your term."
            raise RewardError("reward term", "must have a name of its own", taken, remedy)
        for name, weight in weights.items():
            require_term(name, self.names)
            if not np.isfinite(weight):
                raise RewardError(f"weight of {name}", "must be finite", weight, "Give a number.")
        self._weights = [float(weights.get(name, 0.0)) for name in self.names]
        self._parameters = reward.parameter_vector()
        self._starts = np.array([number for term in terms for number in term.start])
        edges = np.cumsum([0, *(len(term.start) for term in terms)], dtype=np.int64)
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self._loops = [_over_accounts(term.function) for term in terms]
        self.states = np.tile(self._starts, (n_accounts, 1))
        self.trace = np.zeros((n_accounts, len(terms)))

    def start(self, accounts: NDArray[np.bool_] | None = None) -> None:
        """Begins an episode in the accounts of a mask bool [E], or in all."""
        which = slice(None) if accounts is None else accounts
        self.states[which] = self._starts
        self.trace[which] = 0.0

    def step(self, outcomes: Float) -> Float:
        """What the terms pay for one bar of every account, float64 [E].

        Args:
            outcomes: float64 [E, len(OUTCOME_COLUMNS)], ledger rows.

        Raises:
            RewardError: The rows have another shape, or a term returned no finite number.
        """
        expected = (len(self.trace), len(OUTCOME_COLUMNS))
        if outcomes.shape != expected:
            remedy = "Give one ledger row per account."
            raise RewardError("outcomes", f"must have shape {expected}", outcomes.shape, remedy)
        rewards = np.zeros(len(outcomes))
        for k, loop in enumerate(self._loops):
            values = np.zeros(len(outcomes))
            loop(self.states[:, self._slices[k]], outcomes, self._parameters, values)
            if not np.isfinite(values).all():
                wrong = values[~np.isfinite(values)][0]
                remedy = "Run check_reward on it."
                raise RewardError(
                    f"value of {self.names[k]}", "must be finite", float(wrong), remedy
                )
            share = self._weights[k] * values
            self.trace[:, k] += share
            rewards += share
        return rewards


def _over_accounts(function: Callable[..., Any]) -> Callable[[Float, Float, Float, Float], None]:
    """The loop of one term over accounts; compiled where the term is."""

    def loop(states: Float, outcomes: Float, parameters: Float, values: Float) -> None:
        for e in range(outcomes.shape[0]):
            values[e] = function(states[e], outcomes[e], parameters)

    return kernel(loop) if hasattr(function, "py_func") else loop
