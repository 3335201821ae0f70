# SPDX-License-Identifier: Apache-2.0
"""Two other trading environments on the same closes, driven as their documentation shows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WINDOW_BARS = 16  # of gym-anytrading: price and difference, 32 numbers
FEATURES = 32  # of gym-trading-env, which adds two of its own
COST = 1e-4

SIMULATES = (
    (
        "mtquant",
        "fills at the next open; spread, slippage, commission, financing by elapsed time; lots; "
        "margin; stop-loss and take-profit inside the bar; name and gross limits; liquidation; "
        "currencies; drawn costs; orders cut to volume; any exposure in [-1, 1]",
        "market impact, an order book",
    ),
    (
        "gym-anytrading",
        "profit of long trades with a fee of 1.5 % a round trip; buy or sell, all in",
        "profit of shorts, spread, slippage, financing, lots, margin, stops, limits, liquidation, "
        "currencies; its reward is the raw price difference, without the fee",
    ),
    (
        "gym-trading-env",
        "proportional fee, interest on what is borrowed, long and short, listed positions; fills "
        "at the close decided at",
        "spread and slippage, lots, margin, stops, limits, liquidation, currencies",
    ),
)


def anytrading(closes: NDArray[np.float64]) -> Any:
    """gym-anytrading's StocksEnv over the whole series."""
    from gym_anytrading.envs import StocksEnv

    frame = pd.DataFrame({"Close": closes})
    return StocksEnv(df=frame, window_size=WINDOW_BARS, frame_bound=(WINDOW_BARS, len(closes)))


def trading_env(closes: NDArray[np.float64], features: NDArray[np.float32]) -> Any:
    """gym-trading-env's TradingEnv over the whole series, with 32 feature columns."""
    with warnings.catch_warnings():  # importing it turns every warning into an error
        from gym_trading_env.environments import TradingEnv

    names = [f"feature_{f}" for f in range(FEATURES)]
    frame = pd.DataFrame(features, columns=names)
    for name in ("open", "high", "low", "close"):
        frame[name] = closes
    frame.index = pd.date_range("2000-01-01", periods=len(closes), freq="D")
    return TradingEnv(
        df=frame,
        positions=[-1, 0, 1],
        trading_fees=COST,
        borrow_interest_rate=COST,
        verbose=0,
    )


def gymnasium_run(env: Any, actions: Sequence[Any]) -> Callable[[int], float]:
    """Steps one Gymnasium environment with these actions in turn, resetting it where it ends; the
    sum of its rewards comes back.
    """
    env.reset(seed=0)
    feed = cycle(actions)

    def run(steps: int) -> float:
        total = 0.0
        for action in islice(feed, steps):
            _, reward, terminated, truncated, _ = env.step(action)
            total += reward
            if terminated or truncated:
                env.reset()
        return total

    return run
