# SPDX-License-Identifier: Apache-2.0
"""Specialists under inverse-volatility weights as one policy: what phase 2 has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.actors import ACTOR_CRITIC
from mtquant.agents.baselines import inverse_volatility_weights, observed
from mtquant.agents.crew import Crew
from mtquant.agents.specialist import Specialist
from mtquant.agents.stack import shape_of
from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation
from mtquant.market.observation import INSTRUMENT_EXTRAS, specialist_view

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class EnsembleMemory(NamedTuple):
    """What an ensemble remembers from bar to bar.

    Attributes:
        targets: The latest target of every instrument, float64 [N].
        states: What each specialist remembers itself.
    """

    targets: NDArray[np.float64]
    states: tuple[Any, ...]


class SpecialistEnsemble:
    """exposure_i = weight_i * a_i, with weight_i inversely proportional to volatility.

    Weights are as large as name cap and gross cap allow, so an ensemble of specialists that all
    say 1 is the inverse-volatility baseline.

    Args:
        specialists: Name -> specialist; all with the same features and window.
        name_cap: Largest |exposure| per instrument.
        gross_cap: Largest sum of |exposure|.
        volatility_feature: Which feature is the volatility.
        symbols: All their instruments in the order of the portfolio; the specialists' in turn when
            None.

    Attributes:
        symbols: The same.
        domains: Specialist -> the symbols it trades.
    """

    name = "specialists"

    def __init__(
        self,
        specialists: Mapping[str, Specialist],
        name_cap: float,
        gross_cap: float,
        volatility_feature: str = "volatility_60",
        symbols: Sequence[str] | None = None,
    ) -> None:
        first = next(iter(specialists.values()))
        for name, specialist in specialists.items():
            same = specialist.feature_names == first.feature_names
            if not same or specialist.window_bars != first.window_bars:
                raise PolicyError(
                    f"specialist {name}",
                    "must see the same features as the others",
                    (specialist.feature_names, specialist.window_bars),
                    "Train all specialists with one configuration.",
                )
        if volatility_feature not in first.feature_names:
            raise PolicyError(
                "features.catalog",
                f"must hold {volatility_feature}, by which specialists are weighted",
                first.feature_names,
                f"Add {volatility_feature} to features.catalog and train again.",
            )
        self.specialists = dict(specialists)
        self.domains = {name: own.manifest.symbols for name, own in specialists.items()}
        traded = [symbol for own in self.domains.values() for symbol in own]
        self.symbols = tuple(traded if symbols is None else symbols)
        if sorted(traded) != sorted(set(self.symbols)):
            raise PolicyError(
                "specialists",
                f"must share out {self.symbols}, each to one of them",
                self.domains,
                "Leave out what trades an instrument twice, or add what is missing.",
            )
        self._own = [
            np.array([self.symbols.index(symbol) for symbol in own])
            for own in self.domains.values()
        ]
        self._crew = _crew_of(list(self.specialists.values()))
        self._caps = (name_cap, gross_cap)
        self._volatility = volatility_feature
        self._features, self._window = first.feature_names, first.window_bars

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features that all specialists share."""
        return self._features

    @property
    def window_bars(self) -> int:
        """Bars of features in one observation."""
        return self._window

    def initial_state(self) -> EnsembleMemory:
        """Nothing asked for, and every specialist at its beginning."""
        states = tuple(specialist.initial_state() for specialist in self.specialists.values())
        return EnsembleMemory(np.zeros(len(self.symbols)), states)

    def act(
        self, observation: Observation, state: EnsembleMemory
    ) -> tuple[NDArray[np.float64], EnsembleMemory]:
        """Target exposures, float64 [N]; 0 where the volatility is not known yet.

        A specialist decides on its instruments' own bars, as it did in training. While a market is
        closed its latest target stands, so that it is asked for again at the reopening; while all
        of them are, what the specialist remembers stands with them.
        """
        if observation.symbols != self.symbols:
            raise PolicyError(
                "observation",
                "must hold the specialists' instruments in their order",
                observation.symbols,
                f"Their order is {self.symbols}.",
            )
        volatility = observed(observation, self._volatility)
        weights = inverse_volatility_weights(volatility, *self._caps)
        tradable = observed(observation, "tradable") > 0.0
        targets, states = state.targets.copy(), list(state.states)
        targets[tradable] = 0.0
        wanted = tradable & (weights > 0.0)
        asked = [k for k, own in enumerate(self._own) if wanted[own].any()]
        actions = self._actions(observation.values, weights, asked, states)
        for k, action in zip(asked, actions, strict=True):
            own = self._own[k][wanted[self._own[k]]]
            targets[own] = (weights[self._own[k]] * action)[wanted[self._own[k]]]
        return targets, EnsembleMemory(targets, tuple(states))

    def _actions(
        self, values: Float32, weights: Float, asked: Sequence[int], states: list[Any]
    ) -> list[Float]:
        """What the specialists that are asked answer, float64 [its instruments] each; what they
        remember then goes into `states`.
        """
        specialists = list(self.specialists.values())
        if self._crew is None or not asked:
            found = []
            for k in asked:
                action, states[k] = specialists[k].decide(self._view(values, weights, k), states[k])
                found.append(action)
            return found
        views = [self._view(values, weights, k) for k in range(len(specialists))]
        for own, view in zip(specialists, views, strict=True):
            own.check_size(view)
        answers = self._crew.act(np.array(views)[:, None])
        return [specialists[k].checked(answers[k][0]) for k in asked]

    def _view(self, values: Float32, weights: Float, k: int) -> Float32:
        """What specialist k sees of the portfolio's observation."""
        own, specialist = self._own[k], list(self.specialists.values())[k]
        block = self._window * len(self._features) + INSTRUMENT_EXTRAS
        view = specialist_view(values, block, own.tolist(), len(weights))
        # It knows its positions as shares of what an action of 1 buys.
        unit = np.full(len(own), specialist.manifest.unit)
        shares = np.divide(unit, weights[own], out=np.ones_like(unit), where=weights[own] > 0.0)
        view[np.arange(1, len(own) + 1) * block - INSTRUMENT_EXTRAS] *= shares
        return view


def _crew_of(specialists: Sequence[Specialist]) -> Crew | None:
    """All as one, which asks them for the price of one and hears the same; None where they are not
    feed-forward networks of one shape.
    """
    rows = [
        own.weights
        for own in specialists
        if isinstance(own, Specialist) and own.manifest.policy == ACTOR_CRITIC
    ]
    if len(rows) < len(specialists):
        return None
    return Crew.from_weights(rows) if len({shape_of(own) for own in rows}) == 1 else None
