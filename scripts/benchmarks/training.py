# SPDX-License-Identifier: Apache-2.0
"""How fast does it train? The stacked PPO engine beside stable-baselines3's PPO.

    python scripts/benchmarks/training.py            # ten minutes on a quiet core
    python scripts/benchmarks/training.py --quick    # under 30 s

One thread, one market (the strong planted one), one network (two towers of 2 x 64 tanh, no message
head). First one update of both on the same rollout has to give the same weights; if it does not,
nothing is timed and the exit code is 1. docs/benchmarks.md explains the figures.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common import machine, options, print_result

# isort: split

import torch
from planted_tasks import HeldOut, School, Task, acts, build_loop, scaling_of, signal_task
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from mtquant.agents.stack import PolicyShape
from mtquant.agents.training.library import build_ppo
from mtquant.agents.training.loop import PPOLoop
from mtquant.core.config import load_config
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.data.planted import STRONG, PlantedMarket
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.features.pipeline import Scaler
from mtquant.learning.products import Held, multiply
from mtquant.learning.threads import use_threads
from mtquant.learning.towers import TowerShape
from tests.support.parity import after_an_update

TOLERANCE = 1e-9  # of a weight, in float64, after one update of three passes
ACCOUNTS = (8, 64, 256)  # what a contestant may choose from, with the same rollout
ENOUGH = 0.95  # share of the optimum


@dataclass(frozen=True)
class Scale:
    """How much of everything; the second one is --quick."""

    specialists: int = 8
    rounds: int = 7
    shrink: int = 1  # what rollouts are divided by
    bars: int = 200_000
    steps: int = 500_000  # of the race to ENOUGH
    looks: int = 12  # on the way there
    racers: int = 2  # runs of stable-baselines3 in the race
    accounts: int = 128  # held-out episodes, each also mirrored
    length: int = 1_000


QUICK = Scale(
    rounds=2, shrink=8, bars=50_000, steps=16_384, looks=1, racers=1, accounts=16, length=100
)


@dataclass
class Timings:
    """Seconds of one contestant's bursts, on the clock and of the processor, and its steps."""

    steps: int
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def burst(self, run: Callable[[], Any]) -> None:
        """Times one burst."""
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    @property
    def per_step(self) -> float:
        """Processor seconds of a step in the fastest burst: it does the same work every time, and
        what else the machine does can only slow it down.
        """
        return min(self.cpu) / self.steps

    def __str__(self) -> str:
        best, middle = min(self.cpu), statistics.median(self.cpu)
        return f"{self.steps / best:9,.0f} steps/s, median {self.steps / middle:9,.0f}"


def settings_of(preset: str, shrink: int, accounts: int | None = None) -> PPOSettings:
    """PPO's numbers of a preset, without the message head, that stable-baselines3 does not train.

    Args:
        preset: "spec" or "recommended".
        shrink: What the rollout is divided by.
        accounts: Of the rollout, whose size stays what it was; the preset's when None.
    """
    own = ("training.forecast_coef=0", f"training.preset={preset}")
    settings = load_config(None, own).training.effective()
    accounts = accounts or settings.n_envs
    steps = settings.rollout_steps // shrink // accounts
    return settings.model_copy(update={"n_envs": accounts, "n_steps": steps})


class Market:
    """One draw of the strong market; every contestant trades it."""

    def __init__(self, bars: int, seeds: SeedTree) -> None:
        self.task: Task = signal_task("strong", STRONG)
        self.drawn: PlantedMarket = self.task.draw(bars, seeds, False)
        self.scaler = Scaler.fit(self.drawn.features[:, 0])

    def school(self, accounts: int, seeds: SeedTree) -> School:
        """Accounts on it."""
        env = self.task.env(self.drawn, accounts, seeds.child("episodes"))
        return School(env, scaling_of(env.layout, self.scaler, 1.0), seeds)

    def loop(self, settings: PPOSettings, count: int, steps: int, seeds: SeedTree) -> PPOLoop:
        """Our engine over `count` specialists."""
        schools = [self.school(settings.n_envs, seeds.child(k)) for k in range(count)]
        return build_loop(schools, settings, steps)

    def library(self, settings: PPOSettings, seeds: SeedTree) -> PPO:
        """stable-baselines3 over one specialist, scaler inside."""
        school = self.school(settings.n_envs, seeds)
        env = MarketVecEnv(school.env)
        return build_ppo(env, settings, school.scaling, seeds.child("torch").integer(), "cpu")


