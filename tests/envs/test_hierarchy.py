# SPDX-License-Identifier: Apache-2.0
"""Who sees, says and trades what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import ConfigError, PolicyError
from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import MESSAGE, MESSAGE_NAMES, Hierarchy, heard
from mtquant.envs.market_env import MarketEnv
from mtquant.market.observation import ACCOUNT_NAMES, INSTRUMENT_NAMES, specialist_view
from mtquant.rewards.compose import STATE_NAMES
from tests.support.portfolios import FEATURES, calm_world, portfolio_env


def lived(seed, accounts=5, **changes):
    """A portfolio after four bars of random exposures."""
    env = portfolio_env(calm_world(seed, **changes), accounts)
    env.reset()
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(4):
        env.step(generator.uniform(-1.0, 1.0, (accounts, 3)).astype(np.float32))
    return env


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_views_are_what_a_specialist_sees_alone(seed):
    env = lived(seed)
    hierarchy = Hierarchy.of(env)
    caps = env.simulator.rules.limits().caps
    # A signal of 1 buys the name cap, as in phase 1: nothing is shown otherwise.
    views = hierarchy.views(env.observations, np.tile(caps, (5, 1)))
    block = env.layout.block_size
    for n, view in enumerate(views):
        for e in range(5):
            alone = specialist_view(env.observations[e], block, [n], 3)
            exposure = block - len(INSTRUMENT_NAMES)
            limit = 2.0 * np.float32(caps[n])
            shown = np.clip(alone[exposure], -limit, limit)
            assert view[e, exposure] == pytest.approx(shown, rel=1e-6)
            assert np.delete(view[e], exposure).tobytes() == np.delete(alone, exposure).tobytes()
    assert hierarchy.view_sizes == tuple(view.shape[1] for view in views)


@pytest.mark.parametrize(
    ("exposure", "scale", "shown"),
    [
        (0.05, 0.1, 0.1),  # half of what a signal of 1 buys: half the cap of 0.2
        (-0.05, 0.1, -0.1),
        (0.2, 0.8, 0.2),  # the cap lets a signal of 1 buy no more than 0.2: all of it
        (0.1, 0.0, 0.2),  # left over while nothing is asked for: counts as a whole position
        (-0.1, 0.0, -0.2),
        (0.2, 0.01, 0.4),  # left over from a larger scale: at most twice a whole position
        (0.0, 0.0, 0.0),
    ],
)
def test_an_exposure_is_shown_as_a_share_of_what_a_signal_buys(exposure, scale, shown):
    env = portfolio_env(calm_world(0, 1))
    rules = env.simulator.rules
    hierarchy = Hierarchy.of(portfolio_env(calm_world(0, 1), rules=with_cap(rules, 0.2)))
    seen = np.zeros((1, env.layout.size), dtype=np.float32)
    column = env.layout.names().index("X0.exposure")
    seen[0, column] = exposure
    view = hierarchy.views(seen, np.array([[scale]]))[0]
    assert view[0, column] == pytest.approx(shown)
    assert seen[0, column] == np.float32(exposure)  # what the others see is left alone


def with_cap(rules, cap):
    names = tuple(replace(item, name_cap=cap) for item in rules.instruments)
    return replace(rules, instruments=names)


def test_a_specialist_of_several_instruments_sees_all_of_them():
    env = lived(3)
    hierarchy = Hierarchy.of(env, {"pair": ["X2", "X0"], "other": ["X1"]})
    assert hierarchy.owner.tolist() == [0, 1, 0]
    pair, other = hierarchy.views(env.observations, np.ones((5, 3)))
    block = env.layout.block_size
    parts = [env.observations[:, 2 * block : 3 * block], env.observations[:, :block]]
    features = len(FEATURES)
    assert pair[:, :features].tobytes() == parts[0][:, :features].tobytes()
    assert pair[:, block : block + features].tobytes() == parts[1][:, :features].tobytes()
    assert pair[:, 2 * block :].tobytes() == env.observations[:, 3 * block :].tobytes()
    assert other.shape == (5, env.layout.size - 2 * block)
    assert hierarchy.message_box(0).shape == (2 * MESSAGE,)
    assert hierarchy.message_box(1).shape == (MESSAGE,)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_every_entry_of_the_meta_observation_is_what_its_name_says(seed):
    env = lived(seed)
    hierarchy = Hierarchy.of(env)
    generator = np.random.Generator(np.random.PCG64(seed))
    messages = generator.normal(size=(5, 3, MESSAGE)).astype(np.float32)
    observed = hierarchy.observe(env.observations, messages)
    assert observed.dtype == np.float32
    assert observed.shape == (5, len(hierarchy.meta_names()))
    for e in range(5):
        below = dict(zip(env.layout.names(), env.observations[e], strict=True))
        told = dict(zip(hierarchy.meta_names(), observed[e], strict=True))
        for n, symbol in enumerate(env.layout.symbols):
            for name in INSTRUMENT_NAMES:
                assert told[f"{symbol}.{name}"] == below[f"{symbol}.{name}"]
            for k, name in enumerate(MESSAGE_NAMES):
                assert told[f"{symbol}.{name}"] == messages[e, n, k]
        for name in (*ACCOUNT_NAMES, *STATE_NAMES):
            assert told[name] == below[name]
        # Instruments 0 and 2 are forex, 1 is equity (`calm_world`).
        forex = abs(below["X0.exposure"]) + abs(below["X2.exposure"])
        assert told["gross.forex"] == pytest.approx(forex)
        assert told["gross.equity"] == abs(below["X1.exposure"])
        assert told["gross.forex"] + told["gross.equity"] == pytest.approx(told["gross"], rel=1e-5)


@pytest.mark.parametrize(
    "domains",
    [
        {"a": ["X0", "X1"]},  # X2 is traded by nobody
        {"a": ["X0", "X1"], "b": ["X1", "X2"]},  # X1 by two
        {"a": ["X0", "X1", "X2", "X9"]},
        {"a": ["X0", "X1", "X2"], "b": []},
        {},
    ],
)
def test_domains_share_out_the_instruments(domains):
    with pytest.raises(ConfigError, match=r"domains must share out .* List every instrument once"):
        Hierarchy.of(portfolio_env(calm_world(0)), domains)


def test_actions_must_be_exposures():
    world = calm_world(0)
    proper = portfolio_env(world)
    scaled = MarketEnv(
        world.tape,
        world.rules,
        np.zeros((40, 3, 2), dtype=np.float32),
        FEATURES,
        proper.reward,
        slice(2, 40),
        1,
        EnvironmentConfig(episode_length=12),
        SeedTree(0),
    )
    with pytest.raises(ConfigError, match=r"unit must be 1 .* found \[0\.1, 0\.1, 0\.1\]"):
        Hierarchy.of(scaled)


def test_messages_are_checked_and_cut_at_their_bounds():
    message = np.array([2.0, -1.0, 50.0, -50.0, -3.0])
    assert heard(message, (MESSAGE,)).tolist() == [1.0, 0.0, 10.0, -10.0, 0.0]
    assert heard(message[None], (1, MESSAGE)).dtype == np.float32
    with pytest.raises(PolicyError, match=r"messages must have shape \(5,\); found \(1, 5\)"):
        heard(message[None], (MESSAGE,))
    with pytest.raises(PolicyError, match="messages must be finite"):
        heard(message * np.nan, (MESSAGE,))
