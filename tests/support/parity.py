# SPDX-License-Identifier: Apache-2.0
"""The stacked engine and stable-baselines3's PPO, given the same rollout and the same orders."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.library import build_ppo
from mtquant.agents.training.loop import PPOLoop
from mtquant.agents.training.monitor import kept_weights
from mtquant.agents.training.rollout import Rollout
from mtquant.agents.training.world import SpecialistWorld
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


def make_loop(
    count: int = 2,
    dtype: torch.dtype = torch.float32,
    world: SpecialistWorld = WORLD,
    **changes: Any,
) -> PPOLoop:
    """Networks that learn on the same walk, each on episodes of its own."""
    settings = SETTINGS.model_copy(update=changes)
    seeds = [SeedTree(5).child(k) for k in range(count)]
    envs = [world.training_env(ACCOUNTS, node.child("episodes")) for node in seeds]
    layout = envs[0].layout
    shape = PolicyShape(layout.size, (8, 8), 1, 1 if settings.forecast_coef else 0)
    stack = ActorCriticStack.fresh(shape, [node.integer() for node in seeds], dtype=dtype)
    pairs = [world.scaling()] * count
    scaling = Scaling.of(pairs, stack.parameters)
    return PPOLoop(envs, stack, scaling, settings, 10 * settings.rollout_steps, seeds)


def after_an_update(dtype: torch.dtype, epochs: int) -> tuple[float, float]:
    """One update of two networks by both: the largest difference of any weight between the two,
    and the least that a network's weights moved at most.
    """
    loop = make_loop(2, dtype, n_epochs=epochs)
    rollout = loop.collector.collect(loop.settings.gamma, loop.settings.gae_lambda)
    # stable-baselines3 keeps actions in float32, whatever the policy's type.
    rollout.actions.copy_(rollout.actions.float())
    models = [_library_twin(loop, k, dtype) for k in range(2)]
    orders = loop._permutations()
    before = [loop.stack.weights(k) for k in range(2)]
    loop.updater.update(rollout, SETTINGS.learning_rate, orders)
    apart, moved = 0.0, np.inf
    for k, model in enumerate(models):
        _fill(model, rollout, loop, k, dtype)
        pending = iter([_theirs(order[k]) for order in orders])
        model.policy.set_training_mode(True)
        with mock.patch.object(np.random, "permutation", lambda size, own=pending: next(own)):
            model.train()
        mine = loop.stack.weights(k)
        apart = max(apart, _largest(mine, kept_weights(model)))
        moved = min(moved, _largest(mine, before[k]))
    return apart, moved


def _largest(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    return max(float((mine - others[name]).abs().max()) for name, mine in weights.items())


def _library_twin(loop: PPOLoop, k: int, dtype: torch.dtype) -> PPO:
    """stable-baselines3's PPO with network k's weights."""
    env = MarketVecEnv(WORLD.training_env(ACCOUNTS, SeedTree(0)))
    scaling = WORLD.scaling()
    model = build_ppo(env, loop.settings, scaling, 0, "cpu")
    policy = model.policy.to(dtype)
    own = policy.state_dict()
    policy.load_state_dict({**own, **loop.stack.weights(k)})
    policy.optimizer = type(policy.optimizer)(
        policy.parameters(), lr=SETTINGS.learning_rate, eps=1e-5
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _fill(model: PPO, rollout: Rollout, loop: PPOLoop, k: int, dtype: torch.dtype) -> None:
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


def _theirs(order: torch.Tensor) -> np.ndarray:
    """Our sample t * E + e is their e * T + t."""
    bars, accounts = np.divmod(order.numpy(), ACCOUNTS)
    return accounts * STEPS + bars
