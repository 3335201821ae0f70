# SPDX-License-Identifier: Apache-2.0
"""One seed tree: every random draw of a run comes from a named branch of one root seed.

    tree = SeedTree(7)
    tree.child("phase1", "EURUSD").generator()      # always the same stream, whatever else was
    drawn before

A branch depends only on the root seed and its path of names, never on the order in which branches
were asked for, so adding an instrument or a worker leaves every other stream as it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SeedTree:
    """A node of the tree.

    Args:
        root: The run's seed, any non-negative integer.
        path: Names from the root to this node.
    """

    root: int
    path: tuple[str, ...] = ()

    def child(self, *names: str | int) -> SeedTree:
        """The node below this one under `names`."""
        return SeedTree(self.root, self.path + tuple(str(name) for name in names))

    def sequence(self) -> np.random.SeedSequence:
        """NumPy seed sequence of this node (the names enter as the first 128 bits of their
        sha256).
        """
        text = "\x1f".join(self.path).encode()
        words = np.frombuffer(hashlib.sha256(text).digest()[:16], dtype="<u4")
        return np.random.SeedSequence(
            entropy=self.root, spawn_key=tuple(int(word) for word in words)
        )

    def generator(self) -> np.random.Generator:
        """A fresh generator at the start of this node's stream."""
        return np.random.Generator(np.random.PCG64(self.sequence()))

    def integer(self) -> int:
        """A 31-bit seed for libraries that take an integer (torch, stable-baselines3)."""
        return int(self.sequence().generate_state(1)[0] >> 1)
