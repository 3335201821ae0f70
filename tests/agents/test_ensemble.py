# SPDX-License-Identifier: Apache-2.0
"""The ensemble: inverse-volatility weights, caps, and to each specialist its own observation."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtquant.agents.baselines import InverseVolatility, inverse_volatility_weights
from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.specialist import (
    Specialist,
    SpecialistManifest,
    load_specialist,
    save_specialist,
)
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.core.errors import PolicyError
from mtquant.core.protocols import Observation, Policy
from mtquant.market.observation import ObservationLayout
from mtquant.rewards.compose import STATE_NAMES
from tests.support.builders import make_bars
from tests.support.markets import DAY, Portfolio, walk_world
from tests.support.specialists import StubSpecialist, constant_weights, manifest_of

SYMBOLS = ("EURUSD", "GBPUSD", "XAUUSD")
FEATURES = ("log_return_1", "volatility_60", "age_bars")


def ensemble(
    stubs: dict[str, StubSpecialist], name_cap: float = 0.6, gross_cap: float = 1.0
) -> SpecialistEnsemble:
    return SpecialistEnsemble(cast("dict[str, Specialist]", stubs), name_cap, gross_cap)


def stub_ensemble(
    answers: tuple[float, ...] = (1.0, 1.0, 1.0), unit: float = 0.1, window: int = 1
) -> tuple[SpecialistEnsemble, dict[str, StubSpecialist]]:
    stubs = {
        symbol: StubSpecialist(FEATURES, answer, unit, window, (symbol,))
        for symbol, answer in zip(SYMBOLS, answers, strict=True)
    }
    return ensemble(stubs), stubs


def observation(volatility: tuple[float, ...], window: int = 1) -> Observation:
    """Entries are their own position in the vector, but for the volatilities."""
    layout = ObservationLayout(SYMBOLS, FEATURES, window, STATE_NAMES)
    names = layout.names()
    values = np.arange(layout.size, dtype=np.float32)
    for symbol, value in zip(SYMBOLS, volatility, strict=True):
        values[names.index(f"{symbol}.volatility_60")] = value
    return Observation(values, 0, SYMBOLS, names)


def test_specialists_that_say_one_are_the_inverse_volatility_weights() -> None:
    policy, _ = stub_ensemble()
    assert isinstance(policy, Policy)
    volatility = (0.01, 0.02, 0.04)
    targets, state = policy.act(observation(volatility), policy.initial_state())
    # 1 / volatility is 100, 50, 25, which the gross cap of 1 brings to a sum of 1: the largest is
    # 0.571, under the name cap of 0.6.
    np.testing.assert_allclose(targets, np.array([100.0, 50.0, 25.0]) / 175.0, rtol=1e-6)
    assert state.targets.tobytes() == targets.tobytes()


def test_a_closed_market_keeps_its_latest_target() -> None:
    """In training every bar was the instrument's own: on others its specialist is not asked."""
    policy, stubs = stub_ensemble()
    seen = observation((0.01, 0.02, 0.04))
    first, state = policy.act(seen, policy.initial_state())
    seen.values[seen.names.index("GBPUSD.tradable")] = 0.0
    seen.values[seen.names.index("GBPUSD.volatility_60")] = 0.5
    second, state = policy.act(seen, state)
    assert second[1] == first[1] and second[0] != first[0]
    assert [len(stub.seen) for stub in stubs.values()] == [2, 1, 2]
    assert state.states == (2, 1, 2)  # what each remembers: how often it was asked


