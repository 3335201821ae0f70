# SPDX-License-Identifier: Apache-2.0
"""Adam for stacked networks (Kingma & Ba 2015): rows with clocks and rates of their own.

On a processor a step is one compiled pass over a row after the other: its norm, and the step while
it is still at hand. Elsewhere it is torch's own fused Adam, to which every row is a parameter of
its own; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adam import adam

from mtquant.core.compiled import kernel

Array = NDArray[Any]
BETAS = (0.9, 0.999)
EPSILON = 1e-5  # stable-baselines3's for PPO
TINY = 1e-6  # torch.nn.utils.clip_grad_norm_
MOMENTS = ("exp_avg", "exp_avg_sq")
WIDE = 16  # sums that the norm is gathered in, side by side


def clip_rows(gradients: torch.Tensor, most: float) -> torch.Tensor:
    """Scales rows [K, P] down in place to Euclidean norm `most`; returns what they were, [K]."""
    norms: torch.Tensor = torch.linalg.vector_norm(gradients, dim=1)
    gradients.mul_((most / (norms + TINY)).clamp(max=1.0)[:, None])
    return norms


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
        self._held = (parameters, gradients, *self._moments.values(), self._clocks)
        # A row of everything, as torch's Adam takes it: views, made once.
        self._rows = [[part[k] for part in self._held] for k in range(len(parameters))]

    def __len__(self) -> int:
        return len(self._scales)

    def step(self, rate: float, most: float, resting: Collection[int] = ()) -> set[int]:
        """One step of all rows but the resting ones, and those whose gradient is not finite.

        Args:
            rate: What each row's own scale is multiplied by.
            most: Euclidean norm that a row's gradient is scaled down to.
            resting: Rows that do not take part.

        Returns:
            The rows that would have, had their gradient been finite.
        """
        moving = [k for k in range(len(self)) if k not in resting]
        if self._clocks.is_cpu:
            norms = self._step_here(rate, most, moving)
        else:
            norms = clip_rows(self._held[1], most).tolist()
            self._step_there(rate, [k for k in moving if math.isfinite(norms[k])])
        return {k for k in moving if not math.isfinite(norms[k])}

    def _step_here(self, rate: float, most: float, moving: list[int]) -> list[float]:
        """`step` of rows on a processor; the norms of all rows, 0 of those that do not move."""
        arrays = [part.numpy() for part in self._held]
        norms = np.zeros(len(self))
        arrays += [np.empty(WIDE, arrays[0].dtype), norms]
        _step(most, np.array(moving, dtype=np.int64), rate * np.array(self._scales), *arrays)
        found: list[float] = norms.tolist()
        return found

    def _step_there(self, rate: float, moving: list[int]) -> None:
        """`step` of rows on a GPU, whose gradients are as long as they may be."""
        for scale in sorted({self._scales[k] for k in moving}):  # rows of one rate are one call
            rows = [self._rows[k] for k in moving if self._scales[k] == scale]
            parameters, gradients, first, second, clocks = map(list, zip(*rows, strict=True))
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


@kernel
def _step(
    most: float,
    moving: Array,
    rates: Array,
    parameters: Array,
    gradients: Array,
    first: Array,
    second: Array,
    clocks: Array,
    room: Array,
    norms: Array,
) -> None:
    """Algorithm 1 of Kingma & Ba, of the rows `moving`, with gradients cut to the norm `most`.

    `room` [WIDE] has the type of the parameters; `norms` [K] receives those of the gradients.
    """
    for m in range(moving.shape[0]):
        k = moving[m]
        norms[k] = _norm(gradients[k], room)
        if math.isfinite(norms[k]):
            clocks[k] += 1.0
            time = float(clocks[k])
            room[0] = min(most / (norms[k] + TINY), 1.0)
            room[1], room[2] = BETAS[0], 1.0 - BETAS[0]
            room[3], room[4] = BETAS[1], 1.0 - BETAS[1]
            room[5] = rates[k] / (1.0 - BETAS[0] ** time)
            room[6], room[7] = 1.0 / math.sqrt(1.0 - BETAS[1] ** time), EPSILON
            _move(parameters[k], gradients[k], first[k], second[k], room)


@kernel
def _norm(row: Array, sums: Array) -> float:
    """Euclidean norm of a row."""
    sums[:] = 0.0
    whole = row.shape[0] // WIDE * WIDE
    for start in range(0, whole, WIDE):
        for i in range(sums.shape[0]):
            sums[i] += row[start + i] * row[start + i]
    total = 0.0
    for i in range(sums.shape[0]):
        total += sums[i]
    for i in range(whole, row.shape[0]):
        total += row[i] * row[i]
    return math.sqrt(total)


@kernel
def _move(own: Array, gradient: Array, first: Array, second: Array, numbers: Array) -> None:
    """One row's step; `numbers` as `_step` lays them out, in the type of the row."""
    share, keep1, take1, keep2, take2 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    size, root, least = numbers[5], numbers[6], numbers[7]
    for i in range(own.shape[0]):
        by = gradient[i] * share
        first[i] = keep1 * first[i] + take1 * by
        second[i] = keep2 * second[i] + take2 * by * by
        own[i] -= size * first[i] / (math.sqrt(second[i]) * root + least)