class LibraryBursts:
    """stable-baselines3's own loop, a rollout and an update at a time.

    It gets its stock policy and raw observations: the same towers, and no scaler to pay for.
    """

    def __init__(self, market: Market, settings: PPOSettings, seeds: SeedTree) -> None:
        env = MarketVecEnv(market.school(settings.n_envs, seeds).env)
        self.model = PPO(
            "MlpPolicy",
            env,
            n_steps=settings.n_steps,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            policy_kwargs={"net_arch": list(settings.hidden_units)},
            device="cpu",
        )
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        _, self.callback = self.model._setup_learn(10**9)

    def __call__(self) -> None:
        """One iteration."""
        model = self.model
        model.collect_rollouts(model.env, self.callback, model.rollout_buffer, model.n_steps)
        model.train()


class MatmulFloor:
    """The matrix products of one iteration, forward and backward, and nothing else."""

    def __init__(self, shape: PolicyShape, count: int, settings: PPOSettings) -> None:
        self.settings = settings
        towers = (shape.actor, shape.critic)
        self._inference = [LayerProducts.of(own, count, settings.n_envs) for own in towers]
        self._update = [LayerProducts.of(own, count, settings.batch_size) for own in towers]

    def __call__(self) -> None:
        """One iteration's."""
        settings = self.settings
        for _ in range(settings.n_steps):
            for layers in self._inference:
                for layer in layers:
                    layer.forward()
        for _ in range(settings.n_epochs * settings.rollout_steps // settings.batch_size):
            for layers in self._update:
                for layer in layers:
                    layer.forward()
                for layer in layers:
                    layer.backward()


class LayerProducts:
    """The products of a layer, [K, B, in] @ [K, in, out], into places that are kept."""

    def __init__(self, count: int, batch: int, inputs: int, outputs: int, first: bool) -> None:
        sizes = ((batch, inputs), (inputs, outputs), (batch, outputs))
        drawn = [Held.of(torch.randn(count, *size)) for size in sizes]
        self._seen, self._weights, self._said = drawn
        self._seen_turned, self._weights_turned = self._seen.turned(), self._weights.turned()
        self._by_weights = Held.of(torch.empty(count, inputs, outputs))
        self._by_seen = None if first else Held.of(torch.empty(count, batch, inputs))

    @classmethod
    def of(cls, tower: TowerShape, count: int, batch: int) -> list[LayerProducts]:
        """Of all layers of a tower."""
        sizes = enumerate(tower.layers)
        return [cls(count, batch, inputs, outputs, n == 0) for n, (inputs, outputs) in sizes]

    def forward(self) -> None:
        """What the layer says."""
        multiply(self._seen, self._weights, self._said)

    def backward(self) -> None:
        """Gradients by weights and, behind the first layer, by what the layer saw."""
        multiply(self._seen_turned, self._said, self._by_weights)
        if self._by_seen is not None:
            multiply(self._said, self._weights_turned, self._by_seen)


OURS, FLOOR, THEIRS = "ours", "matmuls", "sb3"


class Contest:
    """One preset's contestants: our engine, its matrix products alone and stable-baselines3, each
    with every number of accounts.

    Attributes:
        timings: By (contestant, accounts).
        loops: Our engine, by accounts.
        configured: The preset's own accounts.
    """

    def __init__(self, market: Market, scale: Scale, preset: str, seeds: SeedTree) -> None:
        self.preset = preset
        self.timings: dict[tuple[str, int], Timings] = {}
        self.loops: dict[int, PPOLoop] = {}
        self._runs: dict[tuple[str, int], Callable[[], Any]] = {}
        self.configured = settings_of(preset, 1).n_envs
        for accounts in sorted({*ACCOUNTS, self.configured}):
            settings = settings_of(preset, scale.shrink, accounts)
            own, steps = seeds.child(accounts), settings.rollout_steps
            loop = market.loop(settings, scale.specialists, 10**9, own.child("ours"))
            floor = MatmulFloor(loop.stack.shape, scale.specialists, settings)
            self._enter((OURS, accounts), scale.specialists * steps, loop.iterate)
            self._enter((FLOOR, accounts), scale.specialists * steps, floor)
            self._enter((THEIRS, accounts), steps, LibraryBursts(market, settings, own))
            self.loops[accounts] = loop

    def _enter(self, name: tuple[str, int], steps: int, run: Callable[[], Any]) -> None:
        self.timings[name], self._runs[name] = Timings(steps), run

    def run(self, rounds: int) -> None:
        """All in turn, so that noise hits all alike; the first round is not counted."""
        for run in self._runs.values():
            run()
        for _ in range(rounds):
            for name, run in self._runs.items():
                self.timings[name].burst(run)
        for (name, accounts), own in self.timings.items():
            print(f"{self.preset:>12} {name:>8}, {accounts:>3} accounts: {own}", flush=True)

    def best(self, name: str) -> int:
        """The number of accounts that suits a contestant best."""
        return min(self.loops, key=lambda accounts: self.timings[name, accounts].per_step)

    def figures(self) -> dict[str, Any]:
        """Ours with the preset's accounts, and beside it with those that suit it best, against
        stable-baselines3 with those that suit it best.
        """
        preset, timings = self.preset, self.timings
        accounts, theirs = self.best(OURS), self.best(THEIRS)
        ours, library = timings[OURS, self.configured], timings[THEIRS, theirs]
        floor = timings[FLOOR, self.configured]
        return {
            f"vs_sb3_{preset}": library.per_step / ours.per_step,
            f"vs_sb3_{preset}_best_accounts": library.per_step / timings[OURS, accounts].per_step,
            f"vs_matmul_floor_{preset}": ours.per_step / floor.per_step,
            f"steps_per_s_{preset}": ours.steps / min(ours.wall),
            f"steps_per_cpu_s_{preset}": 1.0 / ours.per_step,
            f"best_accounts_{preset}": accounts,
            f"sb3_accounts_{preset}": theirs,
            f"shares_{preset}": shares(self.loops[self.configured], 2),
        }


def shares(loop: PPOLoop, rounds: int) -> dict[str, float]:
    """Where the processor time of an iteration goes."""
    spent = dict.fromkeys(("inference", "gae", "update", "all"), 0.0)

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            found = function(*arguments, **named)
            spent[name] += time.process_time() - started
            return found

        return timed

    collector = loop.collector
    rollout, stack, updater = collector.rollout, loop.stack, loop.updater
    rollout.estimate = watched("gae", rollout.estimate)  # type: ignore[method-assign]
    updater.update = watched("update", updater.update)  # type: ignore[method-assign]
    forward, collect = stack.forward, collector.collect

    def watched_collect(gamma: float, lam: float) -> Any:
        stack.forward = watched("inference", forward)  # type: ignore[method-assign]
        found = collect(gamma, lam)
        stack.forward = forward  # type: ignore[method-assign]
        return found

    collector.collect = watched_collect  # type: ignore[method-assign]
    iterate = watched("all", loop.iterate)
    for _ in range(rounds):
        iterate()
    whole = spent.pop("all")
    found = {name: seconds / whole for name, seconds in spent.items()}
    return {"collection": 1.0 - sum(found.values()), **found}


@dataclass
class Race:
    """Processor seconds of training alone, and the share of the optimum at each look."""

    seconds: list[float] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)

    @property
    def arrived(self) -> float | None:
        """Seconds until ENOUGH; None where it never was."""
        good = [s for s, f in zip(self.seconds, self.fractions, strict=True) if f >= ENOUGH]
        return good[0] if good else None


