# SPDX-License-Identifier: Apache-2.0
"""A reward: weighted terms, their state, and the trace of what each one paid.

reward = Reward({"growth": 1.0, "drawdown": 0.5}, scale=0.01)
state, trace = np.zeros(STATES), np.zeros(TERMS)
start_reward(state)
step_reward(state, outcome, reward.parameter_vector(), reward.weight_vector(), trace)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.config import RewardConfig
from mtquant.core.errors import RewardError
from mtquant.rewards import terms

Float = NDArray[np.float64]

# The terms that every step evaluates come first, the others behind them.
CORE_TERMS = 4
TERM_NAMES = (
    "growth",
    "differential_sharpe",
    "drawdown",
    "cost",
    "differential_sortino",
    "differential_information",
    "tail_loss",
    "variance",
    "downside_variance",
    "diversification",
    "turnover",
)
TERMS = len(TERM_NAMES)
(
    GROWTH,
    SHARPE,
    DRAWDOWN,
    COST,
    SORTINO,
    INFORMATION,
    TAIL_LOSS,
    VARIANCE,
    DOWNSIDE_VARIANCE,
    DIVERSIFICATION,
    TURNOVER,
) = range(TERMS)
# One state serves all of them, so a reward holds at most one.
RATIO_NAMES = ("differential_sharpe", "differential_sortino", "differential_information")

# One state vector holds every term's state, whether its weight is 0 or not, so that the layout of
# observations does not depend on weights. Without another ratio it follows the Sharpe ratio.
STATE_NAMES = ("ratio_first_moment", "ratio_second_moment", "worst_excess_drawdown")
STATES = len(STATE_NAMES)


@kernel
def start_reward(state: Float) -> None:
    """State before the first bar of an episode."""
    state[0] = 0.0
    state[1] = 1.0
    state[2] = 0.0


@kernel
def _pay(k: int, value: float, weights: Float, trace: Float) -> float:
    """The weighted share of term k, also added to its trace."""
    share = weights[k] * value
    trace[k] += share
    return share


@kernel
def step_reward(
    state: Float, outcome: Float, parameters: Float, weights: Float, trace: Float
) -> float:
    """One bar's reward, and each term's weighted share added to `trace`.

    Every term that has a state is evaluated, so that the state is right whatever the weights. The
    stateless ones behind the core are skipped together where none has a weight: a single branch
    that a caller can take out of its loop.

    Args:
        state: float64 [STATES], changed in place.
        outcome: One ledger row.
        parameters: float64 [PARAMETERS].
        weights: float64 [TERMS].
        trace: float64 [TERMS], sums over the episode.
    """
    none = state[:0]
    ratio = terms.differential_ratio(state[0:2], outcome, parameters)
    total = _pay(GROWTH, terms.growth(none, outcome, parameters), weights, trace)
    total += _pay(SHARPE, ratio, weights, trace)
    total += _pay(DRAWDOWN, terms.drawdown(state[2:3], outcome, parameters), weights, trace)
    total += _pay(COST, terms.cost(none, outcome, parameters), weights, trace)
    if parameters[terms.P_MORE] != 0.0:
        total += _pay(SORTINO, ratio, weights, trace)
        total += _pay(INFORMATION, ratio, weights, trace)
        total += _pay(TAIL_LOSS, terms.tail_loss(none, outcome, parameters), weights, trace)
        total += _pay(VARIANCE, terms.variance(none, outcome, parameters), weights, trace)
        below = terms.downside_variance(none, outcome, parameters)
        total += _pay(DOWNSIDE_VARIANCE, below, weights, trace)
        spread = terms.diversification(none, outcome, parameters)
        total += _pay(DIVERSIFICATION, spread, weights, trace)
        total += _pay(TURNOVER, terms.turnover(none, outcome, parameters), weights, trace)
    return total


@dataclass(frozen=True)
class Reward:
    """Weights and parameters of a composed reward.

    Attributes:
        weights: Term name -> weight; terms left out weigh 0. At most one differential ratio.
        scale: Return of one bar that counts as 1.
        sharpe_window_bars: Memory of the differential ratio; its rate is 1 / window.
        risk_free_per_bar: Simple return per bar that the ratio is measured above.
        drawdown_target_frac: Drawdown up to which the drawdown term takes nothing.
        sharpe_target_per_bar: Price of risk: the Sharpe ratio per bar at which the largest position
            is worth its variance. The default is 2 a year of 252 bars.
    """

    weights: Mapping[str, float]
    scale: float
    sharpe_window_bars: int = 252
    risk_free_per_bar: float = 0.0
    drawdown_target_frac: float = 0.15
    sharpe_target_per_bar: float = 2.0 / 252.0**0.5

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            require_term(name, TERM_NAMES)
            if not np.isfinite(weight):
                raise RewardError(f"weight of {name}", "must be finite", weight, "Give a number.")
        if len(self._ratios()) > 1:
            raise RewardError(
                "reward weights",
                "must hold at most one differential ratio, since they share one state",
                self._ratios(),
                "Keep the one that says best what you want, and set the others to 0.",
            )
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

        The config's own weights multiply the terms that the phase names: `risk_penalty_weight`
        tail loss and variance, `downside_volatility_weight` downside variance,
        `diversification_bonus_weight` diversification. `transaction_cost_weight` is the weight of
        costs in all, and growth and ratios are net of them already: what it asks for beyond 1
        becomes the weight of the `cost` term, unless that term is weighted explicitly.
        """
        factors = {
            "tail_loss": config.risk_penalty_weight,
            "variance": config.risk_penalty_weight,
            "downside_variance": config.downside_volatility_weight,
            "diversification": config.diversification_bonus_weight,
        }
        scaled = {name: factors.get(name, 1.0) * weight for name, weight in weights.items()}
        scaled.setdefault("cost", config.transaction_cost_weight - 1.0)
        return cls(
            weights=scaled,
            scale=scale,
            sharpe_window_bars=config.sharpe_window_bars,
            risk_free_per_bar=config.risk_free_rate / bars_per_year,
            drawdown_target_frac=config.max_drawdown_target,
            sharpe_target_per_bar=config.sharpe_target / bars_per_year**0.5,
        )

    def weight_vector(self) -> Float:
        """float64 [TERMS] in the order of TERM_NAMES."""
        return np.array([self.weights.get(name, 0.0) for name in TERM_NAMES])

    def parameter_vector(self) -> Float:
        """float64 [PARAMETERS] as the terms read them."""
        vector = np.zeros(terms.PARAMETERS)
        vector[terms.P_UNIT] = 1.0 / self.scale
        vector[terms.P_SHARPE_RATE] = 1.0 / self.sharpe_window_bars
        active = "differential_information" in self._ratios()
        vector[terms.P_RISK_FREE] = 0.0 if active else self.risk_free_per_bar
        vector[terms.P_ACTIVE] = active
        vector[terms.P_DOWNSIDE] = "differential_sortino" in self._ratios()
        vector[terms.P_DRAWDOWN_TARGET] = self.drawdown_target_frac
        vector[terms.P_RISK_PRICE] = self.sharpe_target_per_bar
        vector[terms.P_MORE] = self.weight_vector()[CORE_TERMS:].any()
        return vector

    def worth_of_gain(self, states: Float) -> Float:
        """What a gain of `scale` more in the next bar adds to its reward, to first order around a
        bar that gains nothing: the weight of growth, and of a differential ratio times its
        derivative B / V^(3/2) (`terms.differential_ratio`). Losses' and squares' own terms begin at
        second order.

        Args:
            states: float64 [STATES, E].

        Returns:
            float64 [E].
        """
        worth = np.full(states.shape[1], self.weights.get("growth", 0.0))
        for name in self._ratios():
            first, second = states[0], states[1]
            spread = second if name == "differential_sortino" else second - first * first
            worth += self.weights[name] * second / np.maximum(spread, terms.LEAST_VARIANCE) ** 1.5
        return worth

    def _ratios(self) -> list[str]:
        return [name for name in RATIO_NAMES if self.weights.get(name, 0.0) != 0.0]


def require_term(name: str, known: Sequence[str]) -> None:
    """Refuses a term that is none of the known ones.

    Raises:
        RewardError: It names the nearest one.
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RewardError("reward term", "must be known", name, f"{hint}Known: {', '.join(known)}.")
