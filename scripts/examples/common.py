# SPDX-License-Identifier: Apache-2.0
"""What the examples share: bundled bars, their arguments, and one episode over held-out bars."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mtquant.agents.networks import ObservationScaler
from mtquant.agents.training.portfolio import PortfolioWorld
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import load_config
from mtquant.data.instruments import load_instruments
from mtquant.data.sources import load_bars, split_bars
from mtquant.learning.threads import use_threads
from mtquant.workflows.environments import market_world

SYMBOL = "SPX500"
SHORT = ("environment.episode_length=250",)  # a year of daily bars


def arguments(argv: Sequence[str] | None, steps: int) -> argparse.Namespace:
    """`--steps` and `--seed`; one thread, since more only wait for each other at this size."""
    use_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=steps, help="bars to train for")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def specialist_world() -> SpecialistWorld:
    """Daily bars of the S&P 500 that the arch package carries."""
    return market_world(SYMBOL, overrides=SHORT)


def portfolio_world() -> PortfolioWorld:
    """All bundled series: S&P 500, NASDAQ and WTI."""
    config, instruments = load_config(None, SHORT), load_instruments()
    bars = load_bars(config.data, instruments)
    return PortfolioWorld.build(bars, split_bars(bars, config.data), config, instruments)


def scaling(world: SpecialistWorld) -> dict[str, Any]:
    """`policy_kwargs` that put the training rows' scaling into any stable-baselines3 policy."""
    mean, scale = world.scaling()
    return {
        "features_extractor_class": ObservationScaler,
        "features_extractor_kwargs": {"mean": mean.tolist(), "scale": scale.tolist()},
    }


def episode(
    env: gymnasium.Env[NDArray[np.float32], NDArray[np.float32]],
    act: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> tuple[int, float]:
    """Bars and simple return of one episode."""
    seen, _ = env.reset()
    while True:
        seen, _, terminated, truncated, info = env.step(act(seen))
        if terminated or truncated:
            totals = info["totals"]
            return int(totals["length"]), float(np.expm1(totals["growth"]))


def report(did: str, bars: int, result: float, other: str, others: float) -> None:
    """One line about what was done, and what it does not show."""
    print(
        f"{did}; on {bars} held-out bars it then made {result:+.2%}, {other} {others:+.2%}. "
        "A run this short shows that the interface works, not that anything was learnt."
    )