class Judge:
    """Looks at policies on held-out episodes; its time does not count."""

    def __init__(self, market: Market, scale: Scale, seeds: SeedTree) -> None:
        self.held_out = HeldOut(market.task, scale.accounts, scale.length, seeds)
        self.best = self.held_out.live(market.task.best).growth

    def fraction(self, act: Any) -> float:
        """Share of the optimum's growth."""
        return self.held_out.live(act).growth / self.best


def race_ours(market: Market, judge: Judge, scale: Scale, seeds: SeedTree) -> Race:
    """All specialists at once, until their mean is good enough at the end."""
    settings = settings_of("recommended", 1)
    loop = market.loop(settings, scale.specialists, scale.steps, seeds)
    race, spent = Race(), 0.0
    for look in range(1, scale.looks + 1):
        started = time.process_time()
        while not loop.done and loop.steps < look * scale.steps / scale.looks:
            loop.iterate()
        spent += time.process_time() - started
        found = [judge.fraction(act) for act in acts(loop)]
        race.seconds.append(spent)
        race.fractions.append(statistics.fmean(found))
    return race


class Looks(BaseCallback):
    """Looks at stable-baselines3's policy on the way; the time of looking is kept apart."""

    def __init__(self, judge: Judge, scale: Scale) -> None:
        super().__init__()
        self.judge, self.scale, self.race = judge, scale, Race()
        self._looked, self._started = 0.0, 0.0

    def _on_training_start(self) -> None:
        self._started = time.process_time()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """The update is over and the next rollout has not begun."""
        due = (len(self.race.seconds) + 1) * self.scale.steps / self.scale.looks
        if self.num_timesteps >= due:
            self.look()

    def look(self) -> None:
        """How good it is now."""
        now = time.process_time()
        self.race.seconds.append(now - self._started - self._looked)
        self.race.fractions.append(self.judge.fraction(self._act))
        self._looked += time.process_time() - now

    def _act(self, observations: Any) -> Any:
        return self.model.predict(observations, deterministic=True)[0]


