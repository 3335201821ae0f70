# SPDX-License-Identifier: Apache-2.0
"""Advantages are stable-baselines3's, and those of the definition."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from mtquant.learning.gae import advantages


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_steps=st.integers(1, 12),
    n_accounts=st.integers(1, 4),
    gamma=st.floats(0.0, 1.0),
    lam=st.floats(0.0, 1.0),
)
def test_advantages_are_stable_baselines3s(
    seed: int, n_steps: int, n_accounts: int, gamma: float, lam: float
) -> None:
    random = np.random.default_rng(seed)
    rewards, values = random.standard_normal((2, n_steps, n_accounts)).astype(np.float32)
    last = (random.random((n_steps, n_accounts)) < 0.3).astype(np.uint8)
    bootstrap = random.standard_normal(n_accounts).astype(np.float32)
    box = spaces.Box(-1.0, 1.0, (1,))
    buffer = RolloutBuffer(n_steps, box, box, "cpu", lam, gamma, n_accounts)
    buffer.rewards[:], buffer.values[:] = rewards, values
    buffer.episode_starts[1:] = last[:-1]
    buffer.compute_returns_and_advantage(torch.from_numpy(bootstrap), last[-1])
    out = np.empty_like(values)
    advantages(rewards, values, last, bootstrap, gamma, lam, out)
    # stable-baselines3 sums in float32, we in float64 and round once.
    np.testing.assert_allclose(out, buffer.advantages, rtol=1e-4, atol=1e-5)


def test_lambda_one_is_the_discounted_sum_less_the_value() -> None:
    rewards = np.array([[1.0], [2.0], [4.0], [8.0]])
    values = np.array([[0.5], [0.25], [0.125], [1.0]])
    last = np.array([[0], [1], [0], [0]], dtype=np.uint8)
    out = np.empty_like(values)
    advantages(rewards, values, last, np.array([16.0]), 0.5, 1.0, out)
    # By hand: the episode ends with the second reward; behind the fourth the value 16 stands in.
    expected = [1.0 + 0.5 * 2.0 - 0.5, 2.0 - 0.25, 4.0 + 0.5 * (8.0 + 0.5 * 16.0) - 0.125]
    np.testing.assert_allclose(out[:, 0], [*expected, 8.0 + 8.0 - 1.0])
