# SPDX-License-Identifier: Apache-2.0
"""The gross cap, for all accounts of a block abreast.

`risk.limits.project_gross` for one account after the other is most of what planning costs where the
cap binds on many bars. Here the same search for the threshold runs side by side, operation by
operation the same numbers, until the last account has found its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.lanes import choose, lanes_of
from mtquant.core.outcome import LIMIT_GROSS
from mtquant.market.account import (
    BAR_BINDING,
    W_CUT,
    W_FREE,
    W_HIGH,
    W_LOW,
    W_OVER,
    W_SEARCHING,
    W_SUM,
    W_THRESHOLD,
    W_UNDER,
)
from mtquant.market.rules import count_of
from mtquant.market.tape import S_PLANNED, S_WANTED, sheet_at

Float = NDArray[np.float64]


@kernel
def _solve(block: Float, sheet: Float, rules: Float, caps: Float, budget: float) -> None:
    """The threshold, as if the names that low and high leave open were neither at 0 nor at their
    caps.
    """
    for i in range(lanes_of(block)):
        block[W_FREE + i] = 0.0
        block[W_SUM + i] = -budget
    for n in range(count_of(rules)):
        cap = caps[n]
        for i in range(lanes_of(block)):
            size = abs(sheet[sheet_at(n, S_WANTED) + i])
            high, low = block[W_HIGH + i], block[W_LOW + i]
            capped = size - cap >= high
            free = (size > low) & (not capped)
            block[W_SUM + i] += choose(capped, cap, choose(free, size, 0.0))
            block[W_FREE + i] += choose(free, 1.0, 0.0)
    for i in range(lanes_of(block)):
        free = block[W_FREE + i]
        going = (block[W_SEARCHING + i] > 0.0) & (free > 0.0)
        found = block[W_SUM + i] / max(free, 1.0)
        block[W_THRESHOLD + i] = choose(going, found, block[W_THRESHOLD + i])
        block[W_SEARCHING + i] = choose(going, 1.0, 0.0)


@kernel
def _narrow(block: Float, sheet: Float, rules: Float, caps: Float) -> bool:
    """Moves low or high to the threshold, to the side on which more was missed; whether any account
    has to go on.
    """
    for i in range(lanes_of(block)):
        block[W_OVER + i] = 0.0
        block[W_UNDER + i] = 0.0
    for n in range(count_of(rules)):
        cap = caps[n]
        for i in range(lanes_of(block)):
            size = abs(sheet[sheet_at(n, S_WANTED) + i])
            threshold = block[W_THRESHOLD + i]
            free = (size - cap < block[W_HIGH + i]) & (size > block[W_LOW + i])
            over, under = max(size - threshold - cap, 0.0), max(threshold - size, 0.0)
            block[W_OVER + i] += choose(free, over, 0.0)
            block[W_UNDER + i] += choose(free, under, 0.0)
    searching = False
    for i in range(lanes_of(block)):
        over, under = block[W_OVER + i], block[W_UNDER + i]
        going = (block[W_SEARCHING + i] > 0.0) & (over != under)
        high, low, threshold = block[W_HIGH + i], block[W_LOW + i], block[W_THRESHOLD + i]
        block[W_HIGH + i] = choose(going & (over > under), threshold, high)
        block[W_LOW + i] = choose(going & (over < under), threshold, low)
        block[W_SEARCHING + i] = choose(going, 1.0, 0.0)
        searching |= going
    return searching


@kernel
def project_block(block: Float, sheet: Float, rules: Float, caps: Float, gross_cap: float) -> None:
    """Brings the books of the accounts whose W_CUT is 1 under name and gross caps together:
    S_PLANNED becomes the nearest such book to S_WANTED, and LIMIT_GROSS has bound. Others stay.

    Source and numbers: `risk.limits.budget_threshold` and `project_gross`.

    Args:
        block: float64, flat (`account.py`); the clipped books of these accounts exceed the cap.
        sheet: float64, flat (`tape.py`).
        rules: float64 [N, RULE_COLUMNS].
        caps: float64 [N].
        gross_cap: Largest sum of |exposure|.
    """
    for i in range(lanes_of(block)):
        block[W_LOW + i] = 0.0
        block[W_HIGH + i] = np.inf
        block[W_THRESHOLD + i] = 0.0
        block[W_SEARCHING + i] = block[W_CUT + i]
    for _ in range(count_of(rules) + 1):
        _solve(block, sheet, rules, caps, gross_cap)
        if not _narrow(block, sheet, rules, caps):
            break
    for i in range(lanes_of(block)):
        block[BAR_BINDING + i] += float(LIMIT_GROSS) * block[W_CUT + i]
    for n in range(count_of(rules)):
        cap = caps[n]
        for i in range(lanes_of(block)):
            wanted, clipped = sheet[sheet_at(n, S_WANTED) + i], sheet[sheet_at(n, S_PLANNED) + i]
            size = min(cap, max(abs(wanted) - block[W_THRESHOLD + i], 0.0))
            nearest = choose(wanted >= 0.0, size, -size)
            sheet[sheet_at(n, S_PLANNED) + i] = choose(block[W_CUT + i] > 0.0, nearest, clipped)
