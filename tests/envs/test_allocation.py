# SPDX-License-Identifier: Apache-2.0
"""The arithmetic between the meta-controller's action and exposures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax

from mtquant.envs import allocation
from tests.support.portfolios import decisions


def asked(actions, signals, owner, gross_cap, name_cap=np.inf):
    weights, budgets = allocation.weights_and_budget(actions)
    caps = np.broadcast_to(np.asarray(name_cap, dtype=float), len(owner))
    scales = allocation.instrument_scales(weights, budgets, owner, gross_cap, caps, signals)
    return allocation.exposures(scales, signals)


def shares_of(generator, names):
    """Rows of weights whose last one is cash, some of them 0 but for cash, and caps."""
    weights = generator.dirichlet(np.full(names + 1, 0.3), 6) + 1e-12
    weights[generator.random(weights.shape) < 0.1] = 0.0
    weights[:, -1] += 1e-6
    return weights[:, :-1], weights[:, -1:], generator.uniform(0.01, 1.0, (6, names))


def test_a_worked_example():
    # Two specialists and cash, all logits equal: a third each. The budget's entry 0 is one half.
    # 0.5 x 1.2 x 1/3 = 0.2 per specialist; the first has two instruments, 0.1 each.
    action = np.array([0.3, 0.3, 0.3, 0.0], dtype=np.float32)
    signals = np.array([1.0, -0.5, 0.25], dtype=np.float32)
    exposures = asked(action, signals, np.array([0, 1, 0]), 1.2)
    assert exposures.dtype == np.float32
    assert exposures == pytest.approx([0.1, -0.1, 0.025])


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_weights_are_the_softmax_of_bounded_logits(seed, specialists):
    actions = decisions(seed, 3, 4, specialists)
    weights, budgets = allocation.weights_and_budget(actions)
    bounded = np.clip(actions, -1.0, 1.0).astype(np.float64)
    # scipy is the reference.
    assert weights == pytest.approx(softmax(allocation.LOGIT_RANGE * bounded[..., :-1], axis=-1))
    assert budgets == pytest.approx((1.0 + bounded[..., -1]) / 2.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0.1, 5.0))
def test_the_gross_exposure_asked_for_never_exceeds_the_budget(seed, specialists, cap):
    generator = np.random.Generator(np.random.PCG64(seed))
    extra = int(generator.integers(0, 4))  # some specialists trade several instruments
    owner = np.concatenate([np.arange(specialists), generator.integers(0, specialists, extra)])
    actions = decisions(seed, 1, 20, specialists)[0]
    signals = generator.uniform(-1.0, 1.0, (20, len(owner))).astype(np.float32)
    weights, budgets = allocation.weights_and_budget(actions)
    gross = np.abs(asked(actions, signals, owner, cap)).sum(axis=1)
    assert np.all(gross <= budgets * cap * (1.0 - weights[:, -1]) * (1.0 + 1e-6))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_a_batch_is_as_many_singles(seed, specialists):
    actions = decisions(seed, 1, 17, specialists)[0]
    owner = np.arange(specialists)
    signals = decisions(seed + 1, 1, 17, specialists - 2)[0] if specialists > 2 else actions[:, :-2]
    batch = asked(actions, signals, owner, 1.0, 0.2)
    for e in range(17):
        assert asked(actions[e], signals[e], owner, 1.0, 0.2).tobytes() == batch[e].tobytes()
        one = asked(actions[e : e + 1], signals[e : e + 1], owner, 1.0, 0.2)
        assert one[0].tobytes() == batch[e].tobytes()


def test_a_worked_example_of_a_cap():
    # Two of three specialists have 0.45 and may hold 0.4. Of the 0.1 that is left over the third
    # and cash, with 0.05 each, get half: 0.1 each in all.
    weights, owner = np.array([[0.45, 0.45, 0.05, 0.05]]), np.arange(3)
    whole, caps = np.ones(1), np.full(3, 0.4)
    sides = np.array([[1.0, -1.0, 1.0]], dtype=np.float32)
    scales = allocation.instrument_scales(weights, whole, owner, 1.0, caps, sides)
    assert scales[0] == pytest.approx([0.4, 0.4, 0.1])
    # The first asks for half of what it may: 0.225 is below the cap, and only the second is cut.
    half = np.array([[0.5, -1.0, 1.0]], dtype=np.float32)
    scales = allocation.instrument_scales(weights, whole, owner, 1.0, caps, half)
    assert scales[0] == pytest.approx(np.array([0.45, 0.0, 0.05]) * 0.6 / 0.55 + [0, 0.4, 0])
    # Who asks for nothing is not cut, whatever it was given.
    silent = np.zeros((1, 3), dtype=np.float32)
    scales = allocation.instrument_scales(weights, whole, owner, 1.0, caps, silent)
    assert scales[0].tolist() == weights[0, :3].tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_what_caps_cut_is_shared_out_again(seed, names):
    generator = np.random.Generator(np.random.PCG64(seed))
    wanted, cash, caps = shares_of(generator, names)
    found = allocation.shared_out_within(wanted, cash, caps)
    assert np.all(found <= caps)
    for own, rest, cap, given_ in zip(wanted, cash[:, 0], caps, found, strict=True):
        if np.all(own <= cap):
            assert given_.tobytes() == own.tobytes()
            continue

        def missing(multiple, own=own, rest=rest, cap=cap):
            return np.minimum(cap, multiple * own).sum() + multiple * rest - own.sum() - rest

        # scipy is the reference: the one multiple that leaves nothing over and adds nothing.
        multiple = brentq(missing, 1.0, 1.0 + own.sum() / rest, xtol=1e-14, rtol=1e-14)
        assert given_ == pytest.approx(np.minimum(cap, multiple * own), rel=1e-6, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0.02, 1.0))
def test_caps_hold_and_the_budget_too(seed, specialists, cap):
    generator = np.random.Generator(np.random.PCG64(seed))
    owner = np.concatenate([np.arange(specialists), generator.integers(0, specialists, 2)])
    actions = decisions(seed, 1, 20, specialists)[0]
    signals = generator.uniform(-1.0, 1.0, (20, len(owner))).astype(np.float32)
    signals[generator.random(signals.shape) < 0.3] = 1.0
    _, budgets = allocation.weights_and_budget(actions)
    exposures = np.abs(asked(actions, signals, owner, 1.0, cap))
    assert np.all(exposures <= cap * (1.0 + 1e-6))
    assert np.all(exposures.sum(axis=1) <= budgets * (1.0 + 1e-6))
    # Nobody gets less than the cap would have left of what it asked for.
    plain = np.minimum(np.abs(asked(actions, signals, owner, 1.0)), cap)
    assert np.all(exposures >= plain * (1.0 - 1e-6))


def test_all_can_go_to_cash_and_nothing_stays_at_risk():
    actions = np.array([[-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]], dtype=np.float32)
    weights, budgets = allocation.weights_and_budget(actions)
    # exp(3) / (exp(3) + 2 exp(-3)) = 0.99507
    assert weights[0, -1] == pytest.approx(0.99507, abs=1e-5)
    assert budgets.tolist() == [1.0, 0.0]
    assert asked(actions[1], np.ones(2, dtype=np.float32), np.arange(2), 1.0).tolist() == [0, 0]


def test_the_unit_is_what_an_action_of_one_moves():
    assert allocation.action_unit(2).tolist() == [3.0, 3.0, 3.0, 0.5]