def race_theirs(
    market: Market, judge: Judge, scale: Scale, accounts: int, seeds: SeedTree
) -> list[Race]:
    """A few specialists one after the other, through stable-baselines3."""
    settings = settings_of("recommended", 1, accounts)
    races = []
    for k in range(scale.racers):
        model = market.library(settings, seeds.child(k))
        model.set_logger(Logger(folder=None, output_formats=[]))
        looks = Looks(judge, scale)
        model.learn(scale.steps, callback=looks)
        looks.look()
        races.append(looks.race)
    return races


def race(
    market: Market, scale: Scale, accounts: int, seeds: SeedTree
) -> tuple[float | None, float | None]:
    """Processor seconds until all specialists are good enough, ours and stable-baselines3's."""
    judge = Judge(market, scale, seeds)
    ours = race_ours(market, judge, scale, seeds.child("ours"))
    theirs = race_theirs(market, judge, scale, accounts, seeds.child("theirs"))
    for name, run in (("ours", ours), *((f"sb3 {k}", own) for k, own in enumerate(theirs))):
        looks = zip(run.seconds, run.fractions, strict=True)
        print(f"{name:>8}: " + "  ".join(f"{s:.1f} s {f:.3f}" for s, f in looks), flush=True)
    times = [own.arrived for own in theirs]
    arrived = [own for own in times if own is not None]
    one_by_one = statistics.fmean(arrived) * scale.specialists if arrived else None
    return ours.arrived, one_by_one


def main() -> None:
    """Checks, times, races and prints."""
    arguments = options(__doc__.splitlines()[0])
    scale = QUICK if arguments.quick else Scale()
    use_threads(1)
    print(machine(None))
    apart, _ = after_an_update(torch.float64, 3)
    print(f"one update, largest difference of a weight: {apart:.1e}")
    if apart > TOLERANCE:
        sys.exit(1)
    seeds = SeedTree(arguments.seed)
    market = Market(scale.bars, seeds.child("market"))
    figures: dict[str, Any] = {"parity": apart}
    for preset in ("spec", "recommended"):
        contest = Contest(market, scale, preset, seeds.child(preset))
        contest.run(scale.rounds)
        figures |= contest.figures()
    ours_at, theirs_at = race(market, scale, contest.best(THEIRS), seeds.child("race"))
    ratio = theirs_at / ours_at if ours_at and theirs_at else None
    print_result(
        {
            "vs_matmul_floor": figures["vs_matmul_floor_spec"],
            "steps_per_s": figures["steps_per_s_spec"],
            **figures,
            "time_to_95": ours_at,
            "sb3_time_to_95": theirs_at,
            "time_to_95_vs_sb3": ratio,
            "quick": arguments.quick,
            "load": os.getloadavg()[0],
        }
    )


if __name__ == "__main__":
    main()