def test_they_are_the_baseline_ledger_for_ledger() -> None:
    """On a month without a second decision both ask for the same at the first bar."""
    bars = [make_bars(symbol, 80, seed, DAY) for seed, symbol in enumerate(SYMBOLS[:2])]
    portfolio = Portfolio.build(bars, "environment.max_position_size=0.6")
    stubs = {symbol: StubSpecialist(FEATURES, symbols=(symbol,)) for symbol in SYMBOLS[:2]}
    rows = slice(60, 62)  # one decision
    ours = portfolio.run(ensemble(stubs), rows)
    theirs = portfolio.run(InverseVolatility(0.6, 1.0, 60), rows)
    assert ours.targets.tobytes() == theirs.targets.tobytes()
    assert ours.outcomes.tobytes() == theirs.outcomes.tobytes()
    assert ours.fills.tobytes() == theirs.fills.tobytes()


volatilities = st.tuples(*[st.sampled_from((0.0, 1e-6, 0.005, 0.01, 0.3))] * 3)
actions = st.tuples(*[st.floats(-1.0, 1.0)] * 3)


@given(volatility=volatilities, answers=actions, caps=st.sampled_from(((0.1, 1.0), (0.6, 0.5))))
def test_caps_hold(
    volatility: tuple[float, ...], answers: tuple[float, ...], caps: tuple[float, float]
) -> None:
    _, stubs = stub_ensemble(answers)
    policy = ensemble(stubs, *caps)
    targets, _ = policy.act(observation(volatility), policy.initial_state())
    assert np.all(np.abs(targets) <= caps[0] * (1.0 + 1e-12))
    assert np.abs(targets).sum() <= caps[1] * (1.0 + 1e-12)
    # An unknown volatility is a weight of 0, and the specialist is not even asked.
    unknown = np.array(volatility) == 0.0
    assert np.all(targets[unknown] == 0.0)
    assert [not stub.seen for stub in stubs.values()] == unknown.tolist()


@pytest.mark.parametrize("window", [1, 2])
def test_each_specialist_sees_its_own_block_with_its_exposure_rescaled(window: int) -> None:
    unit = 0.1
    policy, stubs = stub_ensemble((1.0, -1.0, 0.5), unit, window)
    seen = observation((0.01, 0.02, 0.04), window)
    before = seen.values.copy()
    policy.act(seen, policy.initial_state())
    assert seen.values.tobytes() == before.tobytes()
    volatility = np.array([0.01, 0.02, 0.04], dtype=np.float32).astype(np.float64)
    weights = inverse_volatility_weights(volatility, 0.6, 1.0)
    single = ObservationLayout(("X",), FEATURES, window, STATE_NAMES)
    for n, (symbol, stub) in enumerate(stubs.items()):
        (view,) = stub.seen
        own = [name.replace("X.", f"{symbol}.") for name in single.names()]
        expected = seen.values[[seen.names.index(name) for name in own]]
        # A specialist was trained with positions up to `unit`; here its full position is weight n.
        exposure = own.index(f"{symbol}.exposure")
        expected[exposure] *= unit / weights[n]
        np.testing.assert_allclose(view, expected, rtol=1e-6)
        assert view.dtype == np.float32


def test_an_ensemble_of_one_is_its_specialist(tmp_path: Path) -> None:
    """Byte for byte where its weight is the unit it was trained with."""
    world = walk_world()
    weights = constant_weights(len(world.manifest()["observation_names"]), 0.0)
    generator = np.random.Generator(np.random.PCG64(0))
    for name in ("mlp_extractor.policy_net.0.weight", "action_net.weight"):
        tensor = weights[name]
        tensor.numpy()[:] = generator.normal(0.0, 1.0, tuple(tensor.shape))
    save_specialist(tmp_path, weights, manifest_of(world))
    specialist = load_specialist(tmp_path)
    for cap in (0.05, 0.1, 0.2):  # trained with 0.1, the default max_position_size
        portfolio = Portfolio.build(
            list(world.bars.values()), f"environment.max_position_size={cap}"
        )
        alone = SpecialistEnsemble({"EURUSD": specialist}, cap, 1.0)
        rows = slice(100, 400)
        ledger = portfolio.run(alone, rows)
        assert len(ledger.fills) > 50
        assert np.abs(ledger.targets).max() <= cap
        if cap == specialist.manifest.unit:
            expected = portfolio.run(specialist, rows)
            assert ledger.targets.tobytes() == expected.targets.tobytes()
            assert ledger.outcomes.tobytes() == expected.outcomes.tobytes()


