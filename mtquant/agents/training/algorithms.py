# SPDX-License-Identifier: Apache-2.0
"""The algorithms of ``--engine sb3``, and what PPO's numbers mean for each.

| number | ppo, recurrent_ppo | trpo | a2c | sac |
|---|---|---|---|---|
| learning_rate, its decay | all | value function | all | all |
| n_envs | accounts | accounts | accounts | accounts |
| n_steps | rollout | rollout | - | first n_envs * n_steps bars are lived at random |
| batch_size | minibatch | minibatch of the value function | rollout | minibatch |
| n_epochs | passes | passes of the value function | - | how often a bar is drawn, in the mean |
| gamma | all | all | all | all |
| gae_lambda | all | all | all | - |
| clip_range | clip | - | - | - |
| target_kl | stop | trust region, 0.01 if null | - | - |
| ent_coef | bonus | - | bonus | temperature; found by itself if 0 |
| vf_coef, max_grad_norm | all | - | all | - |
| hidden_units | layers; recurrent: the first is an LSTM | layers | layers | layers |
| forecast_coef, surprise | ppo: by a callback after each update (`foresight.py`) | - | - | - |

Sources: Schulman et al. 2017 (PPO) and 2015 (TRPO), Mnih et al. 2016 (A2C), Haarnoja et al. 2018
(SAC).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import set_random_seed

from mtquant.agents.library_policies import POLICIES, library_arguments
from mtquant.agents.networks import MessagePolicy, policy_arguments
from mtquant.core.training_config import Algorithm, PPOSettings
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.learning.schedules import rate_at

Numbers = NDArray[np.float32]
TRUST_REGION = 0.01  # sb3-contrib's default, and the paper's
MOST_REMEMBERED = 1_000_000  # transitions that SAC may keep: sb3's default


class LearningRate:
    """A schedule as stable-baselines3 asks for it; a class, since a closure does not pickle."""

    def __init__(self, start: float, decay: str) -> None:
        self.start, self.decay = start, decay

    def __call__(self, progress_remaining: float) -> float:
        """Rate when `progress_remaining` (1 at the start, 0 at the end) is left."""
        return rate_at(self.start, self.decay, 1.0 - progress_remaining)


@dataclass(frozen=True)
class Setup:
    """What an algorithm's numbers are made of.

    Attributes:
        settings: PPO's numbers.
        timesteps: Bars of the run, all accounts together.
    """

    settings: PPOSettings
    timesteps: int


def build_model(
    algorithm: Algorithm,
    env: MarketVecEnv,
    setup: Setup,
    scaling: tuple[Numbers, Numbers],
    seed: int,
    device: str,
) -> BaseAlgorithm:
    """An algorithm with the configured numbers and the observation scaler inside.

    Args:
        algorithm: Which.
        env: The accounts.
        setup: Numbers and length of the run.
        scaling: Mean and scale of every entry of an observation.
        seed: Of torch's generator, and NumPy's for SAC's replay: first weights, action noise,
            minibatches.
        device: ``"cpu"`` or ``"cuda"``.
    """
    # Seeded here and not through the algorithm's `seed`, which would also reseed the episodes of
    # `env` from this seed instead of their own branch of the tree.
    set_random_seed(seed)
    env.action_space.seed(seed)  # SAC's first actions are drawn by the space
    build, numbers = ALGORITHMS[algorithm]
    settings = setup.settings
    return build(
        policy_of(algorithm),
        env,
        learning_rate=LearningRate(settings.learning_rate, settings.learning_rate_decay),
        gamma=settings.gamma,
        policy_kwargs=_policy_arguments(algorithm, settings, scaling, len(env.env.unit)),
        device=device,
        **numbers(setup),
    )


def policy_of(algorithm: Algorithm) -> type[Any]:
    """The class of the network it trains."""
    return POLICIES.get(algorithm, MessagePolicy)


def has_head(algorithm: Algorithm, settings: PPOSettings) -> bool:
    """Whether networks have a message head, as those of the stacked engine do; the library's losses
    do not reach it (`foresight.py`).
    """
    return algorithm == "ppo" and settings.forecast_coef > 0.0


def _policy_arguments(
    algorithm: Algorithm, settings: PPOSettings, scaling: tuple[Numbers, Numbers], actions: int
) -> dict[str, Any]:
    if algorithm in POLICIES:
        return library_arguments(algorithm, settings.hidden_units, *scaling)
    forecasts = actions if has_head(algorithm, settings) else 0
    return policy_arguments(settings.hidden_units, *scaling, forecasts)


def _on_policy(setup: Setup) -> dict[str, Any]:
    """Of PPO, RecurrentPPO and TRPO alike."""
    settings = setup.settings
    return {
        "n_steps": settings.n_steps,
        "batch_size": settings.batch_size,
        "gae_lambda": settings.gae_lambda,
    }


def _losses(setup: Setup) -> dict[str, Any]:
    """Of PPO, RecurrentPPO and A2C alike."""
    settings = setup.settings
    return {
        "ent_coef": settings.ent_coef,
        "vf_coef": settings.vf_coef,
        "max_grad_norm": settings.max_grad_norm,
    }


def _ppo(setup: Setup) -> dict[str, Any]:
    settings = setup.settings
    return {
        **_on_policy(setup),
        **_losses(setup),
        "n_epochs": settings.n_epochs,
        "clip_range": settings.clip_range,
        "target_kl": settings.target_kl,
    }


def _trpo(setup: Setup) -> dict[str, Any]:
    settings = setup.settings
    return {
        **_on_policy(setup),
        "n_critic_updates": settings.n_epochs,
        "target_kl": settings.target_kl or TRUST_REGION,
    }


def _a2c(setup: Setup) -> dict[str, Any]:
    """One gradient step on every `batch_size` bars, with Adam and normalised advantages as PPO."""
    settings = setup.settings
    return {
        **_losses(setup),
        "n_steps": max(1, settings.batch_size // settings.n_envs),
        "gae_lambda": settings.gae_lambda,
        "use_rms_prop": False,
        "normalize_advantage": True,
    }


def _sac(setup: Setup) -> dict[str, Any]:
    """A bar is drawn `n_epochs` times in the mean, as often as PPO looks at it."""
    settings = setup.settings
    per_step = settings.n_envs * settings.n_epochs / settings.batch_size
    every = max(1, round(1.0 / per_step))
    return {
        "batch_size": settings.batch_size,
        "train_freq": every,
        "gradient_steps": max(1, round(every * per_step)),
        "learning_starts": min(settings.rollout_steps, setup.timesteps // 10),
        "buffer_size": min(setup.timesteps, MOST_REMEMBERED),
        "ent_coef": settings.ent_coef or "auto",
    }


Build = Callable[..., BaseAlgorithm]
ALGORITHMS: Mapping[Algorithm, tuple[Build, Callable[[Setup], dict[str, Any]]]] = MappingProxyType(
    {
        "ppo": (PPO, _ppo),
        "recurrent_ppo": (RecurrentPPO, _ppo),
        "trpo": (TRPO, _trpo),
        "a2c": (A2C, _a2c),
        "sac": (SAC, _sac),
    }
)
"""By name: its class, and its own numbers."""
