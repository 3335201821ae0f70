# SPDX-License-Identifier: Apache-2.0
"""Adam for stacked networks (Kingma & Ba 2015): rows with clocks and rates of their own.

The work is torch's own fused Adam, to which every row is a parameter of its own: a row without a
gradient is left alone, and so are its moments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

EPSILON = 1e-5  # stable-baselines3's for PPO
TINY = 1e-6  # torch.nn.utils.clip_grad_norm_
MOMENTS = ("exp_avg", "exp_avg_sq")


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
        self._rows = [parameters[k] for k in range(len(parameters))]
        self._gradients = [gradients[k] for k in range(len(parameters))]
        self._scales = [1.0] * len(parameters)
        self._adam = torch.optim.Adam(self._rows, eps=EPSILON, fused=True)
        self.load_state({**{name: torch.zeros_like(parameters) for name in MOMENTS}})

    def __len__(self) -> int:
        return len(self._rows)

    def step(self, rate: float, resting: Collection[int] = ()) -> None:
        """One step of all rows but the resting ones, at `rate` times each row's own scale."""
        for k, (row, gradient) in enumerate(zip(self._rows, self._gradients, strict=True)):
            row.grad = None if k in resting else gradient
        for group in self._adam.param_groups:
            group["lr"] = rate * group["scale"]
        self._adam.step()

    @property
    def scales(self) -> list[float]:
        """Each row's share of the learning rate."""
        return list(self._scales)

    def scale_rate(self, k: int, factor: float) -> None:
        """Multiplies row k's learning rate by `factor`, from now on."""
        self._scales[k] *= factor
        self._regroup()

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of the moments, [K, P], clocks and scales, [K]."""
        held = [self._adam.state[row] for row in self._rows]
        moments = {name: torch.stack([own[name] for own in held]) for name in MOMENTS}
        steps = torch.stack([own["step"] for own in held])
        return {**moments, "step": steps, "scale": torch.tensor(self._scales, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, torch.Tensor], rows: Collection[int] = ()) -> None:
        """Goes on from an earlier `state`; clocks and scales may be left out, and then begin anew.

        Args:
            state: What `state` gave.
            rows: Only these; all when empty.
        """
        for k in rows or range(len(self)):
            row = self._rows[k]
            step = state["step"][k] if "step" in state else torch.zeros(())
            self._adam.state[row] = {
                "step": step.to(row.device, torch.float32).clone(),
                **{name: state[name][k].to(row.device, row.dtype).clone() for name in MOMENTS},
            }
            self._scales[k] = float(state["scale"][k]) if "scale" in state else 1.0
        self._regroup()

    def _regroup(self) -> None:
        """Rows of one rate in one group: a group is one call of the fused kernel."""
        defaults = self._adam.defaults
        self._adam.param_groups.clear()
        for scale in sorted(set(self._scales)):
            own = [row for row, its in zip(self._rows, self._scales, strict=True) if its == scale]
            self._adam.add_param_group({**defaults, "params": own, "scale": scale})
