# SPDX-License-Identifier: Apache-2.0
"""The stacked engine is stable-baselines3's PPO, and its networks do not disturb each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mtquant.agents.training.loop import PPOLoop
from tests.support.markets import walk_world
from tests.support.parity import after_an_update, make_loop


@pytest.mark.parametrize(
    ("dtype", "epochs", "tolerance"), [(torch.float64, 3, 1e-9), (torch.float32, 1, 1e-5)]
)
def test_an_iteration_is_stable_baselines3s(
    dtype: torch.dtype, epochs: int, tolerance: float
) -> None:
    apart, moved = after_an_update(dtype, epochs)
    assert apart <= tolerance
    assert moved > 0.01


def test_a_rollout_is_what_the_accounts_lived_through() -> None:
    loop, twin = make_loop(2, n_steps=64), make_loop(2, n_steps=64)
    rollout = loop.collector.collect(0.0, 0.95)  # nothing is added behind the end of time
    for t in range(64):
        acted = rollout.actions[:, t].clamp(-1.0, 1.0).float().numpy()
        seen = np.stack([batch.observations for batch in twin.collector.batches])
        scaled = twin.scaling.apply(torch.from_numpy(seen).to(twin.stack.parameters))
        assert torch.equal(rollout.observations[:, t], scaled)
        for k, batch in enumerate(twin.collector.batches):
            batch.step(acted[k])
            assert rollout.rewards[k, t].tolist() == batch.rewards.tolist()
            assert rollout.last[k, t].tolist() == batch.done.tolist()
    assert rollout.last.any() and not rollout.last.all()


def test_rewards_go_on_behind_the_end_of_time() -> None:
    """Where an episode was cut by time, gamma x the value of its last observation is added."""
    loop = make_loop(1, n_steps=64)
    collector = loop.collector
    rollout = collector.collect(0.9, 0.95)
    ends = list(collector._terminal)
    assert ends  # episodes of 50 bars
    loop = make_loop(1, n_steps=64)
    plain = loop.collector.collect(0.0, 0.95).rewards.clone()
    difference = rollout.rewards - plain
    for k, t, e, seen in ends:
        raw = torch.from_numpy(seen)[None, None]
        value = loop.stack.forward(loop.scaling.apply(raw)).value[0, 0]
        torch.testing.assert_close(difference[k, t, e], 0.9 * value)
        difference[k, t, e] = 0.0
    assert not difference.any()


def test_a_gradient_that_is_not_finite_costs_nobody_else_anything() -> None:
    """Network 1 goes back to its last good state at half the rate; network 0 does not notice."""
    spoilt, sound = make_loop(forecast_coef=0.5), make_loop(forecast_coef=0.5)
    for loop in (spoilt, sound):
        loop.iterate()
    before = spoilt.stack.parameters[1].clone()
    moments = spoilt.updater.adam.state()
    batch, step = spoilt.collector.batches[1], spoilt.collector.batches[1].step

    def spoil(actions: Any) -> Any:
        ended = step(actions)
        batch.rewards[0] = np.nan
        return ended

    batch.step = spoil  # type: ignore[method-assign]
    metrics = spoilt.iterate()
    assert sound.iterate()[0]["train/restored"] == 0.0
    assert [own["train/restored"] for own in metrics] == [0.0, 1.0]
    assert torch.equal(spoilt.stack.parameters[0], sound.stack.parameters[0])
    assert torch.equal(spoilt.stack.parameters[1], before)
    after = spoilt.updater.adam.state()
    for name in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(after[name][1], moments[name][1])
    assert spoilt.updater.adam.scales == [1.0, 0.5]


def test_target_kl_stops_one_network_and_not_the_other() -> None:
    loop = make_loop(target_kl=1e-3)
    rollout = loop.collector.collect(0.99, 0.95)
    rollout.advantages[1] = 0.0  # nothing to learn: its policy hardly moves
    loop.updater.settings = loop.settings.model_copy(update={"ent_coef": 0.0, "target_kl": 1e-3})
    report = loop.updater.update(rollout, 1e-2, loop._permutations())
    assert report.stopped == {0}
    assert report.epochs[0] < 3
    assert report.epochs[1] == 3


def test_the_same_seed_is_the_same_run() -> None:
    one, other = make_loop(forecast_coef=0.5), make_loop(forecast_coef=0.5)
    for _ in range(2):
        first, second = one.iterate(), other.iterate()
        for mine, twin in zip(first, second, strict=True):
            assert {n: v for n, v in mine.items() if n != "time/fps"} == {
                n: v for n, v in twin.items() if n != "time/fps"
            }
    assert torch.equal(one.stack.parameters, other.stack.parameters)


def test_costs_rise_over_the_ramp_and_then_stay() -> None:
    loop = make_loop(1, cost_start=0.0, cost_ramp=0.5)  # ten rollouts
    shares = [loop.iterate()[0]["train/cost_share"] for _ in range(10)]
    assert shares == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert "train/cost_share" not in make_loop(1).iterate()[0]


def test_what_is_free_earns_more_by_what_it_costs() -> None:
    """The first rollout of the ramp lives the same bars by nearly the same actions, since networks
    see what trading costs, and pays nothing.
    """
    free, paid = (make_loop(1, cost_start=start) for start in (0.0, 1.0))
    for loop in (free, paid):
        loop.iterate()
    mine, theirs = (loop.collector.rollout for loop in (free, paid))
    torch.testing.assert_close(mine.actions, theirs.actions, atol=0.01, rtol=0.0)
    assert mine.rewards.sum() > theirs.rewards.sum() + 1.0


def forecasting_loop(surprise: float, **more: Any) -> PPOLoop:
    """One whose heads say something."""
    loop = make_loop(forecast_coef=1.0, surprise=surprise, **more)
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(loop.stack.parameters.shape, generator=generator)
    loop.stack.parameters += 0.1 * drawn
    return loop


def test_rewards_without_surprises_are_paid_at_the_forecast() -> None:
    """The reward is the differential Sharpe ratio, to which a gain is worth 1 in an account's first
    bar, and more or less later.
    """
    whole, half, none = (
        forecasting_loop(own).collector.collect(0.0, 0.0) for own in (1.0, 0.5, 0.0)
    )
    for other in (half, none):  # the same lives
        torch.testing.assert_close(whole.actions, other.actions, rtol=0.0, atol=0.0)
        torch.testing.assert_close(whole.forecasts, other.forecasts, equal_nan=True)
    torch.testing.assert_close(0.5 * (whole.rewards + none.rewards), half.rewards)
    loop = forecasting_loop(0.0)
    said = loop.stack.forward(whole.observations.flatten(1, 2)).forecast.view_as(whole.forecasts)
    acted = whole.actions.clamp(-1.0, 1.0)
    beyond = (acted * (whole.forecasts - said)).nan_to_num(0.0)[..., 0]
    luck = whole.rewards - none.rewards
    torch.testing.assert_close(luck[:, 0], beyond[:, 0], rtol=1e-4, atol=1e-5)
    moved = beyond.abs() > 0.1
    worth = luck[moved] / beyond[moved]
    assert moved.sum() > 100 and worth.min() > 0.5 and worth.std() > 0.01
    assert (luck[beyond == 0.0] == 0.0).all()
    assert none.rewards.var() < 0.5 * whole.rewards.var()


def test_without_a_head_rewards_keep_their_surprises() -> None:
    rewards = [make_loop(surprise=own).collector.collect(0.9, 0.9).rewards for own in (0.0, 1.0)]
    assert torch.equal(*rewards)


def test_luck_is_that_of_targets_as_they_are_heard() -> None:
    """With latency what was asked for a bar ago meets the next return."""
    world = walk_world("environment.latency_bars=1", "reward.phase_1={growth: 1.0}")
    loops = [forecasting_loop(surprise, world=world) for surprise in (1.0, 0.0)]
    whole, none = (loop.collector.collect(0.0, 0.0) for loop in loops)
    said = loops[0].stack.forward(whole.observations.flatten(1, 2)).forecast
    innovation = (whole.forecasts - said.view_as(whole.forecasts)).nan_to_num(0.0)[..., 0]
    heard = torch.zeros_like(innovation)
    heard[:, 1:] = whole.actions.clamp(-1.0, 1.0)[:, :-1, :, 0]
    heard[:, 1:][whole.last[:, :-1] > 0] = 0.0  # a new account has asked for nothing
    luck = whole.rewards - none.rewards
    assert (luck[:, 0] == 0.0).all()
    torch.testing.assert_close(luck[:, 1], (heard * innovation)[:, 1], rtol=0.05, atol=1e-3)
    assert none.rewards.var() < 0.5 * whole.rewards.var()
