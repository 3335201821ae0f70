# SPDX-License-Identifier: Apache-2.0
"""Gradient coordination of phase 3: what a specialist does when two goals pull at it.

    system = GradientCoordinationSystem("upgrad")
    step = system.coordinate_updates(meta_gradients, specialist_gradients)   # [K, P] each

The methods are those of `learning/gradients.py`. Each specialist is coordinated for itself, before
its gradient is clipped and reaches Adam.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import overload

import torch

from mtquant.core.checked import did_you_mean
from mtquant.core.errors import ConfigError, PolicyError
from mtquant.learning.adam import clip_rows
from mtquant.learning.gradients import WEIGHTINGS, gramian

DIAGNOSTICS = (
    "coordination/cosine",
    "coordination/conflict_rate",
    "coordination/projected_frac",
    "coordination/cosine_own",
    "coordination/cosine_meta",
    "coordination/refused_rate",
)
KL = "train/approx_kl"
KL_FACTOR, RATE_FACTOR = 2.0, 1.5  # Schulman et al. 2017, section 4, applied to the rate
LOWEST_SCALE, HIGHEST_SCALE = 0.1, 10.0
TINY = 1e-300
Gradients = torch.Tensor | Mapping[str, torch.Tensor]


class GradientCoordinationSystem:
    """Makes one gradient of two, per specialist.

    Args:
        method: One of `WEIGHTINGS`.
        target_kl: How far one update should move a policy, nats; for `adaptive_learning_rates`.

    Raises:
        ConfigError: There is no such method.
    """

    def __init__(self, method: str = "upgrad", target_kl: float = 0.01) -> None:
        if method not in WEIGHTINGS:
            rule = f"must be one of {', '.join(WEIGHTINGS)}"
            remedy = did_you_mean(method, tuple(WEIGHTINGS))
            raise ConfigError("gradient_method", rule, method, remedy)
        self.method, self.target_kl = method, target_kl
        self._weigh = WEIGHTINGS[method]
        # Per minibatch [K] each: the Gramian, both weights, refused. Figures are made of them when
        # they are asked for, which keeps some forty small operations out of every minibatch.
        self._noted: list[tuple[torch.Tensor, ...]] = []

    @overload
    def coordinate_updates(
        self, meta_gradients: torch.Tensor, specialist_gradients: torch.Tensor
    ) -> torch.Tensor: ...
    @overload
    def coordinate_updates(
        self,
        meta_gradients: Mapping[str, torch.Tensor],
        specialist_gradients: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]: ...
    def coordinate_updates(
        self, meta_gradients: Gradients, specialist_gradients: Gradients
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """One gradient per specialist.

        A goal whose gradient is not finite, or so long that its square is not, does not count: the
        other one's is taken alone. Where neither counts the result is NaN, so that the training
        loop restores the specialist. `diagnostics` reports both as refused.

        Args:
            meta_gradients: What the meta-controller's loss asks of each specialist, [K, P]; or a
                mapping from specialists to tensors of any shape.
            specialist_gradients: What its own loss asks for, in the same form.

        Returns:
            The same form.

        Raises:
            PolicyError: The two have different forms, shapes or specialists.
        """
        _check_form(meta_gradients, specialist_gradients)
        if isinstance(meta_gradients, torch.Tensor) and isinstance(
            specialist_gradients, torch.Tensor
        ):
            step, noted = self._combine(meta_gradients, specialist_gradients)
            self._noted.append(noted)
            return step
        return self._coordinate_named(dict(meta_gradients), dict(specialist_gradients))

    def adaptive_learning_rates(
        self, performance_metrics: Mapping[str, float], scale: float = 1.0
    ) -> float:
        """What one specialist's learning rate should be multiplied by after an update.

        An update that moved the policy more than twice as far as `target_kl` divides the scale by
        1.5, one that moved it less than half as far multiplies it by 1.5 (the rule of Schulman et
        al. 2017, section 4, applied to the rate as in Rudin et al. 2021); goals that conflicted in
        most minibatches hold a rise back, for a policy that stands still between two goals does
        not need longer steps. A distance that is not finite counts as too far.

        Args:
            performance_metrics: ``train/approx_kl``, and ``coordination/conflict_rate`` if known.
            scale: What the rate is multiplied by now.

        Returns:
            The new scale, from 0.1 to 10.

        Raises:
            PolicyError: The distance is missing.
        """
        if KL not in performance_metrics:
            found = sorted(performance_metrics)
            remedy = "Give the metrics of the specialist's latest update."
            raise PolicyError("performance_metrics", f"must hold {KL}", found, remedy)
        moved = performance_metrics[KL]
        conflict = performance_metrics.get("coordination/conflict_rate", 0.0)
        if moved > KL_FACTOR * self.target_kl or not math.isfinite(moved):
            scale /= RATE_FACTOR
        elif moved < self.target_kl / KL_FACTOR and conflict < 0.5:
            scale *= RATE_FACTOR
        return min(max(scale, LOWEST_SCALE), HIGHEST_SCALE)

    @overload
    @staticmethod
    def gradient_clipping(gradients: torch.Tensor, max_norm: float = 1.0) -> torch.Tensor: ...
    @overload
    @staticmethod
    def gradient_clipping(
        gradients: Mapping[str, torch.Tensor], max_norm: float = 1.0
    ) -> dict[str, torch.Tensor]: ...
    @staticmethod
    def gradient_clipping(
        gradients: Gradients, max_norm: float = 1.0
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Gradients no longer than `max_norm` (Euclidean), their directions kept.

        A gradient that is not finite stays so.

        Args:
            gradients: [K, P], clipped row by row; or a mapping, clipped entry by entry.
            max_norm: The longest allowed, positive.
        """
        if isinstance(gradients, torch.Tensor):
            clipped = gradients.clone()
            clip_rows(clipped, max_norm)
            return clipped
        found = {}
        for name, gradient in gradients.items():
            flat = gradient.reshape(1, -1).clone()
            clip_rows(flat, max_norm)
            found[name] = flat.view_as(gradient)
        return found

    def diagnostics(self) -> list[dict[str, float]]:
        """Means of DIAGNOSTICS since the last call, by specialist; empty if there was nothing.

        Refused minibatches count in ``coordination/refused_rate`` alone; where all were refused,
        the other means are 0.
        """
        if not self._noted:
            return []
        noted = [torch.stack(column) for column in zip(*self._noted, strict=True)]
        self._noted.clear()
        refused = noted[-1]
        figures = torch.where(refused[:, :, None], 0.0, _diagnose(*noted[:-1]))
        counted = (~refused).sum(0).clamp(min=1)
        means = [figures.sum(0) / counted[:, None], refused.double().mean(0)[:, None]]
        rows = torch.cat(means, dim=1).tolist()
        return [dict(zip(DIAGNOSTICS, row, strict=True)) for row in rows]

    def _coordinate_named(
        self, meta: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Specialists may differ in size, so each is a stack of one; they are noted together."""
        found, notes = {}, []
        for name, gradient in own.items():
            step, noted = self._combine(meta[name].reshape(1, -1), gradient.reshape(1, -1))
            found[name] = step.view_as(gradient)
            notes.append(noted)
        self._noted.append(tuple(torch.cat(own) for own in zip(*notes, strict=True)))
        return found

    def _combine(
        self, meta: torch.Tensor, own: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Steps [K, P], and what is noted of them."""
        products = gramian(own, meta)
        if bool((products[0] + products[2]).isfinite().all()):
            weights = self._weigh(products)
            refused = torch.zeros(len(own), dtype=torch.bool, device=own.device)
            return _weighted(own, meta, weights), (*products, *weights.unbind(1), refused)
        no_own, no_meta = ~products[0].isfinite(), ~products[2].isfinite()
        refused = no_own | no_meta
        own = torch.where(no_own[:, None], 0.0, own)
        meta = torch.where(no_meta[:, None], 0.0, meta)
        products = gramian(own, meta)
        # The goal that was set to 0 may have any weight, the other one has 1.
        weights = torch.where(refused[:, None], 1.0, self._weigh(products))
        step = _weighted(own, meta, weights)
        step = torch.where((no_own & no_meta)[:, None], torch.nan, step)
        return step, (*products, *weights.unbind(1), refused)


def _weighted(own: torch.Tensor, meta: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    w = weights.to(own.dtype)
    return (own * w[:, :1]).addcmul_(meta, w[:, 1:])


def _diagnose(
    aa: torch.Tensor, ab: torch.Tensor, bb: torch.Tensor, own: torch.Tensor, meta: torch.Tensor
) -> torch.Tensor:
    """DIAGNOSTICS but the last from Gramians and weights [M, K] each, [M, K, 5]."""
    lengths = torch.sqrt(aa), torch.sqrt(bb)
    with_own, with_meta = own * aa + meta * ab, own * ab + meta * bb
    step = torch.sqrt((own * with_own + meta * with_meta).clamp(min=0.0))
    # What is left of the plain combination of the same total weight.
    plain = 0.5 * (own + meta) * torch.sqrt((aa + 2.0 * ab + bb).clamp(min=0.0))
    projected = 1.0 - _quotient(step.minimum(plain), step.maximum(plain))
    return torch.stack(
        (
            _quotient(ab, lengths[0] * lengths[1]),
            (ab < 0.0).double(),
            torch.where(aa + bb > 0.0, projected, 0.0),
            _quotient(with_own, lengths[0] * step),
            _quotient(with_meta, lengths[1] * step),
        ),
        dim=2,
    )


def _quotient(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Part / whole, 0 where whole is 0."""
    return torch.where(whole > 0.0, part / whole.clamp(min=TINY), 0.0)


def _check_form(meta: Gradients, own: Gradients) -> None:
    """Refuses two sets of gradients that do not fit each other."""
    one, other = _shapes(meta), _shapes(own)
    if one != other:
        raise PolicyError(
            "meta_gradients",
            f"must have the form of specialist_gradients, {other}",
            one,
            "Give tensors [K, P] both, or mappings of the same specialists.",
        )


def _shapes(gradients: Gradients) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    if isinstance(gradients, torch.Tensor):
        return tuple(gradients.shape)
    return {name: tuple(gradients[name].shape) for name in sorted(gradients)}
