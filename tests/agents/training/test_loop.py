# SPDX-License-Identifier: Apache-2.0
"""The stacked engine is stable-baselines3's PPO, and its networks do not disturb each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from mtquant.agents.scaling import Scaling, observation_scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.library import build_ppo
from mtquant.agents.training.loop import PPOLoop
from mtquant.agents.training.monitor import kept_weights
from mtquant.agents.training.rollout import Rollout
from mtquant.core.seeding import SeedTree
from mtquant.core.training_config import PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from tests.support.markets import walk_world

ACCOUNTS, STEPS = 4, 48
WORLD = walk_world()
SETTINGS = PPOSettings(
    n_envs=ACCOUNTS,
    n_steps=STEPS,
    batch_size=32,
    n_epochs=3,
    hidden_units=(8, 8),
    ent_coef=0.01,
    forecast_coef=0.0,
    learning_rate=1e-2,
)


def make_loop(count: int = 2, dtype: torch.dtype = torch.float32, **changes: Any) -> PPOLoop:
    """Networks that learn on the same walk, each on episodes of its own."""
    settings = SETTINGS.model_copy(update=changes)
    seeds = [SeedTree(5).child(k) for k in range(count)]
    envs = [WORLD.training_env(ACCOUNTS, node.child("episodes")) for node in seeds]
    layout = envs[0].layout
    shape = PolicyShape(layout.size, (8, 8), 1, 1 if settings.forecast_coef else 0)
    stack = ActorCriticStack.fresh(shape, [node.integer() for node in seeds], dtype=dtype)
    pairs = [observation_scaling(layout, WORLD.scaler, 0.1)] * count
    scaling = Scaling.of(pairs, stack.parameters)
    return PPOLoop(envs, stack, scaling, settings, 10 * settings.rollout_steps, seeds)


def library_twin(loop: PPOLoop, k: int, dtype: torch.dtype) -> PPO:
    """stable-baselines3's PPO with network k's weights and the rollout that it lived through."""
    env = MarketVecEnv(WORLD.training_env(ACCOUNTS, SeedTree(0)))
    scaling = observation_scaling(env.env.layout, WORLD.scaler, 0.1)
    model = build_ppo(env, loop.settings, scaling, 0, "cpu")
    policy = model.policy.to(dtype)
    own = policy.state_dict()
    policy.load_state_dict({**own, **loop.stack.weights(k)})
    policy.optimizer = type(policy.optimizer)(
        policy.parameters(), lr=SETTINGS.learning_rate, eps=1e-5
    )
    model.set_logger(quiet())
    return model


def quiet() -> Any:
    from stable_baselines3.common.logger import Logger

    return Logger(folder=None, output_formats=[])


def fill(model: PPO, rollout: Rollout, loop: PPOLoop, k: int, dtype: torch.dtype) -> None:
    """Hands network k's rollout to stable-baselines3, raw observations and all."""
    buffer = model.rollout_buffer
    buffer.reset()
    own = np.dtype(str(dtype).removeprefix("torch."))
    scaling = loop.scaling
    raw = rollout.observations[k] * scaling.scale[k] + scaling.mean[k]
    # The account block has an infinite scale and is 0 to the networks, whatever it is.
    buffer.observations = torch.nan_to_num(raw).numpy().astype(own)
    buffer.actions = rollout.actions[k].numpy().astype(own)
    for name, mine in (
        ("values", rollout.values),
        ("log_probs", rollout.log_probs),
        ("advantages", rollout.advantages),
        ("returns", rollout.returns),
    ):
        setattr(buffer, name, mine[k].numpy().astype(own))
    buffer.pos, buffer.full = STEPS, True


def theirs(order: torch.Tensor) -> np.ndarray:
    """Our sample t * E + e is their e * T + t."""
    bars, accounts = np.divmod(order.numpy(), ACCOUNTS)
    return accounts * STEPS + bars


@pytest.mark.parametrize(
    ("dtype", "epochs", "tolerance"), [(torch.float64, 3, 1e-9), (torch.float32, 1, 1e-5)]
)
def test_an_iteration_is_stable_baselines3s(
    dtype: torch.dtype, epochs: int, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop(2, dtype, n_epochs=epochs)
    rollout = loop.collector.collect(loop.settings.gamma, loop.settings.gae_lambda)
    # stable-baselines3 keeps actions in float32, whatever the policy's type.
    rollout.actions.copy_(rollout.actions.float())
    models = [library_twin(loop, k, dtype) for k in range(2)]
    orders = loop._permutations()
    loop.updater.update(rollout, SETTINGS.learning_rate, orders)
    for k, model in enumerate(models):
        fill(model, rollout, loop, k, dtype)
        pending = iter([theirs(order[k]) for order in orders])
        monkeypatch.setattr(np.random, "permutation", lambda size: next(pending))  # noqa: B023
        model.policy.set_training_mode(True)
        before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
        model.train()
        expected, moved = kept_weights(model), 0.0
        for name, mine in loop.stack.weights(k).items():
            torch.testing.assert_close(mine, expected[name], rtol=0.0, atol=tolerance)
            moved = max(moved, float((mine - before[name]).abs().max()))
        assert moved > 0.01


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
