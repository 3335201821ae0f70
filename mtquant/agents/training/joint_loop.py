# SPDX-License-Identifier: Apache-2.0
"""Joint PPO: the meta-controller's loss reaches every specialist through what it says.

In each minibatch of an on-beat iteration the specialists' messages are computed again, and the
meta-controller's loss is followed back through its observation into them. There it meets the
specialist's own loss (its difference reward, and its forecasts), and `GradientCoordinationSystem`
makes one gradient of both. The drawn part of an action is kept: a signal is the new mean plus the
noise that was drawn, so that the loss reaches the mean (Kingma & Welling 2014, section 2.4).

Off-beat iterations leave the specialists as they are and move the meta-controller alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from mtquant.agents.crew import messages
from mtquant.agents.scaling import CLIP
from mtquant.agents.stack import Said
from mtquant.agents.training.gradient_coordination import GradientCoordinationSystem
from mtquant.agents.training.joint_rollout import JointCollector, JointRollout, Lived
from mtquant.agents.training.loop import adam_state, charge, load_adam, load_parameters
from mtquant.agents.training.rollout import Minibatch
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, generator_state, part, set_generator
from mtquant.core.training_config import PPOSettings
from mtquant.envs.hierarchy import MESSAGE_NAMES
from mtquant.learning.adam import StackedAdam
from mtquant.learning.losses import FIGURES, Samples, forecast_gradients, ppo_gradients
from mtquant.learning.schedules import rate_at

SLOWER = 0.5
Metrics = dict[str, float]


class JointUpdater:
    """Gradient steps of both levels on a joint rollout.

    Args:
        collector: Whose networks and hierarchy these are.
        settings: PPO's numbers.
        coordination: Makes one gradient of two.
    """

    def __init__(
        self,
        collector: JointCollector,
        settings: PPOSettings,
        coordination: GradientCoordinationSystem,
    ) -> None:
        self.crew, self.meta = collector.crew, collector.meta
        self.settings, self.coordination = settings, coordination
        self.adam = StackedAdam(self.crew.stack.parameters, self.crew.stack.gradients)
        self.meta_adam = StackedAdam(self.meta.stack.parameters, self.meta.stack.gradients)
        hierarchy = collector.hierarchy
        # Where an instrument's message stands among those of all specialists' K x A actions.
        device = self.meta.stack.parameters.device
        self._spoken = torch.from_numpy(self.crew.stack.entries[hierarchy.spoken]).to(device)
        names = hierarchy.meta_names()
        symbols = hierarchy.layout.symbols
        self._entries = torch.tensor(
            [[names.index(f"{symbol}.{name}") for name in MESSAGE_NAMES] for symbol in symbols],
            device=device,
        ).flatten()
        self._own_gradients = torch.zeros_like(self.crew.stack.gradients)
        self._meta_gradients = torch.zeros_like(self.crew.stack.gradients)

    @torch.no_grad()
    def update(
        self,
        rollout: JointRollout,
        rate: float,
        orders: list[torch.Tensor],
        *,
        specialists: bool,
        meta: bool,
    ) -> JointReport:
        """All passes over a rollout.

        Args:
            rollout: With advantages.
            rate: Learning rate of both levels.
            orders: For each pass int64 [T x E], the order of the samples t * E + e.
            specialists: Whether specialists learn: an on-beat iteration.
            meta: Whether the meta-controller learns.
        """
        report, size = JointReport(len(self.crew)), self.settings.batch_size
        for epoch, order in enumerate(orders):
            final = epoch == len(orders) - 1
            for told, lived in rollout.minibatches(order, size, specialists):
                self._minibatch(told, lived, rate, report, meta, final)
            if final:
                report.finish(len(order) // size)
        return report

    def _minibatch(
        self,
        told: Minibatch,
        lived: Lived | None,
        rate: float,
        report: JointReport,
        meta: bool,
        final: bool,
    ) -> None:
        observed, most = told.observations, self.settings.max_grad_norm
        spoken: _Spoken | None = None
        if lived is not None:
            spoken = self._speak(lived)
            entries = spoken.entries(observed, self._entries)
            observed = observed.index_copy(2, self._entries, entries)
        back = self._meta_loss(observed, told.samples, report, final)
        if spoken is not None:
            self._meta_goal(spoken, back)
            self._own_goal(spoken, report, final)
            found = self.coordination.coordinate_updates(self._meta_gradients, self._own_gradients)
            self.crew.stack.gradients.copy_(found)
            report.failed |= self.adam.step(rate, most, report.failed)
        if meta and not report.meta_failed:
            report.meta_failed = bool(self.meta_adam.step(rate, most))

    def _speak(self, lived: Lived) -> _Spoken:
        """The messages of a minibatch, computed again, with a way back for autograd."""
        said = self.crew.stack.forward(lived.own.observations)
        leaves = Said(*(part.detach().clone().requires_grad_() for part in said))
        with torch.enable_grad():
            drawn = torch.exp(self.crew.stack.log_std.detach())[:, None] * lived.noise
            told = messages(leaves, leaves.mean + drawn).flatten(1, 2)[:, self._spoken]
            mean, scale = (
                held[0, self._entries].view(told.shape[1:])
                for held in (self.meta.scaling.mean, self.meta.scaling.scale)
            )
            scaled = ((told - mean) / scale).clamp(-CLIP, CLIP)
        awake = lived.awake.permute(1, 0, 2).flatten(1, 2)[:, self._spoken]
        return _Spoken(lived, leaves, scaled, awake[:, :, None])

    def _meta_loss(
        self,
        observed: torch.Tensor,
        samples: Samples,
        report: JointReport,
        final: bool,
    ) -> torch.Tensor:
        """Gradient of the meta-controller's loss by its parameters, and, returned, by what it
        observed, [1, B, entries].
        """
        stack, settings = self.meta.stack, self.settings
        said = stack.forward(observed)
        loss = ppo_gradients(
            said.mean,
            stack.log_std,
            said.value,
            samples,
            settings.clip_range,
            settings.ent_coef,
            settings.vf_coef,
        )
        change = Said(loss.mean, loss.value, said.forecast, said.log_deviation)
        back = stack.backward_to_inputs(observed, change, loss.log_std, stack.gradients)
        if final:
            report.meta_figures += loss.figures[0]
        return back

    def _meta_goal(self, spoken: _Spoken, back: torch.Tensor) -> None:
        """What the meta-controller's loss asks of the specialists."""
        size = spoken.scaled.shape
        wanted = back[0][:, self._entries].view(size) * spoken.awake
        found = torch.autograd.grad(spoken.scaled, spoken.leaves, wanted, allow_unused=True)
        change = Said(
            *(
                torch.zeros_like(leaf) if part is None else part
                for leaf, part in zip(spoken.leaves, found, strict=True)
            )
        )
        nothing = torch.zeros_like(self.crew.stack.log_std)
        seen = spoken.lived.own.observations
        self.crew.stack.backward(seen, change, nothing, self._meta_gradients)

    def _own_goal(self, spoken: _Spoken, report: JointReport, final: bool) -> None:
        """What their own losses ask of the specialists; bars of a closed market do not count."""
        stack, settings = self.crew.stack, self.settings
        own, said = spoken.lived.own, spoken.leaves
        loss = ppo_gradients(
            said.mean,
            stack.log_std,
            said.value,
            own.samples,
            settings.clip_range,
            settings.ent_coef,
            settings.vf_coef,
            present=stack.present_actions,
        )
        forecast = forecast_gradients(
            said.forecast,
            said.log_deviation,
            own.came,
            settings.forecast_coef,
            stack.present_forecasts,
        )
        awake = spoken.lived.awake.to(loss.value.dtype)
        change = Said(
            loss.mean * awake,
            loss.value * awake.amax(2),
            forecast.mean,
            forecast.log_deviation,
        )
        stack.backward(own.observations, change, loss.log_std, self._own_gradients)
        if final:
            report.figures += loss.figures
            report.forecast_loss += forecast.loss


