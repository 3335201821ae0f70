# SPDX-License-Identifier: Apache-2.0
"""Markets whose best policy is known as tasks: what `learning.py` and `training.py` share.

A task draws bars to train on and held-out ones, on which the trained policy, the optimum and the
hand rules trade the same episodes through the same desk, deterministically, each episode on its
path and on the mirror image of its noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.crew import Crew
from mtquant.agents.scaling import Scaling, observation_scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.loop import PPOLoop
from mtquant.core.config import Config, load_config
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.data.panel import Panel
from mtquant.data.planted import (
    EIGHT,
    PlantedMarket,
    SignalSpec,
    allocation_market,
    signal_market,
    solve_signal,
)
from mtquant.envs.batch import Batch
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ObservationLayout
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

Float = NDArray[np.float64]
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


@dataclass(frozen=True)
class Task:
    """A market, what is charged and allowed in it, and the policies to print beside."""

    name: str
    draw: Draw
    cost: float
    name_cap: float
    best: Act
    rules: dict[str, Act]
    band: float = 0.0  # `environment.rebalance_band`
    most_bars: int = 2_000_000  # more would not fit memory, or prices not their number format

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The configuration with the market's cost, name cap and band, which are part of it."""
        own = (
            f"environment.transaction_cost={self.cost!r}",
            f"environment.max_position_size={self.name_cap!r}",
            f"environment.rebalance_band={self.band!r}",
        )
        return load_config(None, (*SETTINGS, *own, *overrides))

    def env(
        self,
        market: PlantedMarket,
        accounts: int,
        seeds: SeedTree,
        length: int | None = None,
        unit: float | None = None,
    ) -> MarketEnv:
        """Accounts on a drawn market; `length` replaces the configured episode length, `unit` the
        exposure that an action of 1 asks for.
        """
        environment = self.config().environment
        if length is not None:
            environment = environment.model_copy(update={"episode_length": length})
        panel = Panel.from_bars(market.bars)
        rules = Rules.from_config(environment, market.instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        rows = slice(0, len(panel))
        scale = reward_scale(tape, rows, unit or environment.max_position_size)
        reward = Reward({"growth": 1.0}, scale)
        units = None if unit is None else np.full(len(market.bars), unit)
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
            units,
        )


@dataclass(frozen=True)
class School:
    """Training accounts of one seed, and the scaling of what they observe."""

    env: MarketEnv
    scaling: tuple[Float32, Float32]
    seeds: SeedTree

    @classmethod
    def of(cls, task: Task, bars: int, accounts: int, seeds: SeedTree) -> School:
        """Accounts on training bars that the seed draws."""
        market = task.draw(min(bars, task.most_bars), seeds.child("training"), False)
        return cls.on(task, market, accounts, seeds)

    @classmethod
    def on(cls, task: Task, market: PlantedMarket, accounts: int, seeds: SeedTree) -> School:
        """Accounts on these bars."""
        env = task.env(market, accounts, seeds.child("episodes"))
        scaler = Scaler.fit(market.features[:, 0])
        return cls(env, scaling_of(env.layout, scaler, task.name_cap), seeds)


def signal_task(name: str, spec: SignalSpec, band: float = 0.0) -> Task:
    """A signal market beside its optimum and the sign rule."""
    optimum = solve_signal(spec)

    def best(observations: Float32) -> NDArray[Any]:
        signal, exposure = observations[:, 0], observations[:, spec.inputs]
        return optimum.target(signal.astype(np.float64), exposure.astype(np.float64))[:, None]

    def sign(observations: Float32) -> NDArray[Any]:
        return np.sign(observations[:, :1])

    draw = partial(_draw_signal, spec)
    return Task(name, draw, spec.cost, 1.0, best, {"sign": sign}, band)


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
    return observation_scaling(layout, [scaler] * len(layout.symbols), unit)


