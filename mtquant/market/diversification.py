# SPDX-License-Identifier: Apache-2.0
"""How much of a book's risk is spread: the outcome's column `diversification`.

With x_i = exposure_i sigma_i, the risk of position i alone, and rho the correlations,

    1 - (x' rho x) / (sum of |x_i|)^2  =  1 - 1 / D

where D is the squared diversification ratio, the number of independent bets (Choueifaty, Froidure &
Reynier 2013, "Properties of the most diversified portfolio", eq. 1): 0 for one instrument or for
positions that move as one, 1 - 1/N for N equal independent risks. Risks are those known when the
decision was made, so the book is judged by what could be known of it, and not by what happened.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.market.account import B_POSITION, O_DIVERSIFICATION, at, value_of
from mtquant.market.rules import R_MULTIPLIER, count_of, rule_of
from mtquant.risk.limits import RISK_CORRELATION, RISK_DEVIATION

Float = NDArray[np.float64]


@kernel
def _alone(block: Float, i: int, n: int, rules: Float, risk: Float) -> float:
    """Signed risk of one position in money; 0 when flat, even where its risk is unknown."""
    if block[at(n, B_POSITION) + i] == 0.0:
        return 0.0
    return value_of(block, i, n, rule_of(rules, n)[R_MULTIPLIER]) * risk[RISK_DEVIATION, n]


@kernel
def write_diversification(block: Float, i: int, rules: Float, risk: Float) -> None:
    """Writes the share of the risk of account i that is spread; the account is marked.

    Args:
        block: float64, flat (`account.py`).
        i: The lane.
        rules: float64 [N, RULE_COLUMNS].
        risk: float64 [2 N + 2, N], the row of `RiskTable.rows` of the bar before. Where the risk of
            a position is unknown (infinite), nothing counts as spread.
    """
    together, variance = 0.0, 0.0
    for n in range(count_of(rules)):
        own, others = _alone(block, i, n, rules, risk), 0.0
        for m in range(n):
            others += risk[RISK_CORRELATION + n, m] * _alone(block, i, m, rules, risk)
        together += abs(own)
        variance += own * (own + 2.0 * others)
    known = 0.0 < together < np.inf
    share = 1.0 - variance / (together * together) if known else 0.0
    # Rounding, and eigenvalues set to 0, may leave a share below 0.
    block[O_DIVERSIFICATION + i] = max(0.0, share)
