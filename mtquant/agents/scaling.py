# SPDX-License-Identifier: Apache-2.0
"""How raw observations become a network's inputs.

Observations stay raw everywhere; a model holds the scaling it was trained with, so it cannot meet
observations that were scaled in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        """From means and scales, float32 [inputs] each, of every network; placed like `like`."""
        means, scales = zip(*pairs, strict=True)
        return cls(
            torch.from_numpy(np.stack(means)).to(like), torch.from_numpy(np.stack(scales)).to(like)
        )

    def apply(self, raw: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled observations of raw ones [K, B, inputs]."""
        scaled = torch.sub(raw, self.mean[:, None], out=out)
        return scaled.div_(self.scale[:, None]).clamp_(-CLIP, CLIP)


def observation_scaling(
    layout: ObservationLayout, features: Scaler, unit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and scale of every entry of a one-instrument observation.

    The account block has an infinite scale, so a specialist sees 0 there: trained alone, it would
    learn from an account that holds nothing but its own position, and then trade in one that holds
    eight. Its own position, its cost and its market are in its block.

    Args:
        layout: Where everything is.
        features: Scaler of the features, fitted on training rows.
        unit: Exposure that an action of 1 asks for.

    Returns:
        float32 [layout.size] each.
    """
    known = np.tile(features.mean, layout.window_bars)
    mean: list[NDArray[Any]] = [known, np.zeros(layout.size - len(known))]
    # exposure, open return, held bars, cost, tradable
    own = np.array([unit, OPEN_RETURN_SCALE, 1.0, 1.0, 1.0])
    scale: list[NDArray[Any]] = [
        np.tile(features.scale, layout.window_bars),
        own,
        np.full(layout.size - len(known) - len(own), np.inf),
    ]
    return np.concatenate(mean).astype(np.float32), np.concatenate(scale).astype(np.float32)
