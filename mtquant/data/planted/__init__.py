# SPDX-License-Identifier: Apache-2.0
"""Planted markets: bars in which the best policy is known, to measure learning by.

    spec = SignalSpec(beta=4e-4)
    market = signal_market(spec, 100_000, SeedTree(7))     # market.bars, market.features
    optimum = solve_signal(spec)
    optimum.target(signal, exposure)                       # what the best policy asks for

*Signal*: the first feature is an AR(1) signal that predicts the next bar's return, the others are
noise of the same kind. *Allocation*: several instruments under two regimes that a feature shows.
*Random walk*: a signal market whose beta is 0; the best policy does not trade.

Every bar opens at the close before it, so an order decided at a close and filled at the next open
earns exactly the return that was predicted.
"""

from __future__ import annotations

from mtquant.data.planted.allocation import EIGHT, AllocationSpec, allocation_market, best_weights
from mtquant.data.planted.market import PlantedMarket, side_by_side
from mtquant.data.planted.signal import (
    RANDOM_WALK,
    STRONG,
    WEAK,
    SignalOptimum,
    SignalSpec,
    signal_market,
    solve_signal,
)

__all__ = [
    "EIGHT",
    "RANDOM_WALK",
    "STRONG",
    "WEAK",
    "AllocationSpec",
    "PlantedMarket",
    "SignalOptimum",
    "SignalSpec",
    "allocation_market",
    "best_weights",
    "side_by_side",
    "signal_market",
    "solve_signal",
]
