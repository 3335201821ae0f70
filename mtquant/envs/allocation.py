# SPDX-License-Identifier: Apache-2.0
"""From the meta-controller's action to exposures: the only place where that arithmetic is.

    exposure_i = risk_budget x max_gross_exposure x weight_i x a_i

An action of the meta-controller has K + 2 entries in [-1, 1] for K specialists: their logits, the
logit of cash, and the risk budget. Weights are the softmax of the logits and the risk budget is
(1 + entry) / 2. A specialist's weight is split evenly over its instruments, so that the weights of
all instruments and of cash sum to 1 and the gross exposure asked for never exceeds risk_budget x
max_gross_exposure.

What a name cap would cut of that is shared out again: the weight above what the cap can use goes to
the other instruments and to cash, in proportion to their weights. So nothing of the risk budget is
idle while a name with a weight has room, and where no name cap binds nothing changes. A name whose
logit fell far behind the largest still gets what these cannot use, and feels it; without that, a
softmax with half on each of two names that may hold 0.4 leaves a fifth idle (`docs/learning.md`).
Limits on the whole book come afterwards, in the desk's plan.

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
SMALLEST_SIGNAL = 1e-9  # a smaller one counts as this where a cap is divided by it


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
    entries = np.minimum(np.maximum(actions.astype(np.float64), -1.0), 1.0)
    powers = np.exp(LOGIT_RANGE * entries[..., :-1])
    weights = powers / powers.sum(axis=-1, keepdims=True)
    return weights, 0.5 + 0.5 * entries[..., -1]


def instrument_scales(
    weights: Float,
    budgets: Float,
    owner: NDArray[np.int64],
    gross_cap: float,
    name_caps: Float,
    signals: Float32,
) -> Float:
    """The exposure that a signal of 1 asks for, float64 [..., N].

    Args:
        weights: float64 [..., K + 1], specialists and cash.
        budgets: float64 [...].
        owner: int64 [N], which specialist trades the instrument.
        gross_cap: `max_gross_exposure`.
        name_caps: float64 [N], largest absolute exposure per instrument, above 0.
        signals: float32 [..., N], what the specialists ask for, [-1, 1].
    """
    instruments = np.bincount(owner, minlength=weights.shape[-1] - 1)
    whole = budgets[..., None] * gross_cap
    asked: Float = whole * (weights.take(owner, axis=-1) / instruments[owner])
    largest = name_caps / np.maximum(np.abs(signals), SMALLEST_SIGNAL)
    return shared_out_within(asked, whole * weights[..., -1:], largest)


def shared_out_within(asked: Float, cash: Float, caps: Float) -> Float:
    """What each gets when none gets more than its cap: min(cap, m x asked), with the m >= 1 that
    leaves the sum, together with m x cash, what it was.

    Cash has no cap, so there is such an m; it is 1 where no cap binds.

    Args:
        asked: float64 [..., N], at least 0.
        cash: float64 [..., 1], above 0 where anything is asked.
        caps: float64 [..., N], above 0.

    Returns:
        float64 [..., N].
    """
    full = asked > caps
    if not full.any():
        return asked
    # Who is full at one multiple is full at every larger one, so N rounds are enough.
    for _ in range(asked.shape[-1]):
        excess = np.where(full, asked - caps, 0.0).sum(axis=-1, keepdims=True)
        others = np.where(full, 0.0, asked).sum(axis=-1, keepdims=True) + cash
        multiple = 1.0 + np.divide(excess, others, out=np.zeros_like(others), where=others > 0.0)
        found = full | (multiple * asked > caps)
        if np.array_equal(found, full):
            break
        full = found
    return np.where(full, caps, multiple * asked)


def exposures(scales: Float, signals: Float32) -> Float32:
    """Target exposures, [..., N]: each scale times its specialist's signal in [-1, 1].

    They are rounded to float32 here, once, since that is how batches are told their actions: every
    interface and a plain desk then mean the same number.
    """
    targets: Float32 = (scales * signals).astype(np.float32)
    return targets