def build_loop(schools: Sequence[School], settings: PPOSettings, steps: int) -> PPOLoop:
    """Our engine over one network per school, for `steps` bars each."""
    env = schools[0].env
    actions = len(env.unit)
    shape = PolicyShape(
        env.layout.size, settings.hidden_units, actions, actions if settings.forecast_coef else 0
    )
    seeds = [school.seeds for school in schools]
    stack = ActorCriticStack.fresh(shape, [node.child("torch").integer() for node in seeds])
    scaling = Scaling.of([school.scaling for school in schools], stack.parameters)
    return PPOLoop([school.env for school in schools], stack, scaling, settings, steps, seeds)


def acts(loop: PPOLoop) -> list[Act]:
    """The policies as they are now, by school; deterministic."""
    return [_act(loop, k) for k in range(len(loop.stack))]


def _act(loop: PPOLoop, k: int) -> Act:
    own = ActorCriticStack(loop.stack.shape, loop.stack.parameters[k : k + 1].clone())
    crew = Crew(own, Scaling(loop.scaling.mean[k : k + 1], loop.scaling.scale[k : k + 1]))
    return lambda observations: crew.act(observations[None])[0]


@dataclass(frozen=True)
class Lived:
    """Means per bar over the held-out episodes, and their growth, float64 [2 * accounts]; growth
    without the luck, of which the mean is given.
    """

    growth: float
    luck: float
    turnover: float
    episodes: NDArray[np.float64]


class HeldOut:
    """Episodes that nobody trained on, and their mirror images; every policy meets the same.

    Luck is what the exposures gained from the part of returns that nobody could foresee: its mean
    is 0 whatever the policy, so it is taken out as a control variate (Glasserman, Monte Carlo
    Methods in Financial Engineering, 2003, section 4.1).

    Args:
        task: The market.
        accounts, length: Episodes and their bars.
        seeds: Of bars and of where episodes begin.
        unit: As for `Task.env`.
        around: What the policy acts in: the accounts themselves when None.
    """

    def __init__(
        self,
        task: Task,
        accounts: int,
        length: int,
        seeds: SeedTree,
        unit: float | None = None,
        around: Callable[[MarketEnv], Batch] | None = None,
    ) -> None:
        self.seeds = seeds.child("held_out_episodes")
        self.envs: list[Batch] = []
        self._luck: list[Float] = []
        for mirrored in (False, True):
            market = task.draw(accounts * length, seeds.child("held_out"), mirrored)
            env = task.env(market, accounts, self.seeds, length, unit)
            self._luck.append(count_luck(env, market))
            self.envs.append(env if around is None else around(env))

    def live(self, act: Act) -> Lived:
        """One episode per account and path."""
        ends: list[dict[str, float]] = []
        for env, had in zip(self.envs, self._luck, strict=True):
            env.seed(self.seeds)
            observations = env.reset()
            had[:] = 0.0
            open_accounts = set(range(len(env)))
            while open_accounts:
                for e in env.step(act(observations).astype(np.float32)).tolist():
                    if e in open_accounts:
                        ends.append({**env.episode_end(e).totals, "luck": had[e]})
                        open_accounts.remove(e)
        growth, luck, turnover, length = (
            np.array([end[name] for end in ends])
            for name in ("growth", "luck", "turnover", "length")
        )
        bars = float(length.sum())
        return Lived(
            float((growth - luck).sum() / bars),
            float(luck.sum() / bars),
            float(turnover.sum() / bars),
            (growth - luck) / float(length.mean()),
        )


def count_luck(env: MarketEnv, market: PlantedMarket) -> Float:
    """An array to which every later step adds what the bar brings beyond what could be expected,
    float64 [E]; it goes on through the ends of episodes.
    """
    luck, surprises, plans, step = np.zeros(len(env)), market.surprises(), Luck(env), env.step

    def counted(actions: Float32) -> NDArray[np.int64]:
        exposures = plans.planned((actions * env.unit).astype(np.float32))
        luck[:] += np.einsum("en,en->e", exposures, surprises[env.simulator.row + 1])
        return step(actions)

    env.step = counted  # type: ignore[method-assign]
    return luck
