# SPDX-License-Identifier: Apache-2.0
"""Where the nanoseconds of a step go: each stage over all accounts, timed from outside.

The stages run one after the other over the whole batch, on the state that the stages before left,
so branches are as hard to predict as in training. What calling a compiled function costs is
measured with no accounts and taken off. The fused step runs all stages for one account before it
goes to the next, so it may be faster or slower than their sum.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from worlds import Market, random_actions, stagger

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.seeding import SeedTree
from mtquant.market.account import B_MARK, B_RATE, B_TARGET
from mtquant.market.desk import desk_bar
from mtquant.market.execution import charge_financing, fill_orders, liquidate, trigger_stops
from mtquant.market.observation import write_observation
from mtquant.market.planning import plan_account
from mtquant.market.tape import C_ELAPSED, T_OPEN, T_RATE_OPEN
from mtquant.rewards.compose import TERMS, start_reward, step_reward

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]


@kernel
def plan_stage(
    count: int,
    actions: Float32,
    unit: Float,
    account: Float,
    rules: Float,
    caps: Float,
    settings: Float,
    wanted: Float,
) -> None:
    """Actions to queued orders."""
    for e in range(count):
        one = account[e]
        for n in range(unit.shape[0]):
            one[n + 1, B_TARGET] = np.float64(actions[e, n]) * unit[n]
        plan_account(one, rules, caps, settings, wanted)


@kernel
def fill_stage(
    count: int, account: Float, row: Rows, tape: Float, clock: Float, rules: Float, fills: Float
) -> None:
    """Financing, marks at the open, queued orders."""
    for e in range(count):
        one, bar = account[e], tape[row[e]]
        charge_financing(one, rules, clock[row[e], C_ELAPSED])
        for n in range(rules.shape[0]):
            one[n + 1, B_MARK] = bar[n, T_OPEN]
            one[n + 1, B_RATE] = bar[n, T_RATE_OPEN]
        fill_orders(one, bar, row[e], rules, fills)


@kernel
def stop_stage(
    count: int, account: Float, row: Rows, tape: Float, rules: Float, settings: Float, fills: Float
) -> None:
    """Stops and liquidation."""
    for e in range(count):
        one, bar = account[e], tape[row[e]]
        trigger_stops(one, bar, row[e], rules, fills)
        liquidate(one, bar, row[e], rules, settings, fills)


@kernel
def desk_stage(
    count: int,
    account: Float,
    row: Rows,
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    outcomes: Float,
    fills: Float,
) -> None:
    """The whole desk."""
    for e in range(count):
        desk_bar(account[e], row[e], tape, clock, rules, settings, outcomes[e], fills)


@kernel
def reward_stage(
    count: int,
    states: Float,
    outcomes: Float,
    parameters: Float,
    weights: Float,
    trace: Float,
    rewards: Float32,
) -> None:
    """All reward terms."""
    for e in range(count):
        rewards[e] = step_reward(states[e], outcomes[e], parameters, weights, trace[e])


@kernel
def copy_stage(count: int, values: Float32, row: Rows, features: Float32) -> None:
    """The features of one bar into the observation: what any environment has to move."""
    width = features.shape[2]
    for e in range(count):
        k = 0
        for n in range(features.shape[1]):
            block = values[e, k : k + width]
            known = features[row[e], n]
            for f in range(width):
                block[f] = known[f]
            k += width


@kernel
def observe_stage(
    count: int,
    values: Float32,
    account: Float,
    row: Rows,
    features: Float32,
    window: int,
    tape: Float,
    rules: Float,
    outcomes: Float,
    states: Float,
) -> None:
    """The whole observation."""
    for e in range(count):
        known = (features, window, tape, rules, outcomes[e], states[e])
        write_observation(values[e], account[e], row[e], *known)


def profile(market: Market, accounts: int, steps: int, seeds: SeedTree) -> dict[str, float]:
    """Median nanoseconds per account and step: of the stages, of their sum, of the fused step
    without and with what the ends of episodes cost.
    """
    stages = _stages(market, accounts, steps, seeds)
    table = {
        "plan: targets, limits, lots": stages["plan"],
        "fill: financing, marks, orders": stages["fill"],
        "stops and liquidation": stages["stops"],
        "mark at close and outcome": stages["desk"] - stages["fill"] - stages["stops"],
        "reward": stages["reward"],
        "observation: features copied": stages["copy"],
        "observation: the rest": stages["observe"] - stages["copy"],
    }
    table["sum of the stages"] = sum(table.values())
    step, ends = _fused(market, accounts, steps, seeds)
    table["MarketEnv.step, no episode ending"] = step
    table["ends of episodes, spread over all steps"] = ends
    return table


def _stages(market: Market, accounts: int, steps: int, seeds: SeedTree) -> dict[str, float]:
    env = market.env(accounts, seeds)
    env.reset()
    simulator = env.simulator
    account, row, tape = simulator.account, simulator.row, simulator.tape.prices
    rules, settings, clock = simulator.rules_matrix, simulator.settings, simulator.tape.clock
    outcomes, states, features = simulator.outcomes, env.reward_state, env.features
    parameters, weights = env.reward.parameter_vector(), env.reward.weight_vector()
    trace, wanted = np.zeros((accounts, TERMS)), np.zeros(len(env.unit))
    fills, copy = np.zeros((0, len(oc.FILL_COLUMNS))), account.copy()
    copied, values, window = np.zeros_like(env.observations), env.observations, 1
    spent: dict[str, list[int]] = defaultdict(list)

    def timed(name: str, stage: Callable[..., None], *arguments: object) -> None:
        start = time.perf_counter_ns()
        stage(0, *arguments)
        middle = time.perf_counter_ns()
        stage(accounts, *arguments)
        spent[name].append(time.perf_counter_ns() - middle - (middle - start))

    for actions in random_actions(env, steps, seeds):
        timed(
            "plan", plan_stage, actions, env.unit, account, rules, simulator.caps, settings, wanted
        )
        row += 1
        np.copyto(copy, account)
        timed("fill", fill_stage, copy, row, tape, clock, rules, fills)
        timed("stops", stop_stage, copy, row, tape, rules, settings, fills)
        timed("desk", desk_stage, account, row, tape, clock, rules, settings, outcomes, fills)
        timed("reward", reward_stage, states, outcomes, parameters, weights, trace, env.rewards)
        timed("copy", copy_stage, copied, row, features)
        known = (features, window, tape, rules, outcomes, states)
        timed("observe", observe_stage, values, account, row, *known)
        ruined = outcomes[:, oc.STATUS] == oc.STATUS_BANKRUPT
        for e in np.flatnonzero((row >= simulator.end) | ruined):
            simulator.start_episode(int(e))
            start_reward(states[e])
    return {name: float(np.median(times)) / accounts for name, times in spent.items()}


def _fused(market: Market, accounts: int, steps: int, seeds: SeedTree) -> tuple[float, float]:
    """A step in which no episode ends, and the mean time that ends add to a step."""
    env = market.env(accounts, seeds)
    env.reset()
    stagger(env, seeds)
    quiet: list[int] = []
    busy: list[tuple[int, int]] = []
    for actions in random_actions(env, steps, seeds):
        start = time.perf_counter_ns()
        ended = env.step(actions)
        took = time.perf_counter_ns() - start
        if ended:
            busy.append((took, len(ended)))
        else:
            quiet.append(took)
    step = float(np.median(quiet))
    each = float(np.median([(took - step) / ends for took, ends in busy])) if busy else 0.0
    per_step = sum(ends for _, ends in busy) / steps
    return step / accounts, each * per_step / accounts
