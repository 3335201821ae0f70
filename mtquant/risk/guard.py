# SPDX-License-Identifier: Apache-2.0
"""The guard: Active, Reducing or Halted, decided on facts about the account.

    Active    trades as planned
    Reducing  every trade must make |position| smaller, and none may change its sign
    Halted    no trades; stops and liquidation go on, and a person may close positions

Reducing ends by itself once every rule that asked for it lets go (at `recover_frac` of its limit).
Halted ends only by `reset_guard`, which a person calls; closing by hand is planning under
GUARD_REDUCING. What is not known counts as the worst: an account whose equity cannot be read is
halted, since unknown is not flat.

The state is one float64 vector [GUARD_COLUMNS], so that it can lie in an account's row, a
checkpoint or a ledger; `docs/risk.md` explains each rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.config import GuardConfig

Float = NDArray[np.float64]

GUARD_ACTIVE, GUARD_REDUCING, GUARD_HALTED = range(3)
GUARD_TEXTS: Mapping[int, str] = MappingProxyType(
    {
        GUARD_ACTIVE: "active",
        GUARD_REDUCING: "reducing: positions may only shrink",
        GUARD_HALTED: "halted: no trades until a reset",
    }
)

# Reasons are bits: several rules may hold at once.
WHY_DRAWDOWN = 1
WHY_DAILY_LOSS = 2
WHY_VAR_EXCEEDED = 4
WHY_STALE_DATA = 8
WHY_UNKNOWN_ACCOUNT = 16
WHY_TEXTS: Mapping[int, str] = MappingProxyType(
    {
        WHY_DRAWDOWN: "drawdown beyond its limit",
        WHY_DAILY_LOSS: "daily loss beyond its limit",
        WHY_VAR_EXCEEDED: "losses beyond the value at risk in a row",
        WHY_STALE_DATA: "data too old, or of unknown age",
        WHY_UNKNOWN_ACCOUNT: "state of the account unknown",
    }
)

GUARD_COLUMNS = 7
(
    G_MODE,  # GUARD_*
    G_WHY,  # bit mask WHY_* of the rules that hold it there
    G_PEAK,  # highest equity
    G_DAY,  # day number of the last fact
    G_DAY_EQUITY,  # equity at the last close of the day before
    G_EQUITY,  # equity at the last fact
    G_EXCEEDED,  # bars in a row with a loss beyond the value at risk
) = range(GUARD_COLUMNS)

GUARD_SETTINGS = 7
(
    GS_REDUCE_DRAWDOWN,
    GS_HALT_DRAWDOWN,
    GS_REDUCE_DAILY_LOSS,
    GS_HALT_DAILY_LOSS,
    GS_EXCEEDANCES,
    GS_DATA_AGE,
    GS_RECOVER,
) = range(GUARD_SETTINGS)


def guard_settings(config: GuardConfig) -> Float:
    """The rules as kernels read them, float64 [GUARD_SETTINGS]; infinite where a rule is off."""
    values = (
        config.reduce_drawdown_frac,
        config.halt_drawdown_frac,
        config.reduce_daily_loss_frac,
        config.halt_daily_loss_frac,
        config.max_var_exceedances,
        config.max_data_age_bars,
        config.recover_frac,
    )
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)


def guard_reasons(why: float) -> tuple[str, ...]:
    """Texts of the reasons in a mask."""
    return tuple(text for bit, text in WHY_TEXTS.items() if int(why) & bit)


@kernel
def open_guard(state: Float, equity: float, day: int) -> None:
    """A fresh guard for an account with this equity; Halted if it is not a positive number.

    Args:
        state: float64 [GUARD_COLUMNS], overwritten.
        equity: Account currency.
        day: Day number, for example the stamp // 86,400 s.
    """
    state[:] = 0.0
    state[G_PEAK] = state[G_DAY_EQUITY] = state[G_EQUITY] = equity
    state[G_DAY] = day
    if not 0.0 < equity < math.inf:
        state[G_MODE], state[G_WHY] = GUARD_HALTED, WHY_UNKNOWN_ACCOUNT


@kernel
def reset_guard(state: Float) -> None:
    """A person's word that trading may go on: Active, measured from the present equity on.

    A guard whose account is still unknown stays Halted.
    """
    open_guard(state, state[G_EQUITY], int(state[G_DAY]))


@kernel
def _rule(value: float, limit: float, recover: float, held: bool) -> bool:
    """Whether a rule holds: from its limit on, and once it held down to a share of it.

    An unknown value holds every rule that is on.
    """
    if limit == math.inf:
        return False
    return not (value < (recover * limit if held else limit))


@kernel
def update_guard(
    state: Float, settings: Float, equity: float, day: int, exceeded: float, age_bars: float
) -> int:
    """Takes in the facts at the close of one bar and returns the mode, GUARD_*.

    Args:
        state: float64 [GUARD_COLUMNS], changed.
        settings: float64 [GUARD_SETTINGS].
        equity: At this close; NaN where it cannot be read.
        day: Day number of this close. The first close of a new day measures its loss from the last
            close of the day before.
        exceeded: 1.0 if the bar lost more than the value at risk of the book held into it (one
            day's, times the square root of the bar's share of a day), 0.0 if not, NaN if unknown.
        age_bars: Age of the newest bar in bar lengths; NaN if unknown.
    """
    if not 0.0 < equity < math.inf:
        state[G_EQUITY] = math.nan
        state[G_MODE] = GUARD_HALTED
        state[G_WHY] = int(state[G_WHY]) | WHY_UNKNOWN_ACCOUNT
        return GUARD_HALTED
    if day != int(state[G_DAY]):
        state[G_DAY] = day
        if math.isfinite(state[G_EQUITY]):
            state[G_DAY_EQUITY] = state[G_EQUITY]
    state[G_EQUITY] = equity
    state[G_PEAK] = max(state[G_PEAK], equity)
    state[G_EXCEEDED] = 0.0 if exceeded == 0.0 else state[G_EXCEEDED] + 1.0
    if state[G_MODE] == GUARD_HALTED:
        return GUARD_HALTED
    drawdown = 1.0 - equity / state[G_PEAK]
    loss = 1.0 - equity / state[G_DAY_EQUITY]
    recover = settings[GS_RECOVER]
    before, why = int(state[G_WHY]), 0
    if not drawdown < settings[GS_HALT_DRAWDOWN]:
        why |= WHY_DRAWDOWN
    if not loss < settings[GS_HALT_DAILY_LOSS]:
        why |= WHY_DAILY_LOSS
    if why != 0:
        state[G_MODE], state[G_WHY] = GUARD_HALTED, why
        return GUARD_HALTED
    if _rule(drawdown, settings[GS_REDUCE_DRAWDOWN], recover, before & WHY_DRAWDOWN != 0):
        why |= WHY_DRAWDOWN
    if _rule(loss, settings[GS_REDUCE_DAILY_LOSS], recover, before & WHY_DAILY_LOSS != 0):
        why |= WHY_DAILY_LOSS
    if _rule(state[G_EXCEEDED], settings[GS_EXCEEDANCES], recover, before & WHY_VAR_EXCEEDED != 0):
        why |= WHY_VAR_EXCEEDED
    # Fresh data are fresh: an age has no memory that hysteresis would have to calm.
    if not age_bars <= settings[GS_DATA_AGE] and settings[GS_DATA_AGE] < math.inf:
        why |= WHY_STALE_DATA
    state[G_WHY] = why
    state[G_MODE] = GUARD_REDUCING if why != 0 else GUARD_ACTIVE
    return GUARD_REDUCING if why != 0 else GUARD_ACTIVE


@kernel
def guarded(wanted: float, held: float, mode: int) -> float:
    """The exposure that a mode allows instead of `wanted`, given the one that is held.

    Reducing gives the nearest value between 0 and `held`, Halted `held` itself; an unknown position
    (`held` NaN) is left alone by both, and so is one that nobody wants to change (`wanted` NaN).
    """
    if mode == GUARD_ACTIVE or not math.isfinite(wanted):
        return wanted
    if mode == GUARD_HALTED or not math.isfinite(held):
        return held
    if held >= 0.0:
        return min(max(wanted, 0.0), held)
    return max(min(wanted, 0.0), held)
