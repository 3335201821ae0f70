# SPDX-License-Identifier: Apache-2.0
"""Difference rewards of a batch are those of one portfolio at a time."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.core.seeding import SeedTree
from mtquant.envs.joint import JointMarket
from mtquant.envs.shadow import Shadows
from tests.support.portfolios import OneBranch, calm_world, portfolio_env

DOMAINS = {"pair": ("X2", "X0"), "other": ("X1",)}
ACCOUNTS = 18  # more than a block of 16, and not a multiple of it


@pytest.mark.parametrize("seed", range(4))
def test_differences_are_those_of_single_portfolios(seed: int) -> None:
    world = calm_world(seed)
    batch = portfolio_env(world, ACCOUNTS, seeds=SeedTree(seed))
    batch.reset()
    singles = [
        JointMarket(portfolio_env(world, seeds=OneBranch(seed, account=e)), DOMAINS)
        for e in range(ACCOUNTS)
    ]
    for single in singles:
        single.reset()
    shadows = Shadows(batch, singles[0].hierarchy.owner)
    random = np.random.default_rng(seed)
    ended: set[int] = set()
    some = False
    for _ in range(15):
        targets = random.uniform(-0.8, 0.8, (ACCOUNTS, 3)).astype(np.float32)
        found = shadows.differences(targets)
        again = shadows.differences(targets)
        assert found.tobytes() == again.tobytes()  # nothing was touched
        shared = shadows.shared(targets)
        batch.step(targets)
        # The world's reward is growth alone; an account at its end is paid the same.
        assert (shared.astype(np.float32) == batch.rewards[:, None]).all()
        for e in set(range(ACCOUNTS)) - ended:
            moved = singles[e].move(targets[e : e + 1])
            assert found[e].tobytes() == moved.differences.tobytes()
            if moved.end is not None:
                ended.add(e)
        some |= bool(found.any())
    assert some
