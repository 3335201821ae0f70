# SPDX-License-Identifier: Apache-2.0
"""Gradient coordination of phase 3: what a specialist does when two goals pull at it.

    system = GradientCoordinationSystem("upgrad")
    step = system.coordinate_updates(meta_gradients, specialist_gradients)   # [K, P] each

The methods are those of `learning/gradients.py`. Each specialist is coordinated for itself, before
its gradient is clipped and reaches Adam.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mtquant.core.checked import did_you_mean
from mtquant.core.errors import ConfigError
from mtquant.learning.adam import clip_rows
from mtquant.learning.gradients import WEIGHTINGS, gramian

DIAGNOSTICS = (
    "coordination/cosine",
    "coordination/conflict_rate",
    "coordination/projected_frac",
    "coordination/cosine_own",
    "coordination/cosine_meta",
)
KL_FACTOR, RATE_FACTOR = 2.0, 1.5  # Schulman et al. 2017, section 4, applied to the rate
LOWEST_SCALE, HIGHEST_SCALE = 0.1, 10.0
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
        self._sums: torch.Tensor | None = None
        self._count = 0

    def coordinate_updates(
        self, meta_gradients: Gradients, specialist_gradients: Gradients
    ) -> Gradients:
        """One gradient per specialist.

        A goal whose gradient is not finite does not count: the other one's is taken alone; where
        neither is finite the result is NaN, so that the training loop restores the specialist.

        Args:
            meta_gradients: What the meta-controller's loss asks of each specialist, [K, P]; or a
                mapping from specialists to tensors of any shape.
            specialist_gradients: What its own loss asks for, in the same form.

        Returns:
            The same form.
        """
        if isinstance(meta_gradients, torch.Tensor):
            assert isinstance(specialist_gradients, torch.Tensor)
            return self._coordinate(meta_gradients, specialist_gradients)
        assert not isinstance(specialist_gradients, torch.Tensor)
        found: dict[str, torch.Tensor] = {}
        for name, own in specialist_gradients.items():
            flat = self._coordinate(meta_gradients[name].reshape(1, -1), own.reshape(1, -1))
            found[name] = flat.view_as(own)
        return found

    def adaptive_learning_rates(self, performance_metrics: Mapping[str, float]) -> float:
        """By which factor a learning rate should change after an update.

        An update that moved the policy more than twice as far as `target_kl` divides the rate by
        1.5, one that moved it less than half as far multiplies it by 1.5 (the rule of Schulman et
        al. 2017, section 4, applied to the rate as in Rudin et al. 2021); goals that conflicted in
        most minibatches hold a rise back.

        Args:
            performance_metrics: ``train/approx_kl``, and ``coordination/conflict_rate`` if known.
        """
        moved = performance_metrics["train/approx_kl"]
        conflict = performance_metrics.get("coordination/conflict_rate", 0.0)
        if moved > KL_FACTOR * self.target_kl:
            return 1.0 / RATE_FACTOR
        if moved < self.target_kl / KL_FACTOR and conflict < 0.5:
            return RATE_FACTOR
        return 1.0

    @staticmethod
    def gradient_clipping(gradients: Gradients, max_norm: float = 1.0) -> Gradients:
        """Gradients no longer than `max_norm` (Euclidean), their directions kept.

        Args:
            gradients: [K, P], clipped row by row; or a mapping, clipped entry by entry.
            max_norm: The longest allowed.
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
        """Means of DIAGNOSTICS since the last call, by specialist; empty if there was nothing."""
        if self._sums is None:
            return []
        means = (self._sums / self._count).tolist()
        self._sums, self._count = None, 0
        return [dict(zip(DIAGNOSTICS, own, strict=True)) for own in means]

    def _coordinate(self, meta: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        products = gramian(own, meta)
        weights = self._weigh(products)
        finite = [held.isfinite() for held in (products[0], products[2])]
        alone = torch.stack((finite[0] & ~finite[1], finite[1] & ~finite[0]), 1)
        broken = alone.any(1) | ~(finite[0] | finite[1])
        if bool(broken.any()):
            weights = torch.where(broken[:, None], alone.to(weights.dtype), weights)
            own = torch.where(alone[:, 1:], 0.0, own)
            meta = torch.where(alone[:, :1], 0.0, meta)
            nothing = ~(finite[0] | finite[1])
            weights = torch.where(nothing[:, None], torch.nan, weights)
            products = gramian(own, meta)
        self._note(products, weights)
        w = weights.to(own.dtype)
        return own * w[:, :1] + meta * w[:, 1:]

    def _note(self, products: tuple[torch.Tensor, ...], weights: torch.Tensor) -> None:
        """Adds this minibatch to the diagnostics."""
        aa, ab, bb = products
        own, meta = weights.unbind(1)
        lengths = torch.sqrt(aa), torch.sqrt(bb)
        with_own, with_meta = own * aa + meta * ab, own * ab + meta * bb
        step = torch.sqrt((own * with_own + meta * with_meta).clamp(min=0.0))
        total = own + meta
        # What is left of the plain combination of the same total weight, along its direction.
        plain = 0.5 * total * torch.sqrt((aa + 2.0 * ab + bb).clamp(min=0.0))
        noted = torch.stack(
            (
                _cosine(ab, lengths[0] * lengths[1]),
                (ab < 0.0).double(),
                1.0 - _cosine(step.minimum(plain), step.maximum(plain)),
                _cosine(with_own, lengths[0] * step),
                _cosine(with_meta, lengths[1] * step),
            ),
            dim=1,
        )
        self._sums = noted if self._sums is None else self._sums + noted
        self._count += 1


def _cosine(product: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return torch.where(lengths > 0.0, product / lengths.clamp(min=1e-300), 0.0)
