# SPDX-License-Identifier: Apache-2.0
"""Written-out gradients are autograd's."""

from __future__ import annotations

import math

import pytest
import torch

from mtquant.learning.losses import (
    FIGURES,
    Samples,
    clipped_policy,
    clipped_value,
    forecast_gradients,
    normalised,
    ppo_gradients,
)

K, B, A = 3, 17, 2


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Samples]:
    """Outputs and samples whose ratios fall on both sides of the clip."""
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=random, dtype=torch.float64)

    mean, log_std, value = normal(K, B, A), 0.3 * normal(K, A), normal(K, B)
    actions = mean + torch.exp(log_std)[:, None] * normal(K, B, A)
    old = torch.distributions.Normal(mean, torch.exp(log_std)[:, None]).log_prob(actions).sum(2)
    samples = Samples(actions, old + 0.3 * normal(K, B), normal(K, B), normal(K, B))
    return mean, log_std, value, samples


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_autograds(seed: int) -> None:
    mean, log_std, value, samples = drawn(seed)
    for tensor in (mean, log_std, value):
        tensor.requires_grad_()
    policy = torch.distributions.Normal(mean, torch.exp(log_std)[:, None])
    ratio = torch.exp(policy.log_prob(samples.actions).sum(2) - samples.log_probs)
    advantage = samples.advantages - samples.advantages.mean(1, keepdim=True)
    advantage = advantage / (samples.advantages.std(1, keepdim=True) + 1e-8)
    surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(0.8, 1.2))
    value_loss = torch.nn.functional.mse_loss(value, samples.returns, reduction="none")
    loss = -surrogate.mean(1) + 0.5 * value_loss.mean(1) - 0.01 * policy.entropy().sum(2).mean(1)
    expected = torch.autograd.grad(loss.sum(), (mean, log_std, value))
    with torch.no_grad():
        found = ppo_gradients(mean, log_std, value, samples, 0.2, 0.01, 0.5)
    for mine, theirs in zip(found[:3], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
    figures = dict(zip(FIGURES, found.figures.unbind(1), strict=True))
    clipped = ((ratio - 1.0).abs() > 0.2).double().mean(1)
    assert 0.0 < float(clipped.mean()) < 1.0
    torch.testing.assert_close(figures["policy_gradient_loss"], -surrogate.mean(1).detach())
    torch.testing.assert_close(figures["value_loss"], value_loss.mean(1).detach())
    torch.testing.assert_close(figures["entropy_loss"], -policy.entropy().sum(2).mean(1).detach())
    torch.testing.assert_close(figures["clip_fraction"], clipped.detach())
    divergence = (ratio - 1.0 - torch.log(ratio)).mean(1)
    torch.testing.assert_close(figures["approx_kl"], divergence.detach())


def test_at_a_ratio_of_one_the_gradient_is_minus_the_advantage() -> None:
    """By hand: there both sides of the minimum are the same."""
    log_ratio = torch.zeros(3, requires_grad=True)
    clipped_policy(log_ratio, torch.tensor([1.0, -2.0, 0.0]), 0.2).loss.sum().backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == [-1.0, 2.0, 0.0]
    # Ratio 2: a gain is cut at 1.2, a loss counts in full.
    log_ratio = torch.full((2,), math.log(2.0), requires_grad=True)
    found = clipped_policy(log_ratio, torch.tensor([1.0, -1.0]), 0.2)
    torch.testing.assert_close(found.loss, torch.tensor([-1.2, 2.0]))
    found.loss.sum().backward()
    torch.testing.assert_close(log_ratio.grad, torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("part", ["mean", "log_std", "value", *Samples._fields])
def test_what_is_not_a_number_is_seen_in_its_own_row(part: str) -> None:
    """Rows are restored when their gradient is not finite, so none may hide that."""
    mean, log_std, value, samples = drawn(3)
    held = {"mean": mean, "log_std": log_std, "value": value, **samples._asdict()}
    whole = ppo_gradients(mean, log_std, value, samples, 0.2, 0.01, 0.5)
    held[part][1].view(-1)[-1] = torch.nan
    found = ppo_gradients(mean, log_std, value, samples, 0.2, 0.01, 0.5)
    for own, other in zip(found, whole, strict=True):
        assert torch.equal(own[::2], other[::2])
    assert not all(bool(own[1].isfinite().all()) for own in found[:3])


def test_a_single_sample_keeps_its_advantage() -> None:
    mean, log_std, value, samples = drawn(0)
    one = Samples(*(part[:, :1] for part in samples))
    found = ppo_gradients(mean[:, :1], log_std, value[:, :1], one, 10.0, 0.0, 0.5)
    log_prob = torch.distributions.Normal(mean[:, :1], torch.exp(log_std)[:, None])
    ratio = torch.exp(log_prob.log_prob(one.actions).sum(2) - one.log_probs)
    loss = -(ratio * one.advantages)[:, 0]
    torch.testing.assert_close(found.figures[:, 0], loss)
    assert normalised(torch.tensor([[3.0], [4.0]])).tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize("seed", range(3))
def test_forecast_gradients_are_autograds(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    mean, log_deviation, came = torch.randn(3, K, B, A, generator=random, dtype=torch.float64)
    came[0, :5] = torch.nan
    mean.requires_grad_(), log_deviation.requires_grad_()
    known = came.isfinite()
    normal = torch.distributions.Normal(mean, torch.exp(log_deviation))
    constant = 0.5 * math.log(2.0 * math.pi)
    likelihood = normal.log_prob(torch.where(known, came, 0.0)) + constant
    loss = -torch.where(known, likelihood, 0.0).mean((1, 2))
    expected = torch.autograd.grad(0.7 * loss.sum(), (mean, log_deviation))
    with torch.no_grad():
        found = forecast_gradients(mean, log_deviation, came, 0.7)
    torch.testing.assert_close(found.mean, expected[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.log_deviation, expected[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.loss, loss.detach())


def test_without_a_message_head_there_is_nothing_to_forecast() -> None:
    none = torch.zeros(K, B, 0)
    found = forecast_gradients(none, none, none, 0.5)
    assert found.mean.shape == (K, B, 0)
    assert found.loss.tolist() == [0.0] * K


@pytest.mark.parametrize("clip_range", [0.2, None])
def test_a_clipped_value_counts_its_worse_error(clip_range):
    values = torch.tensor([0.0, 0.5, 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    before = torch.tensor([0.1, 0.1, 0.1, 0.1], dtype=torch.float64)
    returns = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    found = clipped_value(values, before, returns, clip_range)
    near = [0.0, 0.3, 0.3, -0.1]  # no farther than 0.2 from 0.1
    errors = [(1.0 - value) ** 2 for value in values.tolist()]
    worse = [max(e, (1.0 - n) ** 2) for e, n in zip(errors, near, strict=True)]
    assert found.tolist() == pytest.approx(worse if clip_range else errors)
    found.sum().backward()
    # Beyond the clip on the way to the return nothing pulls any more; away from it something does.
    pulls = [-2.0, 0.0, 0.0, -4.0] if clip_range else [-2.0, -1.0, 0.0, -4.0]
    assert values.grad.tolist() == pytest.approx(pulls)


@pytest.mark.parametrize("actions", [1, 2, 3])
def test_padding_is_in_no_loss(actions: int) -> None:
    """Two networks of unequally many actions: each has the gradients and figures it has alone."""
    _, _, value, samples = drawn(actions)
    random = torch.Generator().manual_seed(9)
    mean, came = (torch.randn(2, B, 3, generator=random, dtype=torch.float64) for _ in range(2))
    log_std = torch.randn(2, 3, generator=random, dtype=torch.float64)
    told = Samples(came.clone(), *(part[:2] for part in samples[1:]))
    present = torch.ones(2, 3, dtype=torch.float64)
    present[0, actions:] = 0.0
    for padded in (mean, told.actions, log_std):
        padded[0, ..., actions:] = 0.0
    came[0, :, actions:] = torch.nan
    mask = present if actions < 3 else None
    found = ppo_gradients(mean, log_std, value[:2], told, 0.2, 0.01, 0.5, present=mask)
    forecast = forecast_gradients(mean, mean, came, 0.5, mask)
    for k, count in enumerate((actions, 3)):
        row, own = slice(k, k + 1), slice(count)
        alone = Samples(told.actions[row, :, own], *(part[row] for part in told[1:]))
        cut = mean[row, :, own]
        mine = ppo_gradients(cut, log_std[row, own], value[row], alone, 0.2, 0.01, 0.5)
        for part, expected in zip(found, mine, strict=True):
            within = part[row] if part.dim() == 2 and part.shape != (2, 3) else part[row, ..., own]
            torch.testing.assert_close(within, expected, rtol=1e-12, atol=1e-14)
        its = forecast_gradients(cut, cut, came[row, :, own], 0.5)
        torch.testing.assert_close(forecast.mean[row, :, own], its.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(forecast.loss[row], its.loss, rtol=1e-12, atol=1e-14)
        deviation = forecast.log_deviation[row, :, own]
        torch.testing.assert_close(deviation, its.log_deviation, rtol=1e-12, atol=1e-14)
    for padding in (found.mean, found.log_std, forecast.mean, forecast.log_deviation):
        assert not padding[0, ..., actions:].any()
