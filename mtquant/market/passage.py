# SPDX-License-Identifier: Apache-2.0
"""A whole stretch of bars under targets that are known beforehand, in one compiled loop.

The same plan and the same desk as bar by bar; what is saved is the way back to Python in between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import cold_kernel
from mtquant.core.errors import PolicyError
from mtquant.core.lanes import LANES
from mtquant.market.account import B_MARK, B_POSITION, B_RATE, BAR_FILLS, O_STATUS, OUTCOME, at
from mtquant.market.desk import Desk, desk_bar
from mtquant.market.diversification import write_diversification
from mtquant.market.planning import Limits, plan_block
from mtquant.market.rules import count_of
from mtquant.market.tape import S_FINANCING, S_TARGET, sheet_at

Float = NDArray[np.float64]
OUTCOMES = len(oc.OUTCOME_COLUMNS)
STRETCH_BARS = 1024  # of one compiled loop: what fills need at most stays in fast memory


def live_through(desk: Desk, targets: Float) -> None:
    """Plans and lives through one bar for each row of `targets`, or until the account is ruined.

    The same as `Desk.plan` and `Desk.advance` for each row, byte for byte.

    Args:
        desk: The account; the first row is decided at the close it stands at.
        targets: float64 [T, N], exposures; NaN leaves a position alone.

    Raises:
        PolicyError: The shape is wrong, or there are more rows than bars left.
    """
    n, left = len(desk.tape.symbols), len(desk.tape.stamps) - 1 - desk.row
    if np.ndim(targets) != 2 or np.shape(targets)[1] != n or len(targets) > left:
        rule, remedy = f"must be [at most {left}, {n}]", "Give a row for each bar to come."
        raise PolicyError("targets", rule, np.shape(targets), remedy)
    asked, ruined = np.ascontiguousarray(targets, dtype=np.float64), desk.bankrupt
    lived = tuple(np.empty((len(asked), width)) for width in (OUTCOMES, n, n, n, n, n))
    buffer = np.empty((2 * n * min(len(asked), STRETCH_BARS), len(oc.FILL_COLUMNS)))
    rows, fills, first = np.full(LANES, desk.row), [], 0
    while first < len(asked) and not ruined:
        stretch = slice(first, first + STRETCH_BARS)
        done, count = live_targets(
            asked[stretch],
            desk.block,
            rows,
            desk.tape.prices,
            desk.tape.clock,
            desk.rules_matrix,
            desk.settings,
            desk.limits,
            buffer,
            desk.sheet,
            tuple(columns[stretch] for columns in lived),
        )
        fills.append(buffer[:count].copy())
        first, ruined = first + done, desk.bankrupt
    desk.record(first, tuple(columns[:first] for columns in lived), fills)


@cold_kernel
def live_targets(
    asked: Float,
    block: Float,
    rows: NDArray[np.int64],
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    limits: Limits,
    fills: Float,
    sheet: Float,
    lived: tuple[Float, ...],
) -> tuple[int, int]:
    """Plans and lives one bar for each row of `asked`, or until the account is ruined.

    Args:
        asked: float64 [T, N], exposures; the first is planned where the account stands.
        block, rows, tape, clock, rules, settings, limits, sheet: As in `plan_block`, `desk_bar`;
            one account, in lane 0.
        fills: float64 [2 T N, len(FILL_COLUMNS)]; receives fills and refusals.
        lived: Float64 [T, columns]; receive outcome, positions, mids, rates, financing and the
            targets that were heard.

    Returns:
        Bars lived through, and rows written to `fills`.
    """
    outcomes, positions, mids, rates, financing, heard = lived
    count, risk = 0, limits[4]
    for t in range(asked.shape[0]):
        for n in range(count_of(rules)):
            sheet[sheet_at(n, S_TARGET)] = asked[t, n]
        plan_block(block, sheet, rows, rules, settings, limits, 1)
        for n in range(count_of(rules)):
            heard[t, n] = sheet[sheet_at(n, S_TARGET)]
        rows[0] += 1
        desk_bar(block, rows, tape, clock, rules, settings, fills[count:], sheet, 1)
        if risk.shape[0] > 1:
            write_diversification(block, 0, rules, risk[rows[0] - 1])
        count += int(block[BAR_FILLS])
        for k in range(OUTCOMES):
            outcomes[t, k] = block[OUTCOME + k * LANES]
        for n in range(count_of(rules)):
            positions[t, n] = block[at(n, B_POSITION)]
            mids[t, n] = block[at(n, B_MARK)]
            rates[t, n] = block[at(n, B_RATE)]
            financing[t, n] = sheet[sheet_at(n, S_FINANCING)]
        if block[O_STATUS] == oc.STATUS_BANKRUPT:
            return t + 1, count
    return asked.shape[0], count
