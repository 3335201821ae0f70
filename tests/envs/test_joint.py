# SPDX-License-Identifier: Apache-2.0
"""One bar of joint training: messages, targets, pay; and what the other judges say about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core import outcome as oc
from mtquant.core.errors import ConfigError, PolicyError
from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.joint import JointMarket
from mtquant.market.desk import Desk
from mtquant.market.tape import T_TRADABLE
from tests.support.portfolios import always_open, calm_world, decisions, portfolio_env

DOMAINS = {"pair": ("X2", "X0"), "other": ("X1",)}


def joint(world, seed=0, domains=DOMAINS, **environment):
    return JointMarket(portfolio_env(world, seeds=SeedTree(seed), **environment), domains)


def messages_of(seed, steps, market):
    """Random messages [step][specialist]."""
    boxes = [market.hierarchy.message_box(k) for k in range(len(market.hierarchy))]
    for k, box in enumerate(boxes):
        box.seed(seed + k)
    return [[box.sample() for box in boxes] for _ in range(steps)]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_rewards_are_growth_and_what_would_be_missing_without_each(seed):
    """Every counterfactual once more, on a desk that lived the whole episode from its start."""
    world = calm_world(seed)
    market = joint(world, seed)
    simulator = market.env.simulator
    cost_scale = float(simulator.scales[0, simulator.cursor[0]])
    market.reset()
    start = int(simulator.row[0])

    def growth_after(history):
        desk = Desk(world.tape, world.rules, "x", start_row=start, cost_scale=cost_scale)
        for targets in history:
            desk.plan(targets)
            outcome = desk.advance()
        return outcome[oc.GROWTH]

    history = []
    told, acted = messages_of(seed, 12, market), decisions(seed, 12, 1, 2)[:, 0]
    for messages, action in zip(told, acted, strict=True):
        for k, message in enumerate(messages):
            market.tell(k, message)
        targets = market.decide(action)
        asked = targets[0].astype(np.float64)
        moved = market.move(targets)
        growth = growth_after([*history, asked])
        assert moved.reward == np.float32(growth / 0.02)
        for k, own in enumerate(([2, 0], [1])):
            others = asked.copy()
            others[own] = 0.0
            missing = growth - growth_after([*history, others])
            assert moved.differences[k] == missing / 0.02
        history.append(asked)
        if moved.end is not None:
            break
    assert moved.end is not None
    ledger = market.ledger()
    assert ledger.outcomes[-1].tobytes() == moved.end.outcome.tobytes()
    assert ledger.targets.tobytes() == np.array(history).tobytes()
    assert moved.end.totals["length"] == len(ledger) == len(history)


def test_who_asks_for_nothing_and_holds_nothing_is_paid_nothing():
    market = joint(always_open(calm_world(1)))
    market.reset(seed=3)
    paid = []
    for action in decisions(0, 5, 1, 2)[:, 0]:
        market.tell(0, np.tile([0.7, 0.5, 0.0, 0.0, 0.0], 2))
        paid.append(market.move(market.decide(action)).differences)
    assert not np.array(paid)[:, 1].any()
    assert np.array(paid)[:, 0].any()


def test_leaving_costs_the_shadow_what_it_would_cost():
    # Flat prices and a cost of 10 bps a side: holding earns nothing, and leaving costs its spread.
    world = always_open(calm_world(2, free=True, fill_at="open"))
    prices = world.tape.prices.copy()
    prices[:, :, :4] = 100.0
    prices[:, :, 4:6] = 1.0
    names = tuple(
        replace(item, commission_bps=10.0, lot=0.01, multiplier=1.0, name_cap=1.0, margin_frac=0.1)
        for item in world.rules.instruments
    )
    tape = replace(world.tape, prices=prices, own_rate=(False,) * 3)
    rules = replace(world.rules, instruments=names, max_gross_exposure=1.0)
    market = joint(replace(world, tape=tape, rules=rules), cost_draw_range=(1.0, 1.0), scale=1.0)
    market.reset(seed=0)
    all_in = np.array([1.0, -1.0, -1.0, 1.0], dtype=np.float32)  # logits: pair, other, cash
    paid = []
    for _ in range(2):
        market.tell(0, np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 2))
        paid.append(market.move(market.decide(all_in)).differences[0])
    # The weight is exp(3) / (exp(3) + 2 exp(-3)) = 0.99507: entering costs 10 bps of it, which
    # staying out saves; in the next bar leaving costs them, which holding saves.
    assert paid[0] == pytest.approx(-0.00099507, rel=2e-3)
    assert paid[1] == pytest.approx(+0.00099507, rel=5e-3)


def test_shadows_leave_the_real_account_alone():
    world = calm_world(7)
    market, alone = joint(world), portfolio_env(world)
    market.reset()
    alone.reset()
    told, acted = messages_of(7, 12, market), decisions(7, 12, 1, 2)[:, 0]
    for messages, action in zip(told, acted, strict=True):
        for k, message in enumerate(messages):
            market.tell(k, message)
        targets = market.decide(action)
        moved = market.move(targets)
        alone.step(targets)
        assert moved.reward == alone.rewards[0]
        assert market.env.observations.tobytes() == alone.observations.tobytes()
        if moved.end is not None:
            break
        assert market.seen.tobytes() == alone.observations.tobytes()
    # Who looks back at the end sees the last bar, not the first one of the next episode.
    assert market.seen[0].tobytes() == moved.end.terminal_observation.tobytes()
    assert market.seen[0].tobytes() != alone.observations[0].tobytes()


def test_messages_stand_while_a_market_is_closed():
    world = always_open(calm_world(5))
    world.tape.prices[:, 0, T_TRADABLE] = 0.0
    market = joint(world)
    market.reset(seed=0)
    message = np.arange(1, 11, dtype=np.float32) / 20.0
    market.tell(0, message)
    assert not market.messages[0, 0].any()
    assert market.messages[0, 2].tolist() == message[:MESSAGE].tolist()
    assert market.meta_observation().shape == (len(market.hierarchy.meta_names()),)


def test_a_reset_forgets_what_was_said():
    market = joint(always_open(calm_world(5)))
    market.reset(seed=0)
    market.tell(1, np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    assert market.messages.any()
    market.reset()
    assert not market.messages.any()


def test_what_means_nothing_is_refused():
    market = joint(calm_world(0))
    market.reset(seed=0)
    with pytest.raises(PolicyError, match=r"messages must have shape \(10,\); found \(5,\)"):
        market.tell(0, np.zeros(MESSAGE))
    with pytest.raises(PolicyError, match=r"meta-controller must have shape \(4,\)"):
        market.decide(np.zeros(5, dtype=np.float32))
    with pytest.raises(ConfigError, match="n_accounts must be 1 in joint training; found 2"):
        JointMarket(portfolio_env(calm_world(0), 2))
