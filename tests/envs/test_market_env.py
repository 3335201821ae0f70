# SPDX-License-Identifier: Apache-2.0
"""The fused training kernel: a batch is its singles, and an episode is what the desk would do."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.envs.fused import (
    DONE_TERMINATED,
    DONE_TRUNCATED,
    EPISODE_NAMES,
    STATE_ROWS,
    step_accounts,
)
from mtquant.envs.market_env import MarketEnv, reward_scale
from mtquant.market.account import (
    A_COST_SCALE,
    A_EQUITY,
    ACCOUNT,
    B_AVERAGE,
    B_MARK,
    B_POSITION,
    B_RATE,
    at,
)
from mtquant.market.desk import Desk
from mtquant.market.tape import T_CLOSE, T_TRADABLE
from mtquant.rewards.compose import STATE_NAMES, TERM_NAMES, Reward
from tests.support.portfolios import OneBranch
from tests.support.tapes import hand_rules, hand_tape, random_world

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ("close", "noise", "late")
GROWTH = Reward({"growth": 1.0}, scale=1.0)
MIXED = Reward(
    {"growth": 0.5, "differential_sharpe": 1.0, "drawdown": 0.3, "cost": 0.2}, scale=0.02
)


def features_of(tape, seed=0):
    generator = np.random.Generator(np.random.PCG64(seed))
    shape = (len(tape.stamps), len(tape.symbols))
    columns = [tape.prices[:, :, T_CLOSE], generator.normal(size=shape), np.full(shape, 7.0)]
    features = np.stack(columns, axis=-1).astype(np.float32)
    features[:3, :, 2] = np.nan  # a warm-up
    return features


def make_env(world, n_accounts, seeds, reward=MIXED, times=1, **environment):
    """`times`: how often every feature is there."""
    settings = {
        "episode_length": 12,
        "window_bars": 2,
        "cost_draw_range": (0.5, 2.0),
        "max_position_size": 3.0,
        **environment,
    }
    return MarketEnv(
        world.tape,
        world.rules,
        np.tile(features_of(world.tape), times),
        tuple(name + k * "'" for k in range(times) for name in FEATURES),
        reward,
        slice(4, len(world.tape.stamps)),
        n_accounts,
        EnvironmentConfig(**settings),
        seeds,
    )


def scalar(env, account, column):
    """One number of one account of a batch."""
    return env.simulator.account(account)[(column - ACCOUNT) // LANES]


def scale_of(env, account):
    return float(scalar(env, account, A_COST_SCALE))


def actions_of(seed, steps, accounts, instruments):
    generator = np.random.Generator(np.random.PCG64(seed))
    actions = generator.uniform(-1.0, 1.0, (steps, accounts, instruments)).astype(np.float32)
    actions[generator.random(actions.shape) < 0.2] = np.nan
    return actions


def record(env, actions, shorter=0):
    """Everything that a run of the environment says, as bytes per step and account; the first
    episodes are `shorter` by so many bars.
    """
    told = [[one.tobytes() for one in env.reset()]]
    env.simulator.end[:] -= shorter
    for step in actions:
        ends = {e: env.episode_end(e) for e in env.step(np.ascontiguousarray(step)).tolist()}
        told.append(
            [
                (
                    env.observations[e].tobytes(),
                    env.rewards[e].tobytes(),
                    int(env.done[e]),
                    env.simulator.account(e).tobytes(),
                    (
                        ends[e].terminal_observation.tobytes(),
                        ends[e].truncated,
                        tuple(ends[e].totals.items()),
                        ends[e].terms.tobytes(),
                        ends[e].outcome.tobytes(),
                    )
                    if e in ends
                    else None,
                )
                for e in range(len(env))
            ]
        )
    return told


@hypothesis_settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 19]))
def test_a_batch_is_as_many_batches_of_one(seed, accounts):
    world = random_world(seed, rows=40)
    seeds = SeedTree(seed, ("env",))
    actions = actions_of(seed, 40, accounts, len(world.tape.symbols))
    shorter = np.arange(accounts) % 7  # some episodes of a block end while others go on
    batch = record(make_env(world, accounts, seeds), actions, shorter)
    assert sum(told[0][2] > 0 for told in batch[1:]) >= 2  # several episodes
    for e in range(accounts):
        single = make_env(world, 1, OneBranch(seeds.root, seeds.path, e))
        alone = record(single, actions[:, e : e + 1], shorter[e])
        assert alone == [[told[e]] for told in batch]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    world = random_world(1, rows=40)
    actions = actions_of(1, 30, 3, len(world.tape.symbols))
    first = record(make_env(world, 3, SeedTree(5)), actions)
    assert first == record(make_env(world, 3, SeedTree(5)), actions)
    assert first != record(make_env(world, 3, SeedTree(6)), actions)
    env = make_env(world, 3, SeedTree(6))
    env.reset()
    env.seed(SeedTree(5))  # takes effect at the next reset
    assert record(env, actions) == first


@hypothesis_settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_an_episode_is_what_the_desk_does(seed):
    """The same actions through `Desk`: equal outcomes and an equal account, byte for byte."""
    world = random_world(seed, rows=40)
    env = make_env(world, 1, SeedTree(seed), GROWTH)
    env.reset()
    scale = scale_of(env, 0)
    assert 0.5 <= scale <= 2.0
    desk = Desk(
        world.tape, world.rules, "test", start_row=int(env.simulator.row[0]), cost_scale=scale
    )
    total = 0.0
    for action in actions_of(seed, 40, 1, len(world.tape.symbols)):
        desk.plan(action[0].astype(np.float64) * 3.0)
        outcome = desk.advance()
        ends = env.step(action)
        total += outcome[oc.GROWTH]
        assert env.rewards[0] == np.float32(outcome[oc.GROWTH])
        if len(ends):
            end = env.episode_end(0)
            assert end.outcome.tobytes() == outcome.tobytes()
            assert end.truncated == (not desk.bankrupt)
            assert end.drawdown == outcome[oc.DRAWDOWN]
            assert end.totals["growth"] == end.totals["reward"] == pytest.approx(total, abs=1e-12)
            assert end.totals["length"] == len(desk.ledger())
            for name in ("turnover", "cost", "gross"):
                assert end.totals[name] == pytest.approx(desk.ledger().column(name).sum())
            assert end.totals["bound_bars"] == (desk.ledger().column("binding") > 0).sum()
            stopped = desk.ledger().fills[:, oc.FILL_ORIGIN] != oc.ORIGIN_ORDER
            assert end.totals["stops"] == stopped.sum()
            break
        assert env.simulator.account(0).tobytes() == desk.account[ACCOUNT // LANES :].tobytes()
        assert env.outcome(0).tobytes() == outcome.tobytes()
    else:
        raise AssertionError("an episode of 12 bars ended nowhere")
    if end.truncated:
        assert desk.row == len(world.tape.stamps) - 1 or len(desk.ledger()) == 12


SPREAD = Reward({"diversification": 1.0}, scale=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_spread_risk_is_paid_for_as_the_desk_writes_it(seed):
    """Ledger and batch write one number where the reward has the term, and a batch is as many
    batches of one; without the term nobody works risks out.
    """
    world = random_world(seed, rows=90, instruments=3, ugly=False, max_volatility=1e9)
    late = slice(50, 90)  # every risk is known

    def make(accounts, seeds, reward):
        env = make_env(world, accounts, seeds, reward)
        env.simulator.allow(late)
        env.seed(seeds)
        return env

    actions = actions_of(seed, 12, 9, 3)
    seeds = SeedTree(seed, ("env",))
    batch = make(9, seeds, SPREAD)
    told = record(batch, actions)
    assert sum(batch.episode_end(e).totals["reward"] > 0.0 for e in range(9)) >= 5
    for e in (0, 8):
        single = make(1, OneBranch(seeds.root, seeds.path, e), SPREAD)
        assert record(single, actions[:, e : e + 1]) == [[each[e]] for each in told]

    env, idle = make(1, seeds, SPREAD), make(1, seeds, GROWTH)
    env.reset(), idle.reset()
    desk = Desk(world.tape, world.rules, "test", int(env.simulator.row[0]), None, scale_of(env, 0))
    for action in actions[:11, :1]:
        desk.plan(action[0].astype(np.float64) * 3.0)
        outcome = desk.advance()
        assert not len(env.step(action)) and not len(idle.step(action))
        assert env.outcome(0).tobytes() == outcome.tobytes()
        assert idle.outcome(0)[oc.DIVERSIFICATION] == 0.0


# --- the end of an episode ---


def test_time_truncates_and_the_terminal_observation_is_kept():
    world = random_world(2, rows=60, instruments=2, ugly=False)
    env = make_env(world, 1, SeedTree(0), episode_length=5)
    names = env.layout.names()
    env.reset()
    for step in range(1, 11):
        ends = env.step(np.full((1, 2), 0.1, dtype=np.float32))
        assert bool(len(ends)) == (step % 5 == 0)
        assert env.done[0] == (DONE_TRUNCATED if len(ends) else 0)
        if len(ends):
            end = env.episode_end(0)
            assert ends.tolist() == [0] and end.truncated
            assert set(end.totals) == set(EPISODE_NAMES) and end.totals["length"] == 5.0
            assert end.terms.sum() == pytest.approx(end.totals["reward"], rel=1e-12)
            assert len(end.terms) == len(TERM_NAMES)
            before = dict(zip(names, end.terminal_observation, strict=True))
            after = dict(zip(names, env.observations[0], strict=True))
            assert before["gross"] == np.float32(end.outcome[oc.GROSS]) != 0.0
            # The next episode has begun: flat, fresh, at the reward's first state.
            fresh = ("gross", "net", "drawdown", "margin_use", "volatility", "X0.exposure")
            assert [after[name] for name in fresh] == [0.0] * 6
            assert after["ratio_first_moment"] == 0.0 and after["ratio_second_moment"] == 1.0


def test_bankruptcy_terminates_and_is_floored():
    # Bars fall by 30 % each: an exposure of 5 loses 150 % in the first.
    closes = 100.0 * 0.7 ** np.arange(12)
    bars = [(p, p, q, q) for p, q in itertools.pairwise(closes)]
    world = replace(random_world(0), tape=hand_tape(bars), rules=hand_rules())
    env = make_env(world, 2, SeedTree(0), GROWTH, max_position_size=5.0)
    env.reset()
    ends = env.step(np.array([[1.0], [-0.1]], dtype=np.float32))
    end = env.episode_end(0)
    assert ends.tolist() == [0] and not end.truncated
    assert env.done.tolist() == [DONE_TERMINATED, 0]
    assert end.totals["growth"] == pytest.approx(math.log(1e-6))  # the floor of docs/execution.md
    assert scalar(env, 0, A_EQUITY) == 1000.0  # the next episode's deposit


def test_data_ends_an_episode_too():
    world = random_world(3, rows=20, instruments=1, ugly=False)
    env = make_env(world, 1, SeedTree(0), episode_length=1000)
    env.reset()
    assert env.simulator.row[0] == 4  # too short for the whole length: it starts at the first row
    idle = np.full((1, 1), np.nan, dtype=np.float32)
    lengths = [step for step in range(1, 31) if len(env.step(idle))]
    assert lengths == [15, 30]  # rows 5 to 19


def test_episodes_start_everywhere_between_first_and_last():
    world = random_world(4, rows=24, instruments=1, ugly=False)
    env = make_env(world, 64, SeedTree(0), episode_length=10, window_bars=7)
    env.reset()
    # Rows begin at 4, the window of 7 needs row 6; the last start with ten bars to live is 13.
    assert set(env.simulator.row.tolist()) == set(range(6, 14))
    scales = np.array([scale_of(env, e) for e in range(len(env))])
    assert 0.5 <= scales.min() < 0.7 and 1.5 < scales.max() <= 2.0


# --- observations ---


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_every_entry_of_an_observation_is_what_its_name_says(seed):
    world = random_world(seed, rows=30, ugly=False)
    env = make_env(world, 1, SeedTree(seed), MIXED, episode_length=100)
    env.reset()
    features = np.nan_to_num(features_of(world.tape))
    desk = Desk(
        world.tape,
        world.rules,
        "test",
        start_row=int(env.simulator.row[0]),
        cost_scale=scale_of(env, 0),
    )
    held = np.zeros(len(world.tape.symbols))
    names = env.layout.names()
    assert len(names) == len(set(names)) == env.layout.size
    for action in actions_of(seed, 8, 1, len(world.tape.symbols)):
        before = desk.column(B_POSITION).copy()
        desk.plan(action[0].astype(np.float64) * 3.0)
        outcome = desk.advance()
        if len(env.step(action)):
            return
        seen = dict(zip(names, env.observations[0], strict=True))
        equity = outcome[oc.EQUITY]
        for n, item in enumerate(world.rules.instruments):
            q, average, mark, rate = (
                desk.column(k)[n] for k in (B_POSITION, B_AVERAGE, B_MARK, B_RATE)
            )
            own = world.tape.prices[desk.row, n, T_TRADABLE]  # bars of other markets do not count
            held[n] = held[n] + own if q and q * before[n] > 0.0 else own * (q != 0.0)
            reopened = desk.ledger().fills[:, [oc.FILL_ROW, oc.FILL_INSTRUMENT]].tolist()
            expected = {
                "exposure": q * item.multiplier * mark * rate / equity,
                "open_return": np.sign(q) * (mark / average - 1.0) if q else 0.0,
                "cost": (item.spread_bps / 2 + item.slippage_bps + item.commission_bps)
                * desk.account[A_COST_SCALE // LANES]
                / 10.0,
                "tradable": world.tape.prices[desk.row, n, T_TRADABLE],
            }
            if reopened.count([float(desk.row), float(n)]) < 2:  # not closed and opened in one bar
                expected["held_bars"] = held[n] / (held[n] + 24.0)
            for f, name in enumerate(FEATURES):
                expected[name] = features[desk.row, n, f]
                expected[f"{name}[-1]"] = features[desk.row - 1, n, f]
            for name, value in expected.items():
                found = seen[f"{item.symbol}.{name}"]
                assert found == pytest.approx(value, rel=1e-5, abs=1e-7), name
        for name in ("drawdown", "gross", "net", "margin_use"):
            value = outcome[oc.OUTCOME_COLUMNS.index(name)]
            assert seen[name] == pytest.approx(value, rel=1e-6)
        for name, value in zip(STATE_NAMES, env.book(0)[STATE_ROWS], strict=True):
            assert seen[name] == np.float32(value)
        assert np.isfinite(env.observations).all()


def test_an_action_is_a_share_of_the_unit_and_no_number_leaves_alone():
    bars = [(100.0, 100.0, 100.0, 100.0)] * 12
    world = replace(random_world(0), tape=hand_tape(bars), rules=hand_rules())
    env = MarketEnv(
        world.tape,
        world.rules,
        features_of(world.tape),
        FEATURES,
        GROWTH,
        slice(0, 12),
        1,
        EnvironmentConfig(episode_length=11, max_position_size=0.1),
        SeedTree(0),
        unit=np.array([2.0]),
    )
    env.reset()
    for action, position in ((0.5, 10.0), (np.nan, 10.0), (-1.0, -20.0), (0.0, 0.0)):
        env.step(np.array([[action]], dtype=np.float32))
        assert scalar(env, 0, at(0, B_POSITION)) == position
    with pytest.raises(DataError, match="must have shape"):
        MarketEnv(
            world.tape,
            world.rules,
            features_of(world.tape)[:-1],
            FEATURES,
            GROWTH,
            slice(0, 12),
            1,
            EnvironmentConfig(),
            SeedTree(0),
        )
    with pytest.raises(DataError, match="at least 2 bars"):
        make_env(replace(world, tape=hand_tape(bars[:5])), 1, SeedTree(0))


def test_a_batch_without_features_is_refused_at_its_first_step():
    world = random_world(0, 40, instruments=1)
    env = MarketEnv(
        world.tape,
        world.rules,
        np.zeros((40, 1, 0), dtype=np.float32),
        (),
        MIXED,
        slice(4, 40),
        2,
        EnvironmentConfig(episode_length=12),
        SeedTree(0),
    )
    with pytest.raises(DataError, match="tape and features must have the columns"):
        env.step(np.zeros((2, 1), dtype=np.float32))


def test_the_reward_scale_knows_training_rows_only():
    world = random_world(9, rows=60, instruments=2, ugly=False)
    scale = reward_scale(world.tape, slice(0, 30), 0.5)
    own = []
    for n in range(2):
        close = world.tape.prices[:30, n, T_CLOSE]
        moves = np.diff(np.log(close))
        own += moves[world.tape.prices[1:30, n, T_TRADABLE] > 0.0].tolist()
    assert scale == pytest.approx(0.5 * np.std(own), rel=1e-12)
    later = world.tape.prices.copy()
    later[30:] *= 3.0
    assert reward_scale(replace(world.tape, prices=later), slice(0, 30), 0.5) == scale


# --- compiled ---


def test_it_compiles_once():
    world = random_world(6, rows=30, instruments=2)
    env = make_env(world, 1, SeedTree(0))
    record(env, actions_of(0, 5, 1, 2))
    before = list(step_accounts.signatures)
    for accounts, instruments in ((3, 2), (8, 1), (2, 4)):
        other = random_world(7, rows=30, instruments=instruments)
        record(make_env(other, accounts, SeedTree(0)), actions_of(0, 5, accounts, instruments))
    assert step_accounts.signatures == before and len(before) == 1


TWIN = """
import hashlib, sys
from mtquant.core.seeding import SeedTree
from tests.envs.test_market_env import actions_of, make_env, record
from tests.support.judges import run_desk
from tests.support.tapes import random_world
for seed in (0, 1, 2, 3):
    world = random_world(seed, rows=25)
    count = len(world.tape.symbols)
    print(run_desk(world.tape, world.rules, world.targets, world.cost_scale).hash())
    accounts, times = (20, 6) if seed == 3 else (2, 1)  # a block and a part; wide rows
    env = make_env(world, accounts, SeedTree(seed), times=times)
    told = record(env, actions_of(seed, 15, accounts, count))
    print(hashlib.sha256(repr(told).encode()).hexdigest())
"""


def test_compiled_and_plain_python_say_the_same_bytes():
    told = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", TWIN],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stdout.split())
    assert len(told[0]) == 8 and told[0] == told[1]
