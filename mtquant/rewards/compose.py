# SPDX-License-Identifier: Apache-2.0
"""A reward: weighted terms, their state, and the trace of what each one paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.config import RewardConfig
from mtquant.core.errors import RewardError
from mtquant.rewards import terms

Float = NDArray[np.float64]

TERM_NAMES = ("growth", "differential_sharpe", "drawdown", "cost")
TERMS = len(TERM_NAMES)

# One state vector holds every term's state, whether its weight is 0 or not, so that the layout of
# observations does not depend on weights.
STATE_NAMES = ("sharpe_first_moment", "sharpe_second_moment", "worst_excess_drawdown")
STATES = len(STATE_NAMES)


@kernel
def start_reward(state: Float) -> None:
    """State before the first bar of an episode."""
    state[0] = 0.0
    state[1] = 1.0
    state[2] = 0.0


@kernel
def step_reward(
    state: Float, outcome: Float, parameters: Float, weights: Float, trace: Float
) -> float:
    """One bar's reward, and each term's weighted share added to `trace`.

    All terms are evaluated, so that each one's state is right whatever the weights; the compiler
    makes that cheaper than branches.

    Args:
        state: float64 [STATES], changed in place.
        outcome: One ledger row.
        parameters: float64 [PARAMETERS].
        weights: float64 [TERMS].
        trace: float64 [TERMS], sums over the episode.
    """
    total = 0.0
    values = (
        terms.growth(state[:0], outcome, parameters),
        terms.differential_sharpe(state[0:2], outcome, parameters),
        terms.drawdown(state[2:3], outcome, parameters),
        terms.cost(state[:0], outcome, parameters),
    )
    for k in range(TERMS):
        share = weights[k] * values[k]
        trace[k] += share
        total += share
    return total


@dataclass(frozen=True)
class Reward:
    """Weights and parameters of a composed reward.

    Attributes:
        weights: Term name -> weight; terms left out weigh 0.
        scale: Return of one bar that counts as 1.
        sharpe_window_bars: Memory of the differential Sharpe ratio; its rate is 1 / window.
        risk_free_per_bar: Simple return per bar that the Sharpe ratio is measured above.
        drawdown_target_frac: Drawdown up to which the drawdown term takes nothing.
    """

    weights: Mapping[str, float]
    scale: float
    sharpe_window_bars: int = 252
    risk_free_per_bar: float = 0.0
    drawdown_target_frac: float = 0.15

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in TERM_NAMES:
                near = get_close_matches(name, TERM_NAMES, n=1)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                raise RewardError(
                    "reward term", "must be known", name, f"{hint}Known: {', '.join(TERM_NAMES)}."
                )
            if not np.isfinite(weight):
                raise RewardError(f"weight of {name}", "must be finite", weight, "Give a number.")
        if not (np.isfinite(self.scale) and self.scale > 0.0):
            raise RewardError(
                "reward scale",
                "must be positive",
                self.scale,
                "The training rows have no price changes: choose other bars.",
            )

    @classmethod
    def from_config(
        cls, config: RewardConfig, weights: Mapping[str, float], scale: float, bars_per_year: float
    ) -> Reward:
        """Reward of one phase.

        `transaction_cost_weight` is the weight of costs in all, and growth and Sharpe are net of
        them already: what it asks for beyond 1 becomes the weight of the `cost` term, unless that
        term is weighted explicitly.
        """
        weights = dict(weights)
        weights.setdefault("cost", config.transaction_cost_weight - 1.0)
        return cls(
            weights=weights,
            scale=scale,
            sharpe_window_bars=config.sharpe_window_bars,
            risk_free_per_bar=config.risk_free_rate / bars_per_year,
            drawdown_target_frac=config.max_drawdown_target,
        )

    def weight_vector(self) -> Float:
        """float64 [TERMS] in the order of TERM_NAMES."""
        return np.array([self.weights.get(name, 0.0) for name in TERM_NAMES])

    def parameter_vector(self) -> Float:
        """float64 [PARAMETERS] as the terms read them."""
        vector = np.zeros(terms.PARAMETERS)
        vector[terms.P_UNIT] = 1.0 / self.scale
        vector[terms.P_SHARPE_RATE] = 1.0 / self.sharpe_window_bars
        vector[terms.P_RISK_FREE] = self.risk_free_per_bar
        vector[terms.P_DRAWDOWN_TARGET] = self.drawdown_target_frac
        return vector
