# SPDX-License-Identifier: Apache-2.0
"""Generalised advantage estimation (Schulman, Moritz, Levine, Jordan & Abbeel 2016, eq. 16)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel

Array = NDArray[Any]


@kernel
def advantages(
    rewards: Array,
    values: Array,
    last: NDArray[np.uint8],
    bootstrap: Array,
    gamma: float,
    lam: float,
    out: Array,
) -> None:
    """Advantages of one rollout, written into `out`; returns are ``out + values``.

    Args:
        rewards: [T, E]. Where time ran out, with gamma x the value of what came next added: the
            market goes on, only the episode does not (Pardo et al. 2018, "Time limits in
            reinforcement learning").
        values: [T, E], estimates for the states in which the actions were taken.
        last: uint8 [T, E], not 0 where the step ended an episode.
        bootstrap: [E], values of the states after the last step.
        gamma: Discount.
        lam: Lambda; 1 is Monte Carlo, 0 one step.
        out: [T, E].
    """
    n_steps, n_accounts = rewards.shape
    for e in range(n_accounts):
        running = 0.0
        following = float(bootstrap[e])
        for t in range(n_steps - 1, -1, -1):
            goes_on = 0.0 if last[t, e] else 1.0
            surprise = rewards[t, e] + gamma * following * goes_on - values[t, e]
            running = surprise + gamma * lam * goes_on * running
            out[t, e] = running
            following = float(values[t, e])
