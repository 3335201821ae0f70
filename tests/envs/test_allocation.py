# SPDX-License-Identifier: Apache-2.0
"""The arithmetic between the meta-controller's action and exposures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from mtquant.envs import allocation
from tests.support.portfolios import decisions


def asked(actions, signals, owner, gross_cap):
    weights, budgets = allocation.weights_and_budget(actions)
    scales = allocation.instrument_scales(weights, budgets, owner, gross_cap)
    return allocation.exposures(scales, signals)


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
    batch = asked(actions, signals, owner, 1.0)
    for e in range(17):
        assert asked(actions[e], signals[e], owner, 1.0).tobytes() == batch[e].tobytes()
        one = asked(actions[e : e + 1], signals[e : e + 1], owner, 1.0)
        assert one[0].tobytes() == batch[e].tobytes()


def test_all_can_go_to_cash_and_nothing_stays_at_risk():
    actions = np.array([[-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]], dtype=np.float32)
    weights, budgets = allocation.weights_and_budget(actions)
    # exp(3) / (exp(3) + 2 exp(-3)) = 0.99507
    assert weights[0, -1] == pytest.approx(0.99507, abs=1e-5)
    assert budgets.tolist() == [1.0, 0.0]
    assert asked(actions[1], np.ones(2, dtype=np.float32), np.arange(2), 1.0).tolist() == [0, 0]


def test_the_unit_is_what_an_action_of_one_moves():
    assert allocation.action_unit(2).tolist() == [3.0, 3.0, 3.0, 0.5]
