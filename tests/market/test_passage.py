# SPDX-License-Identifier: Apache-2.0
"""Bars lived through in one compiled loop are those lived one by one, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtquant.core.errors import PolicyError
from mtquant.market import passage
from mtquant.market.desk import Desk
from mtquant.market.passage import live_through
from tests.support.judges import run_desk
from tests.support.tapes import World, random_world


def desk_of(world: World) -> Desk:
    return Desk(world.tape, world.rules, "test", cost_scale=world.cost_scale)


@hypothesis_settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([np.inf, 1e9]))
def test_a_stretch_is_bar_after_bar(seed: int, realistic: bool, volatility: float) -> None:
    """Also where risks are measured (a volatility limit that never binds), and into a ruin."""
    world = random_world(seed, rows=40, realistic=realistic, max_volatility=volatility)
    expected = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    desk = desk_of(world)
    live_through(desk, world.targets[:-1])
    assert desk.ledger().hash() == expected.hash()


def test_stretches_and_single_bars_may_be_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage, "STRETCH_BARS", 7)
    world = random_world(4, rows=60, ugly=False, realistic=True)
    expected = run_desk(world.tape, world.rules, world.targets, world.cost_scale)
    desk = desk_of(world)
    for t in range(5):
        desk.plan(world.targets[t])
        desk.advance()
    live_through(desk, world.targets[5:40])
    for t in range(40, 59):
        desk.plan(world.targets[t])
        desk.advance()
    assert len(expected) == 59
    assert desk.ledger().hash() == expected.hash()


def test_targets_of_another_shape_or_beyond_the_tape_are_refused() -> None:
    world = random_world(1, rows=10, instruments=2)
    for shape in ((9, 3), (10, 2), (9,)):
        with pytest.raises(PolicyError, match="targets"):
            live_through(desk_of(world), np.zeros(shape))
