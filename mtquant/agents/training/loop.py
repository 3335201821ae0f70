# SPDX-License-Identifier: Apache-2.0
"""The stacked PPO engine: K specialists learn at once, each as stable-baselines3's PPO would.

    loop = PPOLoop(batches, stack, scaling, settings, timesteps, seeds)
    while not loop.done:
        figures = loop.iterate()        # one rollout, one update; a dictionary per network

Given the same rollout and the same permutations, the weights after an iteration are those of
stable-baselines3 (a test; 1e-9 in float64). Networks do not know of each other: a row's numbers
depend on that row alone.

Source: Schulman et al. 2017, "Proximal policy optimization", algorithm 1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, Said
from mtquant.agents.training.rollout import Collector, Minibatch, Rollout
from mtquant.core.errors import CheckpointError
from mtquant.core.seeding import SeedTree
from mtquant.core.states import (
    Arrays,
    below,
    fill,
    generator_state,
    part,
    set_generator,
    stacked,
)
from mtquant.core.training_config import PPOSettings
from mtquant.envs.batch import Batch
from mtquant.learning.adam import StackedAdam
from mtquant.learning.losses import (
    APPROX_KL,
    FIGURES,
    forecast_gradients,
    ppo_gradients,
)
from mtquant.learning.schedules import charged_at, rate_at

KL_MARGIN = 1.5  # stable-baselines3 stops at 1.5 times `target_kl`
SLOWER = 0.5  # what a restored network's learning rate is multiplied by
OTHERWISE = "Resume under the configuration that the run began with."


@dataclass
class UpdateReport:
    """What one update did.

    Attributes:
        figures: [K, len(FIGURES)], means over the minibatches of the last pass.
        forecast_loss: [K].
        epochs: Passes begun, by network.
        stopped: Networks that `target_kl` stopped.
        failed: Networks whose gradient was not finite.
    """

    figures: torch.Tensor
    forecast_loss: torch.Tensor
    epochs: list[int]
    stopped: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)


class Updater:
    """Gradient steps of PPO on a rollout.

    Args:
        stack: The networks.
        settings: PPO's numbers.
    """

    def __init__(self, stack: ActorCriticStack, settings: PPOSettings) -> None:
        self.stack, self.settings = stack, settings
        self.adam = StackedAdam(stack.parameters, stack.gradients)

    @torch.no_grad()
    def update(
        self, rollout: Rollout, rate: float, permutations: Sequence[torch.Tensor]
    ) -> UpdateReport:
        """All passes over a rollout.

        Args:
            rollout: With advantages.
            rate: Learning rate.
            permutations: For each pass int64 [K, T x E], the order of the samples t * E + e.
        """
        stack, settings = self.stack, self.settings
        count, own = len(stack), stack.parameters
        report = UpdateReport(
            torch.zeros(count, len(FIGURES), dtype=own.dtype),
            torch.zeros(count, dtype=own.dtype),
            [0] * count,
        )
        for epoch, order in enumerate(permutations):
            final = epoch == len(permutations) - 1
            for batch in rollout.minibatches(order, settings.batch_size):
                resting = report.stopped | report.failed
                if len(resting) == count:
                    return report
                self._minibatch(batch, rate, report, final)
            for k in set(range(count)) - report.stopped - report.failed:
                report.epochs[k] += 1
            if final:
                batches = order.shape[1] // settings.batch_size
                report.figures /= batches
                report.forecast_loss /= batches
        return report

    def _minibatch(self, batch: Minibatch, rate: float, report: UpdateReport, final: bool) -> None:
        settings, stack = self.settings, self.stack
        said = stack.forward(batch.observations)
        loss = ppo_gradients(
            said.mean,
            stack.log_std,
            said.value,
            batch.samples,
            settings.clip_range,
            settings.ent_coef,
            settings.vf_coef,
            present=stack.present_actions,
        )
        forecast = forecast_gradients(
            said.forecast,
            said.log_deviation,
            batch.came,
            settings.forecast_coef,
            stack.present_forecasts,
        )
        change = Said(loss.mean, loss.value, forecast.mean, forecast.log_deviation)
        stack.backward(batch.observations, change, loss.log_std, stack.gradients)
        self._watch(loss.figures, report)
        if final:
            report.figures += loss.figures
            report.forecast_loss += forecast.loss
        resting = report.stopped | report.failed
        report.failed |= self.adam.step(rate, settings.max_grad_norm, resting)

    def _watch(self, figures: torch.Tensor, report: UpdateReport) -> None:
        """Stops networks that went too far from the policy that lived through the rollout."""
        if self.settings.target_kl is not None:
            far = figures[:, APPROX_KL] > KL_MARGIN * self.settings.target_kl
            report.stopped |= set(torch.nonzero(far)[:, 0].tolist())


class PPOLoop:
    """Rollouts and updates until every network has lived through `timesteps` bars.

    Args:
        batches: One per network, of equally many accounts.
        stack: The networks.
        scaling: Of their observations.
        settings: PPO's numbers.
        timesteps: Bars per network, all its accounts together; rounded up to whole rollouts.
        seeds: One node per network; its noise and the order of its samples come from there.

    Attributes:
        steps: Bars lived through so far.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        stack: ActorCriticStack,
        scaling: Scaling,
        settings: PPOSettings,
        timesteps: int,
        seeds: Sequence[SeedTree],
    ) -> None:
        self.settings, self.timesteps, self.steps = settings, timesteps, 0
        self.stack, self.scaling = stack, scaling
        noise = [node.child("noise").generator() for node in seeds]
        self.collector = Collector(
            batches, stack, scaling, settings.n_steps, noise, settings.surprise
        )
        self.updater = Updater(stack, settings)
        self._orders = [node.child("order").generator() for node in seeds]
        self._good = stack.parameters.clone(), self.updater.adam.state()

    @property
    def done(self) -> bool:
        """Whether all bars were lived through."""
        return self.steps >= self.timesteps

    def iterate(self) -> list[dict[str, float]]:
        """One rollout and one update; the metrics of `docs/metrics.md`, by network.

        A network whose gradient is not finite goes back to where it stood before the update, with
        its moments, and learns at half its rate from then on; ``train/restored`` counts that.
        """
        settings = self.settings
        started = time.perf_counter()
        done = self.steps / self.timesteps
        rate = rate_at(settings.learning_rate, settings.learning_rate_decay, done)
        charged = charge(self.collector.batches, settings, done)
        rollout = self.collector.collect(settings.gamma, settings.gae_lambda)
        self._good = self.stack.parameters.clone(), self.updater.adam.state()
        report = self.updater.update(rollout, rate, self._permutations())
        for k in report.failed:
            self._restore(k)
        self.steps += settings.rollout_steps
        seconds = time.perf_counter() - started
        return [charged | own for own in self._metrics(rollout, report, rate, seconds)]

    def state(self) -> Arrays:
        """Everything that goes on: steps, and below ``network0``, ... weights, moments, environment
        and generators of each. Networks know nothing of each other, so states can be put together
        in another way.
        """
        learnt = {"parameters": self.stack.parameters, **self.updater.adam.state()}
        found = {"steps": np.array([self.steps])}
        for k, collected in enumerate(self.collector.states()):
            own = {
                "order": generator_state(self._orders[k]),
                **below("learnt", self._own_part(learnt, k)),
                **below("collector", collected),
            }
            found |= below(network(k), own)
        return found

    def load_state(self, state: Arrays) -> None:
        """Goes on from the `state` of a loop of the same networks and batches.

        Raises:
            CheckpointError: It is of others.
        """
        parts = [part(network(k), state) for k in range(len(self.stack))]
        learnt = stacked([self._padded(part("learnt", own), k) for k, own in enumerate(parts)])
        load_parameters(self.stack, learnt)
        load_adam(self.updater.adam, learnt)
        for generator, own in zip(self._orders, parts, strict=True):
            set_generator(generator, own["order"])
        self.collector.load_states([part("collector", own) for own in parts])
        self.steps = int(state["steps"][0])

    def _own_part(self, learnt: Mapping[str, torch.Tensor], k: int) -> Arrays:
        """Network k's rows, without padding: that depends on who is trained beside it."""
        rows = {name: held[k : k + 1] for name, held in learnt.items()}
        return {
            name: (self.stack.cut(k, held) if held.dim() == 2 else held).cpu().numpy().copy()
            for name, held in rows.items()
        }

    def _padded(self, own: Arrays, k: int) -> Arrays:
        """What `_own_part` gave, as rows of this stack.

        Raises:
            CheckpointError: It is of a network of another shape.
        """
        size = self.stack.own[k].size
        found = {}
        for name, held in own.items():
            if held.ndim == 2 and held.shape[1] != size:
                rule, remedy = f"must have {size} parameters", OTHERWISE
                raise CheckpointError(f"network {k} of the checkpoint", rule, held.shape, remedy)
            rows = torch.from_numpy(held)
            found[name] = (self.stack.padded(k, rows) if held.ndim == 2 else rows).numpy()
        return found

    def _permutations(self) -> list[torch.Tensor]:
        """For each pass, [K, T x E]."""
        size = self.settings.rollout_steps
        drawn = np.array(
            [
                [order.permutation(size) for _ in range(self.settings.n_epochs)]
                for order in self._orders
            ]
        )
        return [torch.from_numpy(drawn[:, epoch]) for epoch in range(self.settings.n_epochs)]

    def _restore(self, k: int) -> None:
        parameters, moments = self._good
        self.stack.parameters[k] = parameters[k]
        self.updater.adam.load_state(moments, [k])
        self.updater.adam.scale_rate(k, SLOWER)

    def _metrics(
        self, rollout: Rollout, report: UpdateReport, rate: float, seconds: float
    ) -> list[dict[str, float]]:
        settings = self.settings
        explained = rollout.explained_variance().tolist()
        figures = report.figures.tolist()
        std = self.stack.mean_deviation()
        found = []
        for k, episodes in enumerate(self.collector.episodes):
            own = dict(zip(FIGURES, figures[k], strict=True))
            loss = own["policy_gradient_loss"] + settings.vf_coef * own["value_loss"]
            forecast = float(report.forecast_loss[k])
            found.append(
                {
                    **{f"train/{name}": value for name, value in own.items()},
                    "train/loss": loss
                    + settings.ent_coef * own["entropy_loss"]
                    + settings.forecast_coef * forecast,
                    "train/forecast_loss": forecast,
                    "train/explained_variance": explained[k],
                    "train/learning_rate": rate * self.updater.adam.scales[k],
                    "train/std": std[k],
                    "train/restored": float(k in report.failed),
                    "time/fps": settings.rollout_steps / seconds,
                    **episodes.metrics(),
                }
            )
        return found


