# SPDX-License-Identifier: Apache-2.0
"""Losses of proximal policy optimisation: of traders with their gradients, of tokens for autograd.

A trader's minibatch is a row per network: [K, B] samples of K networks. The gradients by what the
networks said are written out, since the networks' backward pass starts from them (`towers`), and
compiled: these arrays are so small that some thirty calls of torch would take many times as long.
They are worked out in float64 on the processor, wherever the networks are. Tests compare them with
autograd's and with stable-baselines3's.

Where networks have unequally many actions or forecasts, the rows of those with fewer are padded.
`present` says which entries there are; the others are in no density, no entropy, no mean and no
gradient.

Source: Schulman, Wolski, Dhariwal, Radford & Klimov 2017, "Proximal policy optimization", eq. 7
and 9; the details (advantages normalised per minibatch, traders' values not clipped) are
stable-baselines3's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.core.compiled import kernel

Array = NDArray[Any]
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
        figures: [K, len(FIGURES)], on the processor.
    """

    mean: torch.Tensor
    log_std: torch.Tensor
    value: torch.Tensor
    figures: torch.Tensor


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
        present: [K, A], 1 where the network has such an action, else 0; None for everywhere.

    Returns:
        What is NaN makes what depends on it NaN; an infinite ratio may be clipped away.
    """
    means, widths, values = (_array(part) for part in (mean, log_std, value))
    found = (
        np.empty(means.shape, means.dtype),
        np.empty(widths.shape),  # a sum over many samples
        np.empty(values.shape, means.dtype),
        np.empty((len(values), len(FIGURES)), means.dtype),
    )
    width = widths.astype(np.float64)
    lived = [_array(part) for part in samples]
    told = [means, np.exp(-width), width, values, *lived, _mask(present, widths)]
    arrays = [*told, *found, np.empty(values.shape[1])]
    _ppo_gradients(clip_range, ent_coef, vf_coef, *arrays)
    by_mean, by_log_std, by_value, figures = map(torch.from_numpy, found)
    return Gradients(by_mean.to(mean), by_log_std.to(mean), by_value.to(mean), figures)


class ForecastGradients(NamedTuple):
    """Gradients by forecast means and log deviations, [K, B, F] each, and the loss of each, [K], on
    the processor.
    """

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
        present: [K, F], 1 where the network makes such a forecast, else 0; None for everywhere.
    """
    if mean.shape[2] == 0:
        return ForecastGradients(mean, log_deviation, torch.zeros(len(mean), dtype=mean.dtype))
    means = _array(mean)
    found = (np.empty_like(means), np.empty_like(means), np.empty(len(means), means.dtype))
    told = (means, _array(log_deviation), _array(came), _mask(present, means[:, 0]))
    _forecast_gradients(weight, *told, *found)
    by_mean, by_log_deviation, loss = map(torch.from_numpy, found)
    return ForecastGradients(by_mean.to(mean), by_log_deviation.to(mean), loss)


def _array(tensor: torch.Tensor) -> Array:
    """A tensor's numbers on the processor."""
    found: Array = tensor.cpu().numpy()
    return found


def _mask(present: torch.Tensor | None, like: Array) -> Array:
    """[K, N], `present`, or 1 everywhere."""
    return np.ones(like.shape, like.dtype) if present is None else _array(present)


