# SPDX-License-Identifier: Apache-2.0
"""How many threads a process computes with."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


def use_threads(count: int) -> None:
    """Torch and NumPy compute with `count` threads in this process from now on. One is fastest for
    networks as small as a trader's, above all where cores are shared.
    """
    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")