def test_an_ensemble_of_one_is_scaled_by_weight_over_unit() -> None:
    stub = StubSpecialist(FEATURES, answer=-0.25, unit=0.1)
    policy = ensemble({"EURUSD": stub}, name_cap=0.3)
    layout = ObservationLayout(("EURUSD",), FEATURES, 1, STATE_NAMES)
    values = np.full(layout.size, 0.02, dtype=np.float32)
    targets, _ = policy.act(
        Observation(values, 0, ("EURUSD",), layout.names()), policy.initial_state()
    )
    # Its own exposure is -0.25 x 0.1; the weight of a single instrument is the name cap, 0.3.
    np.testing.assert_allclose(targets, [-0.25 * 0.1 * (0.3 / 0.1)], rtol=1e-12)


def test_instruments_of_another_order_are_refused() -> None:
    policy, _ = stub_ensemble()
    seen = observation((0.01, 0.02, 0.04))
    turned = Observation(seen.values, 0, SYMBOLS[::-1], seen.names)
    with pytest.raises(PolicyError, match="instruments in their order"):
        policy.act(turned, policy.initial_state())


@pytest.mark.parametrize(
    "other", [StubSpecialist(FEATURES[::-1]), StubSpecialist(FEATURES, window=2)]
)
def test_specialists_that_see_different_features_are_refused(other: StubSpecialist) -> None:
    with pytest.raises(PolicyError, match="specialist GBPUSD must see the same features"):
        ensemble({"EURUSD": StubSpecialist(FEATURES), "GBPUSD": other})


def test_weighting_needs_its_volatility() -> None:
    with pytest.raises(PolicyError, match=r"features\.catalog must hold volatility_60"):
        ensemble({"EURUSD": StubSpecialist(("log_return_1",))})


def test_a_specialist_of_several_instruments_sees_and_says_all_of_them() -> None:
    """The first and the third instrument belong to one, whose order is another than the panel's."""
    pair = StubSpecialist(FEATURES, 0.5, 0.1, symbols=("XAUUSD", "EURUSD"))
    stubs = {"pair": pair, "GBPUSD": StubSpecialist(FEATURES, -1.0, 0.1, symbols=("GBPUSD",))}
    policy = SpecialistEnsemble(cast("dict[str, Specialist]", stubs), 0.6, 1.0, symbols=SYMBOLS)
    seen = observation((0.01, 0.02, 0.04))
    volatility = np.array([0.01, 0.02, 0.04], dtype=np.float32).astype(np.float64)
    weights = inverse_volatility_weights(volatility, 0.6, 1.0)
    targets, state = policy.act(seen, policy.initial_state())
    np.testing.assert_allclose(targets, weights * [0.5, -1.0, 0.5], rtol=1e-12)
    names = ObservationLayout(("XAUUSD", "EURUSD"), FEATURES, 1, STATE_NAMES).names()
    expected = seen.values[[seen.names.index(name) for name in names]]
    for n, symbol in ((2, "XAUUSD"), (0, "EURUSD")):
        expected[names.index(f"{symbol}.exposure")] *= 0.1 / weights[n]
    np.testing.assert_allclose(pair.seen[0], expected, rtol=1e-6)
    # Where one of its markets is closed it decides about the other; the latest target stands.
    seen.values[seen.names.index("EURUSD.tradable")] = 0.0
    pair.answer = -0.5
    second, state = policy.act(seen, state)
    np.testing.assert_allclose(second, weights * [0.5, -1.0, -0.5], rtol=1e-12)
    assert state.states == (2, 2)
    # Where both are, it is not asked.
    seen.values[seen.names.index("XAUUSD.tradable")] = 0.0
    third, state = policy.act(seen, state)
    assert third.tobytes() == second.tobytes()
    assert state.states == (2, 3)


