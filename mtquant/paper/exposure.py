# SPDX-License-Identifier: Apache-2.0
"""What the guard has to know of the held book: exposures, value at risk, and losses beyond it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.paper_config import PaperConfig
from mtquant.market.account import A_EQUITY, B_MARK, B_POSITION, B_RATE
from mtquant.market.live_desk import LiveDesk
from mtquant.market.live_tape import LiveTape
from mtquant.market.rules import Rules
from mtquant.risk.limits import RISK_CORRELATION, RISK_DEVIATION
from mtquant.risk.measures import NORMAL_QUANTILE_95, bars_per_day

Float = NDArray[np.float64]


class Exposure:
    """Measures of one account after every bar.

    Args:
        rules: Limits.
        tape: Risks.

    Attributes:
        gross: Held gross exposure, units of equity.
        var: One-day 95 % value at risk of the held book, units of equity; NaN where unknown.
        exceeded: 1.0 if the last bar lost more than its share of the value at risk that was known
            before it, 0.0 if not, NaN if that is not known.
    """

    def __init__(self, rules: Rules, tape: LiveTape) -> None:
        self._rules, self._tape = rules, tape
        self._multipliers = np.array([item.multiplier for item in rules.instruments])
        self._bar_share = math.sqrt(1.0 / bars_per_day(tape.tape.bars_per_year))
        self.gross, self.var, self.exceeded = 0.0, 0.0, 0.0
        self._risk_before, self._var_before = tape.risk.copy(), 0.0

    def held(self, desk: LiveDesk) -> Float:
        """Exposures at the last marks, float64 [N]; 0 where flat."""
        quantity = desk.column(B_POSITION)
        worth = quantity * self._multipliers * desk.column(B_MARK) * desk.column(B_RATE)
        equity = float(desk.block[A_EQUITY])
        held: Float = np.where(quantity != 0.0, worth / equity, 0.0)
        return held

    def expect(self, desk: LiveDesk) -> None:
        """Measures what is held into the next bar; remembers the risks that are known before it."""
        self._risk_before = self._tape.risk.copy()
        self._var_before = self._value_at_risk(desk, self._risk_before)

    def lived(self, outcome: Float, desk: LiveDesk) -> None:
        """Takes in a bar: its Outcome, and the book that is held out of it.

        A loss is judged by the larger book, that before or that after the orders of the bar, and by
        risks that have not seen the bar: a shock would excuse itself.
        """
        self.gross = float(outcome[oc.GROSS])
        self.var = self._value_at_risk(desk, self._tape.risk)
        after = self._value_at_risk(desk, self._risk_before)
        # Not `max`: it keeps its first argument where the second is NaN.
        risk = float(np.maximum(self._var_before, after))
        loss = -float(outcome[oc.SIMPLE_RETURN])
        if loss <= 0.0 or (risk == 0.0):
            self.exceeded = 0.0
        elif math.isnan(risk):
            self.exceeded = math.nan
        else:
            self.exceeded = float(loss > risk * self._bar_share)

    def _value_at_risk(self, desk: LiveDesk, risk: Float) -> float:
        """One-day value at risk of what is held now, units of equity; NaN where an instrument's
        risk is not known. 0 where no limit measures risks: then nobody can tell.
        """
        if not self._rules.measures_risk():
            return 0.0
        held = self.held(desk)
        own = held != 0.0
        if not own.any():
            return 0.0
        deviation = risk[RISK_DEVIATION][own]
        if not np.isfinite(deviation).all():
            return math.nan
        x = held[own] * deviation
        n = len(held)
        correlation = risk[RISK_CORRELATION : RISK_CORRELATION + n][np.ix_(own, own)]
        return NORMAL_QUANTILE_95 * math.sqrt(max(0.0, float(x @ correlation @ x)))

    def beyond_gross(self, paper: PaperConfig) -> bool:
        """Whether the held gross exposure is too far above its limit, or unknown."""
        return not self.gross <= paper.limit_slack * self._rules.max_gross_exposure

    def beyond_var(self, paper: PaperConfig) -> bool:
        """Whether the held value at risk is too far above its limit, or unknown."""
        return not self.var <= paper.limit_slack * self._rules.max_portfolio_var
