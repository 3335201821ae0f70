# SPDX-License-Identifier: Apache-2.0
"""`check_reward` passes every built-in term and catches each way of being wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel
from mtquant.core.errors import RewardError
from mtquant.rewards import terms
from mtquant.rewards.catalog import BUILT_IN, Term
from mtquant.rewards.checks import check_reward
from mtquant.rewards.compose import Reward


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("window", [60, 252])
def test_every_built_in_term_is_sound(name, window):
    reward = Reward({name: 1.0}, scale=0.01, sharpe_window_bars=window, drawdown_target_frac=0.02)
    check_reward(BUILT_IN[name], reward.parameter_vector(), seed=window)


def test_a_short_memory_turns_the_sign_of_a_differential_ratio():
    """The ratio's differential is of first order in 1 / window: at 5 bars what is left out decides.
    The configuration allows 20 and more.
    """
    parameters = Reward({"differential_sharpe": 1.0}, 0.01, sharpe_window_bars=5).parameter_vector()
    with pytest.raises(RewardError, match="must not fall when the mean return rises"):
        check_reward(BUILT_IN["differential_sharpe"], parameters)
    for name, window in (("differential_sharpe", 20), ("differential_sortino", 60)):
        reward = Reward({name: 1.0}, 0.01, sharpe_window_bars=window)
        for seed in range(4):
            check_reward(BUILT_IN[name], reward.parameter_vector(), seed)


@kernel
def lazy_loss(state, outcome, parameters):
    """A sound term of a user's: losses hurt for a while."""
    state[0] = max(0.9 * state[0], -outcome[oc.GROWTH] * parameters[terms.P_UNIT])
    return -state[0]


@pytest.mark.parametrize("function", [lazy_loss, lazy_loss.py_func])
def test_a_sound_term_of_a_user_passes(function):
    check_reward(Term("lazy_loss", function, kind="penalty", start=(0.0,)))


def unit(outcome, column, parameters):
    return outcome[column] * parameters[terms.P_UNIT]


calls = itertools.count()


def forgetful(state, outcome, parameters):
    return 1e-3 * next(calls)


def overwriting(state, outcome, parameters):
    outcome[oc.GROWTH], kept = 0.0, outcome[oc.GROWTH]
    return kept * parameters[terms.P_UNIT]


def greedy_with_room(state, outcome, parameters):
    """Writes into its neighbour's state."""
    if state.base is not None and state.base.ndim == 2:
        state.base[:, 0] = 1.0
    return unit(outcome, oc.GROWTH, parameters)


def stride_dependent(state, outcome, parameters):
    return unit(outcome, oc.GROWTH, parameters) * (1.0 if outcome.flags.c_contiguous else 2.0)


RATE = 2.0


@kernel
def frozen(state, outcome, parameters):
    return -outcome[oc.COST] * parameters[terms.P_UNIT] * RATE


BROKEN = {
    "pays per trade": (
        "gain",
        lambda s, o, p: unit(o, oc.GROWTH, p) + 0.1 * unit(o, oc.TURNOVER, p),
        "must not pay for activity or harm",
    ),
    "pays for holding": (
        "gain",
        lambda s, o, p: unit(o, oc.GROWTH, p) + 0.01 * o[oc.GROSS],
        "must not pay for activity or harm",
    ),
    "pays for falling": (
        "gain",
        lambda s, o, p: unit(o, oc.GROWTH, p) + 0.01 * unit(o, oc.DRAWDOWN, p),
        "must not pay for activity or harm",
    ),
    "pays for gains alone": (
        "gain",
        lambda s, o, p: max(0.0, unit(o, oc.GROWTH, p)),
        "must not pay for going up and down",
    ),
    "pays for being there": (
        "gain",
        lambda s, o, p: 0.01 + unit(o, oc.GROWTH, p),
        "must not pay for doing nothing",
    ),
    "turned sign": ("gain", lambda s, o, p: -unit(o, oc.GROWTH, p), "must not fall when the mean"),
    "no penalty": ("penalty", lambda s, o, p: unit(o, oc.GROWTH, p), "must never be positive"),
    "no bonus": ("bonus", lambda s, o, p: -unit(o, oc.COST, p), "must never be negative"),
    "dollars": ("gain", lambda s, o, p: o[oc.EQUITY] - o[oc.EQUITY_BEFORE], "must have no unit"),
    "raw returns": ("gain", lambda s, o, p: o[oc.SIMPLE_RETURN], "must have no unit"),
    "divides": ("penalty", lambda s, o, p: -1.0 / o[oc.GROSS], "must stay finite"),
    "says nothing": ("penalty", lambda s, o, p: None, "must return a number"),
    "remembers": ("penalty", forgetful, "must remember nothing outside its state"),
    "writes the ledger": ("gain", overwriting, "must not change outcome or parameters"),
    "writes its neighbour": ("gain", greedy_with_room, "must not write beyond its state"),
    "reads memory": ("gain", stride_dependent, "must not depend on memory layout"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_broken_term_is_caught_by_name_and_with_its_values(case):
    kind, function, rule = BROKEN[case]
    with pytest.raises(RewardError) as caught:
        check_reward(Term("mine", function, kind=kind))
    assert caught.value.field == "reward term mine"
    assert rule in caught.value.rule


def test_a_sum_that_is_not_the_closed_form_is_caught():
    wrong = Term("mine", terms.growth, "gain", sums_to=lambda rows, parameters: 0.0)
    with pytest.raises(RewardError, match="must add up to its closed form"):
        check_reward(wrong)


def test_a_kernel_that_is_not_its_plain_python_is_caught(monkeypatch):
    """Numba keeps the globals of the moment of compilation; plain Python reads today's."""
    check_reward(Term("mine", frozen, kind="penalty"))
    monkeypatch.setitem(frozen.py_func.__globals__, "RATE", 3.0)
    with pytest.raises(RewardError, match="must be what its plain Python says"):
        check_reward(Term("mine", frozen, kind="penalty"))


def test_a_benchmark_may_pay_the_idle_only_if_that_is_said():
    term = BUILT_IN["differential_information"]
    parameters = Reward({term.name: 1.0}, scale=0.01).parameter_vector()
    silent = Term(term.name, term.function, term.kind, term.start)
    with pytest.raises(RewardError, match="must not pay for doing nothing"):
        check_reward(silent, parameters)


def test_the_draws_are_seeded():
    found = []
    for seed in (1, 1, 2):
        with pytest.raises(RewardError) as caught:
            check_reward(Term("mine", lambda s, o, p: o[oc.SIMPLE_RETURN], "gain"), seed=seed)
        found.append(caught.value.found)
    assert found[0] == found[1] != found[2]


def test_a_name_is_a_name():
    with pytest.raises(RewardError, match="must be letters, digits and underscores"):
        Term("my term", terms.growth, "gain")


def test_rows_are_those_of_an_account():
    from mtquant.rewards.checks import ledger_rows

    rows = ledger_rows(np.array([0.1, -0.5, 0.25]), np.random.Generator(np.random.PCG64(0)))
    # 100,000 x 1.1, x 0.5, x 1.25; the peak is the first close.
    np.testing.assert_allclose(rows[:, oc.EQUITY], [110_000.0, 55_000.0, 68_750.0])
    np.testing.assert_allclose(rows[:, oc.DRAWDOWN], [0.0, 0.5, 0.375], atol=1e-12)
    paid = (rows[:, oc.FEE] + rows[:, oc.SLIPPAGE]) / rows[:, oc.EQUITY_BEFORE]
    np.testing.assert_allclose(paid, rows[:, oc.COST])
