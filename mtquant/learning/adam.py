# SPDX-License-Identifier: Apache-2.0
"""Adam for stacked networks (Kingma & Ba 2015): rows with clocks and rates of their own.

The work is torch's own fused Adam, to which every row is a parameter of its own. It is called as a
function: going through `torch.optim.Adam` takes as long again for networks as small as these.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-5  # stable-baselines3's for PPO
TINY = 1e-6  # torch.nn.utils.clip_grad_norm_
MOMENTS = ("exp_avg", "exp_avg_sq")


def clip_rows(gradients: torch.Tensor, most: float) -> torch.Tensor:
    """Scales rows [K, P] down in place to Euclidean norm `most`; returns what they were, [K]."""
    norms: torch.Tensor = torch.linalg.vector_norm(gradients, dim=1)
    gradients.mul_((most / (norms + TINY)).clamp(max=1.0)[:, None])
    return norms


def broken(norms: torch.Tensor) -> set[int]:
    """The rows whose gradient is not finite, by the norms [K] that `clip_rows` returned."""
    return {k for k, norm in enumerate(norms.tolist()) if not math.isfinite(norm)}


class StackedAdam:
    """Adam over a matrix of parameters.

    A row that does not take part in a step keeps its parameters, its moments and its clock, to the
    byte, as if it were not there.

    Args:
        parameters: [K, P], changed in place.
        gradients: [K, P], read at every step.
    """

    def __init__(self, parameters: torch.Tensor, gradients: torch.Tensor) -> None:
        self._moments = {name: torch.zeros_like(parameters) for name in MOMENTS}
        self._clocks = torch.zeros(len(parameters), device=parameters.device)
        self._scales = [1.0] * len(parameters)
        # A row of everything, as torch's Adam takes it: views, made once.
        held = (parameters, gradients, *self._moments.values(), self._clocks)
        self._rows = [tuple(part[k] for part in held) for k in range(len(parameters))]

    def __len__(self) -> int:
        return len(self._rows)

    def step(self, rate: float, resting: Collection[int] = ()) -> None:
        """One step of all rows but the resting ones, at `rate` times each row's own scale."""
        for scale in sorted(set(self._scales)):  # rows of one rate are one call
            moving = [
                row
                for k, (row, own) in enumerate(zip(self._rows, self._scales, strict=True))
                if own == scale and k not in resting
            ]
            if not moving:
                continue
            parameters, gradients, first, second, clocks = map(list, zip(*moving, strict=True))
            adam(
                parameters,
                gradients,
                first,
                second,
                [],
                clocks,
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate * scale,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )

    @property
    def scales(self) -> list[float]:
        """Each row's share of the learning rate."""
        return list(self._scales)

    def scale_rate(self, k: int, factor: float) -> None:
        """Multiplies row k's learning rate by `factor`, from now on."""
        self._scales[k] *= factor

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of the moments, [K, P], clocks and scales, [K]."""
        return {
            **{name: held.clone() for name, held in self._moments.items()},
            "step": self._clocks.clone(),
            "scale": torch.tensor(self._scales, dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, torch.Tensor], rows: Collection[int] = ()) -> None:
        """Goes on from an earlier `state`.

        Args:
            state: What `state` gave.
            rows: Only these; all when empty.
        """
        for k in rows or range(len(self)):
            for name, held in self._moments.items():
                held[k] = state[name][k]
            self._clocks[k] = state["step"][k]
            self._scales[k] = float(state["scale"][k])
