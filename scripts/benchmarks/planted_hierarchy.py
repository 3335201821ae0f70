# SPDX-License-Identifier: Apache-2.0
"""Does the meta-controller find what there is? Phases 1 and 2 on markets of eight instruments.

Eight specialists train alone, each on its own instrument; then a meta-controller that hears them
shares out capital, as `Phase2Trainer` has it. The markets:

*allocation*: two regimes, in each of which other instruments are worth holding
(`mtquant/data/planted/allocation.py`).

*one good specialist*: all eight have learnt to follow a signal, seven of them in vain: on their
instruments returns follow nothing, and following costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from planted_tasks import Act, HeldOut, School, Task, acts, build_loop, signal_task

from mtquant.agents.crew import Crew
from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.hierarchical import scaling_over
from mtquant.agents.training.loop import PPOLoop
from mtquant.core.seeding import SeedTree
from mtquant.data.planted import (
    RANDOM_WALK,
    STRONG,
    PlantedMarket,
    side_by_side,
    signal_market,
    solve_signal,
)
from mtquant.envs import allocation
from mtquant.envs.hierarchy import Hierarchy
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.meta import MetaControllerBatch

COUNT = 8
Pupils = Callable[[Task, int, int, SeedTree], list[School]]
"""Task, training bars, accounts, seeds -> where the specialists of a seed learn."""
EXPOSURES = 1.0  # the unit of a portfolio under a hierarchy


def alone(market: PlantedMarket, n: int) -> PlantedMarket:
    """Instrument n by itself."""
    own = market.bars[n]
    kept = {own.symbol: market.instruments[own.symbol]}
    return replace(
        market,
        bars=(own,),
        features=market.features[:, n : n + 1].copy(),
        instruments=kept,
        expected=market.expected[:, n : n + 1],
    )


def one_good_task() -> Task:
    """Eight instruments with a signal each, of which only the first one's earns; the best there is
    trades that one as if it were alone.
    """
    single = signal_task("strong", STRONG)
    optimum = solve_signal(STRONG)
    block = STRONG.inputs

    def best(observations: NDArray[np.float32]) -> NDArray[np.float64]:
        signal, exposure = observations[:, 0], observations[:, block]
        wanted = np.zeros((len(observations), COUNT))
        wanted[:, 0] = optimum.target(signal.astype(np.float64), exposure.astype(np.float64))
        return wanted

    return Task("one_good", _draw_one_good, single.cost, 1.0, best, {}, most_bars=250_000)


def _draw_one_good(bars: int, seeds: SeedTree, mirrored: bool) -> PlantedMarket:
    specs = [STRONG, *([RANDOM_WALK] * (COUNT - 1))]
    singles = [
        signal_market(spec, bars, seeds.child(n), mirrored=mirrored) for n, spec in enumerate(specs)
    ]
    return side_by_side(singles)


def pupils_of_one_good(_: Task, bars: int, accounts: int, seeds: SeedTree) -> list[School]:
    """All eight learn where a signal earns."""
    single = signal_task("strong", STRONG)
    return [School.of(single, bars, accounts, seeds.child("pupil", n)) for n in range(COUNT)]


def pupils_of(task: Task, bars: int, accounts: int, seeds: SeedTree) -> list[School]:
    """Each learns on its own instrument of the same market."""
    market = task.draw(min(bars, task.most_bars), seeds.child("training"), False)
    return [
        School.on(task, alone(market, n), accounts, seeds.child("pupil", n)) for n in range(COUNT)
    ]


@dataclass(frozen=True)
class Hired:
    """Frozen specialists, and the portfolio that they speak about."""

    crew: Crew

    def around(self, env: MarketEnv) -> MetaControllerBatch:
        """What the meta-controller acts in."""
        spoken = Hierarchy.of(env).spoken
        return MetaControllerBatch(env, lambda views: self.crew.speak(views)[:, spoken])


def train_specialists(task: Task, schools: Sequence[School], steps: int) -> Hired:
    """Phase 1, all at once."""
    loop = build_loop(schools, task.config().training.effective(), steps)
    while not loop.done:
        loop.iterate()
    return Hired(Crew(loop.stack, loop.scaling))


def train_meta(
    task: Task, hired: Sequence[Hired], bars: int, steps: int, seeds: Sequence[SeedTree]
) -> list[Act]:
    """Phase 2 of several seeds at once; the policies of the meta-controllers, deterministic."""
    settings = task.config().training.effective(2)
    batches, pairs = [], []
    for own, node in zip(hired, seeds, strict=True):
        market = task.draw(min(bars, task.most_bars), node.child("training"), False)
        env = task.env(market, settings.n_envs, node.child("portfolios"), unit=EXPOSURES)
        batch = own.around(env)
        pairs.append(scaling_over(batch, node.child("decisions").generator()))
        batches.append(batch)
    shape = PolicyShape(
        batches[0].observations.shape[1], settings.hidden_units, len(batches[0].unit)
    )
    stack = ActorCriticStack.fresh(shape, [node.child("meta").integer() for node in seeds])
    scaling = Scaling.of(pairs, stack.parameters)
    loop = PPOLoop(batches, stack, scaling, settings, steps, list(seeds))
    while not loop.done:
        loop.iterate()
    return acts(loop)


class Shares:
    """A meta-controller's policy, and what it gave the first specialist.

    Attributes:
        given: Of each decision, the mean share of all that it gave to specialists.
    """

    def __init__(self, act: Act) -> None:
        self._act = act
        self.given: list[float] = []

    def __call__(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Actions, float32 [E, K + 2]."""
        actions = np.asarray(self._act(observations), dtype=np.float32)
        weights, _ = allocation.weights_and_budget(actions)
        self.given.append(float((weights[:, 0] / weights[:, :-1].sum(axis=1)).mean()))
        return actions


def judge(
    task: Task, hired: Hired, meta: Act, accounts: int, length: int, seeds: SeedTree
) -> dict[str, float]:
    """A hierarchy beside the optimum and the hand rules, on the same held-out episodes."""
    plain = HeldOut(task, accounts, length, seeds)
    ours = HeldOut(task, accounts, length, seeds, EXPOSURES, hired.around)
    best, shares = plain.live(task.best), Shares(meta)
    own = ours.live(shares)
    equal = ours.live(_equal)
    return {
        "growth": own.growth,
        "best_growth": best.growth,
        "fraction": own.growth / best.growth,
        "equal_specialists": equal.growth / best.growth,
        "first_specialist": float(np.mean(shares.given)),
        **{name: plain.live(rule).growth / best.growth for name, rule in task.rules.items()},
    }


def _equal(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Everything to the specialists, as much to each."""
    actions = np.zeros((len(observations), COUNT + 2), dtype=np.float32)
    actions[:, COUNT] = -1.0  # cash
    actions[:, -1] = 1.0  # the risk budget
    return actions
