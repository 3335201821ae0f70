# SPDX-License-Identifier: Apache-2.0
"""Living through bars as a hierarchy: specialists speak, the meta-controller acts, all are paid.

In every bar of E portfolios: each specialist draws an action from what it sees, its messages reach
the meta-controller, whose drawn decision scales the actions into exposures. That is the order of
`JointTrainingEnv`, and for one portfolio the ledgers are equal (a test).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtquant.agents.crew import Crew, messages
from mtquant.agents.stack import Said
from mtquant.agents.training.rollout import Episodes, Minibatch, Rollout, drawn_noise
from mtquant.core.states import Arrays, below, fill, generator_state, part, set_generator
from mtquant.core.training_config import SpecialistReward
from mtquant.envs import allocation
from mtquant.envs.hierarchy import FORECAST, MESSAGE, Hierarchy, heard
from mtquant.envs.luck import Luck
from mtquant.envs.market_env import EpisodeEnd, MarketEnv
from mtquant.envs.shadow import Shadows

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Lived(NamedTuple):
    """The specialists' part of a minibatch.

    Attributes:
        own: What each lived through.
        noise, awake: [K, B, A], as in `JointRollout`.
    """

    own: Minibatch
    noise: torch.Tensor
    awake: torch.Tensor


class JointRollout:
    """What a hierarchy lived through.

    Attributes:
        own: The specialists' part, K networks.
        meta: The meta-controller's part, one network.
        noise: [K, T, E, A], deviations of the specialists' actions, in units of `log_std`.
        awake: bool [K, T, E, A], the instrument's market was open, so that what was said counted;
            False where a specialist has no such instrument.
    """

    def __init__(self, crew: Crew, meta: Crew, n_steps: int, n_accounts: int) -> None:
        self.own = Rollout(crew.stack, n_steps, n_accounts)
        self.meta = Rollout(meta.stack, n_steps, n_accounts)
        self.noise = torch.zeros_like(self.own.actions)
        self.awake = torch.zeros(self.own.actions.shape, dtype=torch.bool)

    def minibatches(
        self, order: torch.Tensor, size: int, specialists: bool
    ) -> Iterator[tuple[Minibatch, Lived | None]]:
        """All samples, `size` at a time: the meta-controller's part, and that of the specialists
        where they learn; valid until the next call.

        Args:
            order: int64 [T x E], of the samples t * E + e.
            size: Samples of a minibatch.
            specialists: Whether they learn.
        """
        told = self.meta.minibatches(order[None], size)
        if not specialists:
            yield from ((level, None) for level in told)
            return
        device = self.noise.device
        noise, awake = self.noise.flatten(1, 2), self.awake.flatten(1, 2).to(device)
        own = self.own.minibatches(order.expand(len(noise), -1), size)
        batches = order.to(device).split(size)
        for rows, level, lived in zip(batches, told, own, strict=True):
            yield level, Lived(lived, noise[:, rows], awake[:, rows])


class JointCollector:
    """Lets a hierarchy act in E portfolios.

    Args:
        env: The portfolios; their actions are exposures.
        domains: Specialist -> symbols.
        crew: The specialists.
        meta: The meta-controller.
        n_steps: Bars of one rollout.
        generators: One per specialist, then the meta-controller's: noise in actions.
        forecast_units: float64 [N], the log return that counts as 1 in forecasts.
        specialist_reward: Specialists are paid what each adds (``"difference"``), or the growth of
            the whole portfolio (``"portfolio"``).
        surprise: Share of what a specialist with a head did not foresee that its rewards keep. The
            meta-controller's keep all: it is there to judge the forecasts.

    Attributes:
        hierarchy: Who trades what.
        rollout: The latest; every call of `collect` writes into the same arrays.
        episodes: The latest finished episodes.
    """

    def __init__(
        self,
        env: MarketEnv,
        domains: Mapping[str, Sequence[str]],
        crew: Crew,
        meta: Crew,
        n_steps: int,
        generators: Sequence[np.random.Generator],
        forecast_units: NDArray[np.float64],
        specialist_reward: SpecialistReward = "difference",
        surprise: float = 1.0,
    ) -> None:
        self.env, self.crew, self.meta = env, crew, meta
        self.hierarchy = Hierarchy.of(env, domains)
        self.generators = list(generators)
        self.rollout = JointRollout(crew, meta, n_steps, len(env))
        self.episodes = Episodes()
        n = len(env.unit)
        self.messages = np.zeros((len(env), n, MESSAGE), dtype=np.float32)
        self.scales = np.zeros((len(env), n))
        shadows = Shadows(env, self.hierarchy.owner)
        alone = specialist_reward == "difference"
        self._pay = shadows.differences if alone else shadows.shared
        self._units = forecast_units
        self._surprise, self._luck = surprise, Luck(env, forecast_units)
        # Which instrument each of K x A actions is about, in the specialists' order.
        self._about = np.concatenate(self.hierarchy.instruments)
        # And where an instrument's message stands among those of K x A actions.
        self._spoken = crew.stack.entries[self.hierarchy.spoken]
        self.reset()

    def reset(self) -> None:
        """Begins a new episode everywhere; nobody has said or asked for anything."""
        self.messages[:], self.scales[:] = 0.0, 0.0
        self.env.reset()

    @torch.no_grad()
    def collect(self, gamma: float, lam: float) -> JointRollout:
        """One rollout, with advantages and returns on both levels."""
        rollout, n_steps = self.rollout, self.rollout.meta.actions.shape[1]
        noise = self._noise()
        rollout.noise.copy_(noise[0])
        for t in range(n_steps):
            targets = self._decide(t, noise)
            self._move(t, targets, gamma)
        for level, drawn, crew in (
            (rollout.own, noise[0], self.crew),
            (rollout.meta, noise[1], self.meta),
        ):
            constant = crew.stack.log_scale()
            density = drawn.square().sum(3).mul_(-0.5)
            torch.sub(density, constant[:, None, None], out=level.log_probs)
        own, meta = self.values(self.env.observations, self.scales, self.messages)
        rollout.own.estimate(own, gamma, lam)
        rollout.meta.estimate(meta, gamma, lam)
        return rollout

    def state(self) -> Arrays:
        """Where portfolios, messages, noise and episodes stand."""
        return {
            "messages": self.messages.copy(),
            "scales": self.scales.copy(),
            "noise": np.array([generator_state(own) for own in self.generators]),
            **below("env", self.env.state()),
            **below("episodes", self.episodes.state()),
        }

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of a collector of the same portfolios."""
        fill({"messages": self.messages, "scales": self.scales}, state)
        for own, place in zip(self.generators, state["noise"], strict=True):
            set_generator(own, place)
        self.env.load_state(part("env", state))
        self.episodes.load_state(part("episodes", state))

    def values(
        self, seen: Float32, scales: NDArray[np.float64], standing: Float32
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What all expect from here, [K, B] and [1, B], given observations float32 [B, size]."""
        said = self._speak(seen, scales)
        own = said.value.clone()
        told = self._told(seen, messages(said), standing)
        observed = self.meta.scaled(self.hierarchy.observe(seen, told)[None])
        return own, self.meta.stack.forward(observed).value

    def _decide(self, t: int, noise: tuple[torch.Tensor, torch.Tensor]) -> Float32:
        """Everybody draws an action about the bar just closed; target exposures float32 [E, N]."""
        rollout, seen, hierarchy = self.rollout, self.env.observations, self.hierarchy
        own, meta = rollout.own, rollout.meta
        said = self._speak(seen, self.scales, own.observations[:, t])
        own.values[:, t] = said.value
        spread = torch.exp(self.crew.stack.log_std)[:, None]
        torch.addcmul(said.mean, spread, noise[0][:, t], out=own.actions[:, t])
        self.messages[:] = self._told(seen, messages(said, own.actions[:, t]), self.messages)
        rollout.awake[:, t] = self._by_specialist(hierarchy.tradable(seen), False)
        observed = hierarchy.observe(seen, self.messages)
        decided = self.meta.stack.forward(self.meta.scaled(observed[None], meta.observations[:, t]))
        meta.values[:, t] = decided.value
        spread = torch.exp(self.meta.stack.log_std)[:, None]
        torch.addcmul(decided.mean, spread, noise[1][:, t], out=meta.actions[:, t])
        action = meta.actions[0, t].clamp(-1.0, 1.0).float().cpu().numpy()
        self.scales[:] = hierarchy.scales(action, self.messages)
        return allocation.exposures(self.scales, self.messages[:, :, 0])

    def _move(self, t: int, targets: Float32, gamma: float) -> None:
        """All portfolios live through one bar, and all are paid for it."""
        own, meta, env = self.rollout.own, self.rollout.meta, self.env
        paid = self._pay(targets)
        if self.crew.stack.shape.forecasts:
            came = env.next_returns(self._units)
            own.forecasts[:, t] = self._by_specialist(came, np.nan)
            if self._surprise < 1.0:
                paid -= self._unpaid(targets, came)
        own.rewards[:, t] = torch.from_numpy(paid.T)
        ended = env.step(targets)
        meta.rewards[0, t] = torch.from_numpy(env.rewards)
        last = torch.from_numpy(env.done)
        own.last[:, t], meta.last[:, t] = last, last
        for e in ended.tolist():
            end = env.episode_end(e)
            self.episodes.add(end.totals, end.rewards, end.drawdown)
            if end.truncated:
                self._go_on_behind_time(t, e, end, gamma)
        self.messages[ended], self.scales[ended] = 0.0, 0.0

    def _unpaid(self, targets: Float32, came: Float32) -> Float:
        """What the specialists' rewards of the bar to come leave out, float64 [E, K]: of each one's
        own instruments what it did not foresee.
        """
        gains = self._luck.gains(targets, came, self.messages[:, :, FORECAST])
        owners = np.arange(len(self.crew)) == self.hierarchy.owner[:, None]
        unpaid: Float = (1.0 - self._surprise) * gains @ owners
        return unpaid

    def _by_specialist(self, values: NDArray[Any], padding: float) -> torch.Tensor:
        """What is known of instruments [E, N], by specialist [K, E, A]."""
        count, actions = len(self.crew), self.crew.stack.shape.actions
        found = np.full((len(values), count * actions), padding, dtype=values.dtype)
        found[:, self.crew.stack.entries] = values[:, self._about]
        return torch.from_numpy(found.reshape(-1, count, actions).transpose(1, 0, 2))

    def _go_on_behind_time(self, t: int, e: int, end: EpisodeEnd, gamma: float) -> None:
        """Adds gamma x value of what came next, since time alone ended the episode."""
        one = slice(e, e + 1)
        own, meta = self.values(
            end.terminal_observation[None], self.scales[one], self.messages[one]
        )
        self.rollout.own.rewards[:, t, e] += gamma * own[:, 0].cpu()
        self.rollout.meta.rewards[:, t, e] += gamma * meta[:, 0].cpu()

    def _speak(
        self, seen: Float32, scales: NDArray[np.float64], out: torch.Tensor | None = None
    ) -> Said:
        """What specialists say about portfolios' observations; their scaled views go into `out`."""
        return self.crew.stack.forward(self.crew.scaled(self.hierarchy.views(seen, scales), out))

    def _told(self, seen: Float32, said: torch.Tensor, standing: Float32) -> Float32:
        """Messages that reach the meta-controller: where a market is closed the standing ones."""
        new = said.flatten(1, 2).float().cpu().numpy()[:, self._spoken]
        told = heard(new, standing.shape)
        messages: Float32 = np.where(self.hierarchy.tradable(seen)[:, :, None], told, standing)
        return messages

    def _noise(self) -> tuple[torch.Tensor, torch.Tensor]:
        """For specialists [K, T, E, A] and for the meta-controller [1, T, E, K + 2]."""
        *specialists, meta = self.generators
        _, *size, _ = self.rollout.meta.actions.shape
        own = drawn_noise(self.crew.stack, specialists, tuple(size))
        return own, drawn_noise(self.meta.stack, [meta], tuple(size))