class _Spoken(NamedTuple):
    """Messages of a minibatch with a way back.

    Attributes:
        lived: The minibatch.
        leaves: What the specialists say now.
        scaled: Their messages [B, N, MESSAGE] as the meta-controller sees them.
        awake: bool [B, N, 1], the instrument's market was open.
    """

    lived: Lived
    leaves: Said
    scaled: torch.Tensor
    awake: torch.Tensor

    def entries(self, observed: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
        """Message entries of the meta-controller's observation, [1, B, N x MESSAGE]: new where the
        market was open, else what was observed.
        """
        stood = observed[0][:, entries].view(self.scaled.shape)
        return torch.where(self.awake, self.scaled.detach(), stood).flatten(1)[None]


class JointReport:
    """What one joint update did; figures are means over the minibatches of the last pass."""

    def __init__(self, count: int) -> None:
        self.figures = torch.zeros(count, len(FIGURES))
        self.meta_figures = torch.zeros(len(FIGURES))
        self.forecast_loss = torch.zeros(count)
        self.failed: set[int] = set()
        self.meta_failed = False

    def finish(self, batches: int) -> None:
        """Turns sums into means."""
        for sums in (self.figures, self.meta_figures, self.forecast_loss):
            sums /= batches


class JointLoop:
    """Rollouts and updates of a hierarchy until it has lived through `timesteps` bars.

    Args:
        collector: The hierarchy in its portfolios.
        settings: PPO's numbers.
        coordination: Makes one gradient of two.
        timesteps: Bars, all portfolios together; rounded up to whole rollouts.
        seeds: Node of the seed tree; the order of samples comes from there.
        frequencies: Iterations from one update to the next of the meta-controller and of the
            specialists (`meta_update_freq`, `specialist_update_freq`).

    Attributes:
        steps: Bars lived through so far.
        iterations: Rollouts so far.
    """

    def __init__(
        self,
        collector: JointCollector,
        settings: PPOSettings,
        coordination: GradientCoordinationSystem,
        timesteps: int,
        seeds: SeedTree,
        frequencies: tuple[int, int] = (1, 5),
    ) -> None:
        self.collector, self.settings, self.timesteps = collector, settings, timesteps
        self.updater = JointUpdater(collector, settings, coordination)
        self.steps, self.iterations = 0, 0
        self._meta_every, self._specialists_every = frequencies
        self._order = seeds.child("order").generator()

    @property
    def done(self) -> bool:
        """Whether all bars were lived through."""
        return self.steps >= self.timesteps

    def iterate(self) -> tuple[Metrics, list[Metrics]]:
        """One rollout and one update; metrics of the meta-controller and of each specialist.

        Networks whose gradient is not finite go back to where they stood before the update, with
        their moments, and learn at half their rate from then on.
        """
        settings, updater = self.settings, self.updater
        started = time.perf_counter()
        done = self.steps / self.timesteps
        rate = rate_at(settings.learning_rate, settings.learning_rate_decay, done)
        charged = charge([self.collector.env], settings, done)
        rollout = self.collector.collect(settings.gamma, settings.gae_lambda)
        good = self._state()
        on_beat = self.iterations % self._specialists_every == 0
        report = updater.update(
            rollout,
            rate,
            self._orders(),
            specialists=on_beat,
            meta=self.iterations % self._meta_every == 0,
        )
        self._restore(report, good)
        self.steps += settings.rollout_steps
        self.iterations += 1
        seconds = time.perf_counter() - started
        meta = charged | self._metrics(rollout, report, rate, seconds)
        return meta, self._specialists(rollout, report, rate) if on_beat else []

    def state(self) -> Arrays:
        """Everything that goes on: weights, moments, portfolios, generators."""
        updater = self.updater
        return {
            "steps": np.array([self.steps]),
            "iterations": np.array([self.iterations]),
            "specialists": updater.crew.stack.parameters.cpu().numpy().copy(),
            "meta": updater.meta.stack.parameters.cpu().numpy().copy(),
            "order": generator_state(self._order),
            **below("adam", adam_state(updater.adam)),
            **below("meta_adam", adam_state(updater.meta_adam)),
            **below("collector", self.collector.state()),
        }

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of a loop of the same hierarchy.

        Raises:
            CheckpointError: It is of another.
        """
        updater = self.updater
        self.steps, self.iterations = int(state["steps"][0]), int(state["iterations"][0])
        load_parameters(updater.crew.stack, {"parameters": state["specialists"]})
        load_parameters(updater.meta.stack, {"parameters": state["meta"]})
        set_generator(self._order, state["order"])
        load_adam(updater.adam, part("adam", state))
        load_adam(updater.meta_adam, part("meta_adam", state))
        self.collector.load_state(part("collector", state))

    def _orders(self) -> list[torch.Tensor]:
        size, passes = self.settings.rollout_steps, self.settings.n_epochs
        return [torch.from_numpy(self._order.permutation(size)) for _ in range(passes)]

    def _state(self) -> list[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]:
        """Parameters and moments of specialists, then of the meta-controller."""
        updater = self.updater
        return [
            (crew.stack.parameters.clone(), adam.state())
            for crew, adam in ((updater.crew, updater.adam), (updater.meta, updater.meta_adam))
        ]

    def _restore(
        self,
        report: JointReport,
        good: list[tuple[torch.Tensor, Mapping[str, torch.Tensor]]],
    ) -> None:
        updater = self.updater
        broken = (report.failed, {0} if report.meta_failed else set())
        parts = ((updater.crew, updater.adam), (updater.meta, updater.meta_adam))
        for rows, (crew, adam), (parameters, moments) in zip(broken, parts, good, strict=True):
            for k in rows:
                crew.stack.parameters[k] = parameters[k]
                adam.load_state(moments, [k])
                adam.scale_rate(k, SLOWER)

    def _metrics(
        self, rollout: JointRollout, report: JointReport, rate: float, seconds: float
    ) -> Metrics:
        meta = self.updater.meta.stack
        figures = dict(zip(FIGURES, report.meta_figures.tolist(), strict=True))
        return {
            **{f"train/{name}": value for name, value in figures.items()},
            "train/explained_variance": float(rollout.meta.explained_variance()[0]),
            "train/learning_rate": rate * self.updater.meta_adam.scales[0],
            "train/std": float(torch.exp(meta.log_std).mean()),
            "train/restored": float(report.meta_failed),
            "time/fps": self.settings.rollout_steps / seconds,
            **self.collector.episodes.metrics(),
        }

    def _specialists(
        self, rollout: JointRollout, report: JointReport, rate: float
    ) -> list[Metrics]:
        explained = rollout.own.explained_variance().tolist()
        std = self.updater.crew.stack.mean_deviation()
        coordination = self.updater.coordination.diagnostics()
        paid = rollout.own.rewards.mean((1, 2)).tolist()
        return [
            {
                **{
                    f"train/{name}": value
                    for name, value in zip(FIGURES, report.figures[k].tolist(), strict=True)
                },
                "train/forecast_loss": float(report.forecast_loss[k]),
                "train/explained_variance": explained[k],
                "train/learning_rate": rate * self.updater.adam.scales[k],
                "train/std": std[k],
                "train/restored": float(k in report.failed),
                "train/difference_reward": paid[k],
                **coordination[k],
            }
            for k in range(len(self.updater.crew))
        ]
