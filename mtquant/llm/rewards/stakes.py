# SPDX-License-Identifier: Apache-2.0
"""From stated chances to stakes, and what many independent stakes became at once.

`mtquant.market.settlement` settles one bankroll after the other; a training batch holds thousands
of answers that each stake a fresh one, so this file does the same arithmetic on arrays, with the
same tables of shares. `tests/llm/rewards/test_stakes.py` compares the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.llm.tasks.config import BettingConfig
from mtquant.llm.tasks.task import Columns
from mtquant.market.desk import EQUITY_FLOOR_FRAC
from mtquant.market.settlement import LOST_SHARE, WON_SHARE, kelly_fractions

Float = NDArray[np.float64]


def kelly_stakes(chances: Float, odds: Float, betting: BettingConfig) -> Float:
    """Fractional-Kelly stakes, fractions of the bankroll, float64 [M, K].

    Args:
        chances: float64 [M, K], stated, adding up to 1.
        odds: float64 [M, K], decimal.
        betting: Fraction, cap and the least edge.

    Returns:
        `kelly_fractions` of each row; 0 in a row without an edge, chance x odds - 1, above
        `min_edge`.
    """
    edges = chances * odds - 1.0
    tempting: NDArray[np.bool_] = np.any(edges > betting.min_edge, axis=1)
    full = np.where(tempting[:, None], np.maximum(0.0, edges / (odds - 1.0)), 0.0)
    # Of two sides with a margin one has an edge, and the closed form holds. A third outcome may be
    # worth a stake as a hedge of the first.
    priced = (1.0 / odds).sum(axis=1)
    alone = np.greater_equal(priced, 1.0 if odds.shape[1] == 2 else np.inf)
    for row in np.flatnonzero(tempting & ~alone):
        full[row] = kelly_fractions(chances[row], odds[row])
    return np.minimum(betting.max_stake_frac, betting.kelly_fraction * full)


def settled(
    stakes: Float, odds: Float, results: NDArray[np.int64], betting: BettingConfig
) -> tuple[Float, Float]:
    """Profit as a fraction of the bankroll and its log growth, float64 [M] each.

    Args:
        stakes: float64 [M, K], fractions of each row's own bankroll, together at most 1.
        odds: float64 [M, K], decimal.
        results: int64 [M, K], RESULT_*.
        betting: With the commission.
    """
    won = stakes * WON_SHARE[results] * (odds - 1.0) * (1.0 - betting.commission_frac)
    profit = (won - stakes * LOST_SHARE[results]).sum(axis=1)
    growth: Float = np.log(np.maximum(1.0 + profit, EQUITY_FLOOR_FRAC))
    return profit, growth


def bet_columns(columns: Columns, classes: int) -> tuple[Float, NDArray[np.int64]]:
    """Offered odds float64 [M, K] and results int64 [M, K] out of columns."""
    odds = np.column_stack(
        [np.asarray(columns[f"odds_{k}"], dtype=np.float64) for k in range(classes)]
    )
    results = np.column_stack(
        [np.asarray(columns[f"result_{k}"], dtype=np.int64) for k in range(classes)]
    )
    return odds, results