@kernel
def _ppo_gradients(
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
    mean: Array,
    narrow: Array,
    log_std: Array,
    value: Array,
    actions: Array,
    log_probs: Array,
    advantages: Array,
    returns: Array,
    present: Array,
    to_mean: Array,
    to_log_std: Array,
    to_value: Array,
    figures: Array,
    room: Array,
) -> None:
    """`room` [B] holds the logarithms of the ratios, then the gradients by the log-densities."""
    batch, n_actions = mean.shape[1], mean.shape[2]
    least, most, share = 1.0 - clip_range, 1.0 + clip_range, 1.0 / batch
    for k in range(mean.shape[0]):
        width, entropy = 0.0, 0.0
        for a in range(n_actions):
            to_log_std[k, a] = -ent_coef * present[k, a]
            width += (log_std[k, a] + HALF_LOG_TWO_PI) * present[k, a]
            entropy += (log_std[k, a] + HALF_LOG_TWO_PI + 0.5) * present[k, a]
        middle, scale = _level(advantages[k])
        for b in range(batch):
            square = 0.0
            for a in range(n_actions):
                deviation = (actions[k, b, a] - mean[k, b, a]) * narrow[k, a] * present[k, a]
                square += deviation * deviation
            room[b] = -0.5 * square - width - log_probs[k, b]
        policy, error_square, divergence, clipped = 0.0, 0.0, 0.0, 0.0
        for b in range(batch):
            log_ratio = room[b]
            ratio = math.exp(log_ratio)
            advantage = (advantages[k, b] - middle) * scale
            wanted, allowed = ratio * advantage, min(max(ratio, least), most) * advantage
            # Where the clipped one is the smaller, it does not depend on the policy any more.
            room[b] = 0.0 if wanted > allowed else -wanted * share
            error = value[k, b] - returns[k, b]
            to_value[k, b] = 2.0 * vf_coef * share * error
            policy -= min(wanted, allowed)
            error_square += error * error
            # Schulman 2020, "Approximating KL divergence", k3: without bias and never below 0.
            divergence += ratio - 1.0 - log_ratio
            clipped += 1.0 if abs(ratio - 1.0) > clip_range else 0.0
        for a in range(n_actions):
            for b in range(batch):
                toward = room[b] * present[k, a]
                deviation = (actions[k, b, a] - mean[k, b, a]) * narrow[k, a]
                to_mean[k, b, a] = deviation * narrow[k, a] * toward
                to_log_std[k, a] += (deviation * deviation - 1.0) * toward
        figures[k, 0] = policy * share
        figures[k, 1] = error_square * share
        figures[k, 2] = -entropy
        figures[k, 3] = divergence * share
        figures[k, 4] = clipped * share


@kernel
def _level(advantages: Array) -> tuple[float, float]:
    """Mean of [B], and what the rest is multiplied by to have deviation 1; a single sample stays as
    it is.
    """
    count = advantages.shape[0]
    if count < 2:
        return 0.0, 1.0
    total = 0.0
    for b in range(count):
        total += advantages[b]
    middle, square = total / count, 0.0
    for b in range(count):
        square += (advantages[b] - middle) ** 2
    return middle, 1.0 / (math.sqrt(square / (count - 1)) + TINY)


@kernel
def _forecast_gradients(
    weight: float,
    mean: Array,
    log_deviation: Array,
    came: Array,
    present: Array,
    to_mean: Array,
    to_log_deviation: Array,
    loss: Array,
) -> None:
    batch, n_forecasts = mean.shape[1], mean.shape[2]
    for k in range(mean.shape[0]):
        entries, total = 0.0, 0.0
        for f in range(n_forecasts):
            entries += present[k, f] * batch
        share = weight / entries
        for b in range(batch):
            for f in range(n_forecasts):
                to_mean[k, b, f], to_log_deviation[k, b, f] = 0.0, 0.0
                if present[k, f] > 0.0 and math.isfinite(came[k, b, f]):
                    width = float(log_deviation[k, b, f])
                    narrow = math.exp(-width)
                    error = (came[k, b, f] - mean[k, b, f]) * narrow
                    to_mean[k, b, f] = -error * narrow * share
                    to_log_deviation[k, b, f] = (1.0 - error * error) * share
                    total += 0.5 * error * error + width
        loss[k] = total / entries


class TokenLoss(NamedTuple):
    """The clipped surrogate of each token.

    Attributes:
        loss: -min(ratio x advantage, clipped ratio x advantage).
        ratio: New probability over old.
    """

    loss: torch.Tensor
    ratio: torch.Tensor


def clipped_policy(
    log_ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float
) -> TokenLoss:
    """PPO's policy loss of each token of a language model, for autograd.

    Args:
        log_ratio: New log-probability less the old one, any shape.
        advantages: The same shape.
        clip_range: How far the ratio may leave 1.
    """
    ratio = torch.exp(log_ratio)
    allowed = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return TokenLoss(-torch.minimum(ratio * advantages, allowed * advantages), ratio)


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
