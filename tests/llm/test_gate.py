# SPDX-License-Identifier: Apache-2.0
"""Losses that are steady, and such as are not."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.llm.config import GateConfig
from mtquant.llm.gate import _low_loss
from mtquant.llm.job import Trained

CONFIG = GateConfig(reward_batches=10)
NOISE = np.random.default_rng(0).normal(1.0, 0.1, 40).tolist()


@pytest.mark.parametrize(
    ("losses", "steady"),
    [
        (NOISE, True),
        (np.linspace(2.0, 1.0, 14).tolist() + [1.0] * 10, True),  # it fell, and stays
        (NOISE[:14] + np.geomspace(1.0, 1e6, 10).tolist(), False),  # the demo's 24 updates
        (NOISE[:30] + [5.0] * 10, False),  # steady at another level
        (NOISE[:30] + [float("nan")] * 10, False),
        (NOISE[:10], False),  # nothing to compare with
        ([], False),
    ],
)
def test_a_loss_is_steady_beside_what_it_was(losses: list[float], steady: bool) -> None:
    condition = _low_loss(Trained(len(losses), losses=losses), CONFIG)
    assert condition.met is steady
