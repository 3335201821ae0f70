# SPDX-License-Identifier: Apache-2.0
"""The guard, rule by rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.config import GuardConfig
from mtquant.risk import guard as g

NAN = math.nan


OFF = dict.fromkeys(set(GuardConfig.model_fields) - {"recover_frac"})


class Watched:
    """A guard with its settings, fed one fact at a time; opened at equity 100 on day 0."""

    def __init__(self, **rules):
        self.settings = g.guard_settings(GuardConfig(**{**OFF, **rules}))
        self.state = np.full(g.GUARD_COLUMNS, NAN)
        g.open_guard(self.state, 100.0, 0)

    def see(self, equity=100.0, day=0, exceeded=0.0, age=0.0):
        mode = g.update_guard(self.state, self.settings, equity, day, exceeded, age)
        assert mode == self.state[g.G_MODE]
        return mode

    @property
    def why(self):
        return int(self.state[g.G_WHY])


@given(st.lists(st.tuples(st.floats(1.0, 200.0), st.integers(0, 3)), max_size=30))
def test_a_guard_without_rules_stays_active(facts):
    guard = Watched()
    for equity, day in facts:
        assert guard.see(equity, day, NAN, NAN) == g.GUARD_ACTIVE
        assert guard.why == 0


def test_a_drawdown_reduces_and_lets_go_below_half_of_its_limit():
    guard = Watched(reduce_drawdown_frac=0.1)
    # Peak 100: 9.9 % is inside, 10.1 % is not; back at 6 % it still holds, at 4.9 % no more.
    modes = [guard.see(equity) for equity in (90.1, 89.9, 94.0, 95.1, 91.0)]
    assert modes == [0, 1, 1, 0, 0]
    guard.see(89.0)
    assert g.guard_reasons(guard.why) == (g.WHY_TEXTS[g.WHY_DRAWDOWN],)


def test_a_daily_loss_counts_from_the_last_close_of_the_day_before():
    guard = Watched(reduce_daily_loss_frac=0.05, recover_frac=1.0)
    guard.see(97.0)
    # Day 1 starts from 97: 92.5 is a loss of 4.6 %, 92 of 5.2 %; on day 2 it is forgotten.
    assert guard.see(92.5, day=1) == g.GUARD_ACTIVE
    assert guard.see(92.0, day=1) == g.GUARD_REDUCING
    assert guard.why == g.WHY_DAILY_LOSS
    assert guard.see(92.0, day=2) == g.GUARD_ACTIVE


@pytest.mark.parametrize("rule", ["halt_drawdown_frac", "halt_daily_loss_frac"])
def test_a_halt_ends_only_by_hand(rule):
    guard = Watched(**{rule: 0.1})
    assert guard.see(89.9) == g.GUARD_HALTED
    assert guard.see(120.0, day=5) == g.GUARD_HALTED
    g.reset_guard(guard.state)
    assert guard.see(109.0, day=5) == g.GUARD_ACTIVE
    # The reset measures anew: from 120, not from the old peak.
    assert guard.see(107.9, day=5) == g.GUARD_HALTED


def test_exceedances_count_in_a_row():
    guard = Watched(max_var_exceedances=2)
    assert [guard.see(exceeded=x) for x in (1.0, 0.0, 1.0, 1.0)] == [0, 0, 0, 1]
    assert guard.why == g.WHY_VAR_EXCEEDED
    assert guard.see(exceeded=0.0) == g.GUARD_ACTIVE


def test_stale_data_reduce_until_fresh_ones_come():
    guard = Watched(max_data_age_bars=3)
    assert [guard.see(age=x) for x in (3.0, 3.5, 0.0)] == [0, 1, 0]


def test_what_is_unknown_counts_as_the_worst():
    assert Watched(max_data_age_bars=3).see(age=NAN) == g.GUARD_REDUCING
    assert Watched(max_var_exceedances=1).see(exceeded=NAN) == g.GUARD_REDUCING
    for equity in (NAN, math.inf, 0.0, -1.0):
        guard = Watched()
        assert guard.see(equity) == g.GUARD_HALTED
        assert guard.why == g.WHY_UNKNOWN_ACCOUNT
        g.reset_guard(guard.state)  # not before the account can be read again
        assert guard.state[g.G_MODE] == g.GUARD_HALTED
        assert guard.see(50.0, day=1) == g.GUARD_HALTED
        g.reset_guard(guard.state)
        assert guard.see(50.0, day=1) == g.GUARD_ACTIVE


def test_an_account_that_opens_unknown_is_halted():
    state = np.empty(g.GUARD_COLUMNS)
    g.open_guard(state, NAN, 0)
    assert state[g.G_MODE] == g.GUARD_HALTED


exposures = st.floats(-2.0, 2.0)


@given(exposures, exposures)
def test_reducing_allows_only_trades_that_reduce(wanted, held):
    allowed = g.guarded(wanted, held, g.GUARD_REDUCING)
    assert abs(allowed) <= abs(held)
    assert allowed * held >= 0.0
    if min(0.0, held) <= wanted <= max(0.0, held):
        assert allowed == wanted


@given(exposures, exposures)
def test_active_allows_all_and_halted_nothing(wanted, held):
    assert g.guarded(wanted, held, g.GUARD_ACTIVE) == wanted
    assert g.guarded(wanted, held, g.GUARD_HALTED) == held


@pytest.mark.parametrize("mode", [g.GUARD_REDUCING, g.GUARD_HALTED])
def test_what_nobody_knows_or_wants_to_change_is_left_alone(mode):
    assert math.isnan(g.guarded(0.0, NAN, mode))
    assert math.isnan(g.guarded(NAN, 0.5, mode))


def test_every_column_of_the_settings_is_a_key():
    config = GuardConfig(
        reduce_drawdown_frac=0.1,
        halt_drawdown_frac=0.2,
        reduce_daily_loss_frac=0.03,
        halt_daily_loss_frac=0.04,
        max_var_exceedances=5,
        max_data_age_bars=6,
        recover_frac=0.7,
    )
    assert g.guard_settings(config).tolist() == [0.1, 0.2, 0.03, 0.04, 5.0, 6.0, 0.7]
    assert len(GuardConfig.model_fields) == g.GUARD_SETTINGS
