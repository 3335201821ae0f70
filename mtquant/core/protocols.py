# SPDX-License-Identifier: Apache-2.0
"""What users may plug in: the shapes that drivers rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one decision; N instruments.

    Attributes:
        values: float32 [N * block + account], the flat vector described field by field in
        `market/observation.py`. stamp: UTC close stamp of the bar just closed, nanoseconds since
        1970. symbols: The N instruments, in the order of the blocks.
        names: One name per entry of `values`.
    """

    values: NDArray[np.float32]
    stamp: int
    symbols: tuple[str, ...]
    names: tuple[str, ...]


@runtime_checkable
class Policy(Protocol):
    """Anything that turns observations into target exposures.

    A specialist, the hierarchy, a baseline and a table of language-model predictions are all
    policies.
    """

    @property
    def name(self) -> str:
        """What ledgers and reports call it."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features the policy needs, in the order it expects them (names of the feature
        catalogue).
        """
        ...

    @property
    def window_bars(self) -> int:
        """How many bars of features one observation holds."""
        ...

    def initial_state(self) -> Any:
        """State before the first decision (None for policies without memory)."""
        ...

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        """Target exposures float64 [N] in units of equity, and the next state.

        NaN for an instrument means "leave its position alone".
        """
        ...


@runtime_checkable
class Speaker(Protocol):
    """A policy of several parts that can repeat what they told each other, for the record."""

    def told(self, state: Any) -> Mapping[str, NDArray[np.floating[Any]]]:
        """What stands in a state that `act` returned: name of a figure -> that of every
        instrument, [N].
        """
        ...
