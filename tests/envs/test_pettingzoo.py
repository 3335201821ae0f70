# SPDX-License-Identifier: Apache-2.0
"""The PettingZoo environments: PettingZoo's own tests whole, and the order in which agents act.

Of `pettingzoo.test` these do not apply: `render_test` and `test_save_obs` need pictures,
`manual_control_test` a keyboard, `performance_benchmark` measures for five seconds, and
`bombardment_test` takes what `AECEnv.step` returns for an observation, which has been None since
PettingZoo 1.0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    seed_test,
    state_test,
)
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.pettingzoo import META, JointParallelEnv, JointTrainingEnv
from mtquant.market.desk import Desk
from mtquant.market.ledger import ARRAY_NAMES, Ledger
from tests.support.portfolios import always_open, calm_world, portfolio_env

DOMAINS = {"pair": ("X2", "X0"), "other": ("X1",)}
STEADY = {"maintenance_margin_frac": 0.0, "max_gross_exposure": 0.5}  # nobody goes bankrupt


def aec(seed: int = 0, **environment: Any) -> JointTrainingEnv:
    env = portfolio_env(calm_world(seed, **STEADY), seeds=SeedTree(seed), **environment)
    return JointTrainingEnv(env, DOMAINS)


def parallel(seed: int = 0, **environment: Any) -> JointParallelEnv:
    env = portfolio_env(calm_world(seed, **STEADY), seeds=SeedTree(seed), **environment)
    return JointParallelEnv(env, DOMAINS)


@pytest.fixture
def silent() -> Iterator[None]:
    """Lets PettingZoo warn about what is meant so."""
    with warnings.catch_warnings():
        # Raw observations have no bounds; agents see different things; reports draw the pictures.
        for message in (
            "Agent's (min|max)imum observation space value is",
            "Environment's (min|max)imum state space value is",
            "Agents have different observation space sizes",
            "Observations are different shapes",
            r"Environment has not defined a render\(\) method",
        ):
            warnings.filterwarnings("ignore", message)
        yield


# --- PettingZoo's own tests ---


@pytest.mark.usefixtures("silent")
def test_the_aec_interface() -> None:
    api_test(aec(), num_cycles=40)
    api_test(JointTrainingEnv(portfolio_env(calm_world(1))), num_cycles=40)


@pytest.mark.usefixtures("silent")
def test_the_aec_interface_in_the_order_enforcing_wrapper() -> None:
    api_test(OrderEnforcingWrapper(aec()), num_cycles=10)


def test_the_parallel_interface() -> None:
    parallel_api_test(parallel(), num_cycles=40)
    parallel_api_test(JointParallelEnv(portfolio_env(calm_world(1))), num_cycles=40)


def test_seeds() -> None:
    seed_test(aec, num_cycles=40)
    parallel_seed_test(parallel, num_cycles=40)


def test_episodes_have_their_length() -> None:
    module = SimpleNamespace(
        env=lambda max_cycles: aec(episode_length=max_cycles),
        parallel_env=lambda max_cycles: parallel(episode_length=max_cycles),
    )
    max_cycles_test(module)


@pytest.mark.usefixtures("silent")
def test_the_state() -> None:
    state_test(aec(), parallel())


# --- what happens in which order ---


def told(seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    """What every agent does at every bar."""
    env = aec()
    boxes = {agent: env.action_space(agent) for agent in env.possible_agents}
    for k, box in enumerate(boxes.values()):
        box.seed(seed + k)
    return [{agent: box.sample() for agent, box in boxes.items()} for _ in range(steps)]


def drive_aec(env: JointTrainingEnv, actions: list[dict[str, np.ndarray]]) -> list[Any]:
    """One episode in order; (observation of the meta-controller, its reward) per bar."""
    seen, bar = [], 0
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, _ = env.last()
        done = terminated or truncated
        if agent == META:
            seen.append((observation.tobytes(), reward))
        env.step(None if done else actions[bar][agent])
        bar += agent == META
    return seen


def drive_parallel(env: JointParallelEnv, actions: list[dict[str, np.ndarray]]) -> list[Any]:
    seen = []
    for step in actions:
        observations, rewards, *_ = env.step(step)
        seen.append((observations, rewards))
        if not env.agents:
            break
    return seen


def assert_same_ledger(left: Ledger, right: Ledger) -> None:
    for name in ARRAY_NAMES:
        assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_in_order_it_is_a_plain_desk_under_the_same_targets(seed: int) -> None:
    world = calm_world(seed)
    env = JointTrainingEnv(portfolio_env(world, seeds=SeedTree(seed)), DOMAINS)
    simulator = env.market.env.simulator
    cost_scale = float(simulator.scales[0, simulator.cursor[0]])
    env.reset()
    start = int(simulator.row[0])
    drive_aec(env, told(seed, 12))
    ledger = env.ledger()
    desk = Desk(world.tape, world.rules, "x", start_row=start, cost_scale=cost_scale)
    for targets in ledger.targets:
        desk.plan(targets)
        desk.advance()
    assert_same_ledger(ledger, desk.ledger())
    assert len(ledger.fills)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_in_parallel_messages_arrive_one_bar_later_and_nothing_else_differs(seed: int) -> None:
    # With markets always open, so that a message is heard when it is told, whichever the bar.
    world = always_open(calm_world(seed))
    first = JointTrainingEnv(portfolio_env(world), DOMAINS)
    second = JointParallelEnv(portfolio_env(world), DOMAINS)
    actions = told(seed, 12)
    silence = {a: np.zeros_like(actions[0][a]) for a in first.possible_agents[:-1]}
    later = [
        {**before, META: now[META]}
        for before, now in zip([silence, *actions[:-1]], actions, strict=True)
    ]
    first.reset(seed=seed)
    second.reset(seed=seed)
    in_order, at_once = drive_aec(first, later), drive_parallel(second, actions)
    assert_same_ledger(first.ledger(), second.ledger())
    # At every bar the meta-controller decides on the same sight, and is paid the same.
    bars = len(first.ledger())
    for bar in range(1, bars):
        observations, rewards = at_once[bar - 1]
        assert observations[META].tobytes() == in_order[bar][0]
        assert rewards[META] == in_order[bar][1]


def test_in_order_the_meta_controller_acts_on_what_was_just_said() -> None:
    env = JointTrainingEnv(portfolio_env(always_open(calm_world(0))))
    env.reset(seed=0)
    names = env.market.hierarchy.meta_names()
    order = []
    for agent in env.agent_iter(8):
        order.append(agent)
        if agent == META:
            seen = dict(zip(names, env.observe(META), strict=True))
            assert [seen[f"X{n}.signal"] for n in range(3)] == [0.25] * 3
            env.step(np.zeros(5, dtype=np.float32))
            # Even weights of a quarter, half of the budget, and a signal of a quarter.
            cap = env.market.hierarchy.gross_cap
            assert env.ledger().targets[-1] == pytest.approx(np.full(3, cap * 0.5 / 4 * 0.25))
        else:
            env.step(np.full(MESSAGE, 0.25, dtype=np.float32))
    assert order == ["specialist_0", "specialist_1", "specialist_2", META] * 2


def test_all_agents_end_together_and_the_last_info_is_the_meta_controllers() -> None:
    env = parallel(episode_length=4)
    env.reset(seed=0)
    for step, actions in enumerate(told(0, 4), start=1):
        seen, _, terminated, truncated, infos = env.step(actions)
        assert set(truncated.values()) == {step == 4}
        assert set(terminated.values()) == {False}
        assert all(env.observation_space(agent).contains(seen[agent]) for agent in seen)
    assert env.agents == []
    assert infos[META]["totals"]["length"] == 4
    assert infos["specialist_0"] == {}


def test_bankruptcy_terminates() -> None:
    # At 99.9 % of the deposit the account counts as bankrupt: some bar of a random book does it.
    world = calm_world(3, bankruptcy_equity_frac=0.999)
    env = JointParallelEnv(portfolio_env(world, episode_length=1000), DOMAINS)
    env.reset(seed=0)
    for actions in told(1, 38):
        *_, terminated, truncated, _ = env.step(actions)
        if not env.agents:
            break
    assert set(terminated.values()) == {True}
    assert set(truncated.values()) == {False}


def test_a_reset_without_a_seed_goes_on_with_new_episodes() -> None:
    env = aec()
    env.reset(seed=0)
    first = env.observe("specialist_0").tobytes()
    env.reset()
    assert env.observe("specialist_0").tobytes() != first
    env.reset(seed=0)
    assert env.observe("specialist_0").tobytes() == first
