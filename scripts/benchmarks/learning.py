# SPDX-License-Identifier: Apache-2.0
"""Does it learn? stable-baselines3's PPO on markets whose best policy is known.

    python scripts/benchmarks/learning.py            # three seeds, 23 million steps
    python scripts/benchmarks/learning.py --quick    # a few thousand steps: does it run?

One configuration, `training.recommended`, for all markets of `mtquant/data/planted.py`. Each seed
draws its own training bars, its own held-out bars and its own network. The policy, the optimum and
the hand rules trade the same held-out episodes through the same desk, deterministically, each
episode on its path and on the mirror image of its noise. A score is the policy's growth over the
optimum's. docs/learning.md holds the results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from common import machine, options, print_result

# isort: split

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.scaling import observation_scaling
from mtquant.agents.training.library import build_ppo
from mtquant.core.config import Config, config_hash, load_config
from mtquant.core.seeding import SeedTree
from mtquant.data.panel import Panel
from mtquant.data.planted import (
    EIGHT,
    RANDOM_WALK,
    STRONG,
    WEAK,
    PlantedMarket,
    SignalSpec,
    allocation_market,
    signal_market,
    solve_signal,
)
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ObservationLayout
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

Float32 = NDArray[np.float32]
Act = Callable[[Float32], NDArray[Any]]
"""Observations float32 [E, size] -> actions [E, N]."""
Draw = Callable[[int, SeedTree, bool], PlantedMarket]
"""Bars, seeds, mirrored -> a market."""

SETTINGS = (
    "training.preset=recommended",
    "environment.cost_model=flat",
    "environment.cost_draw_range=[1.0, 1.0]",
    "environment.stop_loss_pct=0",
    "environment.warmup_steps=0",
    "environment.max_position_size=1.0",
    "environment.max_gross_exposure=1.0",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
    "reward.phase_1={growth: 1.0}",
)
SEEDS = 3
BARS_A_YEAR = 8_766  # losses a year are counted as if bars were hours


@dataclass(frozen=True)
class Scale:
    """How much of everything; the second one is --quick."""

    short: int = 500_000  # training steps
    long: int = 2_000_000
    fresh: int = 4  # training bars per training step, so that episodes seldom meet a bar again
    seeds: int = SEEDS
    accounts: int = 128  # held-out episodes, each also mirrored
    length: int = 2_000  # bars of an episode


QUICK = Scale(short=16_384, long=16_384, seeds=1, accounts=16, length=250)


@dataclass(frozen=True)
class Task:
    """A market, what is charged and allowed in it, and the policies to print beside."""

    name: str
    draw: Draw
    cost: float
    name_cap: float
    best: Act
    rules: dict[str, Act]
    most_bars: int = 4_000_000  # more would not fit memory, or prices not their number format

    def config(self) -> Config:
        """The configuration with the market's cost and name cap, which are part of the market."""
        own = (
            f"environment.transaction_cost={self.cost!r}",
            f"environment.max_position_size={self.name_cap!r}",
        )
        return load_config(None, (*SETTINGS, *own))

    def env(
        self, market: PlantedMarket, accounts: int, seeds: SeedTree, length: int | None = None
    ) -> MarketEnv:
        """Accounts on a drawn market; `length` replaces the configured episode length."""
        environment = self.config().environment
        if length is not None:
            environment = environment.model_copy(update={"episode_length": length})
        panel = Panel.from_bars(market.bars)
        rules = Rules.from_config(environment, market.instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        rows = slice(0, len(panel))
        scale = reward_scale(tape, rows, environment.max_position_size)
        reward = Reward({"growth": 1.0}, scale)
        return MarketEnv(
            tape,
            rules,
            market.features,
            market.feature_names,
            reward,
            rows,
            accounts,
            environment,
            seeds,
        )


def signal_task(name: str, spec: SignalSpec) -> Task:
    """A signal market beside its optimum and the sign rule."""
    optimum = solve_signal(spec)

    def best(observations: Float32) -> NDArray[Any]:
        signal, exposure = observations[:, 0], observations[:, spec.inputs]
        return optimum.target(signal.astype(np.float64), exposure.astype(np.float64))[:, None]

    def sign(observations: Float32) -> NDArray[Any]:
        return np.sign(observations[:, :1])

    draw = partial(_draw_signal, spec)
    return Task(name, draw, spec.cost, 1.0, best, {"sign": sign})


def _draw_signal(spec: SignalSpec, bars: int, seeds: SeedTree, mirrored: bool) -> PlantedMarket:
    return signal_market(spec, bars, seeds, mirrored=mirrored)


def allocation_task() -> Task:
    """The allocation market beside its best weights, equal weight and inverse volatility."""
    cap, count = EIGHT.max_position_size, EIGHT.means.shape[1]
    weights = EIGHT.best_weights()
    equal = np.full((2, count), 1.0 / count)
    inverse = 1.0 / EIGHT.deviations
    inverse /= inverse.sum(axis=1, keepdims=True)

    def by_regime(table: NDArray[np.float64]) -> Act:
        return lambda observations: table[(observations[:, 0] > 0.0).astype(int)] / cap

    rules = {"equal_weight": by_regime(equal), "inverse_volatility": by_regime(inverse)}
    return Task(
        "allocation", _draw_allocation, 0.0, cap, by_regime(weights), rules, most_bars=100_000
    )


def _draw_allocation(bars: int, seeds: SeedTree, mirrored: bool) -> PlantedMarket:
    return allocation_market(EIGHT, bars, seeds, mirrored=mirrored)


def scaling_of(layout: ObservationLayout, scaler: Scaler, unit: float) -> tuple[Float32, Float32]:
    """Mean and scale of a portfolio's observation: that of one instrument, once for each."""
    one = ObservationLayout(
        layout.symbols[:1], layout.feature_names, layout.window_bars, layout.reward_state_names
    )
    count = len(layout.symbols)
    mean, scale = (
        np.concatenate((np.tile(part[: one.block_size], count), part[one.block_size :]))
        for part in observation_scaling(one, scaler, unit)
    )
    return mean, scale


def train(task: Task, steps: int, scale: Scale, seeds: SeedTree) -> Act:
    """The policy after `steps` bars lived through; deterministic."""
    config = task.config()
    settings = config.training.effective()
    market = task.draw(min(scale.fresh * steps, task.most_bars), seeds.child("training"), False)
    env = task.env(market, settings.n_envs, seeds.child("episodes"))
    scaler = Scaler.fit(market.features[:, 0])
    scaling = scaling_of(env.layout, scaler, config.environment.max_position_size)
    model = build_ppo(
        MarketVecEnv(env), settings, scaling, seeds.child("torch").integer(), "cpu"
    ).learn(steps)
    return lambda observations: model.predict(observations, deterministic=True)[0]


@dataclass(frozen=True)
class Lived:
    """Means per bar over the held-out episodes, and their growth, float64 [2 * accounts]."""

    growth: float
    turnover: float
    episodes: NDArray[np.float64]


class HeldOut:
    """Episodes that nobody trained on, and their mirror images; every policy meets the same."""

    def __init__(self, task: Task, scale: Scale, seeds: SeedTree) -> None:
        self.seeds, self.length = seeds.child("held_out_episodes"), scale.length
        bars = scale.accounts * scale.length
        self.envs = [
            task.env(
                task.draw(bars, seeds.child("held_out"), mirrored),
                scale.accounts,
                self.seeds,
                scale.length,
            )
            for mirrored in (False, True)
        ]

    def live(self, act: Act) -> Lived:
        """One episode per account and path."""
        ends = []
        for env in self.envs:
            env.seed(self.seeds)
            observations = env.reset()
            open_accounts = set(range(len(env)))
            while open_accounts:
                for e in env.step(np.asarray(act(observations), dtype=np.float32)).tolist():
                    if e in open_accounts:
                        ends.append(env.episode_end(e).totals)
                        open_accounts.remove(e)
        growth, turnover, length = (
            np.array([end[name] for end in ends]) for name in ("growth", "turnover", "length")
        )
        bars = float(length.sum())
        return Lived(
            float(growth.sum() / bars), float(turnover.sum() / bars), growth / float(length.mean())
        )


def run(task: Task, steps: int, scale: Scale, root: int) -> list[dict[str, float]]:
    """One row of figures per seed, printed as it comes."""
    rows = []
    for seed in range(root, root + scale.seeds):
        # Not by steps: a longer training is judged on the same held-out paths.
        seeds = SeedTree(seed).child(task.name)
        started = time.perf_counter()
        act = train(task, steps, scale, seeds)
        seconds = time.perf_counter() - started
        held_out = HeldOut(task, scale, seeds)
        best, own = held_out.live(task.best), held_out.live(act)
        row = {
            "growth": own.growth,
            "best_growth": best.growth,
            "fraction": own.growth / best.growth if best.growth > 1e-9 else float("nan"),
            "turnover": own.turnover,
            "loss_a_year": -np.expm1(own.growth * BARS_A_YEAR),
            "seconds": seconds,
        }
        for name, rule in task.rules.items():
            row[name] = held_out.live(rule).growth / best.growth if best.growth > 1e-9 else np.nan
        rows.append(row)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        print(f"{task.name} {steps} steps, seed {seed}: {shown}", flush=True)
    return rows


def column(rows: list[dict[str, float]], name: str) -> NDArray[np.float64]:
    """One figure of every seed."""
    return np.array([row[name] for row in rows])


def main() -> None:
    """Trains on every market and prints how near the optimum it came."""
    arguments = options(__doc__.splitlines()[0])
    scale = QUICK if arguments.quick else Scale()
    torch.set_num_threads(1)
    print(machine(None))
    root = arguments.seed
    strong = run(signal_task("strong", STRONG), scale.short, scale, root)
    weak = signal_task("weak", WEAK)
    weak_short = run(weak, scale.short, scale, root)
    weak_long = run(weak, scale.long, scale, root)
    walk = run(signal_task("walk", RANDOM_WALK), scale.long, scale, root)
    allocation = run(allocation_task(), scale.short, scale, root)
    print_result(
        {
            "strong_mean": column(strong, "fraction").mean(),
            "strong_lowest": column(strong, "fraction").min(),
            "weak_lowest_500k": column(weak_short, "fraction").min(),
            "weak_mean_500k": column(weak_short, "fraction").mean(),
            "weak_mean_2m": column(weak_long, "fraction").mean(),
            "weak_lowest_2m": column(weak_long, "fraction").min(),
            "walk_turnover": column(walk, "turnover").max(),
            "walk_loss": column(walk, "loss_a_year").max(),
            "allocation_mean": column(allocation, "fraction").mean(),
            "sign_strong": column(strong, "sign").mean(),
            "sign_weak": column(weak_short, "sign").mean(),
            "equal_weight": column(allocation, "equal_weight").mean(),
            "inverse_volatility": column(allocation, "inverse_volatility").mean(),
            "seeds": scale.seeds,
            "quick": arguments.quick,
            "load": os.getloadavg()[0],
            "config_hash": config_hash(load_config(None, SETTINGS)),
        }
    )


if __name__ == "__main__":
    main()
