# SPDX-License-Identifier: Apache-2.0
"""Where the nanoseconds of a step go: the fused loop, cut off after each of its stages.

All accounts go through the first k stages, for k = 0, 1, ...; what a stage costs is the difference
between two neighbours. Before each cut the accounts are put back to where the step began, so every
cut sees the same state, orders are as hard to predict as in training, and blocks come from and go
to memory as they do there.
"""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from worlds import Market, random_actions, stagger

from mtquant.core.compiled import kernel
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.envs.fused import (
    FRONT,
    TRACE,
    ask_for_bars,
    ask_for_features,
    copy_columns,
    enter_book,
    open_book,
    reward_block,
)
from mtquant.market.account import ACCOUNT
from mtquant.market.desk import close_bar, open_bar
from mtquant.market.execution import liquidate, trigger_stops
from mtquant.market.observation import see_block, write_observations
from mtquant.market.planning import Limits, plan_block
from mtquant.market.tape import S_TARGET, sheet_at

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

STAGES = (
    "accounts to the workbench and back",
    "plan: targets, limits, lots",
    "financing, open, orders filled",
    "stops and liquidation",
    "mark at close and outcome",
    "reward and sums over the episode",
    "observation: all but the features",
    "observation: written with its features, what comes next asked for",
)


@kernel
def cut_step(
    stages: int,
    n_instruments: int,
    actions: Float32,
    unit: Float,
    blocks: Float,
    books: Float,
    rows: Rows,
    end: Rows,
    tape: Float,
    clock: Float,
    features: Float32,
    rules: Float,
    settings: Float,
    limits: Limits,
    parameters: Float,
    weights: Float,
    rewards: Float32,
    values: Float32,
    work: Float,
    sheet: Float,
    seen: Float32,
) -> None:
    """The first `stages` stages for all accounts (a multiple of LANES)."""
    block = work[FRONT:]
    for b in range(blocks.shape[0]):
        first = b * LANES
        row = rows[first : first + LANES]
        open_book(books[b], work)
        copy_columns(blocks[b], work[FRONT + ACCOUNT :])
        if stages >= 8:
            ask_for_features(row, features, LANES)
        if stages >= 2:
            for n in range(n_instruments):
                for i in range(LANES):
                    sheet[sheet_at(n, S_TARGET) + i] = np.float64(actions[first + i, n]) * unit[n]
            plan_block(block, sheet, row, rules, settings, limits, LANES)
        for i in range(LANES):
            row[i] += 1
        if stages >= 3:
            open_bar(block, row, tape, clock, rules, settings, None, sheet, LANES)
        if stages >= 4:
            trigger_stops(block, sheet, row, rules, None)
            liquidate(block, sheet, row, rules, settings, None, LANES)
        if stages >= 5:
            close_bar(block, sheet, rules, settings)
        if stages >= 8:
            ask_for_bars(first + LANES, actions, rows, end, tape, clock, limits[4])
        if stages >= 6:
            reward_block(work, parameters, weights, rewards[first : first + LANES], LANES)
            enter_book(work, books[b], parameters)
        if stages >= 7:
            see_block(block, sheet, rules, work[:TRACE], seen)
        if stages >= 8:
            write_observations(values, first, LANES, row, features, 1, seen)
        copy_columns(work[FRONT + ACCOUNT :], blocks[b])


def profile(market: Market, accounts: int, steps: int, seeds: SeedTree) -> dict[str, float]:
    """Median nanoseconds per account and step: of the stages, of their sum, of the fused step
    without and with what the ends of episodes cost.
    """
    table = _stages(market, accounts, steps // len(STAGES), seeds)
    table["sum of the stages"] = sum(table.values())
    step, ends = _fused(market, accounts, steps, seeds)
    table["MarketEnv.step, no episode ending"] = step
    table["ends of episodes, spread over all steps"] = ends
    return table


def _stages(market: Market, accounts: int, steps: int, seeds: SeedTree) -> dict[str, float]:
    env = market.env(accounts, seeds)
    env.reset()
    stagger(env, seeds)
    simulator, tape = env.simulator, env.simulator.tape
    changing = (simulator.blocks, env._books, simulator.rows)
    spent: dict[int, list[int]] = defaultdict(list)
    for actions in random_actions(env, steps, seeds):
        before = [array.copy() for array in changing]
        for stages in range(1, len(STAGES) + 1):
            start = time.thread_time_ns()
            cut_step(
                stages,
                len(env.unit),
                actions,
                env.unit,
                *changing,
                simulator.end,
                tape.prices,
                tape.clock,
                env.features,
                simulator.rules_matrix,
                simulator.settings,
                simulator.limits,
                env._parameters,
                env._weights,
                env.rewards,
                env.observations,
                env._block,
                env._sheet,
                env._seen,
            )
            spent[stages].append(time.thread_time_ns() - start)
            for array, kept in zip(changing, before, strict=True):
                np.copyto(array, kept)
        env.step(actions)
    medians = [0.0] + [float(np.median(spent[k])) / accounts for k in sorted(spent)]
    return dict(zip(STAGES, np.diff(medians).tolist(), strict=True))


def _fused(market: Market, accounts: int, steps: int, seeds: SeedTree) -> tuple[float, float]:
    """A step in which no episode ends, and the mean time that ends add to a step."""
    env = market.env(accounts, seeds)
    env.reset()
    stagger(env, seeds)
    quiet: list[int] = []
    busy: list[tuple[int, int]] = []
    for actions in random_actions(env, steps, seeds):
        start = time.thread_time_ns()
        ended = env.step(actions)
        took = time.thread_time_ns() - start
        if len(ended):
            busy.append((took, len(ended)))
        else:
            quiet.append(took)
    step = float(np.median(quiet))
    each = float(np.median([(took - step) / ends for took, ends in busy])) if busy else 0.0
    per_step = sum(ends for _, ends in busy) / steps
    return step / accounts, each * per_step / accounts