def charge(batches: Sequence[Batch], settings: PPOSettings, done: float) -> dict[str, float]:
    """Lets accounts pay as much of their costs as `settings` say.

    Args:
        batches: The accounts.
        settings: PPO's numbers.
        done: The share of the phase that is over.

    Returns:
        ``train/cost_share``, where that is not all throughout.
    """
    if settings.cost_start == 1.0:
        return {}
    share = charged_at(settings.cost_start, settings.cost_ramp, done)
    for batch in batches:
        batch.charge(share)
    return {"train/cost_share": share}


def network(k: int) -> str:
    """The name of network `k` in a state."""
    return f"network{k}"


def adam_state(adam: StackedAdam) -> Arrays:
    """An optimiser's state as arrays."""
    return {name: held.cpu().numpy() for name, held in adam.state().items()}


def load_adam(adam: StackedAdam, state: Arrays) -> None:
    """Goes on from an earlier `adam_state`."""
    adam.load_state({name: torch.from_numpy(held) for name, held in state.items()})


def load_parameters(stack: ActorCriticStack, state: Arrays) -> None:
    """Puts the weights of a state, ``parameters``, in place.

    Raises:
        CheckpointError: They are of networks of another shape.
    """
    own = stack.parameters.cpu().numpy()
    fill({"parameters": own}, state)
    stack.parameters.copy_(torch.from_numpy(own))
