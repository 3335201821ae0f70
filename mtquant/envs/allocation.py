# SPDX-License-Identifier: Apache-2.0
"""From the meta-controller's action to exposures: the only place where that arithmetic is.

    exposure_i = risk_budget x max_gross_exposure x weight_i x a_i

An action of the meta-controller has K + 2 entries in [-1, 1] for K specialists: their logits, the
logit of cash, and the risk budget. Weights are the softmax of the logits and the risk budget is
(1 + entry) / 2. A specialist's weight is split evenly over its instruments, so that the weights of
all instruments and of cash sum to 1 and the gross exposure asked for never exceeds risk_budget x
max_gross_exposure. Limits come afterwards, in the desk's plan.

Everything here is a function of its arguments and works on one action or on a batch of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

# Logits are bounded so that any library can drive them through a Box. At 3 one of nine choices can
# take up to 98 %, and a policy that begins with a deviation of 1 still spreads its weights.
LOGIT_RANGE = 3.0
EXTRA_ENTRIES = 2  # cash and risk budget


def action_unit(n_specialists: int) -> Float:
    """What an entry of 1 moves, float64 [K + 2]: a logit, or the risk budget from its middle."""
    return np.array([LOGIT_RANGE] * (n_specialists + 1) + [0.5])


def weights_and_budget(actions: Float32) -> tuple[Float, Float]:
    """Reads actions of the meta-controller; entries outside [-1, 1] count as the nearest bound.

    Args:
        actions: float32 [..., K + 2], finite.

    Returns:
        Weights of the specialists and of cash, float64 [..., K + 1], which sum to 1, and the risk
        budgets in [0, 1], float64 [...].
    """
    entries = np.clip(actions.astype(np.float64), -1.0, 1.0)
    powers = np.exp(LOGIT_RANGE * entries[..., :-1])
    weights = powers / powers.sum(axis=-1, keepdims=True)
    return weights, 0.5 + 0.5 * entries[..., -1]


def instrument_scales(
    weights: Float, budgets: Float, owner: NDArray[np.int64], gross_cap: float
) -> Float:
    """The exposure that a signal of 1 asks for, float64 [..., N].

    Args:
        weights: float64 [..., K + 1], specialists and cash.
        budgets: float64 [...].
        owner: int64 [N], which specialist trades the instrument.
        gross_cap: `max_gross_exposure`.
    """
    instruments = np.bincount(owner, minlength=weights.shape[-1] - 1)
    shares: Float = weights[..., owner] / instruments[owner]
    return budgets[..., None] * gross_cap * shares


def exposures(scales: Float, signals: Float32) -> Float32:
    """Target exposures, [..., N]: each scale times its specialist's signal in [-1, 1].

    They are rounded to float32 here, once, since that is how batches are told their actions: every
    interface and a plain desk then mean the same number.
    """
    targets: Float32 = (scales * signals).astype(np.float32)
    return targets
