# SPDX-License-Identifier: Apache-2.0
"""What a portfolio would have gained without each of its specialists: difference rewards.

The batch of what `joint.py` does for one portfolio: every account lives through the next bar once
as asked, and once more for each specialist with that one's instruments asked for nothing, through
the same limits. The accounts themselves are not touched.

Source: Wolpert & Tumer 2002, "Optimal payoff functions for members of collectives", eq. 4, with
doing nothing as the default action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.errors import RulesError
from mtquant.core.lanes import LANES
from mtquant.envs.fused import copy_numbers
from mtquant.envs.market_env import MarketEnv
from mtquant.market.account import ACCOUNT, O_GROWTH, block_size
from mtquant.market.desk import desk_bar
from mtquant.market.planning import plan_block
from mtquant.market.rules import RULE_COLUMNS
from mtquant.market.tape import CLOCK_COLUMNS, S_TARGET, SHEET_SIZE, TAPE_COLUMNS, sheet_at

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Shadows:
    """Difference rewards of a batch of portfolios.

    Args:
        env: The portfolios; their actions are exposures.
        owner: int64 [N], which specialist trades the instrument.

    Raises:
        RulesError: Targets are heard a bar later: in the bar to come they make no difference.
    """

    def __init__(self, env: MarketEnv, owner: NDArray[np.int64]) -> None:
        latency = env.simulator.rules.latency_bars
        if latency:
            rule, remedy = "must be 0 in phase 3", "Train without it and backtest with it."
            raise RulesError("environment.latency_bars", rule, latency, remedy)
        self._env, self._owner = env, owner
        self._count = int(owner.max()) + 1
        n = len(owner)
        self._block = np.zeros(block_size(n))
        self._sheet = np.zeros(n * SHEET_SIZE)
        self._rows = np.zeros(LANES, dtype=np.int64)
        self._growth = np.zeros((len(env), self._count + 1))

    def differences(self, targets: Float32) -> Float:
        """What each specialist adds in the bar to come, in units of the reward scale.

        Args:
            targets: float32 [E, N], exposures about to be asked for.

        Returns:
            float64 [E, K].
        """
        self._live(targets)
        whole, without = self._growth[:, -1:], self._growth[:, :-1]
        return (whole - without) / self._env.reward.scale

    def shared(self, targets: Float32) -> Float:
        """The portfolio's growth in the bar to come, for each specialist the same; as
        `differences`.
        """
        self._live(targets)
        return np.repeat(self._growth[:, -1:], self._count, axis=1) / self._env.reward.scale

    def _live(self, targets: Float32) -> None:
        simulator = self._env.simulator
        growths(
            targets,
            self._owner,
            self._count,
            simulator.blocks,
            simulator.rows,
            simulator.tape.prices,
            simulator.tape.clock,
            simulator.rules_matrix,
            simulator.settings,
            simulator.limits,
            self._block,
            self._sheet,
            self._rows,
            self._growth,
        )


@kernel
def _growths(
    n_instruments: int,
    targets: Float32,
    owner: NDArray[np.int64],
    count: int,
    blocks: Float,
    row: NDArray[np.int64],
    tape: Float,
    clock: Float,
    rules: Float,
    settings: Float,
    limits: Any,
    block: Float,
    sheet: Float,
    rows: NDArray[np.int64],
    growth: Float,
) -> None:
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, targets.shape[0] - first)
        for k in range(count + 1):
            copy_numbers(blocks[b], block[ACCOUNT:])
            for n in range(n_instruments):
                for i in range(live):
                    asked = np.float64(targets[first + i, n])
                    sheet[sheet_at(n, S_TARGET) + i] = 0.0 if owner[n] == k else asked
            copy_numbers(row[first : first + LANES], rows)
            plan_block(block, sheet, rows, rules, settings, limits, live)
            for i in range(live):
                rows[i] += 1
            desk_bar(block, rows, tape, clock, rules, settings, None, sheet, live)
            for i in range(live):
                growth[first + i, k] = block[O_GROWTH + i]


@kernel
def growths(*arrays: Any) -> int:
    """Growth of the next bar without each specialist, and with all of them, into the last argument,
    float64 [E, K + 1].

    Widths are compared with constants for the compiler's sake (`fused.step_accounts`).

    Args:
        *arrays: The arguments of `_growths` behind `n_instruments`.

    Returns:
        0, or -1 if an array has another width than its module says.
    """
    tape, clock, rules = arrays[5], arrays[6], arrays[7]
    if not (
        tape.shape[2] == TAPE_COLUMNS
        and clock.shape[1] == CLOCK_COLUMNS
        and rules.shape[1] == RULE_COLUMNS
    ):
        return -1
    _growths(rules.shape[0], *arrays)
    return 0
