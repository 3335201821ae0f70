# SPDX-License-Identifier: Apache-2.0
"""How a learning rate falls over a phase, and how costs rise."""

from __future__ import annotations


def rate_at(start: float, decay: str, done: float) -> float:
    """Learning rate when the share `done` of the phase is over.

    Args:
        start: At the beginning.
        decay: ``"constant"``, or ``"linear"`` to 0 at the end.
        done: In [0, 1]; more counts as 1, since the last rollout may end behind the last step.
    """
    return start if decay == "constant" else start * max(0.0, 1.0 - done)


def share_at(ramp: float, done: float) -> float:
    """The share of its costs that an account pays when the share `done` of the phase is over.

    Args:
        ramp: The share of the phase over which costs rise from 0 to what they are; 0: never less.
        done: In [0, 1].
    """
    return 1.0 if done >= ramp else done / ramp
