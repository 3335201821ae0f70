# SPDX-License-Identifier: Apache-2.0
"""Where episodes begin and what they cost; `tests/envs/test_market_env.py` steps them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.core.lanes import LANES
from mtquant.core.seeding import SeedTree
from mtquant.market.account import (
    A_CASH,
    A_COST_SCALE,
    A_EQUITY,
    A_INITIAL,
    A_PEAK,
    ACCOUNT,
    B_MARK,
    B_RATE,
    FIRST_POSITION,
    POSITION_SIZE,
)
from mtquant.market.simulator import DRAWS, Simulator
from mtquant.market.tape import T_CLOSE, T_RATE_CLOSE
from tests.support.tapes import random_world


def make(accounts=4, rows=slice(3, 40), length=10, costs=(0.5, 2.0), seed=0):
    world = random_world(8, rows=40)
    return Simulator(world.tape, world.rules, accounts, rows, length, costs, SeedTree(seed))


def scalar(simulator, account, column):
    return float(simulator.account(account)[(column - ACCOUNT) // LANES])


@given(st.integers(0, 1000), st.integers(0, 30), st.integers(2, 10), st.integers(1, 50))
def test_episodes_live_inside_the_allowed_rows(seed, first, rows, length):
    simulator = make(rows=slice(first, first + rows), length=length, seed=seed)
    for e in range(len(simulator)):
        simulator.start_episode(e)
    last = first + rows - 1
    assert (simulator.row >= first).all() and (simulator.end <= last).all()
    lives = simulator.end - simulator.row
    assert (
        lives == min(length, rows - 1)
    ).all()  # at least one bar, the whole length where it fits


def test_an_episode_begins_flat_at_the_close_of_its_first_row():
    simulator = make()
    simulator.blocks[:] = 99.0
    simulator.start_episode(2)
    account = simulator.account(2)
    positions = account[(FIRST_POSITION - ACCOUNT) // LANES :].reshape(-1, POSITION_SIZE // LANES)
    deposit = simulator.rules.initial_equity
    for column in (A_CASH, A_EQUITY, A_PEAK, A_INITIAL):
        assert scalar(simulator, 2, column) == deposit
    prices = simulator.tape.prices[simulator.row[2]]
    np.testing.assert_array_equal(positions[:, B_MARK // LANES], prices[:, T_CLOSE])
    np.testing.assert_array_equal(positions[:, B_RATE // LANES], prices[:, T_RATE_CLOSE])
    assert (np.delete(positions, [B_MARK // LANES, B_RATE // LANES], axis=1) == 0.0).all()
    for other in (0, 1, 3):
        assert (simulator.account(other) == 99.0).all()  # nobody else's business


def test_costs_are_drawn_log_uniformly():
    simulator = make(accounts=1)
    logs = []
    for _ in range(4000):
        simulator.start_episode(0)
        logs.append(np.log2(scalar(simulator, 0, A_COST_SCALE)))
    # log2 of [0.5, 2] is [-1, 1]: mean 0, deviation 1 / sqrt(3); four standard errors of 4000.
    assert min(logs) >= -1.0 and max(logs) <= 1.0
    assert abs(np.mean(logs)) < 4 * 0.577 / 4000**0.5
    assert np.std(logs) == pytest.approx(3**-0.5, rel=0.05)
    true = make(costs=(1.0, 1.0))
    true.start_episode(0)
    assert scalar(true, 0, A_COST_SCALE) == 1.0


def test_a_stream_depends_on_seed_and_number_alone():
    def starts(simulator, order):
        drawn = {}
        for e in order:
            simulator.start_episode(e)
            drawn.setdefault(e, []).append(
                (int(simulator.row[e]), scalar(simulator, e, A_COST_SCALE))
            )
        return drawn

    ours = starts(make(accounts=3), [0, 1, 2, 0, 1, 2])
    assert ours == starts(make(accounts=3), [2, 2, 1, 1, 0, 0])
    assert ours[1] == starts(make(accounts=2), [1, 1])[1]
    again = make(accounts=3, seed=5)
    again.start_episode(0)
    again.seed(SeedTree(0))
    assert starts(again, [0, 1, 2, 0, 1, 2]) == ours


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from((0.0, 0.3, 0.7, 2.0))), max_size=40),
    st.integers(0, 3),
)
def test_accounts_pay_the_share_they_are_charged(happenings, seed):
    """Whoever runs, whatever was drawn ahead and whenever: drawn costs times the share."""
    ours, whole = make(accounts=9, seed=seed), make(accounts=9, seed=seed)
    share = 1.0
    for e in range(9):
        ours.start_episode(e), whole.start_episode(e)
    for e, asked in happenings:
        for simulator in (ours, whole):
            for _ in range(DRAWS // 3):  # every third time behind what was drawn ahead
                simulator.start_episode(e)
        for own in range(9):
            expected = share * scalar(whole, own, A_COST_SCALE)
            assert scalar(ours, own, A_COST_SCALE) == expected
        ours.charge(asked)
        share = asked
    np.testing.assert_array_equal(ours.scales, share * whole.scales)
    ours.charge(1.0)
    np.testing.assert_array_equal(ours.scales, whole.scales)
    np.testing.assert_array_equal(ours.blocks, whole.blocks)


def test_the_share_goes_on_from_a_state():
    ours, other = make(seed=1), make(seed=2)
    for e in range(4):
        ours.start_episode(e)
    ours.charge(0.25)
    other.load_state(ours.state())
    for simulator in (ours, other):
        for _ in range(DRAWS + 1):
            simulator.start_episode(3)
        simulator.charge(0.5)
    np.testing.assert_array_equal(ours.blocks, other.blocks)
    np.testing.assert_array_equal(ours.scales, other.scales)


def test_one_row_is_nothing_to_trade_in():
    with pytest.raises(DataError, match="at least 2 bars"):
        make(rows=slice(5, 6))
