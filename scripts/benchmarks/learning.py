# SPDX-License-Identifier: Apache-2.0
"""Does it learn? PPO on markets whose best policy is known.

    python scripts/benchmarks/learning.py                   # our engine, all seeds at once
    python scripts/benchmarks/learning.py --engine sb3      # stable-baselines3, seed by seed
    python scripts/benchmarks/learning.py --seeds 8         # eight specialists at once
    python scripts/benchmarks/learning.py --tasks strong,weak
    python scripts/benchmarks/learning.py --quick           # a few thousand steps: does it run?

One configuration, `training.recommended`, for all markets of `mtquant/data/planted`. Each seed
draws its own training bars, its own held-out bars and its own network. A score is the policy's
growth over the optimum's on the same held-out episodes (`planted_tasks.py`). The last two tasks are
phases 1 and 2 on eight instruments (`planted_hierarchy.py`). docs/learning.md holds the results.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import machine, option_parser, print_result

# isort: split

import numpy as np
import planted_hierarchy as hierarchy
from numpy.typing import NDArray
from planted_tasks import (
    SETTINGS,
    Act,
    HeldOut,
    School,
    Task,
    acts,
    allocation_task,
    build_loop,
    signal_task,
)

from mtquant.agents.training.library import build_ppo, foresight
from mtquant.core.config import config_hash, load_config
from mtquant.core.seeding import SeedTree
from mtquant.data.planted import RANDOM_WALK, STRONG, WEAK
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.learning.threads import use_threads

BARS_A_YEAR = 8_766  # losses a year are counted as if bars were hours
BAND = 0.1  # the optimum may leave a position alone; a trained policy's actions cannot say so
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Scale:
    """How much of everything; the second one is --quick."""

    short: int = 500_000  # training steps
    long: int = 2_000_000
    fresh: int = 4  # training bars per training step, so that episodes seldom meet a bar again
    seeds: int = 3
    accounts: int = 128  # held-out episodes, each also mirrored
    length: int = 2_000  # bars of an episode


QUICK = Scale(short=16_384, long=16_384, seeds=1, accounts=16, length=250)

TASKS: dict[str, tuple[Callable[[], Task], Callable[[Scale], int]]] = {
    "strong": (lambda: signal_task("strong", STRONG, BAND), lambda scale: scale.short),
    "weak": (lambda: signal_task("weak", WEAK, BAND), lambda scale: scale.short),
    "weak_2m": (lambda: signal_task("weak", WEAK, BAND), lambda scale: scale.long),
    "walk": (lambda: signal_task("walk", RANDOM_WALK, BAND), lambda scale: scale.long),
    "allocation": (allocation_task, lambda scale: scale.short),
}
HIERARCHIES: dict[str, tuple[Callable[[], Task], hierarchy.Pupils]] = {
    "phase2_allocation": (allocation_task, hierarchy.pupils_of),
    "good_specialist": (hierarchy.one_good_task, hierarchy.pupils_of_one_good),
}


def schools_of(task: Task, steps: int, scale: Scale, seeds: list[SeedTree]) -> list[School]:
    """Training accounts of every seed."""
    accounts = task.config().training.effective().n_envs
    return [School.of(task, scale.fresh * steps, accounts, node) for node in seeds]


def train_stacked(task: Task, steps: int, scale: Scale, seeds: list[SeedTree]) -> list[Act]:
    """The policies of all seeds, trained at once for `steps` bars each; deterministic."""
    settings = task.config().training.effective()
    loop = build_loop(schools_of(task, steps, scale, seeds), settings, steps)
    while not loop.done:
        loop.iterate()
    return acts(loop)


def train_library(task: Task, steps: int, scale: Scale, seeds: list[SeedTree]) -> list[Act]:
    """The same through stable-baselines3, one seed after the other."""
    return [_library(task, steps, scale, node) for node in seeds]


def _library(task: Task, steps: int, scale: Scale, seeds: SeedTree) -> Act:
    (school,) = schools_of(task, steps, scale, [seeds])
    settings = task.config().training.effective()
    env = MarketVecEnv(school.env)
    model = build_ppo(env, settings, school.scaling, seeds.child("torch").integer(), "cpu")
    model.learn(steps, callback=foresight("ppo", settings))
    return lambda observations: model.predict(observations, deterministic=True)[0]


ENGINES = {"stacked": train_stacked, "sb3": train_library}


def run(name: str, engine: str, scale: Scale, root: int) -> Rows:
    """One row of figures per seed of a task, printed as they come."""
    make, length = TASKS[name]
    task, steps = make(), length(scale)
    roots = range(root, root + scale.seeds)
    # Not by steps: a longer training is judged on the same held-out paths.
    seeds = [SeedTree(seed).child(task.name) for seed in roots]
    wall, cpu = time.perf_counter(), time.process_time()
    policies = ENGINES[engine](task, steps, scale, seeds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name}: {scale.seeds} x {steps:,} steps, {wall:.0f} s, of one core {cpu:.0f} s")
    rows = []
    for seed, node, act in zip(roots, seeds, policies, strict=True):
        row = judge(task, scale, node, act)
        shown = "  ".join(f"{figure} {value:.4g}" for figure, value in row.items())
        print(f"{name}, seed {seed}: {shown}", flush=True)
        rows.append(row)
    return rows


def run_hierarchy(name: str, scale: Scale, root: int) -> Rows:
    """The same of phases 1 and 2: specialists of every seed, then a meta-controller over each."""
    make, pupils = HIERARCHIES[name]
    task, steps = make(), scale.short
    roots = range(root, root + scale.seeds)
    seeds = [SeedTree(seed).child(task.name, "hierarchy") for seed in roots]
    cpu, accounts = time.process_time(), task.config().training.effective().n_envs
    bars = scale.fresh * steps
    hired = [
        hierarchy.train_specialists(task, pupils(task, bars, accounts, node), steps)
        for node in seeds
    ]
    policies = hierarchy.train_meta(task, hired, bars, steps, seeds)
    cpu = time.process_time() - cpu
    networks = f"({hierarchy.COUNT} + 1) x {steps:,}"
    print(f"{name}: {scale.seeds} x {networks} steps, of one core {cpu:.0f} s")
    rows = []
    for seed, node, own, act in zip(roots, seeds, hired, policies, strict=True):
        row = hierarchy.judge(task, own, act, scale.accounts // 4, scale.length, node)
        shown = "  ".join(f"{figure} {value:.4g}" for figure, value in row.items())
        print(f"{name}, seed {seed}: {shown}", flush=True)
        rows.append(row)
    return rows


def judge(task: Task, scale: Scale, node: SeedTree, act: Act) -> dict[str, float]:
    """A policy beside the optimum, which knows when to leave a position alone and gets no band, and
    the hand rules, which get none either.
    """
    held_out = HeldOut(task, scale.accounts, scale.length, node)
    others = held_out
    if task.band > 0.0:
        others = HeldOut(replace(task, band=0.0), scale.accounts, scale.length, node)
    best, own = others.live(task.best), held_out.live(act)

    def share(growth: float) -> float:
        return growth / best.growth if best.growth > 1e-9 else float("nan")

    return {
        "growth": own.growth,
        "best_growth": best.growth,
        "fraction": share(own.growth),
        "luck_a_year": own.luck * BARS_A_YEAR,
        "turnover": own.turnover,
        "best_turnover": best.turnover,
        "loss_a_year": float(-np.expm1(own.growth * BARS_A_YEAR)),
        **{name: share(others.live(rule).growth) for name, rule in task.rules.items()},
    }


def column(rows: Rows, name: str) -> NDArray[np.float64]:
    """One figure of every seed."""
    return np.array([row[name] for row in rows])


def summary(found: dict[str, Rows]) -> dict[str, Any]:
    """The figures of RESULT, of the tasks that ran."""
    wanted: dict[str, tuple[str, str, Callable[[NDArray[np.float64]], Any]]] = {
        "strong_mean": ("strong", "fraction", np.mean),
        "strong_lowest": ("strong", "fraction", np.min),
        "weak_lowest_500k": ("weak", "fraction", np.min),
        "weak_mean_500k": ("weak", "fraction", np.mean),
        "weak_mean_2m": ("weak_2m", "fraction", np.mean),
        "weak_lowest_2m": ("weak_2m", "fraction", np.min),
        "walk_turnover": ("walk", "turnover", np.max),
        "walk_loss": ("walk", "loss_a_year", np.max),
        "allocation_mean": ("allocation", "fraction", np.mean),
        "sign_strong": ("strong", "sign", np.mean),
        "sign_weak": ("weak", "sign", np.mean),
        "allocation": ("phase2_allocation", "fraction", np.mean),
        "allocation_lowest": ("phase2_allocation", "fraction", np.min),
        "equal_weight": ("phase2_allocation", "equal_weight", np.mean),
        "inverse_volatility": ("phase2_allocation", "inverse_volatility", np.mean),
        "good_specialist_weight": ("good_specialist", "first_specialist", np.mean),
        "good_specialist_fraction": ("good_specialist", "fraction", np.mean),
    }
    return {
        name: float(of(column(found[task], figure)))
        for name, (task, figure, of) in wanted.items()
        if task in found
    }


def parse() -> argparse.Namespace:
    """The flags."""
    parser = option_parser(__doc__.splitlines()[0])
    known = (*TASKS, *HIERARCHIES)
    parser.add_argument("--engine", choices=tuple(ENGINES), default="stacked")
    parser.add_argument("--seeds", type=int, default=None, help="seeds, --seed being the first")
    parser.add_argument(
        "--tasks", default=",".join(known), help=f"some of {', '.join(known)}, with commas"
    )
    return parser.parse_args()


def main() -> None:
    """Trains on every market and prints how near the optimum it came."""
    arguments = parse()
    scale = QUICK if arguments.quick else Scale()
    if arguments.seeds:
        scale = replace(scale, seeds=arguments.seeds)
    use_threads(1)
    print(machine(None))
    found = {
        name: run_hierarchy(name, scale, arguments.seed)
        if name in HIERARCHIES
        else run(name, arguments.engine, scale, arguments.seed)
        for name in arguments.tasks.split(",")
    }
    print_result(
        {
            **summary(found),
            "engine": arguments.engine,
            "first_seed": arguments.seed,
            "seeds": scale.seeds,
            "quick": arguments.quick,
            "load": os.getloadavg()[0],
            "config_hash": config_hash(load_config(None, SETTINGS)),
        }
    )


if __name__ == "__main__":
    main()
