# SPDX-License-Identifier: Apache-2.0
"""The backtest's driver: the desk driven by hand, and the simulator of training, give the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core import outcome as oc
from mtquant.core.errors import DataError
from mtquant.core.protocols import Observation
from mtquant.core.seeding import SeedTree
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.observation import ObservationLayout
from mtquant.rewards.compose import STATE_NAMES, TERM_NAMES, Reward
from tests.support.markets import walk_world
from tests.support.specialists import Replay
from tests.support.tapes import World, random_world

FEATURES = ("one", "two")
REWARD = Reward({"growth": 1.0}, 0.01)


def features_for(world: World, seed: int = 0) -> NDArray[np.float32]:
    shape = (len(world.tape.stamps), len(world.tape.symbols), len(FEATURES))
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape).astype(np.float32)


def replay(world: World, rows: slice, window: int = 1) -> tuple[Replay, Ledger]:
    policy = Replay(world.targets, FEATURES, window)
    ledger = run_backtest(policy, world.tape, world.rules, features_for(world), rows, REWARD)
    return policy, ledger


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), start=st.integers(0, 10))
def test_fixed_targets_are_the_desk_driven_by_hand(seed: int, start: int) -> None:
    world = random_world(seed, ugly=False)
    _, ledger = replay(world, slice(start, 30))
    desk = Desk(world.tape, world.rules, "replay", start_row=start)
    for step in range(30 - start - 1):
        desk.plan(world.targets[step])
        desk.advance()
        if desk.bankrupt:
            break
    assert ledger.hash() == desk.ledger().hash()


def test_the_policy_sees_the_bar_that_just_closed() -> None:
    world = random_world(3, rows=30, instruments=2, foreign=False, ugly=False)
    features = features_for(world)
    policy, ledger = replay(world, slice(4, 30), window=3)
    layout = ObservationLayout(world.tape.symbols, FEATURES, 3, STATE_NAMES)
    # Opened at row 4, where it decides first; the last decision is one bar before the last row.
    assert [seen.stamp for seen in policy.seen] == world.tape.stamps[4:29].tolist()
    assert ledger.stamps.tolist() == world.tape.stamps[5:30].tolist()
    for row, seen in enumerate(policy.seen, start=4):
        assert seen.names == layout.names()
        assert seen.symbols == world.tape.symbols
        for n, symbol in enumerate(world.tape.symbols):
            for back in range(3):
                for f, name in enumerate(FEATURES):
                    entry = f"{symbol}.{name}" + (f"[-{back}]" if back else "")
                    assert seen.values[seen.names.index(entry)] == features[row - back, n, f]


def test_observations_may_be_kept() -> None:
    world = random_world(3, rows=30, instruments=2, foreign=False, ugly=False)
    policy, _ = replay(world, slice(0, 30))
    assert len({id(seen.values) for seen in policy.seen}) == 29
    assert len({seen.values.tobytes() for seen in policy.seen}) == 29


class _Recorded:
    """Actions drawn from a seed, as a policy and as what the simulator is stepped with.

    They are float32, like every action of a network.
    """

    name = "recorded"

    def __init__(self, world: SpecialistWorld, seed: int, bars: int) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        self.actions = generator.uniform(-1.2, 1.2, (bars, 1)).astype(np.float32)
        # Some positions are kept for a while, so that stops have something to close.
        for t in range(1, bars):
            if generator.random() < 0.6:
                self.actions[t] = self.actions[t - 1]
        layout = world.evaluation_env(1, SeedTree(0)).layout
        self.feature_names, self.window_bars = layout.feature_names, layout.window_bars
        self.unit = world.environment.max_position_size
        self.seen: list[NDArray[np.float32]] = []

    def initial_state(self) -> int:
        return 0

    def act(self, observation: Observation, state: int) -> tuple[NDArray[np.float64], int]:
        self.seen.append(observation.values.copy())
        return self.actions[state].astype(np.float64) * self.unit, state + 1


SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "tight stops": ("environment.stop_loss_pct=0.005", "environment.take_profit_pct=0.005"),
    "levered": ("environment.max_position_size=5", "environment.max_gross_exposure=4"),
    "filled at the close": ("environment.fill_at=close",),
    "window": ("environment.window_bars=4",),
    "other rewards": ("reward.phase_1={drawdown: 1.0, growth: 0.5}",),
    # A loss of 1 % of the deposit counts as ruin.
    "bankrupt": ("environment.bankruptcy_equity_frac=0.99", "environment.max_position_size=1"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_the_simulator_and_the_backtest_are_one_world(case: str) -> None:
    """What a specialist sees and earns in training is what it sees and earns in the backtest."""
    world = walk_world(*SETTINGS[case])
    rows = world.rows["validation"]
    bars = rows.stop - rows.start - 1
    policy = _Recorded(world, 1, bars)
    ledger = run_backtest(policy, world.tape, world.rules, world.features, rows, world.reward)

    env = world.evaluation_env(1, SeedTree(5), whole=True)
    seen = [env.reset()[0].copy()]
    outcomes, rewards = [], []
    for action in policy.actions:
        ended = env.step(action[None])
        rewards.append(float(env.rewards[0]))
        outcomes.append(env.episode_end(0).outcome if len(ended) else env.outcome(0).copy())
        if len(ended):
            break
        seen.append(env.observations[0].copy())
    assert env.episode_end(0).truncated == (case != "bankrupt")
    assert len(seen) == len(policy.seen) == len(ledger) == len(outcomes)
    assert np.array(seen).tobytes() == np.array(policy.seen).tobytes()
    # Equity, costs, turnover, stops and limits all are columns of the outcome.
    assert np.array(outcomes).tobytes() == ledger.outcomes.tobytes()
    assert ledger.column("turnover").max() > 0.0
    assert len(ledger) == bars or case == "bankrupt"
    if case == "tight stops":
        stops = np.isin(ledger.fills[:, oc.FILL_ORIGIN], (1, 2))
        assert env.episode_end(0).totals["stops"] == stops.sum() > 10
    if case == "default":
        # Differential Sharpe alone is rewarded; the sum over the episode is the env's total.
        trace = dict(zip(TERM_NAMES, env.episode_end(0).terms, strict=True))
        assert sum(rewards) == pytest.approx(trace["differential_sharpe"], rel=1e-5)


def test_a_ruined_account_ends_the_run() -> None:
    world = random_world(0, rows=30, instruments=1, foreign=False, ugly=False)
    # Ruined as soon as it has lost a hundredth of a per cent.
    rules = replace(world.rules, bankruptcy_equity_frac=0.9999)
    world = replace(world, rules=rules, targets=np.ones((30, 1)))
    policy, ledger = replay(world, slice(0, 30))
    assert 0 < len(ledger) < 29
    assert ledger.column("status")[-1] == oc.STATUS_BANKRUPT
    assert (ledger.column("status")[:-1] == oc.STATUS_ACTIVE).all()
    assert len(policy.seen) == len(ledger)


def test_progress_counts_bars() -> None:
    world = random_world(3, rows=30, instruments=1, foreign=False, ugly=False)
    counted: list[int] = []
    features = features_for(world)
    run_backtest(
        Replay(world.targets, FEATURES),
        world.tape,
        world.rules,
        features,
        slice(10, 30),
        REWARD,
        counted.append,
    )
    assert counted == [1] * 19


def test_features_of_another_shape_are_refused() -> None:
    world = random_world(3, rows=30, instruments=2, foreign=False, ugly=False)
    for features in (features_for(world)[:, :, :1], features_for(world)[:-1]):
        with pytest.raises(DataError, match=r"features must have shape \(30, 2, 2\)"):
            policy = Replay(world.targets, FEATURES)
            run_backtest(policy, world.tape, world.rules, features, slice(0, 30), REWARD)


@pytest.mark.parametrize(("rows", "window"), [(slice(5, 6), 1), (slice(1, 30), 3)])
def test_too_few_rows_are_refused(rows: slice, window: int) -> None:
    world = random_world(3, rows=30, instruments=2, foreign=False, ugly=False)
    with pytest.raises(DataError, match="rows must hold 2 bars after the first window"):
        replay(world, rows, window)
