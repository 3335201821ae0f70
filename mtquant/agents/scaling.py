# SPDX-License-Identifier: Apache-2.0
"""How raw observations become a network's inputs.

Observations stay raw everywhere; a model holds the scaling it was trained with, so it cannot meet
observations that were scaled in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ObservationLayout

CLIP = 10.0
OPEN_RETURN_SCALE = 0.02  # gain or loss of an open position that counts as 1
Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """(raw - mean) / scale, cut at +-CLIP, for K networks.

    Attributes:
        mean, scale: [K, inputs].
    """

    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, pairs: Sequence[tuple[Numbers, Numbers]], like: torch.Tensor) -> Scaling:
        """From means and scales, float32 [its inputs] each, of every network; placed like `like`.

        Padding has a mean of 0 and a scale of 1, so that 0 stays 0.
        """
        size = (len(pairs), max(len(mean) for mean, _ in pairs))
        means, scales = np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.float32)
        for k, (mean, scale) in enumerate(pairs):
            means[k, : len(mean)], scales[k, : len(scale)] = mean, scale
        return cls(torch.from_numpy(means).to(like), torch.from_numpy(scales).to(like))

    @cached_property
    def _rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mean[:, None], self.scale[:, None]

    def apply(self, raw: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled observations of raw ones [K, B, inputs]."""
        mean, scale = self._rows
        return torch.sub(raw, mean, out=out).div_(scale).clamp_(-CLIP, CLIP)


def observation_scaling(
    layout: ObservationLayout, features: Sequence[Scaler], unit: float
) -> tuple[Numbers, Numbers]:
    """Mean and scale of every entry of a specialist's observation.

    The account block has an infinite scale, so a specialist sees 0 there: trained alone, it would
    learn from an account that holds nothing but its own positions, and then trade in one that holds
    eight. Its own positions, their costs and their markets are in its instruments' blocks.

    Args:
        layout: Where everything is.
        features: Scalers of the instruments' features, in the order of the layout, fitted on
            training rows.
        unit: Exposure that an action of 1 asks for.

    Returns:
        float32 [layout.size] each.
    """
    # exposure, open return, held bars, cost, tradable
    own = np.array([unit, OPEN_RETURN_SCALE, 1.0, 1.0, 1.0])
    mean: list[NDArray[Any]] = []
    scale: list[NDArray[Any]] = []
    for scaler in features:
        mean += [np.tile(scaler.mean, layout.window_bars), np.zeros(len(own))]
        scale += [np.tile(scaler.scale, layout.window_bars), own]
    account = layout.size - len(layout.symbols) * layout.block_size
    mean.append(np.zeros(account))
    scale.append(np.full(account, np.inf))
    return np.concatenate(mean).astype(np.float32), np.concatenate(scale).astype(np.float32)
