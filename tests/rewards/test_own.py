# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.errors import RewardError
from mtquant.rewards.catalog import BUILT_IN, Term
from mtquant.rewards.checks import ledger_rows
from mtquant.rewards.compose import Reward
from mtquant.rewards.own import OwnTerms

ACCOUNTS = 3
REWARD = Reward({"growth": 1.0}, scale=0.01)


@kernel
def longest_fall(state, outcome, parameters):
    """Minus the bars since the last gain, and how often it was asked."""
    state[0] = state[0] + 1.0 if outcome[oc.GROWTH] < 0.0 else 0.0
    state[1] += 1.0
    return -state[0]


def leverage(state, outcome, parameters):
    return -outcome[oc.GROSS]


def make(function=longest_fall, **weights):
    both = [
        Term("longest_fall", function, "penalty", start=(0.0, 5.0)),
        Term("leverage", leverage, "penalty"),
    ]
    return OwnTerms(both, weights, REWARD, ACCOUNTS)


def bars(count=20, seed=0):
    """Ledger rows of all accounts, float64 [T, E, columns]."""
    generator = np.random.Generator(np.random.PCG64(seed))
    episodes = [ledger_rows(generator.normal(0.0, 0.01, count), generator) for _ in range(ACCOUNTS)]
    return np.stack(episodes, axis=1)


@pytest.mark.parametrize("function", [longest_fall, longest_fall.py_func])
def test_terms_are_paid_by_weight_and_traced(function):
    own = make(function, longest_fall=2.0, leverage=0.5)
    paid = np.array([own.step(rows) for rows in bars()])
    falls = bars()[:, :, oc.GROWTH] < 0.0
    run = np.zeros(ACCOUNTS)
    expected = np.zeros((2, ACCOUNTS))
    for t in range(len(falls)):
        run = (run + 1.0) * falls[t]
        expected += (-2.0 * run, -0.5 * bars()[t, :, oc.GROSS])
        np.testing.assert_allclose(paid[t], -2.0 * run - 0.5 * bars()[t, :, oc.GROSS])
    np.testing.assert_allclose(own.trace, expected.T, rtol=1e-12)
    # The start, 5, and one for each of the 20 bars.
    np.testing.assert_array_equal(own.states, np.column_stack([run, np.full(ACCOUNTS, 25.0)]))


def test_a_term_without_a_weight_keeps_its_state_and_pays_nothing():
    own = make()
    assert not np.array([own.step(rows) for rows in bars()]).any()
    assert (own.states[:, 1] == 25.0).all()


def test_an_episode_starts_where_it_is_said():
    own = make(longest_fall=1.0)
    for rows in bars():
        own.step(rows)
    kept = own.states.copy(), own.trace.copy()
    own.start(np.array([False, True, False]))
    assert own.states[1].tolist() == [0.0, 5.0] and own.trace[1].tolist() == [0.0, 0.0]
    for array, before in zip((own.states, own.trace), kept, strict=True):
        assert array[[0, 2]].tobytes() == before[[0, 2]].tobytes()
    own.start()
    assert own.states.tolist() == [[0.0, 5.0]] * ACCOUNTS


def test_what_cannot_be_registered_is_refused():
    with pytest.raises(RewardError, match="Did you mean 'longest_fall'"):
        make(longest_fal=1.0)
    with pytest.raises(RewardError, match="weight of leverage must be finite"):
        make(leverage=np.nan)
    for terms in ([BUILT_IN["growth"]], [Term("twice", leverage, "penalty")] * 2):
        with pytest.raises(RewardError, match="must have a name of its own"):
            OwnTerms(terms, {}, REWARD, 1)
    with pytest.raises(RewardError, match="must have shape"):
        make().step(bars()[0, :2])


def test_a_value_that_is_no_number_stops_the_run():
    broken = Term("broken", lambda state, outcome, parameters: np.inf, "gain")
    own = OwnTerms([broken], {}, REWARD, ACCOUNTS)
    with pytest.raises(RewardError, match="value of broken must be finite"):
        own.step(bars()[0])
