# SPDX-License-Identifier: Apache-2.0
"""How a learning rate falls over a phase, and how costs become what they are."""

from __future__ import annotations


def rate_at(start: float, decay: str, done: float) -> float:
    """Learning rate when the share `done` of the phase is over.

    Args:
        start: At the beginning.
        decay: ``"constant"``, or ``"linear"`` to 0 at the end.
        done: In [0, 1]; more counts as 1, since the last rollout may end behind the last step.
    """
    return start if decay == "constant" else start * max(0.0, 1.0 - done)


def charged_at(start: float, ramp: float, done: float) -> float:
    """What an account pays, in units of its own costs, when the share `done` of the phase is over.

    Args:
        start: At the beginning.
        ramp: The share of the phase over which that becomes 1, linearly; 0: at once.
        done: In [0, 1].
    """
    return 1.0 if done >= ramp else start + (1.0 - start) * done / ramp
