# SPDX-License-Identifier: Apache-2.0
"""The message head for stable-baselines3's PPO, whose own losses do not reach it.

What the stacked engine does within its update happens here beside it: after every update the head
and the actor's layers below it learn to forecast what came in the rollout, and rewards leave out
what the head did not foresee (`learning/surprises.py`) before the library sees them.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from mtquant.agents.networks import MessagePolicy
from mtquant.core.training_config import PPOSettings
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.sb3 import MarketVecEnv
from mtquant.learning.losses import forecast_gradients

ADAM_EPS = 1e-5  # stable-baselines3's own, for PPO


class Foresight(BaseCallback):
    """Trains the head of a `MessagePolicy`, and takes the luck out of rewards.

    It goes before callbacks that look at rewards or weights.

    Args:
        settings: PPO's numbers: `forecast_coef` above 0.
    """

    def __init__(self, settings: PPOSettings) -> None:
        super().__init__()
        self._settings = settings
        self._seen: list[torch.Tensor] = []
        self._answers: list[NDArray[np.float32]] = []

    def _on_training_start(self) -> None:
        policy, env = self._policy, cast(MarketVecEnv, self.training_env)
        layers = (policy.mlp_extractor.policy_net, policy.message_net)
        self._parameters = [own for layer in layers for own in layer.parameters()]
        self._adam = torch.optim.Adam(self._parameters, eps=ADAM_EPS)
        self._market = cast(MarketEnv, env.env)
        self._luck = Luck(self._market)
        env.before_step = self._look_ahead

    def _on_rollout_start(self) -> None:
        self._learn()  # the update of the rollout before is over

    def _on_step(self) -> bool:
        # In place: it is this array that the library goes on with.
        self.locals["rewards"] -= self._unpaid
        return True

    def _on_training_end(self) -> None:
        self._learn()
        cast(MarketVecEnv, self.training_env).before_step = None

    @property
    def _policy(self) -> MessagePolicy:
        return cast(MessagePolicy, self.model.policy)

    def _look_ahead(self, actions: NDArray[np.float32]) -> None:
        """Notes what the step to come brings, and what rewards leave out of it."""
        env, policy = self._market, self._policy
        seen, came = torch.from_numpy(env.observations.copy()).to(policy.device), env.next_returns()
        with torch.no_grad():
            foreseen = policy.forecast(seen)[0].float().cpu().numpy()
        luck = self._luck.gains(actions * env.unit.astype(np.float32), came, foreseen).sum(1)
        self._unpaid = (1.0 - self._settings.surprise) * env.worth_of_gain() * luck
        self._seen.append(seen)
        self._answers.append(came)

    def _learn(self) -> None:
        """All passes over the rollout's forecasts; none before the first."""
        if not self._seen:
            return
        seen = torch.cat(self._seen)
        came = torch.from_numpy(np.concatenate(self._answers)).to(seen.device)
        self._seen, self._answers = [], []
        settings, policy = self._settings, self._policy
        for group in self._adam.param_groups:
            group["lr"] = self.model.lr_schedule(self.model._current_progress_remaining)
        losses: list[float] = []
        for _ in range(settings.n_epochs):
            losses.clear()
            for rows in torch.randperm(len(seen), device=seen.device).split(settings.batch_size):
                mean, deviation = policy.forecast(seen[rows])
                held = mean.detach()[None], deviation.detach()[None], came[rows][None]
                found = forecast_gradients(*held, settings.forecast_coef)
                losses.append(float(found.loss))
                self._adam.zero_grad()
                change = [found.mean[0], found.log_deviation[0]]
                torch.autograd.backward([mean, deviation], change)
                torch.nn.utils.clip_grad_norm_(self._parameters, settings.max_grad_norm)
                self._adam.step()
        self.logger.record("train/forecast_loss", float(np.mean(losses)))