def test_an_instrument_of_two_specialists_is_refused() -> None:
    stubs = {"one": StubSpecialist(FEATURES), "two": StubSpecialist(FEATURES)}
    with pytest.raises(PolicyError, match=r"each to one of them.*'one': \('EURUSD',\)"):
        ensemble(stubs)


def drawn_specialist(symbol: str, seed: int, units: int = 8) -> Specialist:
    """A network drawn at random whose actions differ from bar to bar."""
    layout = ObservationLayout((symbol,), FEATURES, 1, STATE_NAMES)
    shape = PolicyShape(layout.size, (units,), 1)
    weights = ActorCriticStack.fresh(shape, [seed]).weights(0)
    weights["action_net.weight"] *= 100.0
    scaling = {"mean": torch.zeros(layout.size), "scale": torch.full((layout.size,), 3.0)}
    weights |= {f"features_extractor.{name}": held for name, held in scaling.items()}
    known = manifest_of(walk_world()) | {
        "name": symbol,
        "symbols": (symbol,),
        "feature_names": FEATURES,
        "observation_names": tuple(name.removeprefix(f"{symbol}.") for name in layout.names()),
        "weights_sha256": "0" * 64,
    }
    return Specialist(weights, SpecialistManifest(**known))


def drawn_ensemble(units: tuple[int, ...]) -> SpecialistEnsemble:
    own = {
        symbol: drawn_specialist(symbol, seed, own)
        for seed, (symbol, own) in enumerate(zip(SYMBOLS, units, strict=True))
    }
    return SpecialistEnsemble(own, 0.6, 1.0)


def test_specialists_asked_together_answer_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    together, alone = drawn_ensemble((8, 8, 8)), drawn_ensemble((8, 8, 8))
    monkeypatch.setattr(alone, "_crew", None)
    random = np.random.default_rng(0)
    states = [together.initial_state(), alone.initial_state()]
    lived = []
    for bar in range(20):
        seen = observation((0.01, 0.02, 0.04))
        seen.values[:] = random.normal(size=len(seen.values))
        for symbol, volatility in zip(SYMBOLS, (0.01, 0.02, 0.0 if bar < 5 else 0.04), strict=True):
            seen.values[seen.names.index(f"{symbol}.volatility_60")] = volatility
            is_open = float(random.random() < 0.7)
            seen.values[seen.names.index(f"{symbol}.tradable")] = is_open
        found, states[0] = together.act(seen, states[0])
        expected, states[1] = alone.act(seen, states[1])
        # Sums of float32 in another order, at most.
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)
        lived.append(found)
    assert np.ptp(lived, axis=0).min() > 0.1


def test_a_specialist_that_is_not_asked_may_know_nothing() -> None:
    policy = drawn_ensemble((8, 8, 8))
    seen = observation((0.01, 0.02, 0.04))
    seen.values[:] = np.clip(seen.values, 0.0, 1.0)
    seen.values[seen.names.index("GBPUSD.tradable")] = 0.0
    seen.values[seen.names.index("GBPUSD.log_return_1")] = np.nan
    targets, state = policy.act(seen, policy.initial_state())
    assert np.isfinite(targets).all() and targets[1] == 0.0
    seen.values[seen.names.index("GBPUSD.tradable")] = 1.0
    with pytest.raises(PolicyError, match="action of GBPUSD must be finite"):
        policy.act(seen, state)


def test_networks_of_unequal_shapes_are_asked_one_by_one() -> None:
    policy = drawn_ensemble((8, 8, 6))
    targets, _ = policy.act(observation((0.01, 0.02, 0.04)), policy.initial_state())
    assert np.isfinite(targets).all() and targets.all()
