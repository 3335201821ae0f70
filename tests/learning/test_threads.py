# SPDX-License-Identifier: Apache-2.0
"""A process computes with as many threads as it was told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from mtquant.learning.threads import use_threads


@pytest.mark.parametrize("count", [1, 2])
def test_torch_and_numpy_take_as_many_threads_as_they_are_told(count: int) -> None:
    before = torch.get_num_threads()
    with threadpool_limits(user_api="blas"):
        use_threads(count)
        assert torch.get_num_threads() == count
        pools = [own["num_threads"] for own in threadpool_info() if own["user_api"] == "blas"]
        assert pools and max(pools) == count
        assert np.ones((300, 300)) @ np.ones(300) == pytest.approx(300.0)
    torch.set_num_threads(before)
