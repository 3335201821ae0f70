# SPDX-License-Identifier: Apache-2.0
"""What the bar to come pays beyond what was foreseen, by the exposures that the desk will plan.

What is asked for is not what will be held: limits cut it, and with latency it is heard a bar later.
So the accounts' plans are made here once more, on copies. Positions that are held over the gap
between a close and the next open, before orders fill, stay in the reward with what the gap brings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.lanes import LANES
from mtquant.envs.fused import copy_numbers
from mtquant.envs.market_env import MarketEnv
from mtquant.learning.surprises import surprises
from mtquant.market.account import ACCOUNT, block_size
from mtquant.market.planning import plan_block
from mtquant.market.tape import S_PLANNED, S_TARGET, SHEET_SIZE, sheet_at

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Luck:
    """Of a batch of accounts.

    Args:
        env: The accounts.
        unit: Log return that counts as 1 in forecasts, float64 [N]; that of `next_returns` when
            None.
    """

    def __init__(self, env: MarketEnv, unit: Float | None = None) -> None:
        self._env, self._unit = env, unit
        n, late = len(env.unit), env.simulator.rules.latency_bars > 0
        self._block = np.zeros(block_size(n, late))
        self._sheet = np.zeros(n * SHEET_SIZE)
        self._rows = np.zeros(LANES, dtype=np.int64)
        self._planned = np.zeros((len(env), n))

    def gains(self, targets: Float32, came: Float32, foreseen: Float32) -> Float:
        """What the next bar will bring each instrument's position beyond its forecast, in units of
        the reward scale.

        Args:
            targets: float32 [E, N], exposures about to be asked for.
            came: float32 [E, N], `MarketEnv.next_returns`.
            foreseen: float32 [E, N], forecasts of it.

        Returns:
            float64 [E, N]; 0 where nothing comes.
        """
        scale = self._env.reward.scale
        unit = scale / self._env.unit if self._unit is None else self._unit
        gained: Float = surprises(self.planned(targets) * unit / scale, came, foreseen)
        return gained

    def planned(self, targets: Float32) -> Float:
        """Exposures that the desk's plan makes of these, float64 [E, N], rewritten by every call;
        the accounts are not touched.
        """
        simulator = self._env.simulator
        _plan_all(
            targets,
            simulator.blocks,
            simulator.rows,
            simulator.rules_matrix,
            simulator.settings,
            simulator.limits,
            self._block,
            self._sheet,
            self._rows,
            self._planned,
        )
        return self._planned


@kernel
def _plan_all(
    targets: Float32,
    blocks: Float,
    row: NDArray[np.int64],
    rules: Float,
    settings: Float,
    limits: Any,
    block: Float,
    sheet: Float,
    rows: NDArray[np.int64],
    planned: Float,
) -> None:
    for b in range(blocks.shape[0]):
        first = b * LANES
        live = min(LANES, targets.shape[0] - first)
        copy_numbers(blocks[b], block[ACCOUNT:])
        copy_numbers(row[first : first + LANES], rows)
        for n in range(targets.shape[1]):
            for i in range(live):
                sheet[sheet_at(n, S_TARGET) + i] = targets[first + i, n]
        plan_block(block, sheet, rows, rules, settings, limits, live)
        for n in range(targets.shape[1]):
            for i in range(live):
                planned[first + i, n] = sheet[sheet_at(n, S_PLANNED) + i]
