# SPDX-License-Identifier: Apache-2.0
"""Losses of proximal policy optimisation, and their gradients by what a network said.

Everything is a row per network: [K, B] samples of K networks. The gradients are written out, since
the networks' backward pass starts from them (`towers`); a test compares them with autograd's and
with stable-baselines3's.

Where networks have unequally many actions or forecasts, the rows of those with fewer are padded.
`present` says which entries there are; the others are in no density, no entropy, no mean and no
gradient.

Source: Schulman, Wolski, Dhariwal, Radford & Klimov 2017, "Proximal policy optimization", eq. 7
and 9; the details (advantages normalised per minibatch, traders' values not clipped) are
stable-baselines3's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
TINY = 1e-8


class Samples(NamedTuple):
    """A minibatch.

    Attributes:
        actions: [K, B, A], as drawn, before any clipping to the action space.
        log_probs: [K, B], of the actions under the policy that drew them.
        advantages: [K, B].
        returns: [K, B], what values are to become.
    """

    actions: torch.Tensor
    log_probs: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


class Gradients(NamedTuple):
    """Of each network's loss, by its outputs; and figures of the minibatch.

    Attributes:
        mean: [K, B, A].
        log_std: [K, A].
        value: [K, B].
        figures: [K, len(FIGURES)]; None where they were not asked for.
    """

    mean: torch.Tensor
    log_std: torch.Tensor
    value: torch.Tensor
    figures: torch.Tensor | None


FIGURES = ("policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")
APPROX_KL = FIGURES.index("approx_kl")


def ppo_gradients(
    mean: torch.Tensor,
    log_std: torch.Tensor,
    value: torch.Tensor,
    samples: Samples,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
    *,
    figures: bool = True,
    present: torch.Tensor | None = None,
) -> Gradients:
    """The loss policy + vf_coef x value - ent_coef x entropy of each network.

    Args:
        mean: [K, B, A], of the Gaussian policies.
        log_std: [K, A].
        value: [K, B].
        samples: What was lived through.
        clip_range: How far the probability ratio may leave 1.
        ent_coef: Weight of the entropy.
        vf_coef: Weight of the value loss.
        figures: Whether anybody wants to see them: they take a fifth of the time.
        present: [K, A], 1 where the network has such an action, else 0, and then `mean`, `log_std`
            and the samples' actions are 0 there; None for everywhere.
    """
    batch = value.shape[1]
    narrow = torch.exp(-log_std)[:, None]
    deviation = (samples.actions - mean) * narrow
    square = deviation * deviation
    log_std_row = log_std.sum(1, keepdim=True)
    count = mean.shape[2] if present is None else present.sum(1, keepdim=True)
    constant = HALF_LOG_TWO_PI * count
    log_ratio = square.sum(2).mul_(-0.5) - (log_std_row + constant) - samples.log_probs
    policy = clipped_policy(log_ratio, normalised(samples.advantages), clip_range)
    error = value - samples.returns
    toward = policy.by_log_prob.mul_(1.0 / batch)[:, :, None]
    found = None
    if figures:
        entropy = (log_std_row + 0.5 * count + constant)[:, 0]
        found = _figures(policy, log_ratio, error, entropy, clip_range)
    by_log_std = ((square - 1.0) * toward).sum(1) - ent_coef
    return Gradients(
        mean=deviation * narrow * toward,
        log_std=by_log_std if present is None else by_log_std * present,
        value=error * (2.0 * vf_coef / batch),
        figures=found,
    )


def _figures(
    policy: ClippedPolicy,
    log_ratio: torch.Tensor,
    error: torch.Tensor,
    entropy: torch.Tensor,
    clip_range: float,
) -> torch.Tensor:
    """FIGURES of each row, [K, len(FIGURES)]."""
    away = policy.ratio - 1.0
    # Schulman 2020, "Approximating KL divergence", k3: without bias and never below 0.
    divergence = (away - log_ratio).mean(1)
    clipped = (away.abs() > clip_range).to(error.dtype).mean(1)
    found = (policy.loss.mean(1), (error * error).mean(1), -entropy, divergence, clipped)
    return torch.stack(found, dim=1)


class ClippedPolicy(NamedTuple):
    """The clipped surrogate, sample by sample.

    Attributes:
        loss: -min(ratio x advantage, clipped ratio x advantage).
        by_log_prob: Its derivative by the new log-probability.
        ratio: New probability over old.
    """

    loss: torch.Tensor
    by_log_prob: torch.Tensor
    ratio: torch.Tensor


def clipped_policy(
    log_ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float
) -> ClippedPolicy:
    """PPO's policy loss of each sample, for actions of a trader and tokens of a language model.

    Args:
        log_ratio: New log-probability less the old one, any shape.
        advantages: The same shape.
        clip_range: How far the ratio may leave 1.
    """
    ratio = torch.exp(log_ratio)
    wanted = ratio * advantages
    allowed = ratio.clamp(1.0 - clip_range, 1.0 + clip_range).mul_(advantages)
    # Where the clipped one is the smaller, it does not depend on the policy any more.
    by_log_prob = torch.where(wanted <= allowed, -wanted, 0.0)
    return ClippedPolicy(-torch.minimum(wanted, allowed), by_log_prob, ratio)


def normalised(advantages: torch.Tensor) -> torch.Tensor:
    """Advantages [K, B] with mean 0 and deviation 1 in each row; a single sample stays as it is."""
    if advantages.shape[1] < 2:
        return advantages
    deviation, mean = torch.std_mean(advantages, 1, keepdim=True)
    return (advantages - mean) / (deviation + TINY)


def clipped_value(
    values: torch.Tensor, before: torch.Tensor, returns: torch.Tensor, clip_range: float | None
) -> torch.Tensor:
    """Squared error of each value, or of the value no farther than `clip_range` from what it was.

    The larger of the two counts, so that a value is never drawn away from the return (Schulman et
    al.'s reference code; Huang et al. 2022, "The 37 implementation details of proximal policy
    optimization", detail 9).

    Args:
        values, before, returns: The same shape.
        clip_range: None: any distance.
    """
    error = (values - returns) ** 2
    if clip_range is None:
        return error
    near = before + (values - before).clamp(-clip_range, clip_range)
    return torch.maximum(error, (near - returns) ** 2)


class ForecastGradients(NamedTuple):
    """Gradients by forecast means and log deviations, [K, B, F] each, and the loss of each, [K]."""

    mean: torch.Tensor
    log_deviation: torch.Tensor
    loss: torch.Tensor


def forecast_gradients(
    mean: torch.Tensor,
    log_deviation: torch.Tensor,
    came: torch.Tensor,
    weight: float,
    present: torch.Tensor | None = None,
) -> ForecastGradients:
    """Gaussian negative log-likelihood of what came, less its constant (Nix & Weigend 1994, eq. 5).

    Args:
        mean, log_deviation: [K, B, F].
        came: [K, B, F]; NaN where there is nothing to compare with: such entries count 0.
        weight: Of the loss in what is learnt.
        present: [K, F], 1 where the network makes such a forecast, else 0, and then `came` is NaN
            there; None for everywhere.
    """
    if mean.shape[2] == 0:
        return ForecastGradients(mean, log_deviation, mean.new_zeros(len(mean)))
    known = came.isfinite()
    narrow = torch.exp(-log_deviation)
    error = torch.where(known, came - mean, 0.0) * narrow
    square = error * error
    entries = mean.shape[2] if present is None else present.sum(1, keepdim=True)[:, :, None]
    count = mean.shape[1] * entries
    sums = torch.where(known, 0.5 * square + log_deviation, 0.0).sum((1, 2), keepdim=True)
    loss = (sums / count)[:, 0, 0]
    share = weight / count
    return ForecastGradients(
        mean=error * narrow * -share,
        log_deviation=torch.where(known, 1.0 - square, 0.0) * share,
        loss=loss,
    )
